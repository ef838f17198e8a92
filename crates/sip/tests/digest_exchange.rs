//! Digest authentication from challenge to verdict, and what must not get through.

use std::time::Duration;

use bytes::BytesMut;
use offhook_base::{Random, UtcMillis};
use offhook_sip::{
    digest::{
        Challenger, DigestServer, DigestSession, HashFunction, NONCE_LIFETIME_DEFAULT, NonceCounts,
        NonceIssuer, Verdict,
    },
    header::{Credentials, DigestCredentials, Headers},
    message::{Message, Method, StatusCode},
    write::MessageWriter,
};

const NOW: UtcMillis = UtcMillis(1_795_363_836_000);
const URI: &str = "sip:example.org";
const ALL: [HashFunction; 3] = [HashFunction::Md5, HashFunction::Sha512_256, HashFunction::Sha256];

struct World {
    random: Random,
    server: DigestServer,
}

impl World {
    fn new(offered: &[HashFunction]) -> Self {
        let mut random = Random::from_number(1);
        let issuer = NonceIssuer::new(&mut random, NONCE_LIFETIME_DEFAULT);
        let server = DigestServer::new(issuer, NonceCounts::new(100), offered);
        Self { random, server }
    }

    fn challenge(&mut self, stale: bool) -> Headers {
        let mut buffer = BytesMut::new();
        let mut writer = MessageWriter::response(&mut buffer, StatusCode::UNAUTHORIZED, None);
        for (name, value) in [
            ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"),
            ("From", "<sip:a@b>;tag=1"),
            ("To", "<sip:a@b>;tag=2"),
            ("Call-ID", "c"),
            ("CSeq", "1 REGISTER"),
        ] {
            writer.header_text(name, value);
        }
        self.server.challenge(
            &mut writer,
            Challenger::UserAgent,
            "example.org",
            stale,
            &mut self.random,
            NOW,
        );
        Message::parse(writer.finish()).unwrap().headers().clone()
    }

    fn session(&mut self, password: &str) -> DigestSession {
        let headers = self.challenge(false);
        session(&headers, password).unwrap()
    }

    fn judge(&mut self, value: &str, now: UtcMillis) -> Verdict {
        let parsed = Credentials::parse(value).unwrap();
        let credentials = DigestCredentials::from_credentials(&parsed).unwrap();
        let ha1 =
            self.server.hash_function(&credentials).map(|hash| hash.ha1("anna", "example.org", "right"));
        let nonce = self.server.nonce(&credentials, now);
        self.server.judge(&credentials, nonce, &Method::Register, b"", ha1.as_ref(), now)
    }
}

fn session(headers: &Headers, password: &str) -> Option<DigestSession> {
    DigestSession::answer_to("anna", headers.www_authenticate(), |hash, realm| {
        Some(hash.ha1("anna", realm, password))
    })
}

fn after(secs: u64) -> UtcMillis {
    NOW.saturating_add(Duration::from_secs(secs))
}

/// RFC 8760 §2.1: one challenge per algorithm, the strongest on top, one nonce for all.
#[test]
fn challenges_are_written_strongest_first() {
    let mut world = World::new(&ALL);
    let headers = world.challenge(true);
    let challenges: Vec<_> = headers.www_authenticate().collect();
    let algorithms: Vec<_> =
        challenges.iter().map(|challenge| challenge.algorithm.as_deref().unwrap()).collect();
    assert_eq!(algorithms, ["SHA-512-256", "SHA-256", "MD5"]);
    assert!(challenges.iter().all(|challenge| challenge.stale && challenge.nonce == challenges[0].nonce));
    assert!(challenges.iter().all(|challenge| challenge.qop.as_deref() == Some("auth")));
}

#[test]
fn the_right_password_is_accepted_with_every_algorithm_and_a_wrong_one_with_none() {
    for hash in ALL {
        let mut world = World::new(&[hash]);
        let right =
            world.session("right").authorize(&Method::Register, URI, b"", &mut Random::from_number(2));
        let wrong =
            world.session("wrong").authorize(&Method::Register, URI, b"", &mut Random::from_number(3));
        assert_eq!(world.judge(&right, NOW), Verdict::Accepted, "{hash:?}");
        assert_eq!(world.judge(&wrong, NOW), Verdict::Wrong, "{hash:?}");
    }
}

#[test]
fn a_client_picks_the_strongest_it_can_answer() {
    let mut world = World::new(&ALL);
    let headers = world.challenge(false);
    assert_eq!(session(&headers, "right").unwrap().algorithm().hash, HashFunction::Sha512_256);
    let only_md5 = DigestSession::answer_to("anna", headers.www_authenticate(), |hash, realm| {
        (hash == HashFunction::Md5).then(|| hash.ha1("anna", realm, "right"))
    });
    assert_eq!(only_md5.unwrap().algorithm().hash, HashFunction::Md5);
    assert!(DigestSession::answer_to("anna", headers.www_authenticate(), |_, _| None).is_none());
}

#[test]
fn a_nonce_serves_many_requests_and_each_count_only_once() {
    let mut world = World::new(&[HashFunction::Sha256]);
    let mut session = world.session("right");
    let mut random = Random::from_number(4);
    let values: Vec<_> =
        (0..3).map(|_| session.authorize(&Method::Register, URI, b"", &mut random)).collect();
    assert!(values[2].contains("nc=00000003"));
    for value in &values {
        assert_eq!(world.judge(value, NOW), Verdict::Accepted);
    }
    assert_eq!(world.judge(&values[0], NOW), Verdict::Stale, "a replay");
    assert_eq!(world.judge(&values[2], NOW), Verdict::Stale, "a replay");
}

