//! Where requests for a contact go, NAT or not.

use std::time::Duration;

use bytes::BytesMut;
use offhook_sip::transport::{ConnectionId, Destination, Transport};

use crate::stage::{Stage, address, register_text, request, stream, udp};

#[test]
fn a_phone_behind_a_nat_is_reached_where_it_registered_from() {
    let mut stage = Stage::new();
    stage.flow = udp("203.0.113.9:61000");
    stage.register(1, "Contact: <sip:101@10.0.0.5:5062>");
    assert_eq!(stage.destination(), Some(Destination::Flow(stage.flow)));
    assert_eq!(stage.uris(), [["sip:101@10.0.0.5:5062"]], "the contact stays as it was registered");
    // The NAT gives another port: the refresh tells.
    stage.flow = udp("203.0.113.9:61001");
    stage.register(2, "Contact: <sip:101@10.0.0.5:5062>");
    assert_eq!(stage.destination(), Some(Destination::Flow(stage.flow)));
}

#[test]
fn a_stream_is_used_while_it_is_open_then_the_contact_if_it_can_be_right() {
    let mut stage = Stage::new();
    stage.flow = stream(Transport::Tcp, 4, "192.0.2.10:40001");
    stage.register(1, "Contact: <sip:101@192.0.2.10:5070;transport=tcp>");
    assert_eq!(stage.destination(), Some(Destination::Flow(stage.flow)));
    stage.changes();
    stage.registrar.connection_closed(ConnectionId(4), stage.now);
    assert!(stage.changes().is_empty(), "without outbound the contact stays registered");
    let expected = Destination::Address {
        listener: stage.flow.listener,
        transport: Transport::Tcp,
        local: stage.flow.local,
        remote: address("192.0.2.10:5070"),
    };
    assert_eq!(stage.destination(), Some(expected));
}

#[test]
fn behind_a_nat_a_closed_stream_leaves_no_way_to_the_phone() {
    for (transport, contact) in [
        (Transport::Tcp, "<sip:101@10.0.0.5:5070;transport=tcp>"),
        (Transport::Tls, "<sips:101@phone.example.org>"),
        (Transport::Wss, "<sip:101@192.0.2.10;transport=ws>"),
        (Transport::Ws, "<sip:xyz@abc.invalid;transport=ws>"),
    ] {
        let mut stage = Stage::new();
        stage.flow = stream(transport, 4, "192.0.2.10:40001");
        stage.register(1, &format!("Contact: {contact}"));
        assert!(stage.destination().is_some());
        stage.registrar.connection_closed(ConnectionId(4), stage.now);
        assert!(stage.targets().is_empty(), "{contact}");
        // It comes back.
        stage.flow = stream(transport, 5, "192.0.2.10:40002");
        stage.register(2, &format!("Contact: {contact}"));
        assert_eq!(stage.destination(), Some(Destination::Flow(stage.flow)));
    }
}

#[test]
fn a_sleeping_device_can_still_be_woken_when_its_stream_is_gone() {
    let mut stage = Stage::new();
    stage.flow = stream(Transport::Tls, 4, "192.0.2.10:40001");
    stage.register(1, "Contact: <sip:101@10.0.0.5;pn-provider=apns;pn-prid=1>");
    stage.registrar.connection_closed(ConnectionId(4), stage.now);
    let targets = stage.targets();
    assert_eq!(targets[0][0].destination, None);
    assert!(targets[0][0].push.is_some());
}

#[test]
fn unreachable_contacts_make_room_for_new_ones() {
    let mut stage = Stage::new();
    for number in 0..10 {
        stage.flow = stream(Transport::Wss, number, "192.0.2.10:40001");
        let answer = stage.register_as(
            "101",
            &format!("call-{number}"),
            1,
            &format!("Contact: <sip:{number}@abc.invalid>"),
        );
        assert_eq!(answer.status().as_u16(), 200);
        stage.registrar.connection_closed(ConnectionId(number), stage.now);
    }
    assert_eq!(stage.registrar.len(), 3);
}

#[test]
fn a_registration_vouches_for_its_source_until_it_ends() {
    let mut stage = Stage::new();
    let text = register_text("101", "call-1", 1, "Contact: <sip:101@10.0.0.5>;expires=600");
    let who = stage.authenticate("101", &text);
    let (request, mut out) = (request(&text), BytesMut::new());
    let answered = stage.registrar.register(&request, &who, &stage.flow, stage.now, "t", &mut out);
    assert_eq!(answered.registered_until, Some(stage.now.instant + Duration::from_secs(600)));
    // A query from elsewhere vouches for nothing.
    stage.flow = udp("203.0.113.9:61000");
    let text = register_text("101", "call-1", 2, "");
    let who = stage.authenticate("101", &text);
    let request = self::request(&text);
    let answered = stage.registrar.register(&request, &who, &stage.flow, stage.now, "t", &mut out);
    assert_eq!(answered.registered_until, None);
}
