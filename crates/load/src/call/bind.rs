//! Templates bound to a run: what is the same in every call becomes text.

use super::plan::{Settings, Standard};
use crate::scenario::{
    Fault, Place,
    keyword::{Keyword, LastHeader},
    read::Known,
    template::{Segment, Template},
};

/// A text bound to a run.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// In order; two texts never follow each other.
    pub(crate) pieces: Vec<Piece>,
}

/// A part of a bound text.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Copied.
    Text(Box<[u8]>),
    /// Looked up in the call.
    Keyword(Keyword),
    /// The length of the body, plus this: filled in when the body is written.
    Length(i64),
}

/// Binds `template` to `settings`.
pub(crate) fn bind(template: &Template, settings: &Settings) -> Result<Bound, Fault> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut text: Vec<u8> = Vec::new();
    for segment in &template.segments {
        match segment {
            Segment::Text(octets) => text.extend_from_slice(octets),
            Segment::Keyword(keyword) => match constant(keyword, settings)? {
                Some(value) => text.extend_from_slice(&value),
                None => {
                    flush(&mut text, &mut pieces);
                    pieces.push(match **keyword {
                        Keyword::Len(offset) => Piece::Length(offset),
                        ref other => Piece::Keyword(other.clone()),
                    });
                }
            },
        }
    }
    flush(&mut text, &mut pieces);
    Ok(Bound { pieces: known_length(pieces) })
}

fn flush(text: &mut Vec<u8>, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text).into()));
    }
}

/// Where the body is all text, its length is known now.
fn known_length(pieces: Vec<Piece>) -> Vec<Piece> {
    let Some(last) = pieces.last() else { return pieces };
    let Piece::Text(last_text) = last else { return pieces };
    let Some(end) = memchr::memmem::find(last_text, b"\r\n\r\n") else { return pieces };
    let length = (last_text.len() - end - 4) as i64;
    let mut result = Vec::with_capacity(pieces.len());
    let mut text = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(octets) => text.extend_from_slice(&octets),
            Piece::Length(offset) => text.extend_from_slice(&length_digits(length + offset)),
            other @ Piece::Keyword(_) => {
                flush(&mut text, &mut result);
                result.push(other);
            }
        }
    }
    flush(&mut text, &mut result);
    result
}

/// A length as SIPp writes it: at least five letters wide, so that it can be filled in later.
pub(crate) fn length_digits(length: i64) -> Vec<u8> {
    format!("{length:>5}").into_bytes()
}

/// The value of a keyword that is the same in every call of the run.
fn constant(keyword: &Keyword, settings: &Settings) -> Result<Option<Vec<u8>>, Fault> {
    let port = |port: u16, offset: i64| Some((i64::from(port) + offset).to_string());
    let type_of = |is_v4: bool| Some(if is_v4 { "4" } else { "6" }.to_string());
    let value = match keyword {
        Keyword::Service => Some(settings.service.clone()),
        Keyword::RemoteHost => Some(settings.remote_host.clone()),
        // Without a remote host each call has its own.
        Keyword::RemoteIp => settings.remote.map(|remote| in_brackets(remote.ip())),
        Keyword::RemotePort(offset) => settings.remote.and_then(|remote| port(remote.port(), *offset)),
        Keyword::Transport => Some(settings.transport.into()),
        Keyword::LocalIp | Keyword::ServerIp => Some(in_brackets(settings.local_ip)),
        Keyword::LocalIpType => type_of(settings.local_ip.is_ipv4()),
        Keyword::LocalPort(offset) if !settings.socket_per_call => port(settings.local_port, *offset),
        Keyword::MediaIp => Some(settings.media_ip.to_string()),
        Keyword::MediaIpType => type_of(settings.media_ip.is_ipv4()),
        Keyword::MediaPort(offset) => port(settings.media_port, *offset),
        Keyword::CryptoTag(slot) => Some(slot.to_string()),
        Keyword::CryptoSuite(name) => Some((*name).into()),
        Keyword::Pid => Some(settings.pid.to_string()),
        Keyword::SippVersion => Some(env!("CARGO_PKG_VERSION").into()),
        Keyword::Given(value) => Some(value.clone()),
        Keyword::File(content) => return Ok(Some(content.clone())),
        _ => None,
    };
    Ok(value.map(String::into_bytes))
}

