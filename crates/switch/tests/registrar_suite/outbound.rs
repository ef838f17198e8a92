//! RFC 5626: several flows of one device.

use offhook_sip::{
    header::HeaderName,
    transport::{ConnectionId, Transport},
};

use crate::stage::{Stage, contacts, stream};

const DEVICE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";

fn contact(user: &str, reg_id: u32) -> String {
    format!("Supported: path, outbound\nContact: <sip:{user}@192.0.2.10;ob>;reg-id={reg_id};{DEVICE}")
}

#[test]
fn a_flow_number_of_a_device_replaces_its_contact_and_the_answer_requires_outbound() {
    let mut stage = Stage::new();
    let answer = stage.register(1, &contact("one", 1));
    assert_eq!(answer.headers().first(&HeaderName::Require), Some("outbound"));
    assert_eq!(answer.headers().first(&HeaderName::FlowTimer), Some("120"));
    assert_eq!(contacts(&answer), [format!("<sip:one@192.0.2.10;ob>;reg-id=1;{DEVICE};expires=3600")]);
    // The phone restarts: another Call-ID, another contact, the same flow.
    let answer = stage.register_as("101", "after-restart", 1, &contact("two", 1));
    assert_eq!(contacts(&answer), [format!("<sip:two@192.0.2.10;ob>;reg-id=1;{DEVICE};expires=3600")]);
    let key = "+urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF;reg-id=1";
    assert_eq!(stage.changes(), [key, key]);
}

#[test]
fn two_flows_of_a_device_are_one_ear_and_the_latest_flow_is_tried_first() {
    let mut stage = Stage::new();
    stage.flow = stream(Transport::Tcp, 1, "192.0.2.10:40001");
    stage.register(1, &contact("one", 1));
    stage.pass(1);
    stage.flow = stream(Transport::Tcp, 2, "192.0.2.10:40002");
    stage.register_as("101", "call-2", 1, &contact("two", 2));
    assert_eq!(stage.registrar.len(), 2);
    assert_eq!(stage.uris(), [["sip:two@192.0.2.10;ob"]]);
    let instance = "URN:UUID:00000000-0000-1000-8000-aabbccddeeff";
    let flows = |stage: &Stage| -> Vec<String> {
        let flows = stage.registrar.flows(crate::stage::ANNA, instance, stage.now.instant);
        flows.into_iter().map(|target| target.request_uri.into()).collect()
    };
    assert_eq!(flows(&stage), ["sip:two@192.0.2.10;ob", "sip:one@192.0.2.10;ob"]);
    stage.pass(1);
    stage.flow = stream(Transport::Tcp, 1, "192.0.2.10:40001");
    stage.register(2, &contact("one", 1));
    assert_eq!(stage.uris(), [["sip:one@192.0.2.10;ob"]]);
    // The flow it is on breaks: the other carries on at once.
    stage.registrar.connection_closed(ConnectionId(1), stage.now);
    assert_eq!(stage.uris(), [["sip:two@192.0.2.10;ob"]]);
    assert_eq!(flows(&stage), ["sip:two@192.0.2.10;ob"]);
}

#[test]
fn a_closed_connection_takes_the_flows_on_it_and_no_others() {
    let mut stage = Stage::new();
    stage.flow = stream(Transport::Tls, 9, "192.0.2.10:40001");
    stage.register(1, &contact("one", 1));
    stage.register_as("102", "b", 1, &contact("bert", 1).replace("AABB", "AACC"));
    stage.flow = stream(Transport::Tls, 10, "192.0.2.11:40001");
    stage.register_as("102", "c", 1, &contact("bert", 1).replace("AABB", "AADD"));
    stage.changes();
    stage.registrar.connection_closed(ConnectionId(8), stage.now);
    assert!(stage.changes().is_empty());
    stage.registrar.connection_closed(ConnectionId(9), stage.now);
    stage.registrar.connection_closed(ConnectionId(9), stage.now);
    let gone = [
        "-urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF;reg-id=1 FlowFailed",
        "-urn:uuid:00000000-0000-1000-8000-AACCCCDDEEFF;reg-id=1 FlowFailed",
    ];
    assert_eq!(stage.changes(), gone);
    assert_eq!(stage.registrar.len(), 1);
}

#[test]
fn a_flow_that_moved_to_a_new_connection_does_not_die_with_the_old_one() {
    let mut stage = Stage::new();
    stage.flow = stream(Transport::Tcp, 1, "192.0.2.10:40001");
    stage.register(1, &contact("one", 1));
    stage.flow = stream(Transport::Tcp, 2, "192.0.2.10:40002");
    stage.register(2, &contact("one", 1));
    stage.registrar.connection_closed(ConnectionId(1), stage.now);
    assert_eq!(stage.registrar.len(), 1);
    stage.registrar.connection_closed(ConnectionId(2), stage.now);
    assert!(stage.registrar.is_empty());
}

#[test]
fn flow_numbers_mean_nothing_without_support_for_outbound_or_without_an_instance() {
    let mut stage = Stage::new();
    let answer = stage.register(1, &contact("one", 1).replace("Supported: path, outbound\n", ""));
    assert_eq!(answer.headers().first(&HeaderName::Require), None);
    stage.register(2, "Supported: outbound\nContact: <sip:two@192.0.2.10>;reg-id=1");
    stage.register(3, &contact("three", 0));
    assert_eq!(
        stage.changes(),
        ["+sip:one@192.0.2.10;ob", "+sip:two@192.0.2.10", "+sip:three@192.0.2.10;ob"]
    );
}

#[test]
fn a_flow_number_beside_other_living_contacts_is_refused() {
    let mut stage = Stage::new();
    let beside = format!("{}, <sip:other@192.0.2.10>", contact("one", 1));
    assert_eq!(stage.register(1, &beside).status().as_u16(), 400);
    let removing = format!("{beside};expires=0");
    assert_eq!(stage.register(1, &removing).status().as_u16(), 200);
}

#[test]
fn behind_a_proxy_outbound_needs_a_first_hop_that_does_it() {
    let mut stage = Stage::new();
    let via = "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKfirst";
    let answer = stage.register(1, &format!("{via}\n{}", contact("one", 1)));
    assert_eq!(answer.status().as_u16(), 439);
    let path = "Path: <sip:edge@203.0.113.5;lr>, <sip:tok@192.0.2.77;lr>";
    let answer = stage.register(1, &format!("{via}\n{path}\n{}", contact("one", 1)));
    assert_eq!(answer.status().as_u16(), 439);
    let path = "Path: <sip:edge@203.0.113.5;lr>, <sip:tok@192.0.2.77;lr;ob>";
    let answer = stage.register(1, &format!("{via}\n{path}\n{}", contact("one", 1)));
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.headers().first(&HeaderName::Require), Some("outbound"));
}
