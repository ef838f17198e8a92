//! The rewriting itself: one pass over the lines, straight into a buffer.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use super::filter::Filter;
use super::{AnchorPlan, CryptoPlan, MediaPlan, RtcpMuxPlan};
use crate::address::WireAddress;
use crate::{Attribute, Direction, MediaDescription, SdpError, SessionDescription};

/// Room for what we add per stream beside what was there, bytes.
const ADDED_BYTES: usize = 256;

/// Rewrites `sdp` for the other leg by `plan`; the [module](mod@crate::anchor) says what becomes of each line.
///
/// The result reads back with [`SessionDescription::parse`], unless `sdp` is so near the limits of size that what we
/// add goes beyond them.
pub fn anchor(sdp: &SessionDescription, plan: &AnchorPlan) -> Bytes {
    let mut writer = Writer {
        out: BytesMut::with_capacity(sdp.bytes().len() + ADDED_BYTES * (sdp.media_count() + 1)),
        sdp,
        filter: Filter::new(sdp),
        session_address: plan.origin.address,
        written: fmt::Result::Ok(()),
    };
    writer.session_part(plan);
    let refused = MediaPlan::reject();
    for media in sdp.media() {
        writer.media_part(media, plan.media.get(media.index()).unwrap_or(&refused));
    }
    debug_assert!(writer.written.is_ok(), "a BytesMut grows");
    writer.out.freeze()
}

/// [`anchor`], read back: for an owner that keeps what it sent.
///
/// # Errors
/// The rewritten description is beyond the limits of size.
pub fn anchored(sdp: &SessionDescription, plan: &AnchorPlan) -> Result<SessionDescription, SdpError> {
    SessionDescription::parse(anchor(sdp, plan))
}

struct Writer<'a> {
    out: BytesMut,
    sdp: &'a SessionDescription,
    filter: Filter<'a>,
    /// The address of the session's `c=` line.
    session_address: IpAddr,
    written: fmt::Result,
}

impl Writer<'_> {
    fn session_part(&mut self, plan: &AnchorPlan) {
        // The session's c= is that of the first stream we relay, so that most streams need none of their own.
        let relayed = plan.media.iter().find_map(|media| media.rtp);
        self.session_address = relayed.map_or(plan.origin.address, |address| address.ip());
        // RFC 8866 §5 fixes the order v o s i u e p c b t. Ours is written where it belongs even if it was not there.
        self.line(b'v', format_args!("0"));
        self.line(b'o', format_args!("{}", plan.origin));
        self.line(b's', format_args!("-"));
        let mut timed = false;
        self.line(b'c', format_args!("{}", WireAddress(self.session_address)));
        for index in self.sdp.session_range() {
            let (letter, value) = self.sdp.line(index);
            match letter {
                b'v' | b'o' | b's' | b'i' | b'u' | b'e' | b'p' | b'k' | b'c' => {}
                b'a' => {
                    self.timing(&mut timed);
                    self.session_attribute(index, plan);
                }
                _ => {
                    let passed = self.pass_unless_revealing(letter, value);
                    timed |= passed && letter == b't';
                }
            }
        }
        self.timing(&mut timed);
    }

    /// DEVIATION RFC 8866 §5.9: a description without `t=` is read; what we write has one, before the attributes.
    fn timing(&mut self, timed: &mut bool) {
        if !std::mem::replace(timed, true) {
            self.line(b't', format_args!("0 0"));
        }
    }

    fn session_attribute(&mut self, index: usize, plan: &AnchorPlan) {
        let Some(text) = self.sdp.text(index) else { return };
        // Keys of the session (a DTLS fingerprint) pass only if every stream passes its keys.
        let keeps_keys =
            plan.media.iter().all(|media| media.rtp.is_none() || matches!(media.crypto, CryptoPlan::Pass));
        let attribute = Attribute::split(text);
        // These two belong to streams; a session that has them would undo our plan for each.
        let of_stream = attribute.is("rtcp") || attribute.is("rtcp-mux");
        if !of_stream && self.filter.passes(&attribute, keeps_keys) {
            self.raw(b'a', text.as_bytes());
        }
    }

    fn media_part(&mut self, media: MediaDescription<'_>, plan: &MediaPlan) {
        let target = plan.rtp.filter(|_| !media.is_rejected());
        self.media_line(&media, plan, target);
        let address = target.map(|target| target.ip());
        if let Some(address) = address.filter(|address| *address != self.session_address) {
            // RFC 8866 §5: c= follows m= and i=, before b= and a=.
            self.line(b'c', format_args!("{}", WireAddress(address)));
        }
        let mut attributes = MediaAttributes::new(&media, plan, target);
        let lines = self.sdp.media_range(media.index()).skip(1);
        for index in lines {
            let (letter, value) = self.sdp.line(index);
            match letter {
                b'i' | b'c' | b'k' | b'u' | b'e' | b'p' | b's' => {}
                b'a' => {
                    let Some(text) = self.sdp.text(index) else { continue };
                    attributes.line(self, text);
                }
                _ => {
                    self.pass_unless_revealing(letter, value);
                }
            }
        }
        attributes.finish(self);
    }

    fn media_line(&mut self, media: &MediaDescription<'_>, plan: &MediaPlan, target: Option<SocketAddr>) {
        let Some(words) = media.words() else { return };
        let protocol = plan.protocol.unwrap_or_else(|| match &plan.crypto {
            CryptoPlan::Pass => media.protocol(),
            CryptoPlan::Plain => media.protocol().plain(),
            CryptoPlan::Sdes(_) => media.protocol().with_sdes(),
        });
        // The writer's own spelling where the profile does not change (`UDPTL`).
        let protocol = match protocol.name() {
            Some(name) if protocol != media.protocol() => name,
            _ => words.protocol,
        };
        let port = target.map_or(0, |target| target.port());
        let blank = if words.formats.is_empty() { "" } else { " " };
        self.line(b'm', format_args!("{} {port} {protocol}{blank}{}", words.kind, words.formats));
    }

    /// Returns whether the line passed.
    fn pass_unless_revealing(&mut self, letter: u8, value: &[u8]) -> bool {
        let passes = std::str::from_utf8(value).is_ok_and(|text| !self.filter.reveals_address(text));
        if passes {
            self.raw(letter, value);
        }
        passes
    }

    fn raw(&mut self, letter: u8, value: &[u8]) {
        self.out.put_slice(&[letter, b'=']);
        self.out.put_slice(value);
        self.out.put_slice(b"\r\n");
    }

    fn line(&mut self, letter: u8, value: fmt::Arguments<'_>) {
        self.out.put_slice(&[letter, b'=']);
        self.written = self.written.and(self.out.write_fmt(value));
        self.out.put_slice(b"\r\n");
    }
}

