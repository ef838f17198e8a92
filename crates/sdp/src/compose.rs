//! Descriptions of our own, for the built-in phones and for tests.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use crate::address::WireAddress;
use crate::{Crypto, Direction, OwnOrigin, RtpMap, SessionDescription};

/// One audio stream, to be written as an offer or an answer.
#[derive(Clone, Debug)]
pub struct AudioDescription<'a> {
    /// Who writes it.
    pub origin: OwnOrigin,
    /// Where RTP is wanted; port 0 refuses the stream.
    pub rtp: SocketAddr,
    /// Codecs in order of preference, telephone events among them.
    pub codecs: &'a [RtpMap<'a>],
    /// Direction.
    pub direction: Direction,
    /// Packet length asked for, milliseconds.
    pub ptime_ms: Option<u16>,
    /// Whether RTCP may share the port.
    pub rtcp_mux: bool,
    /// SDES key; makes the profile `RTP/SAVP`.
    pub crypto: Option<&'a Crypto>,
}

impl AudioDescription<'_> {
    /// Writes the description. Without codecs the stream is refused: an `m=` line needs a format.
    pub fn describe(&self) -> SessionDescription {
        let mut text = String::with_capacity(512);
        self.write_text(&mut text).expect("writing to a string does not fail");
        SessionDescription::parse(text).expect("a composed description is well formed")
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        let (port, profile) = (
            if self.codecs.is_empty() { 0 } else { self.rtp.port() },
            if self.crypto.is_some() { "RTP/SAVP" } else { "RTP/AVP" },
        );
        write!(out, "v=0\r\no={}\r\ns=-\r\nc={}\r\n", self.origin, WireAddress(self.rtp.ip()))?;
        write!(out, "t=0 0\r\nm=audio {port} {profile}")?;
        for map in self.codecs {
            write!(out, " {}", map.payload_type)?;
        }
        out.write_str("\r\n")?;
        for map in self.codecs {
            write!(out, "a=rtpmap:{} {}\r\n", map.payload_type, map.codec)?;
            if map.codec.is("telephone-event") {
                write!(out, "a=fmtp:{} 0-16\r\n", map.payload_type)?;
            }
        }
        if let Some(ms) = self.ptime_ms {
            write!(out, "a=ptime:{ms}\r\n")?;
        }
        if self.rtcp_mux {
            out.write_str("a=rtcp-mux\r\n")?;
        }
        if let Some(crypto) = self.crypto {
            out.write_str("a=crypto:")?;
            crypto.write_value(out)?;
            out.write_str("\r\n")?;
        }
        write!(out, "a={}\r\n", self.direction.as_str())
    }
}
