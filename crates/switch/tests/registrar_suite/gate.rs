//! Who gets in: challenges, proofs, and what the outside can tell from the answers.

use offhook_edge::EdgeLimits;
use offhook_sip::{
    digest::Algorithm,
    header::HeaderName,
    message::{Request, Response},
};
use offhook_switch::{
    directory::{Directory, Tenant},
    fact::Refusal,
    gate::Denied,
};

use crate::stage::{ANNA, Answer, Stage, line, register_text, request, response, udp, with_credentials};

fn register() -> String {
    register_text("101", "call-1", 1, "Contact: <sip:101@192.0.2.10>")
}

fn invite(from: &str, uri: &str) -> String {
    format!(
        "INVITE {uri} SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKi\n\
         Max-Forwards: 70\n\
         From: <{from}>;tag=f1\n\
         To: <{uri}>\n\
         Call-ID: call-i\n\
         CSeq: 1 INVITE\n\
         Contact: <sip:101@192.0.2.10>\n\
         Content-Length: 0\n\n"
    )
}

fn denied(stage: &mut Stage, text: &str) -> Denied {
    stage.knock(&request(text)).expect_err("not let in")
}

/// A nonce from a fresh challenge.
fn nonce(stage: &mut Stage) -> String {
    let answer = response(denied(stage, &register()).response);
    answer.headers().www_authenticate().next().unwrap().nonce.into_owned()
}

/// Status, refusal and whether the challenge is stale.
fn outcome(stage: &mut Stage, text: &str) -> (u16, Option<Refusal>, bool) {
    match stage.knock(&request(text)) {
        Ok(who) => {
            assert_eq!(who.line().id, ANNA);
            (200, None, false)
        }
        Err(Denied { response: bytes, status, refusal, .. }) => {
            let answer = response(bytes);
            assert_eq!(answer.status(), status);
            let headers = answer.headers();
            let stale = headers.www_authenticate().chain(headers.proxy_authenticate()).any(|one| one.stale);
            (status.as_u16(), refusal, stale)
        }
    }
}

const IN: (u16, Option<Refusal>, bool) = (200, None, false);
const STALE: (u16, Option<Refusal>, bool) = (401, None, true);
const WRONG: (u16, Option<Refusal>, bool) = (401, Some(Refusal::Unauthenticated), false);

#[test]
fn a_challenge_offers_sha_256_first_then_md5_in_the_tenants_realm() {
    let mut stage = Stage::new();
    for (text, status, header) in [
        (register(), 401, HeaderName::WwwAuthenticate),
        (invite("sip:101@example.org", "sip:102@example.org"), 407, HeaderName::ProxyAuthenticate),
    ] {
        let denied = denied(&mut stage, &text);
        assert_eq!((denied.status.as_u16(), denied.refusal), (status, None));
        let answer = response(denied.response);
        let lines: Vec<&str> = answer.headers().all(&header).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("algorithm=SHA-256") && lines[1].contains("algorithm=MD5"));
        assert!(
            lines.iter().all(|line| line.contains("realm=\"example.org\"") && line.contains("qop=\"auth\""))
        );
    }
}

#[test]
fn the_right_password_opens_with_every_algorithm_we_keep_a_hash_for() {
    let mut stage = Stage::new();
    for name in ["SHA-256", "MD5", "SHA-256-sess", "MD5-sess"] {
        let nonce = nonce(&mut stage);
        let algorithm = Algorithm::parse(name).unwrap();
        let text = with_credentials(&register(), &Answer { nonce: &nonce, algorithm, ..Answer::default() });
        assert_eq!(outcome(&mut stage, &text), IN, "{name}");
    }
    let nonce = nonce(&mut stage);
    let unknown = Answer { nonce: &nonce, algorithm: Algorithm::SHA_512_256, ..Answer::default() };
    assert_eq!(outcome(&mut stage, &with_credentials(&register(), &unknown)), WRONG);
}

#[test]
fn an_answer_to_the_challenge_as_received_opens() {
    let mut stage = Stage::new();
    for index in [0, 1] {
        let answer = response(denied(&mut stage, &register()).response);
        let challenge = answer.headers().www_authenticate().nth(index).unwrap();
        let text = with_credentials(&register(), &Answer::to(&challenge));
        assert_eq!(outcome(&mut stage, &text), IN);
    }
}

/// The headers of a response without what changes each time.
fn without_nonce(response: &Response) -> Vec<(String, String)> {
    let nonce =
        response.headers().www_authenticate().next().map(|one| one.nonce.into_owned()).unwrap_or_default();
    let lines = response.headers().iter();
    lines.map(|(name, value)| (name.to_owned(), value.replace(&nonce, "NONCE"))).collect()
}

