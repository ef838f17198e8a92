//! SIP over WebSocket (RFC 7118), plain and over TLS.

use std::{
    fs, io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_tungstenite::tungstenite::{
    self, Message, WebSocket, client::IntoClientRequest, http::HeaderValue,
};

use crate::{
    user_agent::{LOOK, Link, connect},
    wait::PATIENCE,
};

/// TLS to `server`, which must show the certificate in the file `trusted`.
pub fn tls(server: SocketAddr, trusted: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(trusted).expect("the certificate can be read");
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a sound configuration");
    let mut stream = StreamOwned::new(connection, connect(server));
    // The handshake at once: what comes later reads with a short time limit.
    stream.sock.set_read_timeout(Some(PATIENCE)).expect("sockets can");
    stream.conn.complete_io(&mut stream.sock).expect("the handshake succeeds");
    stream.sock.set_read_timeout(Some(LOOK)).expect("sockets can");
    stream
}

/// A WebSocket that carries SIP.
#[derive(Debug)]
pub struct WebSocketLink<S> {
    socket: WebSocket<S>,
    transport: &'static str,
    /// What a browser names itself by: no address that could be reached.
    sent_by: String,
}

impl<S: Read + Write> WebSocketLink<S> {
    /// Opens one at `url` over a stream that is connected.
    pub fn open(url: &str, stream: S, transport: &'static str) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
        let mut attempt = tungstenite::client(request, stream);
        let socket = loop {
            match attempt {
                Ok((socket, answer)) => {
                    let protocol = answer.headers().get("Sec-WebSocket-Protocol");
                    assert_eq!(protocol, Some(&HeaderValue::from_static("sip")), "RFC 7118 §4.1");
                    break socket;
                }
                Err(tungstenite::HandshakeError::Interrupted(half)) => attempt = half.handshake(),
                Err(tungstenite::HandshakeError::Failure(error)) => panic!("no WebSocket at {url}: {error}"),
            }
        };
        Self { socket, transport, sent_by: format!("e2e{}.invalid", std::process::id()) }
    }
}

impl<S: Read + Write> Link for WebSocketLink<S> {
    fn send(&mut self, message: &[u8]) {
        let text = String::from_utf8_lossy(message).into_owned();
        self.socket.send(Message::text(text)).expect("the WebSocket is open");
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Some(text.as_bytes().to_vec()),
            Ok(Message::Binary(octets)) => Some(octets.to_vec()),
            Ok(_) => None,
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                None
            }
            Err(error) => panic!("the WebSocket broke: {error}"),
        }
    }

    fn transport(&self) -> &'static str {
        self.transport
    }

    fn sent_by(&self) -> String {
        self.sent_by.clone()
    }
}
