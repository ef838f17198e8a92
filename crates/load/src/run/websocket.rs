//! SIP over WebSocket (RFC 7118) without sockets: octets of the connection in and out, messages in and out.

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::{
    self, Error, HandshakeError, Message,
    client::IntoClientRequest as _,
    handshake::{
        MidHandshake,
        client::ClientHandshake,
        server::{ErrorResponse, Request, Response, ServerHandshake},
    },
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    protocol::WebSocketConfig,
};

use super::stream::STREAM_BYTES_MAX;

/// The subprotocol that both sides must name (RFC 7118 §4.1).
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("sip");

/// One end of a WebSocket.
pub struct WebSocket {
    state: State,
    /// Messages that wait for the handshake, and their octets.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
}

type Answer = fn(&Request, Response) -> Result<Response, ErrorResponse>;

enum State {
    Client(MidHandshake<ClientHandshake<Pipe>>),
    Server(MidHandshake<ServerHandshake<Pipe, Answer>>),
    Open(Box<tungstenite::WebSocket<Pipe>>),
    Broken,
}

/// What the connection brought and what it shall take.
#[derive(Debug, Default)]
struct Pipe {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.input.len());
        buffer[..count].copy_from_slice(&self.input[..count]);
        self.input.drain(..count);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refused(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {}", why.to_string()))
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(STREAM_BYTES_MAX)).max_frame_size(Some(STREAM_BYTES_MAX))
}

/// Names the subprotocol if the other side did.
#[expect(clippy::result_large_err, reason = "the library's type")]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    Ok(response)
}

impl WebSocket {
    fn of(state: State) -> Self {
        Self { state, waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// The end that connects to `authority`, a host with its port.
    pub fn client(authority: &str, is_secure: bool) -> io::Result<Self> {
        let scheme = if is_secure { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{authority}/").into_client_request().map_err(refused)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        match tungstenite::client::client_with_config(request, Pipe::default(), Some(limits())) {
            Ok((socket, _)) => Ok(Self::of(State::Open(Box::new(socket)))),
            Err(HandshakeError::Interrupted(half)) => Ok(Self::of(State::Client(half))),
            Err(HandshakeError::Failure(error)) => Err(refused(error)),
        }
    }

    /// The end that is connected to.
    pub fn server() -> io::Result<Self> {
        let accepted = tungstenite::accept_hdr_with_config(Pipe::default(), answer as Answer, Some(limits()));
        match accepted {
            Ok(socket) => Ok(Self::of(State::Open(Box::new(socket)))),
            Err(HandshakeError::Interrupted(half)) => Ok(Self::of(State::Server(half))),
            Err(HandshakeError::Failure(error)) => Err(refused(error)),
        }
    }

    /// Whether hands are shaken.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    fn pipe(&mut self) -> Option<&mut Pipe> {
        match &mut self.state {
            State::Client(half) => Some(half.get_mut().get_mut()),
            State::Server(half) => Some(half.get_mut().get_mut()),
            State::Open(socket) => Some(socket.get_mut()),
            State::Broken => None,
        }
    }

    /// Takes what the connection brought and gives `deliver` each message.
    pub fn feed(&mut self, octets: &[u8], deliver: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if let Some(pipe) = self.pipe() {
            pipe.input.extend_from_slice(octets);
        }
        if !self.is_open() {
            self.shake_hands()?;
        }
        let State::Open(socket) = &mut self.state else { return Ok(()) };
        for message in std::mem::take(&mut self.waiting) {
            write(socket, &message)?;
        }
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => deliver(text.as_bytes()),
                Ok(Message::Binary(octets)) => deliver(&octets),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(refused(error)),
            }
        }
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Client(half) => match half.handshake() {
                Ok((socket, _)) => self.state = State::Open(Box::new(socket)),
                Err(HandshakeError::Interrupted(half)) => self.state = State::Client(half),
                Err(HandshakeError::Failure(error)) => return Err(refused(error)),
            },
            State::Server(half) => match half.handshake() {
                Ok(socket) => self.state = State::Open(Box::new(socket)),
                Err(HandshakeError::Interrupted(half)) => self.state = State::Server(half),
                Err(HandshakeError::Failure(error)) => return Err(refused(error)),
            },
            other => self.state = other,
        }
        Ok(())
    }

    /// Puts a message on its way. `false`: too many wait, or it is over.
    pub fn send(&mut self, message: &[u8]) -> bool {
        match &mut self.state {
            State::Open(socket) => write(socket, message).is_ok(),
            State::Broken => false,
            _ => {
                self.waiting_bytes += message.len();
                self.waiting.push(message.to_vec());
                self.waiting_bytes <= STREAM_BYTES_MAX
            }
        }
    }

    /// Appends what the connection shall take.
    pub fn take_output(&mut self, into: &mut Vec<u8>) {
        if let Some(pipe) = self.pipe() {
            into.append(&mut pipe.output);
        }
    }
}

/// As text if it is, else as octets; RFC 7118 §4.2 allows both.
fn write(socket: &mut tungstenite::WebSocket<Pipe>, message: &[u8]) -> io::Result<()> {
    let message = match std::str::from_utf8(message) {
        Ok(text) => Message::text(text),
        Err(_) => Message::binary(message.to_vec()),
    };
    socket.send(message).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries octets from one end to the other; what came out of it.
    fn carry(from: &mut WebSocket, to: &mut WebSocket) -> io::Result<Vec<Vec<u8>>> {
        let (mut octets, mut messages) = (Vec::new(), Vec::new());
        from.take_output(&mut octets);
        // In small pieces, as a network may.
        for piece in octets.chunks(7) {
            to.feed(piece, &mut |message| messages.push(message.to_vec()))?;
        }
        Ok(messages)
    }

    #[test]
    fn messages_wait_for_the_handshake_and_go_both_ways() {
        let mut client = WebSocket::client("127.0.0.1:5060", false).expect("it begins");
        let mut server = WebSocket::server().expect("it begins");
        assert!(client.send(b"OPTIONS sip:a SIP/2.0\r\n\r\n") && !client.is_open());
        assert_eq!(carry(&mut client, &mut server).expect("a request"), Vec::<Vec<u8>>::new());
        assert!(server.is_open());
        assert_eq!(carry(&mut server, &mut client).expect("an answer"), Vec::<Vec<u8>>::new());
        assert!(client.is_open());
        assert_eq!(carry(&mut client, &mut server).expect("a message"), [b"OPTIONS sip:a SIP/2.0\r\n\r\n"]);
        assert!(server.send(b"SIP/2.0 200 OK\r\n\r\n\xff"));
        assert_eq!(carry(&mut server, &mut client).expect("a message"), [b"SIP/2.0 200 OK\r\n\r\n\xff"]);
    }

    #[test]
    fn what_is_no_websocket_is_refused() {
        let mut server = WebSocket::server().expect("it begins");
        let refused = server.feed(b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n", &mut |_| {});
        assert_eq!(refused.expect_err("it is none").kind(), io::ErrorKind::InvalidData);
        assert!(!server.send(b"x"));
    }
}