/// An address as a URI has it.
pub(crate) fn in_brackets(ip: std::net::IpAddr) -> String {
    if ip.is_ipv4() { ip.to_string() } else { format!("[{ip}]") }
}

/// Whether a keyword looks at the last received message.
pub(crate) const fn needs_last(keyword: &Keyword) -> bool {
    matches!(
        keyword,
        Keyword::LastHeader(_)
            | Keyword::LastMessage
            | Keyword::LastRequestUri
            | Keyword::LastCseqNumber(_)
            // A field may hold any keyword.
            | Keyword::Field(_)
    )
}

/// Whether a keyword is a key of the call's media.
pub(crate) const fn is_key(keyword: &Keyword) -> bool {
    matches!(keyword, Keyword::CryptoKey(_))
}

/// Whether a keyword is the other side's tag.
pub(crate) const fn needs_peer_tag(keyword: &Keyword) -> bool {
    matches!(keyword, Keyword::PeerTagParam | Keyword::Field(_))
}

impl Standard {
    /// What SIPp sends by itself: the ACK, BYE and CANCEL of a call that is given up, and the 200 for what came by surprise.
    pub(crate) fn bind(settings: &Settings) -> Result<Self, Fault> {
        let last = |name: &str| {
            Keyword::LastHeader(LastHeader { name: name.as_bytes().to_vec(), value_only: false })
        };
        // Each line: text, and the keyword that follows it.
        let request = |method: &str, via: Option<Keyword>, cseq_offset: i64| {
            let mut parts: Vec<(String, Option<Keyword>)> =
                vec![(format!("{method} "), Some(Keyword::LastRequestUri)), (" SIP/2.0\r\n".into(), None)];
            match via {
                Some(via) => parts.push((String::new(), Some(via))),
                None => {
                    let start = format!("Via: SIP/2.0/{} ", settings.transport);
                    parts.push((start, Some(Keyword::LocalIp)));
                    parts.push((":".into(), Some(Keyword::LocalPort(0))));
                    parts.push((";branch=".into(), Some(Keyword::Branch(0))));
                }
            }
            parts.push(("\r\n".into(), Some(last("From"))));
            parts.push(("\r\n".into(), Some(last("To"))));
            parts.push(("\r\n".into(), Some(last("Call-ID"))));
            parts.push(("\r\nCSeq: ".into(), Some(Keyword::LastCseqNumber(cseq_offset))));
            let contact = format!(" {method}\r\nMax-Forwards: 70\r\nContact: <sip:sipp@");
            parts.push((contact, Some(Keyword::LocalIp)));
            parts.push((":".into(), Some(Keyword::LocalPort(0))));
            let end = format!(";transport={}>\r\nContent-Length: 0\r\n\r\n", settings.transport);
            parts.push((end, None));
            bind(&template(parts), settings)
        };
        let mut ok = vec![("SIP/2.0 200 OK\r\n".to_string(), None)];
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            ok.push((String::new(), Some(last(name))));
            ok.push(("\r\n".into(), None));
        }
        ok.push(("Contact: <sip:".into(), Some(Keyword::LocalIp)));
        ok.push((":".into(), Some(Keyword::LocalPort(0))));
        let end = format!(";transport={}>\r\nContent-Length: 0\r\n\r\n", settings.transport);
        ok.push((end, None));
        Ok(Self {
            ack: request("ACK", Some(last("Via")), 0)?,
            bye: request("BYE", None, 1)?,
            cancel: request("CANCEL", Some(last("Via")), 0)?,
            ok: bind(&template(ok), settings)?,
        })
    }
}

fn template(parts: Vec<(String, Option<Keyword>)>) -> Template {
    let mut segments = Vec::new();
    for (text, keyword) in parts {
        if !text.is_empty() {
            segments.push(Segment::Text(text.into_bytes().into()));
        }
        segments.extend(keyword.map(|keyword| Segment::Keyword(Box::new(keyword))));
    }
    Template { segments }
}

/// A text of the injection file that has keywords of its own, bound when it is met.
pub(crate) fn of_field(text: &[u8], settings: &Settings) -> Option<Bound> {
    let known = Known::default();
    let mut names = crate::scenario::read::Names::alone(&known);
    let template = Template::compile(text, Place::default(), &mut names).ok()?;
    bind(&template, settings).ok()
}