/// Attributes we replace, each written once: where the writer had it, else at the end of the section.
struct MediaAttributes<'p> {
    plan: &'p MediaPlan,
    target: Option<SocketAddr>,
    /// Direction to write, `None` to let the writer's pass.
    direction: Option<Direction>,
    rtcp_due: bool,
    mux_due: bool,
    crypto_due: bool,
    direction_due: bool,
}

impl<'p> MediaAttributes<'p> {
    fn new(media: &MediaDescription<'_>, plan: &'p MediaPlan, target: Option<SocketAddr>) -> Self {
        let meant = media.effective_direction();
        let direction = plan.direction.or((meant != media.direction()).then_some(meant));
        let in_use = target.is_some();
        let is_rtp = in_use && media.protocol().is_rtp();
        let mux = match plan.rtcp_mux {
            RtcpMuxPlan::Remove => false,
            RtcpMuxPlan::Keep => media.rtcp_mux(),
            RtcpMuxPlan::Insert => true,
        };
        Self {
            plan,
            target,
            direction,
            rtcp_due: is_rtp && plan.rtcp.is_some(),
            mux_due: is_rtp && mux,
            crypto_due: is_rtp && matches!(plan.crypto, CryptoPlan::Sdes(_)),
            direction_due: in_use && direction.is_some(),
        }
    }

    fn line(&mut self, writer: &mut Writer<'_>, text: &str) {
        let attribute = Attribute::split(text);
        let keeps_keys = matches!(self.plan.crypto, CryptoPlan::Pass);
        if attribute.is("rtcp") {
            self.write_rtcp(writer);
        } else if attribute.is("rtcp-mux") {
            self.write_mux(writer);
        } else if attribute.is("crypto") && !keeps_keys {
            self.write_crypto(writer);
        } else if self.direction.is_some() && Direction::of(&attribute).is_some() {
            self.write_direction(writer);
        } else if writer.filter.passes(&attribute, keeps_keys) {
            writer.raw(b'a', text.as_bytes());
        }
    }

    fn finish(&mut self, writer: &mut Writer<'_>) {
        self.write_rtcp(writer);
        self.write_mux(writer);
        self.write_crypto(writer);
        self.write_direction(writer);
    }

    fn write_rtcp(&mut self, writer: &mut Writer<'_>) {
        let (Some(rtcp), Some(target)) = (self.plan.rtcp, self.target) else { return };
        if !std::mem::take(&mut self.rtcp_due) {
        } else if rtcp.ip() == target.ip() {
            writer.line(b'a', format_args!("rtcp:{}", rtcp.port()));
        } else {
            writer.line(b'a', format_args!("rtcp:{} {}", rtcp.port(), WireAddress(rtcp.ip())));
        }
    }

    fn write_mux(&mut self, writer: &mut Writer<'_>) {
        if std::mem::take(&mut self.mux_due) {
            writer.raw(b'a', b"rtcp-mux");
        }
    }

    fn write_crypto(&mut self, writer: &mut Writer<'_>) {
        let CryptoPlan::Sdes(cryptos) = &self.plan.crypto else { return };
        if !std::mem::take(&mut self.crypto_due) {
            return;
        }
        for crypto in cryptos {
            writer.out.put_slice(b"a=crypto:");
            writer.written = writer.written.and(crypto.write_value(&mut writer.out));
            writer.out.put_slice(b"\r\n");
        }
    }

    fn write_direction(&mut self, writer: &mut Writer<'_>) {
        if let Some(direction) = self.direction.filter(|_| std::mem::take(&mut self.direction_due)) {
            writer.raw(b'a', direction.as_str().as_bytes());
        }
    }
}
