//! The values of header lines: what they are made of, and what a type must know to be one.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
};

use bytes::{BufMut, BytesMut};
use offhook_base::{HostPort, Token};

use crate::{
    header::{NameAddr, SessionExpires},
    message::StatusCode,
    uri::Uri,
};

/// What can stand as the value of a header line. Most are texts and numbers, which need no formatting machinery.
pub trait HeaderValue {
    /// Writes it.
    fn write(&self, line: &mut Line<'_>);
}

impl<T: HeaderValue + ?Sized> HeaderValue for &T {
    fn write(&self, line: &mut Line<'_>) {
        (**self).write(line);
    }
}

impl<T: HeaderValue + ?Sized> HeaderValue for Box<T> {
    fn write(&self, line: &mut Line<'_>) {
        (**self).write(line);
    }
}

impl HeaderValue for str {
    fn write(&self, line: &mut Line<'_>) {
        line.text(self);
    }
}

impl HeaderValue for String {
    fn write(&self, line: &mut Line<'_>) {
        line.text(self);
    }
}

impl HeaderValue for Cow<'_, str> {
    fn write(&self, line: &mut Line<'_>) {
        line.text(self);
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl HeaderValue for $number {
            fn write(&self, line: &mut Line<'_>) {
                line.number(u64::from(*self));
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

impl HeaderValue for StatusCode {
    fn write(&self, line: &mut Line<'_>) {
        line.number(self.as_u16().into());
    }
}

impl HeaderValue for fmt::Arguments<'_> {
    fn write(&self, line: &mut Line<'_>) {
        match self.as_str() {
            Some(text) => line.text(text),
            None => line.display(self),
        };
    }
}

/// A header value under construction. What would end the line is replaced on the way.
pub struct Line<'b> {
    buf: &'b mut BytesMut,
    barred: &'static [bool; 256],
    replacement: &'static [u8],
}

impl<'b> Line<'b> {
    pub(super) const fn new(buf: &'b mut BytesMut) -> Self {
        Self { buf, barred: &ENDS_LINE, replacement: b" " }
    }

    /// Of a Request-URI, which a space would end.
    pub(super) const fn uri(buf: &'b mut BytesMut) -> Self {
        Self { buf, barred: &ENDS_URI, replacement: b"%20" }
    }

    /// What `write` writes.
    pub fn written(write: impl FnOnce(&mut Line<'_>)) -> String {
        let mut buf = BytesMut::new();
        write(&mut Line::new(&mut buf));
        String::from_utf8_lossy(&buf).into_owned()
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let octets = text.as_bytes();
        if octets.iter().any(|&octet| self.barred[usize::from(octet)]) {
            self.replaced(octets);
        } else {
            self.buf.extend_from_slice(octets);
        }
        self
    }

    #[cold]
    fn replaced(&mut self, octets: &[u8]) {
        for &octet in octets {
            if self.barred[usize::from(octet)] {
                self.buf.put_slice(self.replacement);
            } else {
                self.buf.put_u8(octet);
            }
        }
    }

    /// Adds text as a quoted-string (RFC 3261 §25.1): a backslash before quote and backslash; control characters become
    /// spaces.
    pub fn quoted(&mut self, text: &str) -> &mut Self {
        self.text("\"");
        let mut from = 0;
        for (at, letter) in text.char_indices() {
            let is_sign = matches!(letter, '"' | '\\');
            if is_sign || letter.is_control() {
                self.text(&text[from..at]).text(if is_sign { "\\" } else { " " });
                from = if is_sign { at } else { at + letter.len_utf8() };
            }
        }
        self.text(&text[from..]).text("\"")
    }

    /// Adds a number in decimal digits.
    pub fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.buf.put_slice(&digits[start..]);
        self
    }

    /// Adds an address, IPv6 without brackets.
    pub fn ip(&mut self, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(ip) => {
                for (index, octet) in ip.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.text(".");
                    }
                    self.number(octet.into());
                }
                self
            }
            IpAddr::V6(ip) => self.display(ip),
        }
    }

    /// Adds `host:port`, an IPv6 address in brackets.
    pub fn socket_address(&mut self, address: SocketAddr) -> &mut Self {
        match address.ip() {
            ip @ IpAddr::V4(_) => self.ip(ip),
            ip @ IpAddr::V6(_) => self.text("[").ip(ip).text("]"),
        };
        self.text(":").number(address.port().into())
    }

    /// Adds whatever can be shown.
    pub fn display(&mut self, value: impl fmt::Display) -> &mut Self {
        // A Display that fails writes what it wrote so far: the line ends there, the message stays whole.
        let _ = write!(self, "{value}");
        self
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

/// CR, LF and NUL.
static ENDS_LINE: [bool; 256] = only(b"\r\n\0");

/// Those and a space.
static ENDS_URI: [bool; 256] = only(b"\r\n\0 ");

const fn only(octets: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut index = 0;
    while index < octets.len() {
        table[octets[index] as usize] = true;
        index += 1;
    }
    table
}

impl<const LETTERS: usize> HeaderValue for Token<LETTERS> {
    fn write(&self, line: &mut Line<'_>) {
        line.text(self.as_str());
    }
}

impl HeaderValue for SocketAddr {
    fn write(&self, line: &mut Line<'_>) {
        line.socket_address(*self);
    }
}

impl HeaderValue for HostPort {
    fn write(&self, line: &mut Line<'_>) {
        line.text(&self.host);
        if let Some(port) = self.port {
            line.text(":").number(port.into());
        }
    }
}

/// Gives a type that shows itself the right to stand in a header line.
macro_rules! shown {
    ($($shown:ty),* $(,)?) => {$(
        impl HeaderValue for $shown {
            fn write(&self, line: &mut Line<'_>) {
                line.display(self);
            }
        }
    )*};
}

shown!(Uri<'_>, NameAddr<'_>, SessionExpires);
