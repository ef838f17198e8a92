//! The hash algorithms of digest authentication and the three values made with them: HA1, HA2 and the response.

use std::fmt;

use hmac::digest::Output;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use subtle::ConstantTimeEq;

/// A hash function (RFC 7616 §3.3, RFC 8760 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashFunction {
    /// Kept for phones that know nothing else.
    Md5,
    /// What RFC 8760 asks every implementation to support.
    Sha256,
    /// SHA-512 cut to 256 bits, with its own initial values.
    Sha512_256,
}

/// An `algorithm` parameter: a hash function, and whether HA1 is bound to the session (`-sess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Algorithm {
    /// The hash function.
    pub hash: HashFunction,
    /// `-sess`: HA1 covers the nonce and cnonce of the first request.
    pub session: bool,
}

impl Algorithm {
    /// `MD5`: also what a missing parameter means.
    pub const MD5: Self = Self { hash: HashFunction::Md5, session: false };
    /// `SHA-256`.
    pub const SHA_256: Self = Self { hash: HashFunction::Sha256, session: false };
    /// `SHA-512-256`.
    pub const SHA_512_256: Self = Self { hash: HashFunction::Sha512_256, session: false };

    const NAMES: [(&'static str, Self); 6] = [
        ("MD5", Self::MD5),
        ("MD5-sess", Self { hash: HashFunction::Md5, session: true }),
        ("SHA-256", Self::SHA_256),
        ("SHA-256-sess", Self { hash: HashFunction::Sha256, session: true }),
        ("SHA-512-256", Self::SHA_512_256),
        ("SHA-512-256-sess", Self { hash: HashFunction::Sha512_256, session: true }),
    ];

    /// The algorithm of that name, case ignored; `None` if we do not know it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|&(_, algorithm)| algorithm)
    }

    /// The name as it stands in a header.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, algorithm)| *algorithm == self).map_or("MD5", |(name, _)| name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest hash here: 256 bits.
const HASH_BYTES_MAX: usize = 32;

/// A hash as lower-case hexadecimal digits, on the stack. Prints masked: an HA1 is as good as its password.
#[derive(Clone, Copy)]
pub struct HexHash {
    digits: [u8; 2 * HASH_BYTES_MAX],
    length: u8,
}

impl HexHash {
    fn from_bytes(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 2 * HASH_BYTES_MAX];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self { digits, length: (2 * bytes.len()) as u8 }
    }

    /// Reads stored digits; `None` unless they are 32 or 64 hexadecimal ones. Upper case becomes lower.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = matches!(text.len(), 32 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| {
            let mut digits = [0; 2 * HASH_BYTES_MAX];
            for (digit, byte) in digits.iter_mut().zip(text.bytes()) {
                *digit = byte.to_ascii_lowercase();
            }
            Self { digits, length: text.len() as u8 }
        })
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("hexadecimal digits are ASCII")
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.length)]
    }

    /// Whether `text` is this hash, in a time that tells nothing about where they differ.
    pub fn matches(&self, text: &str) -> bool {
        Self::parse(text).is_some_and(|other| self.as_bytes().ct_eq(other.as_bytes()).into())
    }
}

impl PartialEq for HexHash {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for HexHash {}

impl fmt::Debug for HexHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HexHash(***)")
    }
}

impl HashFunction {
    /// Hashes `parts` with a colon between them, as every value of digest is built.
    pub(super) fn joined(self, parts: &[&[u8]]) -> HexHash {
        fn run<D: Digest>(parts: &[&[u8]]) -> Output<D> {
            let mut hasher = D::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    hasher.update(b":");
                }
                hasher.update(part);
            }
            hasher.finalize()
        }
        match self {
            Self::Md5 => HexHash::from_bytes(&run::<Md5>(parts)),
            Self::Sha256 => HexHash::from_bytes(&run::<Sha256>(parts)),
            Self::Sha512_256 => HexHash::from_bytes(&run::<Sha512_256>(parts)),
        }
    }

    /// `H(username:realm:password)`: what a server keeps instead of the password (RFC 7616 §3.4.2).
    pub fn ha1(self, username: &str, realm: &str, password: &str) -> HexHash {
        self.joined(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
    }
}

/// How far the protection of a response reaches (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection<'a> {
    /// No `qop`: RFC 2069, as RFC 3261 §22.4 still allows. Nothing stops a replay but the nonce's age.
    Legacy,
    /// `qop=auth`.
    Auth {
        /// `nc`, the eight digits as sent.
        count: &'a str,
        /// `cnonce`, unquoted.
        cnonce: &'a str,
    },
    /// `qop=auth-int`: the body is covered too.
    AuthInt {
        /// `nc`, the eight digits as sent.
        count: &'a str,
        /// `cnonce`, unquoted.
        cnonce: &'a str,
        /// The message body; empty if there is none (RFC 3261 §22.4).
        body: &'a [u8],
    },
}