#[test]
fn unknown_line_disabled_line_and_wrong_password_look_alike() {
    let mut stage = Stage::new();
    let mut answers = Vec::new();
    for (name, password) in [("101", "wrong"), ("103", crate::stage::PASSWORD), ("199", "guess")] {
        let nonce = nonce(&mut stage);
        let answer = Answer { name, password, nonce: &nonce, ..Answer::default() };
        let denied = denied(&mut stage, &with_credentials(&register(), &answer));
        assert_eq!((denied.status.as_u16(), denied.refusal), (401, Some(Refusal::Unauthenticated)));
        answers.push(without_nonce(&response(denied.response)));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(stage.edge.counters().authentication_failures, 3);
}

#[test]
fn a_nonce_serves_for_its_lifetime_with_rising_counts_only() {
    let mut stage = Stage::new();
    let nonce = nonce(&mut stage);
    let with = |count| with_credentials(&register(), &Answer { nonce: &nonce, count, ..Answer::default() });
    let uses: Vec<_> = [1, 1, 2, 5, 3].map(|count| outcome(&mut stage, &with(count))).into();
    assert_eq!(uses, [IN, STALE, IN, IN, STALE]);
    stage.pass(299);
    assert_eq!(outcome(&mut stage, &with(6)), IN);
    stage.pass(1);
    assert_eq!(outcome(&mut stage, &with(7)), STALE);
    assert_eq!(stage.edge.counters().authentication_failures, 0);
}

#[test]
fn a_made_up_nonce_tells_nothing_about_the_password() {
    let mut stage = Stage::new();
    for password in [crate::stage::PASSWORD, "wrong"] {
        let answer = Answer { password, nonce: "made-up", ..Answer::default() };
        assert_eq!(outcome(&mut stage, &with_credentials(&register(), &answer)), STALE);
    }
    assert_eq!(stage.edge.counters().authentication_failures, 0);
}

#[test]
fn credentials_without_qop_or_for_another_realm_do_not_open() {
    let mut stage = Stage::new();
    let nonce = nonce(&mut stage);
    let right = with_credentials(&register(), &Answer { nonce: &nonce, ..Answer::default() });
    assert_eq!(outcome(&mut stage, &right.replace(", qop=auth", "")), WRONG);
    assert_eq!(outcome(&mut stage, &right.replace("nc=00000001", "nc=1")), WRONG);
    let elsewhere = Answer { nonce: &nonce, realm: "elsewhere.example", ..Answer::default() };
    let other_realm = with_credentials(&register(), &elsewhere);
    assert_eq!(outcome(&mut stage, &other_realm), (401, None, false), "another server's business");
    let both = right.replacen("Authorization:", "Authorization: Basic abc=\nAuthorization:", 1);
    assert_eq!(outcome(&mut stage, &both), IN);
}

#[test]
fn a_line_registers_only_its_own_address_of_record() {
    let mut stage = Stage::new();
    for to in ["sip:102@example.org", "sip:101@other.example"] {
        let text = register().replace("To: <sip:101@example.org>", &format!("To: <{to}>"));
        let answer = response(denied(&mut stage, &text).response);
        let challenge = answer.headers().www_authenticate().next().unwrap();
        let outcome = outcome(&mut stage, &with_credentials(&text, &Answer::to(&challenge)));
        // In another tenant's domain there is no such line at all.
        let expected = if to.contains("other") { WRONG } else { (403, Some(Refusal::NotPermitted), false) };
        assert_eq!(outcome, expected, "{to}");
    }
}

#[test]
fn a_caller_may_hide_but_not_be_another_line() {
    let mut stage = Stage::new();
    for (from, expected) in [
        ("sip:101@example.org", 200),
        ("sip:%3101@EXAMPLE.org:5060;x", 200),
        ("sip:anonymous@anonymous.invalid", 200),
        ("tel:+4930123456", 200),
        ("sip:102@example.org", 403),
        ("sip:example.org", 403),
    ] {
        let nonce = nonce(&mut stage);
        let uri = "sip:102@example.org";
        let answer = Answer { nonce: &nonce, uri, ..Answer::default() };
        let text = with_credentials(&invite(from, uri), &answer);
        assert_eq!(outcome(&mut stage, &text).0, expected, "{from}");
    }
}

#[test]
fn credentials_taken_from_one_call_place_no_other() {
    let mut stage = Stage::new();
    let with = |nonce: &str, covered: &str, uri: &str| {
        let answer = Answer { nonce, uri: covered, ..Answer::default() };
        with_credentials(&invite("sip:101@example.org", uri), &answer)
    };
    let nonce_1 = nonce(&mut stage);
    let stolen = with(&nonce_1, "sip:102@example.org", "sip:+900123@example.org");
    assert_eq!(outcome(&mut stage, &stolen), (400, Some(Refusal::Malformed), false));
    let by_proxy = with(&nonce_1, "sip:102@example.org;transport=tcp", "sip:102@198.51.100.1");
    assert_eq!(outcome(&mut stage, &by_proxy), IN);
}

#[test]
fn the_domain_decides_the_tenant_and_foreign_ones_are_not_found() {
    let mut stage = Stage::new();
    let at =
        |domain: &str| register().replace("To: <sip:101@example.org>", &format!("To: <sip:101@{domain}>"));
    let realm = |stage: &mut Stage, domain: &str| {
        let answer = response(denied(stage, &at(domain)).response);
        answer.headers().www_authenticate().next().map(|one| one.realm.into_owned())
    };
    assert_eq!(realm(&mut stage, "Example.ORG").as_deref(), Some("example.org"));
    assert_eq!(realm(&mut stage, "other.example").as_deref(), Some("other.example"));
    assert_eq!(realm(&mut stage, "198.51.100.1").as_deref(), Some("example.org"), "our own address");
    assert_eq!(outcome(&mut stage, &at("foreign.example")), (404, Some(Refusal::ForeignDomain), false));
}

#[test]
fn a_realm_that_is_not_its_domain_and_holds_quotes_works() {
    let mut stage = Stage::new();
    let realm = "Anna's \"PBX\"";
    let mut line = line("101", ANNA, true);
    let ha1 = Algorithm::SHA_256.hash.ha1("101", realm, crate::stage::PASSWORD);
    line.password.sha256 = ha1.as_str().as_bytes().try_into().unwrap();
    let tenant = Tenant { name: "default".into(), domains: vec!["example.org".into()], realm: realm.into() };
    stage.directory = Directory::new(vec![tenant], vec![], vec![], vec![line], vec![]);
    let nonce = nonce(&mut stage);
    let text = with_credentials(&register(), &Answer { nonce: &nonce, realm, ..Answer::default() });
    let text = text.replace("realm=\"Anna's \"PBX\"\"", "realm=\"Anna's \\\"PBX\\\"\"");
    assert_eq!(outcome(&mut stage, &text), IN);
}

#[test]
fn guessing_is_penalised_per_source_and_the_right_password_does_not_show_meanwhile() {
    let mut stage = Stage::new();
    let limits = EdgeLimits { failures_burst: 3, ..EdgeLimits::default() };
    stage.edge = offhook_edge::Edge::new(&limits, 7);
    let nonce = nonce(&mut stage);
    let with =
        |password| with_credentials(&register(), &Answer { password, nonce: &nonce, ..Answer::default() });
    for _ in 0..4 {
        assert_eq!(outcome(&mut stage, &with("guess")), WRONG);
    }
    let limited = (503, Some(Refusal::AuthenticationRate), false);
    assert_eq!(outcome(&mut stage, &with("guess")), limited);
    assert_eq!(outcome(&mut stage, &with(crate::stage::PASSWORD)), limited);
    let answer = response(denied(&mut stage, &with("guess")).response);
    assert_eq!(answer.headers().retry_after(), Some(30));
    // Neighbours are not touched, and after the penalty the door opens again.
    let here = std::mem::replace(&mut stage.flow, udp("192.0.2.11:5060"));
    let theirs = crate::gate::nonce(&mut stage);
    let neighbour = Answer { nonce: &theirs, ..Answer::default() };
    assert_eq!(outcome(&mut stage, &with_credentials(&register(), &neighbour)), IN);
    stage.flow = here;
    stage.pass(30);
    let second = Answer { nonce: &nonce, count: 2, ..Answer::default() };
    assert_eq!(outcome(&mut stage, &with_credentials(&register(), &second)), IN);
}

/// Goal: who forges an address neither registers it nor has it punished. Method: a nonce that was fetched elsewhere.
#[test]
fn a_nonce_opens_only_where_it_was_given_and_counts_against_nobody_else() {
    let mut stage = Stage::new();
    let nonce = nonce(&mut stage);
    let with = |password, count| {
        with_credentials(&register(), &Answer { password, nonce: &nonce, count, ..Answer::default() })
    };
    let mine = stage.flow;
    stage.flow = crate::stage::udp("192.0.2.200:5060");
    assert_eq!(outcome(&mut stage, &with(crate::stage::PASSWORD, 1)), STALE);
    for _ in 0..50 {
        assert_eq!(outcome(&mut stage, &with("guess", 1)), STALE);
    }
    assert_eq!(stage.edge.counters().authentication_failures, 0);
    stage.flow = mine;
    assert_eq!(outcome(&mut stage, &with(crate::stage::PASSWORD, 1)), IN);
}

#[test]
fn nothing_of_a_proof_shows_in_debug_output() {
    let mut stage = Stage::new();
    let nonce = nonce(&mut stage);
    let request: Request =
        request(&with_credentials(&register(), &Answer { nonce: &nonce, ..Answer::default() }));
    let Ok(who) = stage.knock(&request) else { panic!("let in") };
    let shown = format!("{who:?}");
    assert!(shown.contains("PasswordHashes(***)"), "{shown}");
}
