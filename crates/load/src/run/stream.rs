//! One connection: octets in and out, in TLS or not, in WebSocket messages or not.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, RawFd},
};

use offhook_net::{Poll, Readiness};
use rustls::Connection;

use super::{sockets::Input, websocket::WebSocket};
use crate::call::SocketId;

/// Octets that may wait in one direction of one connection. More is a peer that does not read, or no SIP.
pub const STREAM_BYTES_MAX: usize = 4 << 20;
/// Octets read from a connection at once.
const READ_BYTES: usize = 64 << 10;
/// What ends a command of another instance.
const COMMAND_END: u8 = 0x1b;

/// Where messages end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length tells where a message ends (RFC 3261 §18.3).
    Sip,
    /// An escape does.
    Command,
}

/// A connection.
pub struct Stream {
    stream: TcpStream,
    remote: SocketAddr,
    is_connecting: bool,
    framing: Framing,
    input: Vec<u8>,
    output: Vec<u8>,
    watches_write: bool,
    tls: Option<Box<Connection>>,
    websocket: Option<Box<WebSocket>>,
}

impl Stream {
    /// One that is there.
    pub fn plain(stream: TcpStream, remote: SocketAddr, framing: Framing) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            remote,
            is_connecting: false,
            framing,
            input: Vec::new(),
            output: Vec::new(),
            watches_write: false,
            tls: None,
            websocket: None,
        })
    }

    /// One that is being opened.
    pub fn connecting(stream: TcpStream, remote: SocketAddr) -> io::Result<Self> {
        Ok(Self { is_connecting: true, ..Self::plain(stream, remote, Framing::Sip)? })
    }

    /// Puts TLS around it.
    pub fn with_tls(self, tls: Connection) -> Self {
        Self { tls: Some(Box::new(tls)), ..self }
    }

    /// Puts messages into WebSocket messages.
    pub fn with_websocket(self, websocket: WebSocket) -> Self {
        Self { websocket: Some(Box::new(websocket)), ..self }
    }

    /// Begins to watch for what it can do, and says what the other side waits for.
    pub fn begin(&mut self, poll: &Poll, id: SocketId) -> io::Result<()> {
        if self.is_connecting {
            self.watches_write = true;
            return poll.watch_writable(self.as_raw_fd(), u64::from(id.0), true);
        }
        self.write_out(poll, id)
    }

    /// Whether all hands are shaken.
    pub fn is_open(&self) -> bool {
        !self.is_connecting
            && self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
            && self.websocket.as_ref().is_none_or(|websocket| websocket.is_open())
    }

    /// Puts a message behind those that wait to be sent. `false`: there are too many.
    pub fn queue(&mut self, message: &[u8]) -> bool {
        if self.output.len() > STREAM_BYTES_MAX {
            return false;
        }
        match (&mut self.websocket, self.framing) {
            (Some(websocket), _) => return websocket.send(message),
            (None, Framing::Sip) => self.output.extend_from_slice(message),
            (None, Framing::Command) => {
                self.output.extend_from_slice(message);
                self.output.push(COMMAND_END);
            }
        }
        true
    }

    /// Does what the connection is ready for. An error of kind `InvalidData` is the other side's fault.
    pub fn turn(
        &mut self,
        ready: Readiness,
        poll: &Poll,
        id: SocketId,
        deliver: &mut dyn FnMut(Input<'_>),
    ) -> io::Result<()> {
        if self.is_connecting && (ready.writable || ready.readable) {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.is_connecting = false;
        }
        if ready.readable {
            self.read(id, deliver)?;
        }
        self.write_out(poll, id)
    }

    fn read(&mut self, id: SocketId, deliver: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        let length = self.input.len();
        let read = match (&mut self.tls, &mut self.websocket) {
            (None, None) => read_plain(&mut self.stream, &mut self.input),
            (None, Some(_)) => read_plain(&mut self.stream, &mut self.input),
            (Some(tls), _) => read_tls(&mut self.stream, tls, &mut self.input),
        };
        let remote = self.remote;
        let fed = match &mut self.websocket {
            Some(websocket) => {
                let fresh = self.input.split_off(length);
                websocket.feed(&fresh, &mut |message| deliver(Input::Message(id, remote, message, None)))
            }
            None => {
                self.take_frames(id, deliver);
                Ok(())
            }
        };
        // What came before an end or a fault counts.
        let is_over = read?;
        fed?;
        if is_over {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.input.len() > STREAM_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without an end"));
        }
        Ok(())
    }

    fn take_frames(&mut self, id: SocketId, deliver: &mut dyn FnMut(Input<'_>)) {
        let mut at = 0;
        while let Some((skip, length)) = frame(self.framing, &self.input[at..]) {
            let message = &self.input[at + skip..at + length];
            match self.framing {
                Framing::Sip => deliver(Input::Message(id, self.remote, message, None)),
                Framing::Command => {
                    deliver(Input::Command(message.strip_suffix(&[COMMAND_END]).unwrap_or(message)))
                }
            }
            at += length;
        }
        self.input.drain(..at);
    }

    /// Writes as much as the kernel takes.
    pub fn write_out(&mut self, poll: &Poll, id: SocketId) -> io::Result<()> {
        if self.is_connecting {
            return Ok(());
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.take_output(&mut self.output);
        }
        let waits = match &mut self.tls {
            Some(tls) => write_tls(&mut self.stream, tls, &mut self.output)?,
            None => write_plain(&mut self.stream, &mut self.output)?,
        };
        if waits != self.watches_write {
            self.watches_write = waits;
            poll.watch_writable(self.stream.as_raw_fd(), u64::from(id.0), waits)?;
        }
        Ok(())
    }

    /// Says good-bye; what does not go out at once is lost.
    pub fn finish(&mut self, poll: &Poll, id: SocketId) {
        let _ = self.write_out(poll, id);
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// Nothing to be had or room for nothing at the moment.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Reads once. `true`: the other side has ended.
fn read_plain(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let length = input.len();
    input.resize(length + READ_BYTES, 0);
    let read = stream.read(&mut input[length..]);
    input.truncate(length + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(count) => Ok(count == 0),
        Err(error) if is_for_now(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_tls(stream: &mut TcpStream, tls: &mut Connection, input: &mut Vec<u8>) -> io::Result<bool> {
    let ended = match tls.read_tls(stream) {
        Ok(count) => count == 0,
        Err(error) if is_for_now(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let state = tls.process_new_packets();
    if state.is_err() {
        // The alert that tells why.
        let _ = tls.write_tls(stream);
    }
    let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let fresh = state.plaintext_bytes_to_read();
    let length = input.len();
    input.resize(length + fresh, 0);
    let read = tls.reader().read(&mut input[length..]);
    input.truncate(length + read.unwrap_or(0));
    Ok(ended || state.peer_has_closed())
}

/// Writes what waits. `true`: something still does.
fn write_plain(stream: &mut TcpStream, output: &mut Vec<u8>) -> io::Result<bool> {
    while !output.is_empty() {
        match stream.write(output) {
            Ok(count) => drop(output.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn write_tls(stream: &mut TcpStream, tls: &mut Connection, output: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        // TLS gets more only when it has nothing left, so that what waits is counted in one place.
        if !tls.is_handshaking() && !tls.wants_write() && !output.is_empty() {
            let count = tls.writer().write(output)?;
            output.drain(..count);
        }
        if !tls.wants_write() {
            return Ok(false);
        }
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// The first whole message of `input`: how many octets before it are keep-alives, and where it ends.
fn frame(framing: Framing, input: &[u8]) -> Option<(usize, usize)> {
    match framing {
        Framing::Command => memchr::memchr(COMMAND_END, input).map(|at| (0, at + 1)),
        Framing::Sip => {
            let skip = input.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
            let message = &input[skip..];
            let head = memchr::memmem::find(message, b"\r\n\r\n")? + 4;
            let body = message[..head].split(|octet| *octet == b'\n').find_map(content_length).unwrap_or(0);
            let length = head + body.min(STREAM_BYTES_MAX);
            (message.len() >= length).then_some((skip, skip + length))
        }
    }
}

fn content_length(line: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii();
    if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
        return None;
    }
    std::str::from_utf8(line[colon + 1..].trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_a_stream() {
        let text = b"\r\n\r\nBYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabcSIP";
        let (skip, length) = frame(Framing::Sip, text).expect("one is whole");
        assert_eq!(&text[skip..length], b"BYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabc");
        assert_eq!(frame(Framing::Sip, &text[length..]), None);
        assert_eq!(frame(Framing::Sip, &text[..length - 1]), None);
        assert_eq!(frame(Framing::Command, b"Call-ID: 1\r\n\x1bx"), Some((0, 13)));
    }
}
