//! RFC 5627: addresses of one device.

use offhook_sip::{message::Response, uri::Uri};

use crate::stage::{ANNA, Stage};

const LINES: &str = "Supported: gruu\n\
    Contact: <sip:101@192.0.2.10>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
const PUBLIC: &str = "sip:101@example.org;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

/// The public and the temporary GRUU of the only contact.
fn gruus(answer: &Response) -> (Option<String>, Option<String>) {
    let contacts = answer.headers().contacts().expect("a list");
    let contacts = contacts.as_slice();
    assert_eq!(contacts.len(), 1);
    (contacts[0].pub_gruu().map(Into::into), contacts[0].temp_gruu().map(Into::into))
}

/// The contacts a temporary GRUU leads to.
fn temporary(stage: &Stage, gruu: &str) -> Option<Vec<String>> {
    let uri = Uri::parse(gruu).unwrap();
    assert_eq!((uri.param("gr"), uri.host), (Some(None), "example.org"));
    let (line, targets) = stage.registrar.temporary_gruu(uri.user.unwrap(), stage.now.instant)?;
    assert_eq!(line, ANNA);
    Some(targets.into_iter().map(|target| target.request_uri.into()).collect())
}

#[test]
fn a_device_that_asks_gets_both_kinds_and_one_that_does_not_gets_none() {
    let mut stage = Stage::new();
    let (public, temporary) = gruus(&stage.register(1, LINES));
    assert_eq!(public.as_deref(), Some(PUBLIC));
    let temporary = temporary.unwrap();
    assert!(temporary.starts_with("sip:tgruu.") && !temporary.contains("101") && !temporary.contains("f81d"));
    assert_eq!(gruus(&stage.register(2, &LINES.replace("Supported: gruu\n", ""))), (None, None));
    let without_instance = stage.register_as("102", "b", 1, "Supported: gruu\nContact: <sip:b@192.0.2.1>");
    assert_eq!(gruus(&without_instance), (None, None));
}

#[test]
fn the_public_one_leads_to_its_device_only() {
    let mut stage = Stage::new();
    stage.register(1, LINES);
    stage.register_as("101", "b", 1, "Contact: <sip:other@192.0.2.11>;+sip.instance=\"<urn:uuid:another>\"");
    let uri = Uri::parse(PUBLIC).unwrap();
    let gr = uri.param("gr").flatten().unwrap();
    let targets = stage.registrar.public_gruu(ANNA, gr, stage.now.instant);
    assert_eq!(targets.len(), 1);
    assert_eq!(&*targets[0].request_uri, "sip:101@192.0.2.10");
    assert!(stage.registrar.public_gruu(ANNA, "urn:uuid:unknown", stage.now.instant).is_empty());
}

#[test]
fn every_refresh_makes_another_temporary_one_and_all_lead_to_the_device() {
    let mut stage = Stage::new();
    let first = gruus(&stage.register(1, LINES)).1.unwrap();
    let second = gruus(&stage.register(2, LINES)).1.unwrap();
    assert_ne!(first, second);
    for gruu in [&first, &second] {
        assert_eq!(temporary(&stage, gruu).unwrap(), ["sip:101@192.0.2.10"]);
    }
}

#[test]
fn temporary_ones_die_with_the_call_id_and_with_the_registration() {
    let mut stage = Stage::new();
    let first = gruus(&stage.register(1, LINES)).1.unwrap();
    let second = gruus(&stage.register_as("101", "after-restart", 1, LINES)).1.unwrap();
    assert_eq!(temporary(&stage, &first), None);
    assert!(temporary(&stage, &second).is_some());
    stage.pass(3600);
    assert_eq!(temporary(&stage, &second), None);
}

#[test]
fn a_forged_or_broken_temporary_one_leads_nowhere() {
    let mut stage = Stage::new();
    let gruu = gruus(&stage.register(1, LINES)).1.unwrap();
    let user = Uri::parse(&gruu).unwrap().user.unwrap().to_owned();
    let now = stage.now.instant;
    for at in "tgruu.".len()..user.len() {
        let mut forged = user.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(stage.registrar.temporary_gruu(&forged, now).is_none(), "letter {at}");
    }
    for broken in ["", "tgruu.", "tgruu.AAAA", "tgruu.ü", &user[..user.len() - 1], &format!("{user}A")] {
        assert!(stage.registrar.temporary_gruu(broken, now).is_none());
    }
}

#[test]
fn an_instance_that_is_no_token_is_escaped_and_found_again() {
    let mut stage = Stage::new();
    let lines = LINES.replace("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "urn:x:a=b;c?d%");
    let public = gruus(&stage.register(1, &lines)).0.unwrap();
    assert_eq!(public, "sip:101@example.org;gr=urn:x:a%3Db%3Bc%3Fd%25");
    let targets = stage.registrar.public_gruu(ANNA, "urn:x:a%3Db%3Bc%3Fd%25", stage.now.instant);
    assert_eq!(targets.len(), 1);
}