/// Everything a response is computed from besides HA1.
#[derive(Clone, Copy)]
pub struct ResponseInput<'a> {
    /// The algorithm agreed on.
    pub algorithm: Algorithm,
    /// The request's method.
    pub method: &'a str,
    /// The `uri` parameter, as written.
    pub uri: &'a str,
    /// The server's nonce, unquoted.
    pub nonce: &'a str,
    /// What is covered.
    pub protection: Protection<'a>,
}

impl ResponseInput<'_> {
    /// The `response` parameter (RFC 7616 §3.4.1), from the stored hash of name, realm and password.
    ///
    /// A `-sess` algorithm without a cnonce has no defined session key; it is computed as if the cnonce were empty.
    pub fn response(&self, ha1: &HexHash) -> HexHash {
        let hash = self.algorithm.hash;
        let (tail, cnonce): (Option<(&str, &str)>, &str) = match self.protection {
            Protection::Legacy => (None, ""),
            Protection::Auth { count, cnonce } => (Some((count, "auth")), cnonce),
            Protection::AuthInt { count, cnonce, .. } => (Some((count, "auth-int")), cnonce),
        };
        let nonce = self.nonce.as_bytes();
        let ha1 = match self.algorithm.session {
            true => hash.joined(&[ha1.as_bytes(), nonce, cnonce.as_bytes()]),
            false => *ha1,
        };
        let ha2 = match self.protection {
            Protection::AuthInt { body, .. } => {
                let body = hash.joined(&[body]);
                hash.joined(&[self.method.as_bytes(), self.uri.as_bytes(), body.as_bytes()])
            }
            _ => hash.joined(&[self.method.as_bytes(), self.uri.as_bytes()]),
        };
        match tail {
            None => hash.joined(&[ha1.as_bytes(), nonce, ha2.as_bytes()]),
            Some((count, qop)) => hash.joined(&[
                ha1.as_bytes(),
                nonce,
                count.as_bytes(),
                cnonce.as_bytes(),
                qop.as_bytes(),
                ha2.as_bytes(),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1: the same request under MD5 and SHA-256.
    #[test]
    fn responses_of_rfc_7616_section_3_9_1() {
        for (algorithm, expected) in [
            (Algorithm::MD5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = algorithm.hash.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
            let input = ResponseInput {
                algorithm,
                method: "GET",
                uri: "/dir/index.html",
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                protection: Protection::Auth {
                    count: "00000001",
                    cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                },
            };
            assert_eq!(input.response(&ha1).as_str(), expected, "{algorithm}");
        }
    }

    /// RFC 7616 §3.9.2 with the corrected user hash and response of its erratum 4897.
    #[test]
    fn response_of_rfc_7616_section_3_9_2() {
        let hash = HashFunction::Sha512_256;
        let (name, realm) = ("J\u{e4}s\u{f8}n Doe", "api@example.org");
        let userhash = hash.joined(&[name.as_bytes(), realm.as_bytes()]);
        assert_eq!(userhash.as_str(), "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
        let input = ResponseInput {
            algorithm: Algorithm::SHA_512_256,
            method: "GET",
            uri: "/doe.json",
            nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            protection: Protection::Auth {
                count: "00000001",
                cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            },
        };
        let response = input.response(&hash.ha1(name, realm, "Secret, or not?"));
        assert_eq!(response.as_str(), "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
    }

    /// RFC 2617 §3.5, and the same without qop.
    #[test]
    fn the_older_example_of_rfc_2617_still_holds() {
        let ha1 = HashFunction::Md5.ha1("Mufasa", "testrealm@host.com", "Circle Of Life");
        let auth = ResponseInput {
            algorithm: Algorithm::MD5,
            method: "GET",
            uri: "/dir/index.html",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            protection: Protection::Auth { count: "00000001", cnonce: "0a4f113b" },
        };
        assert_eq!(auth.response(&ha1).as_str(), "6629fae49393a05397450978507c4ef1");
        let legacy = ResponseInput { protection: Protection::Legacy, ..auth };
        assert_eq!(legacy.response(&ha1).as_str(), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn a_hash_matches_itself_in_either_case_and_nothing_shorter() {
        let hash = HashFunction::Md5.ha1("a", "b", "c");
        assert!(hash.matches(hash.as_str()) && hash.matches(&hash.as_str().to_uppercase()));
        assert!(!hash.matches("") && !hash.matches(&hash.as_str()[1..]) && !hash.matches("zz"));
        assert_eq!(format!("{hash:?}"), "HexHash(***)");
    }

    #[test]
    fn every_algorithm_is_found_by_its_name() {
        for (name, algorithm) in Algorithm::NAMES {
            assert_eq!(Algorithm::parse(&name.to_lowercase()), Some(algorithm));
            assert_eq!(algorithm.name(), name);
        }
        assert_eq!(Algorithm::parse("SHA-1"), None);
    }
}