#[test]
fn an_old_or_foreign_nonce_is_stale_only_with_the_right_password() {
    let mut world = World::new(&[HashFunction::Md5]);
    let mut random = Random::from_number(5);
    let right = world.session("right").authorize(&Method::Register, URI, b"", &mut random);
    let wrong = world.session("wrong").authorize(&Method::Register, URI, b"", &mut random);
    assert_eq!(world.judge(&right, after(300)), Verdict::Stale);
    assert_eq!(world.judge(&wrong, after(300)), Verdict::Wrong);
    // Another server's key: the same after a restart.
    let mut restarted = World::new(&[HashFunction::Md5]);
    restarted.server = DigestServer::new(
        NonceIssuer::with_key(&[9; 32], NONCE_LIFETIME_DEFAULT),
        NonceCounts::new(100),
        &[HashFunction::Md5],
    );
    assert_eq!(restarted.judge(&right, NOW), Verdict::Stale);
    assert_eq!(restarted.judge(&wrong, NOW), Verdict::Wrong);
}

#[test]
fn strangers_do_not_fill_the_table_of_counts_and_nobody_is_like_a_wrong_password() {
    let mut world = World::new(&[HashFunction::Sha256]);
    let value = world.session("right").authorize(&Method::Register, URI, b"", &mut Random::from_number(6));
    let parsed = Credentials::parse(&value).unwrap();
    let credentials = DigestCredentials::from_credentials(&parsed).unwrap();
    let nonce = world.server.nonce(&credentials, NOW);
    assert_eq!(world.server.judge(&credentials, nonce, &Method::Register, b"", None, NOW), Verdict::Wrong);
    // The failed attempt has not used the count up.
    assert_eq!(world.judge(&value, NOW), Verdict::Accepted);
}

#[test]
fn what_was_not_offered_or_lacks_a_part_is_unusable() {
    let mut world = World::new(&[HashFunction::Sha256]);
    let value = world.session("right").authorize(&Method::Register, URI, b"", &mut Random::from_number(7));
    for (from, to) in [
        ("algorithm=SHA-256", "algorithm=MD5"),
        ("algorithm=SHA-256", "algorithm=ROT13"),
        ("qop=auth", "qop=auth-conf"),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=0000000g"),
        (", nc=00000001", ""),
        (", qop=auth, nc=00000001", ""),
    ] {
        let changed = value.replace(from, to);
        assert_ne!(changed, value);
        assert_eq!(world.judge(&changed, NOW), Verdict::Unusable, "{to}");
    }
    for (from, to) in [("nc=00000001", "nc=00000002"), ("uri=\"sip:example.org\"", "uri=\"sip:else.org\"")] {
        assert_eq!(world.judge(&value.replace(from, to), NOW), Verdict::Wrong, "{to}");
    }
}

#[test]
fn a_method_other_than_the_hashed_one_is_wrong() {
    let mut world = World::new(&[HashFunction::Md5]);
    let value = world.session("right").authorize(&Method::Invite, URI, b"", &mut Random::from_number(8));
    assert_eq!(world.judge(&value, NOW), Verdict::Wrong);
}

/// Challenges of other servers: without qop and algorithm (RFC 2069), with `auth-int` only, with `-sess` and opaque.
#[test]
fn a_client_answers_what_other_servers_ask() {
    let headers = |challenge: &str| {
        let text = format!(
            "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\n\
             CSeq: 1 REGISTER\r\nWWW-Authenticate: {challenge}\r\n\r\n"
        );
        Message::parse(text.into()).unwrap().headers().clone()
    };
    let answer = |challenge: &str| {
        let headers = headers(challenge);
        session(&headers, "right")
            .map(|mut it| it.authorize(&Method::Register, URI, b"body", &mut Random::from_number(9)))
    };
    let legacy = answer("Digest realm=\"example.org\", nonce=\"n\"").unwrap();
    assert!(
        !legacy.contains("qop") && !legacy.contains("algorithm") && !legacy.contains("cnonce"),
        "{legacy}"
    );
    let mut world = World::new(&[HashFunction::Md5]);
    assert_eq!(world.judge(&legacy, NOW), Verdict::Unusable);
    world.server.allow_legacy = true;
    assert_eq!(world.judge(&legacy, NOW), Verdict::Stale, "the nonce is not ours, the password is right");

    let whole = answer("Digest realm=\"example.org\", nonce=\"n\", qop=\"auth-int\", algorithm=MD5").unwrap();
    assert!(whole.contains("qop=auth-int"));
    let session = answer(
        "Digest realm=\"example.org\", nonce=\"n\", qop=\"auth,auth-int\", algorithm=SHA-256-sess, opaque=\"o\\\"p\"",
    );
    let session = session.unwrap();
    assert!(session.contains("qop=auth,") && session.contains("opaque=\"o\\\"p\""), "{session}");
    assert!(session.contains("algorithm=SHA-256-sess"));
    assert!(answer("Digest realm=\"example.org\", nonce=\"n\", qop=\"auth-conf\"").is_none());
    assert!(answer("Digest realm=\"example.org\", nonce=\"n\", algorithm=SHA-1").is_none());
    assert!(answer("Basic realm=\"example.org\"").is_none());
}
