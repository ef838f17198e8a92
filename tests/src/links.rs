//! The ways from a phone to a node, by the name of the transport.

use std::net::{IpAddr, SocketAddr};

use crate::{
    Node,
    user_agent::{Link, StreamLink, UdpLink, connect},
    websocket::{WebSocketLink, tls},
};

/// Any of them.
pub type AnyLink = Box<dyn Link + Send>;

/// A way over `transport` (`udp`, `tcp`, `tls`, `ws`, `wss`) to the node at its address `ip`.
pub fn link(node: &Node, ip: IpAddr, transport: &str) -> AnyLink {
    let at = |port| SocketAddr::new(ip, port);
    match transport {
        "udp" => Box::new(UdpLink::new(&ip.to_string(), at(node.sip_port))),
        "tcp" => Box::new(StreamLink::tcp(at(node.sip_port))),
        "tls" => {
            let stream = tls(at(node.tls_port), &node.certificate());
            let sent_by = stream.sock.local_addr().expect("a connected socket").to_string();
            Box::new(StreamLink::over(stream, "TLS", sent_by))
        }
        // Beside the API, and at a listener of its own.
        "ws" if ip.is_ipv4() => Box::new(WebSocketLink::open("ws://localhost/sip", connect(node.http), "WS")),
        "ws" => Box::new(WebSocketLink::open("ws://localhost/", connect(at(node.ws_port)), "WS")),
        "wss" => {
            let stream = tls(at(node.wss_port), &node.certificate());
            Box::new(WebSocketLink::open("wss://localhost/", stream, "WSS"))
        }
        other => panic!("no transport {other}"),
    }
}
