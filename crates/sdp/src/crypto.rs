//! SDES: SRTP keys in the description (RFC 4568, RFC 7714 for GCM).

use std::fmt;

use base64::alphabet;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurposeConfig};
use offhook_base::{CryptoSuite, MasterKey, Random};
use thiserror::Error;

/// Phones write keys with and without padding: read both. What we write is padded.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longest attribute value we read, bytes: the longest key, lifetime, MKI and a few parameters fit many times over.
const MAX_VALUE_BYTES: usize = 512;

/// Master key identifier: sent with each packet. RFC 4568 §6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mki {
    /// Its value.
    pub value: u64,
    /// Bytes it takes in each packet, 1 to 128.
    pub bytes: u8,
}

/// One `a=crypto` line we can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Tag that an answer repeats, 0 to 999 999 999.
    pub tag: u32,
    /// The writer's key, with its suite: it protects what the writer sends.
    pub key: MasterKey,
    /// Packets the key may protect; `None` is the suite's default.
    pub lifetime: Option<u64>,
    /// Master key identifier, if packets carry one.
    pub mki: Option<Mki>,
}

/// Why a `crypto` attribute cannot be served. None of these shows the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// Not `tag suite inline:...`.
    #[error("malformed crypto attribute")]
    Malformed,
    /// A suite we do not have.
    #[error("unknown crypto suite")]
    UnknownSuite,
    /// The key is not base64, or not of the suite's length.
    #[error("the key does not fit the suite")]
    BadKey,
    /// More than one key, which needs an MKI and a rekeying plan; no phone known does it.
    #[error("several keys in one crypto attribute")]
    SeveralKeys,
    /// A session parameter that changes the protection and that we do not serve. RFC 4568 §6.3.
    #[error("unsupported session parameter")]
    UnsupportedParameter,
}

impl Crypto {
    /// A fresh key for `suite`.
    pub fn generate(tag: u32, suite: CryptoSuite, random: &mut Random) -> Self {
        Self { tag, key: MasterKey::generate(suite, random), lifetime: None, mki: None }
    }

    /// Reads the value of a `crypto` attribute.
    pub fn parse(value: &str) -> Result<Self, CryptoError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(CryptoError::Malformed);
        }
        let mut tokens = value.split_ascii_whitespace();
        let mut next = || tokens.next().ok_or(CryptoError::Malformed);
        let (tag, suite, keys) = (next()?, next()?, next()?);
        if tag.len() > 9 || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CryptoError::Malformed);
        }
        let tag = tag.parse().map_err(|_| CryptoError::Malformed)?;
        let suite = CryptoSuite::from_name(suite).ok_or(CryptoError::UnknownSuite)?;
        if keys.trim_end_matches(';').contains(';') {
            return Err(CryptoError::SeveralKeys);
        }
        let (key, lifetime, mki) = parse_inline(suite, keys.trim_end_matches(';'))?;
        // WSH only hints at a replay window; a leading `-` marks what may be ignored (RFC 4568 §6.3.7).
        if tokens.any(|parameter| !parameter.starts_with("WSH=") && !parameter.starts_with('-')) {
            return Err(CryptoError::UnsupportedParameter);
        }
        Ok(Self { tag, key, lifetime, mki })
    }

    /// Writes the value: `1 AES_CM_128_HMAC_SHA1_80 inline:...`. Secret: write it to the wire only.
    pub fn write_value(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let key = BASE64.encode(self.key.key_and_salt());
        write!(out, "{} {} inline:{key}", self.tag, self.key.suite().name())?;
        match self.lifetime {
            Some(packets) if packets.is_power_of_two() => write!(out, "|2^{}", packets.trailing_zeros())?,
            Some(packets) => write!(out, "|{packets}")?,
            None => {}
        }
        match self.mki {
            Some(mki) => write!(out, "|{}:{}", mki.value, mki.bytes),
            None => Ok(()),
        }
    }
}

