//! UDP on real loopback sockets: batches, addresses, keep-alives, errors.

mod harness;

use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use harness::{Node, PATIENCE, to};
use offhook_net::{NetEvent, TransmitError, UdpListenerConfig};
use offhook_sip::transport::{Destination, ListenerId, Transport};

fn phone(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn read(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// Goal: more datagrams than one system call takes go in and out, in order and whole. Method: 100 of growing size are
/// sent, each is answered over its flow, and the phone reads them back.
fn a_hundred_datagrams_come_back(ip: &str) {
    let mut node = Node::new();
    let bound = node.udp(0, ip);
    let phone = phone(ip);
    let message = |number: usize| format!("MESSAGE {number} {}", "x".repeat(number * 10)).into_bytes();
    for number in 0..100 {
        phone.send_to(&message(number), bound).unwrap();
    }
    for number in 0..100 {
        let (flow, bytes) = node.received();
        assert_eq!(bytes, message(number));
        assert_eq!((flow.local, flow.remote), (bound, phone.local_addr().unwrap()));
        assert_eq!((flow.transport, flow.connection), (Transport::Udp, None));
        node.io.transmit(&Destination::Flow(flow), bytes, number as u64);
    }
    node.io.flush();
    for number in 0..100 {
        assert_eq!(read(&phone), (message(number), bound));
    }
    assert_eq!((node.counters.udp_received.value(), node.counters.udp_sent.value()), (100, 100));
}

#[test]
fn a_hundred_datagrams_come_back_over_ipv4() {
    a_hundred_datagrams_come_back("127.0.0.1");
}

#[test]
fn a_hundred_datagrams_come_back_over_ipv6() {
    a_hundred_datagrams_come_back("::1");
}

/// All of 127.0.0.0/8 is ours, so 127.0.0.2 stands for the second address of a host with several.
#[test]
fn a_listener_on_all_addresses_tells_and_keeps_the_one_that_was_used() {
    let mut node = Node::new();
    let bound = node.udp(0, "0.0.0.0");
    let second = SocketAddr::new("127.0.0.2".parse().unwrap(), bound.port());
    let phone = phone("127.0.0.1");
    phone.send_to(b"OPTIONS", second).unwrap();
    let (flow, bytes) = node.received();
    assert_eq!(flow.local, second);
    node.io.transmit(&Destination::Flow(flow), bytes, 1);
    node.io.flush();
    assert_eq!(read(&phone).1, second, "the answer leaves from the address that was asked");
}

#[test]
fn the_same_holds_for_all_addresses_of_ipv6() {
    let mut node = Node::new();
    let bound = node.udp(0, "::");
    let phone = phone("::1");
    let loopback = SocketAddr::new("::1".parse().unwrap(), bound.port());
    phone.send_to(b"OPTIONS", loopback).unwrap();
    let (flow, bytes) = node.received();
    assert_eq!(flow.local, loopback);
    node.io.transmit(&Destination::Flow(flow), bytes, 1);
    node.io.flush();
    assert_eq!(read(&phone).1, loopback);
}

#[test]
fn several_listeners_keep_their_names_apart() {
    let mut node = Node::new();
    let (first, second) = (node.udp(3, "127.0.0.1"), node.udp(4, "::1"));
    let (v4, v6) = (phone("127.0.0.1"), phone("::1"));
    v6.send_to(b"B", second).unwrap();
    assert_eq!(node.received().0.listener, ListenerId(4));
    v4.send_to(b"A", first).unwrap();
    assert_eq!(node.received().0.listener, ListenerId(3));
}

#[test]
fn keep_alives_are_counted_and_nobody_hears_of_them() {
    let mut node = Node::new();
    let bound = node.udp(0, "127.0.0.1");
    let phone = phone("127.0.0.1");
    for keepalive in [&b"\r\n\r\n"[..], b"\r\n", b"", b"   "] {
        phone.send_to(keepalive, bound).unwrap();
    }
    phone.send_to(b"OPTIONS", bound).unwrap();
    assert_eq!(node.received().1, "OPTIONS");
    assert_eq!((node.counters.udp_keepalives.value(), node.seen()), (4, 0));
}

#[test]
fn a_stun_binding_request_on_the_sip_port_is_answered() {
    let mut node = Node::new();
    let bound = node.udp(0, "127.0.0.1");
    let phone = phone("127.0.0.1");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"transaction!"].concat();
    phone.send_to(&request, bound).unwrap();
    phone.send_to(&[0, 1, 2], bound).unwrap();
    phone.send_to(b"OPTIONS", bound).unwrap();
    assert_eq!(node.received().1, "OPTIONS");
    node.io.flush();
    let (answer, from) = read(&phone);
    assert_eq!((&answer[..2], &answer[8..20], from), (&[1, 1][..], &b"transaction!"[..], bound));
    assert_eq!((node.counters.stun_answered.value(), node.counters.stun_dropped.value()), (1, 1));
}

#[test]
fn what_cannot_be_sent_is_told_by_its_token_and_the_rest_is_sent() {
    let mut node = Node::new();
    let bound = node.udp(0, "127.0.0.1");
    let phone = phone("127.0.0.1");
    let remote = phone.local_addr().unwrap();
    let small = Bytes::from_static(b"small");
    node.io.transmit(&to(0, Transport::Udp, bound, remote), Bytes::from(vec![b'x'; 65_530]), 1);
    node.io.transmit(&to(0, Transport::Udp, bound, "[::1]:5060".parse().unwrap()), small.clone(), 2);
    node.io.transmit(&to(9, Transport::Udp, bound, remote), small.clone(), 3);
    node.io.transmit(&to(0, Transport::Tcp, bound, remote), small.clone(), 4);
    node.io.transmit(&to(0, Transport::Udp, bound, remote), small, 5);
    assert_eq!(node.failed(1), TransmitError::TooLarge);
    assert_eq!(node.failed(2), TransmitError::Unreachable);
    assert_eq!(node.failed(3), TransmitError::NoSuchListener);
    assert_eq!(node.failed(4), TransmitError::NoSuchListener);
    assert_eq!(read(&phone).0, b"small");
}

#[test]
fn a_source_address_that_is_not_ours_fails_by_its_token() {
    let mut node = Node::new();
    let bound = node.udp(0, "0.0.0.0");
    let stranger = SocketAddr::new("192.0.2.1".parse().unwrap(), bound.port());
    let remote = phone("127.0.0.1").local_addr().unwrap();
    node.io.transmit(&to(0, Transport::Udp, stranger, remote), Bytes::from_static(b"x"), 7);
    assert_eq!(node.failed(7), TransmitError::Unreachable);
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint() {
    let mut node = Node::new();
    let bound = node.udp(0, "127.0.0.1");
    let error = node.io.bind_udp(&UdpListenerConfig::new(ListenerId(1), bound)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {bound}/udp: ")), "{error}");
    assert_eq!(error.hint(), "stop the other server on that port or choose another port");
}

#[test]
fn workers_may_share_a_port() {
    let mut config = UdpListenerConfig::new(ListenerId(0), "127.0.0.1:0".parse().unwrap());
    config.reuse_port = true;
    let (mut first, mut second) = (Node::new(), Node::new());
    config.bind = first.io.bind_udp(&config).unwrap().bound;
    assert_eq!(second.io.bind_udp(&config).unwrap().bound, config.bind);
}

#[test]
fn commands_of_other_threads_end_the_wait() {
    let mut node = Node::new();
    let sender = node.io.command_sender();
    let other = std::thread::spawn(move || (0..1000).for_each(|number| sender.try_send(number).unwrap()));
    for wanted in 0..1000 {
        node.wait(|event| matches!(event, NetEvent::Command(number) if *number == wanted).then_some(()));
    }
    other.join().unwrap();
}

#[test]
fn a_full_command_queue_hands_the_command_back() {
    let counters = std::sync::Arc::default();
    let mut config = offhook_net::WorkerConfig::new(offhook_net::Clock::new(), counters);
    config.command_capacity = 1;
    let io = offhook_net::WorkerIo::<u32>::new(config).unwrap();
    let sender = io.command_sender();
    sender.try_send(1).unwrap();
    assert!(matches!(sender.try_send(2), Err(offhook_net::CommandError::Full(2))));
    drop(io);
    assert!(matches!(sender.try_send(3), Err(offhook_net::CommandError::Ended(3))));
}

#[test]
fn a_turn_without_events_ends_at_its_deadline_and_not_before() {
    let mut node = Node::new();
    let deadline = node.io.clock().instant() + std::time::Duration::from_micros(1500);
    let mut events = Vec::new();
    node.io.turn(Some(deadline), &mut events).unwrap();
    assert!(events.is_empty() && node.io.clock().instant() >= deadline);
}
