//! As much HTTP as the tests need: one request, one connection, one answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, bail};

use crate::wait::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Sends a request and reads the whole answer. `body` is its type and content.
///
/// # Errors
/// Nobody listens, or what comes back is no HTTP.
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<(&str, &str)>,
) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {server}\r\n");
    if let Some(token) = token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    let content = body.map_or("", |(kind, content)| {
        head.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", content.len()));
        content
    });
    write!(stream, "{head}\r\n{content}")?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    let text = String::from_utf8_lossy(&received);
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the HTTP head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status else { bail!("no HTTP status in {head:?}") };
    // HTTP/1.0 has no chunks: the body ends with the connection.
    Ok(Answer { status, body: body.into() })
}
