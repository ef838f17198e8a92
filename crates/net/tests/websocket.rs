//! SIP over WebSocket (RFC 7118): the handshake, messages both ways, and sockets handed over by an HTTP server.

mod harness;

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, sink, stream};
use harness::{Node, listener, to};
use offhook_net::{
    CloseReason, ConnectionOrigin, NetEvent,
    stream::{StreamLimits, StreamSettings, UpgradedWebSocket, WebSocketFrame, WebSocketRefused},
};
use offhook_sip::transport::{Destination, Flow, ListenerId, Transport};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

const MESSAGE: &str = "MESSAGE sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

fn node() -> (Node, SocketAddr) {
    let mut node = Node::new();
    let streams = node.streams(StreamSettings::default());
    let bound = streams.listen(&listener(1, Transport::Ws)).unwrap().bound;
    (node, bound)
}

async fn browser(node: SocketAddr, protocols: Option<&str>) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{node}/").into_client_request().unwrap();
    if let Some(protocols) = protocols {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(protocols).unwrap());
    }
    let stream = TcpStream::connect(node).await.unwrap();
    let (socket, response) = client_async(request, stream).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
    Ok(socket)
}

fn closed(node: &mut Node) -> (Flow, CloseReason) {
    node.wait(|event| match event {
        NetEvent::ConnectionClosed { flow, reason } => Some((*flow, *reason)),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_and_binary_messages_come_in_and_answers_go_out_as_text() {
    let (mut node, bound) = node();
    let mut browser = browser(bound, Some("chat, sip")).await.unwrap();
    browser.send(Message::text(MESSAGE)).await.unwrap();
    let (flow, bytes) = node.received();
    assert_eq!((&bytes[..], flow.transport, flow.local), (MESSAGE.as_bytes(), Transport::Ws, bound));
    browser.send(Message::binary(MESSAGE)).await.unwrap();
    assert_eq!(node.received(), (flow, Bytes::from_static(MESSAGE.as_bytes())));

    node.io.transmit(&Destination::Flow(flow), Bytes::from_static(MESSAGE.as_bytes()), 1);
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::text(MESSAGE));
    node.io.transmit(&Destination::Flow(flow), Bytes::from_static(b"\xff"), 2);
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::binary(&b"\xff"[..]), "text must be UTF-8");

    browser.close(None).await.unwrap();
    assert_eq!(closed(&mut node), (flow, CloseReason::Peer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_does_not_speak_sip_is_refused_with_400() {
    let (node, bound) = node();
    for protocols in [None, Some("chat"), Some("sips")] {
        match browser(bound, protocols).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
    assert_eq!(node.counters.connections_accepted.value(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_of_both_kinds_are_answered_and_the_core_hears_nothing() {
    let (mut node, bound) = node();
    let mut browser = browser(bound, Some("sip")).await.unwrap();
    browser.send(Message::Ping(Bytes::from_static(b"you?"))).await.unwrap();
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"you?")));
    browser.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(browser.next().await.unwrap().unwrap(), Message::text("\r\n"));
    node.wait(|event| matches!(event, NetEvent::ConnectionOpened { .. }).then_some(()));
    assert_eq!(node.seen(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_ends_the_connection() {
    let (mut node, bound) = node();
    let mut browser = browser(bound, Some("sip")).await.unwrap();
    let _ = browser.send(Message::text("x".repeat(70_000))).await;
    assert_eq!(closed(&mut node).1, CloseReason::TooLarge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_opens_a_websocket_to_another() {
    let (mut caller, local) = node();
    let (mut callee, bound) = node();
    caller.io.transmit(&to(1, Transport::Ws, local, bound), Bytes::from_static(MESSAGE.as_bytes()), 1);
    let (flow, bytes) = callee.received();
    assert_eq!(bytes, MESSAGE);
    callee.io.transmit(&Destination::Flow(flow), bytes, 2);
    assert_eq!(caller.received().1, MESSAGE);
}

/// What the API's HTTP listener does after the upgrade, with channels in place of its socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_server_hands_over_a_websocket_it_has_upgraded() {
    let mut node = Node::new();
    let limits = StreamLimits { connections_per_source_max: 1, ..StreamLimits::default() };
    let streams = node.streams(StreamSettings { limits, ..StreamSettings::default() });
    let upgraded = UpgradedWebSocket {
        listener: ListenerId(7),
        secure: true,
        local: "127.0.0.1:8080".parse().unwrap(),
        remote: "192.0.2.1:40000".parse().unwrap(),
    };
    let (to_node, incoming) = mpsc::channel::<Result<WebSocketFrame, Error>>(4);
    let (outgoing, mut from_node) = mpsc::channel(4);
    let incoming =
        Box::pin(stream::unfold(incoming, async |mut frames| Some((frames.recv().await?, frames))));
    let outgoing =
        Box::pin(sink::unfold(outgoing, async |frames, frame| frames.send(frame).await.map(|()| frames)));
    let served = tokio::spawn({
        let streams = streams.clone();
        async move { streams.serve_websocket(upgraded, incoming, outgoing).await }
    });
    to_node.send(Ok(WebSocketFrame::Message(Bytes::from_static(MESSAGE.as_bytes())))).await.unwrap();
    let (flow, bytes) = node.received();
    assert_eq!(
        (flow.listener, flow.transport, flow.remote),
        (ListenerId(7), Transport::Wss, upgraded.remote)
    );
    node.io.transmit(&Destination::Flow(flow), bytes.clone(), 1);
    assert_eq!(from_node.recv().await, Some(WebSocketFrame::Message(bytes)));

    let second =
        streams.serve_websocket(upgraded, stream::empty::<Result<WebSocketFrame, Error>>(), sink::drain());
    assert_eq!(second.await, Err(WebSocketRefused::ConnectionLimit));

    node.io.close(flow.connection.unwrap());
    assert_eq!(from_node.recv().await, Some(WebSocketFrame::Close));
    assert_eq!(closed(&mut node), (flow, CloseReason::Local));
    assert_eq!(served.await.unwrap(), Ok(()));
    let origin = node.wait(|event| match event {
        NetEvent::ConnectionOpened { origin, .. } => Some(*origin),
        _ => None,
    });
    assert_eq!(origin, ConnectionOrigin::Accepted);
}
