//! TCP on real loopback sockets: framing, reuse, limits, and how connections end.

mod harness;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use harness::{Node, PATIENCE, listener, to};
use offhook_net::{
    CloseReason, ConnectionOrigin, NetEvent, TransmitError,
    stream::{StreamLimits, StreamSettings},
};
use offhook_sip::transport::{Destination, Flow, Transport};

const MESSAGE: &[u8] = b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c\r\nContent-Length: 5\r\n\r\nhello";

fn node_with(limits: StreamLimits) -> (Node, SocketAddr) {
    let mut node = Node::new();
    let streams = node.streams(StreamSettings { limits, ..StreamSettings::default() });
    let bound = streams.listen(&listener(1, Transport::Tcp)).unwrap().bound;
    (node, bound)
}

fn node() -> (Node, SocketAddr) {
    node_with(StreamLimits::default())
}

fn phone(node: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(node).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn closed(node: &mut Node) -> (Flow, CloseReason) {
    node.wait(|event| match event {
        NetEvent::ConnectionClosed { flow, reason } => Some((*flow, *reason)),
        _ => None,
    })
}

fn opened(node: &mut Node, wanted: ConnectionOrigin) -> Flow {
    node.wait(|event| match event {
        NetEvent::ConnectionOpened { flow, origin } if *origin == wanted => Some(*flow),
        _ => None,
    })
}

/// Whether the peer has closed: reads to the end without an octet.
fn is_at_end(phone: &mut TcpStream) -> bool {
    !matches!(phone.read(&mut [0; 16]), Ok(octets) if octets > 0)
}

/// Method: the stream of two messages with a ping between is cut in two at every octet; the halves are sent apart, the
/// second only after the worker has seen whatever the first completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_whole_wherever_the_stream_is_cut() {
    let (mut node, bound) = node();
    let stream = [MESSAGE, b"\r\n\r\n", MESSAGE].concat();
    for cut in 0..=stream.len() {
        let mut phone = phone(bound);
        phone.write_all(&stream[..cut]).unwrap();
        if cut >= MESSAGE.len() {
            assert_eq!(node.received().1, MESSAGE);
        }
        phone.write_all(&stream[cut..]).unwrap();
        if cut < MESSAGE.len() {
            assert_eq!(node.received().1, MESSAGE);
        }
        let (flow, bytes) = node.received();
        assert_eq!(bytes, MESSAGE, "cut at {cut}");
        assert_eq!((flow.local, flow.remote), (bound, phone.local_addr().unwrap()));
    }
    // A ping that is cut after its first line end may be a pong and a ping: either way it is answered.
    assert_eq!(node.counters.stream_keepalives.value(), stream.len() as u64 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_is_answered_with_a_single_line_end_and_the_core_hears_nothing() {
    let (mut node, bound) = node();
    let mut phone = phone(bound);
    phone.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    phone.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    opened(&mut node, ConnectionOrigin::Accepted);
    assert_eq!((node.seen(), node.counters.stream_keepalives.value()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_over_the_flow_and_the_end_of_the_peer_is_told() {
    let (mut node, bound) = node();
    let mut phone = phone(bound);
    phone.write_all(MESSAGE).unwrap();
    let (flow, _) = node.received();
    node.io.transmit(&Destination::Flow(flow), Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n"), 1);
    let mut answer = [0; 18];
    phone.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK\r\n\r\n");
    drop(phone);
    assert_eq!(closed(&mut node), (flow, CloseReason::Peer));
    node.io.transmit(&Destination::Flow(flow), Bytes::from_static(MESSAGE), 2);
    assert_eq!(node.failed(2), TransmitError::ConnectionGone);
    assert_eq!(node.counters.connections_open.value(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_opened_on_demand_and_used_again() {
    let (mut caller, local) = node();
    let (mut callee, bound) = node();
    let there = to(1, Transport::Tcp, local, bound);
    caller.io.transmit(&there, Bytes::from_static(MESSAGE), 1);
    caller.io.transmit(&there, Bytes::from_static(MESSAGE), 2);
    let flow = opened(&mut caller, ConnectionOrigin::Opened);
    assert_eq!(flow.remote, bound);
    assert_ne!(flow.local.port(), 0);
    caller.io.transmit(&there, Bytes::from_static(MESSAGE), 3);
    let flows: Vec<_> = (0..3).map(|_| callee.received().0).collect();
    assert!(flows.iter().all(|each| *each == flows[0]), "one connection carries all three");
    assert_eq!(flows[0].remote, flow.local);
    assert_eq!(caller.counters.connections_opened.value(), 1);

    // The callee answers over the flow; it arrives on the connection that the caller opened.
    callee.io.transmit(&Destination::Flow(flows[0]), Bytes::from_static(MESSAGE), 4);
    assert_eq!(caller.received().0, flow);

    // After it has closed, the next message opens a new one.
    callee.io.close(flows[0].connection.unwrap());
    assert_eq!(closed(&mut caller).1, CloseReason::Peer);
    assert_eq!(closed(&mut callee), (flows[0], CloseReason::Local));
    caller.io.transmit(&there, Bytes::from_static(MESSAGE), 5);
    assert_ne!(opened(&mut caller, ConnectionOrigin::Opened).connection, flow.connection);
    assert_eq!(callee.received().1, MESSAGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_fails_every_message_that_waited_for_it() {
    let (mut node, local) = node();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for token in 0..3 {
        node.io.transmit(&to(1, Transport::Tcp, local, nobody), Bytes::from_static(MESSAGE), token);
    }
    for token in 0..3 {
        assert_eq!(node.failed(token), TransmitError::Refused);
    }
    assert_eq!(node.counters.stream_send_errors.value(), 3);
    assert_eq!(node.counters.connections_open.value(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_loses_its_connection_and_nobody_else_does() {
    let (mut node, bound) = node_with(StreamLimits { queued_messages_max: 8, ..StreamLimits::default() });
    let (mut slow, mut quick) = (phone(bound), phone(bound));
    slow.write_all(MESSAGE).unwrap();
    let (slow_flow, _) = node.received();
    quick.write_all(MESSAGE).unwrap();
    let (quick_flow, _) = node.received();

    let large = Bytes::from(vec![b'x'; 60_000]);
    let mut sent = 0;
    while node.counters.stream_send_errors.value() == 0 {
        assert!(sent < 10_000, "600 MB fit nowhere");
        node.io.transmit(&Destination::Flow(slow_flow), large.clone(), sent);
        sent += 1;
    }
    assert_eq!(node.failed(sent - 1), TransmitError::QueueFull);
    assert_eq!(closed(&mut node), (slow_flow, CloseReason::SlowReader));
    node.io.transmit(&Destination::Flow(quick_flow), Bytes::from_static(MESSAGE), 0);
    let mut answer = [0; MESSAGE.len()];
    quick.read_exact(&mut answer).unwrap();
    assert_eq!(node.counters.closed_slow_reader.value(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_gets_no_more_than_its_share_of_connections() {
    let (mut node, bound) =
        node_with(StreamLimits { connections_per_source_max: 2, ..StreamLimits::default() });
    let first = phone(bound);
    let _second = phone(bound);
    opened(&mut node, ConnectionOrigin::Accepted);
    opened(&mut node, ConnectionOrigin::Accepted);
    assert!(is_at_end(&mut phone(bound)), "the third is closed at once");
    assert_eq!(node.counters.refused_source_limit.value(), 1);

    first.shutdown(Shutdown::Both).unwrap();
    closed(&mut node);
    let mut third = phone(bound);
    third.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(third.read(&mut [0; 2]).unwrap(), 2, "there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_total_of_connections_is_bounded_for_both_directions() {
    let (mut node, bound) = node_with(StreamLimits { connections_max: 1, ..StreamLimits::default() });
    let _held = phone(bound);
    opened(&mut node, ConnectionOrigin::Accepted);
    assert!(is_at_end(&mut phone(bound)));
    node.io.transmit(&to(1, Transport::Tcp, bound, bound), Bytes::from_static(MESSAGE), 1);
    assert_eq!(node.failed(1), TransmitError::ConnectionLimit);
    assert_eq!(node.counters.refused_total_limit.value(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_half_messages_end_a_connection_in_time() {
    let short = Duration::from_millis(30);
    let (mut node, bound) = node_with(StreamLimits { idle_timeout: short, ..StreamLimits::default() });
    let _silent = phone(bound);
    assert_eq!(closed(&mut node).1, CloseReason::Idle);

    let (mut node, bound) =
        node_with(StreamLimits { partial_message_timeout: short, ..StreamLimits::default() });
    let mut halting = phone(bound);
    halting.write_all(&MESSAGE[..20]).unwrap();
    assert_eq!(closed(&mut node).1, CloseReason::PartialMessage);
    assert!(is_at_end(&mut halting));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_ends_the_connection_before_it_has_come() {
    let (mut node, bound) = node();
    let mut phone = phone(bound);
    phone.write_all(b"MESSAGE sip:a@b SIP/2.0\r\nl: 1000000\r\n\r\n").unwrap();
    assert_eq!(closed(&mut node).1, CloseReason::TooLarge);
    assert_eq!(node.counters.closed_too_large.value(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_an_end_can_still_be_refused() {
    let (mut node, bound) = node();
    let mut phone = phone(bound);
    let head = b"MESSAGE sip:a@b SIP/2.0\r\nContent-Length: -5\r\n\r\n";
    phone.write_all(&[&head[..], b"hello"].concat()).unwrap();
    let (flow, bytes) = node.received();
    assert_eq!(bytes, &head[..]);
    node.io.transmit(&Destination::Flow(flow), Bytes::from_static(b"SIP/2.0 400 Bad Request\r\n\r\n"), 1);
    let mut answer = [0; 27];
    phone.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SIP/2.0 400 Bad Request\r\n\r\n");
    assert_eq!(closed(&mut node).1, CloseReason::Malformed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_worker_ends_its_last_words_are_written_and_its_sockets_close() {
    let (mut node, bound) = node();
    let mut phone = phone(bound);
    phone.write_all(MESSAGE).unwrap();
    let (flow, _) = node.received();
    node.io.transmit(&Destination::Flow(flow), Bytes::from_static(b"BYE"), 1);
    drop(node);
    let mut all = Vec::new();
    phone.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"BYE");
}