/// `inline:<key||salt>[|lifetime][|MKI:length]`.
fn parse_inline(
    suite: CryptoSuite,
    text: &str,
) -> Result<(MasterKey, Option<u64>, Option<Mki>), CryptoError> {
    let (method, info) = text.split_once(':').ok_or(CryptoError::Malformed)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(CryptoError::Malformed);
    }
    let mut parts = info.split('|');
    let decoded = BASE64.decode(parts.next().unwrap_or_default()).map_err(|_| CryptoError::BadKey)?;
    let key = MasterKey::new(suite, &decoded).map_err(|_| CryptoError::BadKey)?;
    let (mut lifetime, mut mki) = (None, None);
    for part in parts {
        if mki.is_some() {
            return Err(CryptoError::Malformed); // the MKI comes last
        } else if let Some((value, bytes)) = part.split_once(':') {
            let value = value.parse().map_err(|_| CryptoError::Malformed)?;
            let bytes = bytes.parse().ok().filter(|bytes| (1..=128).contains(bytes));
            mki = Some(Mki { value, bytes: bytes.ok_or(CryptoError::Malformed)? });
        } else if lifetime.is_none() {
            lifetime = Some(parse_lifetime(part).ok_or(CryptoError::Malformed)?);
        } else {
            return Err(CryptoError::Malformed);
        }
    }
    Ok((key, lifetime, mki))
}

fn parse_lifetime(text: &str) -> Option<u64> {
    match text.strip_prefix("2^") {
        Some(exponent) => 1u64.checked_shl(exponent.parse().ok()?),
        None => text.parse().ok().filter(|packets| *packets > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 4568 §9.1.
    const RFC_EXAMPLE: &str = "1 AES_CM_128_HMAC_SHA1_80 \
        inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4";

    fn written(crypto: &Crypto) -> String {
        let mut text = String::new();
        crypto.write_value(&mut text).unwrap();
        text
    }

    #[test]
    fn the_example_of_rfc_4568_reads_and_writes_back() {
        let crypto = Crypto::parse(RFC_EXAMPLE).unwrap();
        assert_eq!((crypto.tag, crypto.key.suite()), (1, CryptoSuite::AesCm128HmacSha1_80));
        assert_eq!((crypto.lifetime, crypto.mki), (Some(1 << 20), Some(Mki { value: 1, bytes: 4 })));
        assert_eq!((crypto.key.key().len(), crypto.key.salt().len()), (16, 14));
        assert_eq!(written(&crypto), RFC_EXAMPLE);
    }

    #[test]
    fn every_suite_survives_a_round_trip() {
        let mut random = Random::from_number(5);
        for suite in CryptoSuite::ALL {
            let crypto = Crypto::generate(7, suite, &mut random);
            assert_eq!(Crypto::parse(&written(&crypto)), Ok(crypto));
        }
    }

    #[test]
    fn keys_are_read_without_padding_too() {
        let crypto = Crypto::generate(1, CryptoSuite::AeadAes128Gcm, &mut Random::from_number(5));
        let text = written(&crypto);
        assert!(text.ends_with('='));
        assert_eq!(Crypto::parse(text.trim_end_matches('=')), Ok(crypto));
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let key = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        let suite = "AES_CM_128_HMAC_SHA1_80";
        for (value, error) in [
            (String::new(), CryptoError::Malformed),
            (format!("x {suite} {key}"), CryptoError::Malformed),
            (format!("1234567890 {suite} {key}"), CryptoError::Malformed),
            (format!("1 F8_128_HMAC_SHA1_80 {key}"), CryptoError::UnknownSuite),
            (format!("1 AEAD_AES_256_GCM {key}"), CryptoError::BadKey),
            (format!("1 {suite} inline:!!!!"), CryptoError::BadKey),
            (format!("1 {suite} {key}|2^64"), CryptoError::Malformed),
            (format!("1 {suite} {key}|1:0"), CryptoError::Malformed),
            (format!("1 {suite} {key}|1:4|2^20"), CryptoError::Malformed),
            (format!("1 {suite} {key};{key}"), CryptoError::SeveralKeys),
            (format!("1 {suite} {key} UNENCRYPTED_SRTP"), CryptoError::UnsupportedParameter),
        ] {
            assert_eq!(Crypto::parse(&value), Err(error), "{value}");
        }
        assert!(Crypto::parse(&format!("1 {suite} {key} WSH=64 -X")).is_ok());
    }

    #[test]
    fn keys_do_not_print() {
        let shown = format!("{:?}", Crypto::parse(RFC_EXAMPLE).unwrap());
        assert!(shown.contains("***") && !shown.contains("WVNf"), "{shown}");
    }
}
