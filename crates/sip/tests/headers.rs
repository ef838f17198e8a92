//! Typed headers: what each accessor reads.

use bytes::Bytes;
use offhook_sip::{
    header::{HeaderError, HeaderName, Headers, Refresher},
    message::Message,
};

/// The headers of a request that has these lines.
fn headers(lines: &str) -> Headers {
    let text = format!("OPTIONS sip:a@b SIP/2.0\n{lines}\n\n").replace('\n', "\r\n");
    Message::parse(Bytes::from(text)).expect("parses").headers().clone()
}

#[test]
fn compact_and_long_names_are_one_header() {
    let headers = headers("m: <sip:a@b>\nCONTACT : <sip:c@d>, <sip:e@f>\nx: 90\nX-Y: 1\nx-y: 2");
    let contacts: Vec<_> = headers.values(&HeaderName::Contact).collect();
    assert_eq!(contacts, ["<sip:a@b>", "<sip:c@d>", "<sip:e@f>"]);
    assert_eq!(headers.all(&HeaderName::Contact).count(), 2);
    assert_eq!(
        (headers.get("session-expires"), headers.get("X"), headers.get("X-Y")),
        (Some("90"), Some("90"), Some("1"))
    );
    let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["m", "CONTACT", "x", "X-Y", "x-y"]);
    assert_eq!((headers.get("absent"), headers.first(&HeaderName::Via)), (None, None));
    assert_eq!(headers.via().unwrap_err(), HeaderError::Missing(HeaderName::Via));
}

#[test]
fn contacts_carry_flow_gruu_and_push_parameters() {
    let headers = headers(
        "Contact: <sip:a@192.0.2.1;ob;pn-provider=apns;pn-param=T.app;pn-prid=00fc>;q=0.5;expires=60;reg-id=2;\
         +sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";pub-gruu=\"sip:a@b;gr=x\";temp-gruu=\"sip:t@b;gr\"\n\
         Contact: sip:b@c;expires=x;reg-id=0;q=7",
    );
    let contacts = headers.contacts().unwrap();
    let contacts = contacts.as_slice();
    let [one, two] = contacts[..] else { panic!() };
    assert_eq!(
        (one.q(), one.expires(), one.reg_id(), one.is_outbound()),
        (Some(500), Some(60), Some(2), true)
    );
    assert_eq!(one.instance().unwrap(), "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    assert_eq!(
        (one.pub_gruu().unwrap().as_ref(), one.temp_gruu().unwrap().as_ref()),
        ("sip:a@b;gr=x", "sip:t@b;gr")
    );
    let push = one.push().unwrap();
    assert_eq!(
        (push.provider, push.param, push.prid, push.purr),
        (Some("apns"), Some("T.app"), Some("00fc"), None)
    );
    assert_eq!((two.q(), two.expires(), two.reg_id(), two.is_outbound()), (None, Some(3600), None, false));
    assert!(two.push().is_none() && !format!("{one:?} {push:?}").contains("00fc"));
}

#[test]
fn session_timer_headers_are_read() {
    let headers =
        headers("x: 1800 ;refresher=UAS\nMin-SE: 90;x=y\nRSeq: 7\nRAck: 7 1\n INVITE\nExpires: 99999999999");
    let session = headers.session_expires().unwrap().unwrap();
    assert_eq!(
        (session.seconds, session.refresher, session.to_string().as_str()),
        (1800, Some(Refresher::Uas), "1800;refresher=uas")
    );
    assert_eq!((headers.min_se(), headers.rseq(), headers.expires()), (Some(90), Some(7), Some(u32::MAX)));
    let rack = headers.rack().unwrap().unwrap();
    assert_eq!((rack.rseq, rack.cseq.number, rack.cseq.method), (7, 1, "INVITE"));
}

#[test]
fn dialogs_are_named_by_their_own_side() {
    let headers = headers(
        "Replaces: a@b;from-tag=f;to-tag=t;early-only\nTarget-Dialog: c;local-tag=l;remote-tag=r\nJoin: d;to-tag=t",
    );
    let replaces = headers.replaces().unwrap().unwrap();
    assert_eq!(
        (replaces.call_id, replaces.local_tag, replaces.remote_tag, replaces.early_only),
        ("a@b", "t", "f", true)
    );
    let target = headers.target_dialog().unwrap().unwrap();
    assert_eq!((target.call_id, target.local_tag, target.remote_tag), ("c", "l", "r"));
    assert_eq!(headers.join().unwrap_err(), HeaderError::Malformed(HeaderName::Join));
}

#[test]
fn reasons_warnings_and_waits_are_read() {
    let headers = headers(
        "Reason: SIP;cause=200;text=\"Call completed, elsewhere\", Q.850;cause=16\n\
         Warning: 399 pbx.example.com \"say \\\"hi\\\", please\", 370 x \"b\", 12 x \"c\"\n\
         Retry-After: 18000 (in a meeting);duration=3600\nP-Early-Media: sendrecv, gated\nPrivacy: id;header",
    );
    let reasons: Vec<_> = headers.reason().map(|reason| (reason.protocol, reason.cause())).collect();
    assert_eq!(reasons, [("SIP", Some(200)), ("Q.850", Some(16))]);
    assert_eq!(headers.reason().next().unwrap().text().unwrap(), "Call completed, elsewhere");
    let warnings: Vec<_> =
        headers.warnings().map(|warning| (warning.code, warning.agent, warning.text.into_owned())).collect();
    assert_eq!(
        warnings,
        [(399, "pbx.example.com", "say \"hi\", please".to_owned()), (370, "x", "b".to_owned())]
    );
    assert_eq!((headers.retry_after(), headers.p_early_media().count()), (Some(18_000), 2));
    assert_eq!(headers.privacy().collect::<Vec<_>>(), ["id", "header"]);
}

#[test]
fn identities_and_histories_are_lists_of_addresses() {
    let headers = headers(
        "P-Asserted-Identity: \"A, B\" <sip:a@b>, <tel:+14085264000>\n\
         History-Info: <sip:b@x?Reason=SIP%3Bcause%3D302>;index=1, <sip:c@x>;index=1.1;mp=1\n\
         Diversion: <sip:d@x>;reason=no-answer;counter=2\nPath: <sip:p;lr>\nService-Route: <sip:s;lr>",
    );
    let identities: Vec<_> = headers.p_asserted_identity().map(|address| address.unwrap().uri).collect();
    assert_eq!(identities, ["sip:a@b", "tel:+14085264000"]);
    let history: Vec<_> = headers
        .history()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.index(), entry.mapped_from()))
        .collect();
    assert_eq!(history, [(Some("1"), None), (Some("1.1"), Some(("mp", "1")))]);
    let diversion = headers.diversions().next().unwrap().unwrap();
    assert_eq!(
        (diversion.params.value("reason"), diversion.params.value("counter")),
        (Some("no-answer"), Some("2"))
    );
    assert_eq!(
        (headers.paths().count(), headers.service_routes().count(), headers.routes().count()),
        (1, 1, 0)
    );
}

#[test]
fn option_tags_methods_and_media_ranges_are_read() {
    let headers = headers(
        "k: timer, 100rel\nRequire: gruu\nAllow: INVITE,ACK ,, BYE\nAccept: application/*;q=0.3, text/plain\no: presence.winfo;id=7",
    );
    assert!(headers.supports("100REL") && headers.supports("gruu") && !headers.supports("path"));
    assert_eq!(headers.allow().collect::<Vec<_>>(), ["INVITE", "ACK", "BYE"]);
    let ranges: Vec<_> = headers.accept().unwrap().collect();
    let sdp = offhook_sip::header::MediaType::parse("application / SDP ; x=y").unwrap();
    assert!(sdp.is("Application/sdp") && ranges[0].covers(&sdp) && !ranges[1].covers(&sdp));
    let event = headers.event().unwrap().unwrap();
    assert_eq!((event.package, event.id), ("presence.winfo", Some("7")));
    assert!(offhook_sip::header::MediaType::parse("application").is_none());
}

#[test]
fn challenges_are_read_in_order_and_unknown_schemes_left_out() {
    let headers = headers(
        "WWW-Authenticate: Digest realm=\"a\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth,auth-int\", stale=TRUE\n\
         WWW-Authenticate: Bearer realm=\"a\"\nWWW-Authenticate: Digest realm=\"a\", nonce=\"n2\"\n\
         Authentication-Info: nextnonce=\"n3\", qop=auth",
    );
    let challenges: Vec<_> = headers.www_authenticate().collect();
    assert_eq!(challenges.len(), 2);
    assert_eq!(
        (challenges[0].algorithm.as_deref(), challenges[0].qop.as_deref(), challenges[0].stale),
        (Some("SHA-256"), Some("auth,auth-int"), true)
    );
    assert_eq!((challenges[1].nonce.as_ref(), challenges[1].algorithm.as_deref()), ("n2", None));
    assert_eq!(headers.authentication_info().unwrap().text("nextnonce").unwrap(), "n3");
}
