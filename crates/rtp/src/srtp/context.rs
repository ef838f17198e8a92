//! Packets in, packets out: the steps of RFC 3711 §3.3 and §3.4.

use offhook_base::MasterKey;

use super::{
    cipher::{Forged, GCM_TAG_LEN, SessionCipher},
    key,
    sources::{Admission, NOTE_EVERY_PACKETS, NotAdmitted, Progress, Sources, WhenFull},
};
use crate::{
    read,
    rtp::{Header, RtpError, Ssrc},
};

/// Most bytes a packet grows by under any suite: GCM tag and SRTCP index.
pub const OVERHEAD_MAX: usize = GCM_TAG_LEN + SRTCP_INDEX_LEN;

/// Bytes of the E flag and the index. RFC 3711 §3.4.
const SRTCP_INDEX_LEN: usize = 4;
/// In clear in every SRTCP packet: header and sender SSRC, in bytes.
const RTCP_CLEAR_LEN: usize = 8;
/// "This packet is encrypted".
const E_FLAG: u32 = 1 << 31;
/// Most SRTCP packets under one key. RFC 3711 §9.2.
const SRTCP_INDEX_MAX: u64 = (1 << 31) - 1;

/// Whether RTCP is encrypted; it is always authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrtcpMode {
    /// As RFC 3711 has it; an unencrypted packet of the peer is refused.
    #[default]
    Encrypted,
    /// The session parameter UNENCRYPTED_SRTCP was negotiated; an encrypted packet is still read. RFC 4568 §6.3.2.
    Unencrypted,
}

/// Why a packet was not protected. Ours, or a stream that must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// No room for the tag behind the packet.
    #[error("packet of {len} bytes leaves {available} for {needed} bytes of SRTP")]
    NoRoom {
        /// Bytes of the packet.
        len: usize,
        /// Bytes behind it.
        available: usize,
        /// Bytes it grows by.
        needed: usize,
    },
    /// What should be protected is not RTP.
    #[error(transparent)]
    NotRtp(#[from] RtpError),
    /// What should be protected is not RTCP.
    #[error("RTCP packet of {0} bytes is too short")]
    NotRtcp(usize),
    /// The sequence number was used, or lies too far behind to tell: sending it could use keystream twice.
    #[error("sequence number was already sent under this key")]
    Repeated,
    /// More than [`SOURCES_MAX`](super::SOURCES_MAX) sources under one key: a new key is needed.
    #[error("too many sources under one key")]
    TooManySources,
    /// The key has done its 2^48 RTP or 2^31 RTCP packets. RFC 3711 §9.2.
    #[error("key is exhausted")]
    KeyExhausted,
}

/// Why a packet was not accepted. The peer's doing or an attacker's: count and drop. The packet's bytes are
/// unspecified then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnprotectError {
    /// Not an RTP header.
    #[error(transparent)]
    NotRtp(#[from] RtpError),
    /// Too short for a header and what the suite appends.
    #[error("SRTP packet of {0} bytes is too short")]
    TooShort(usize),
    /// Seen before, or too far behind to tell.
    #[error("packet is replayed or too old")]
    Replayed,
    /// The tag is wrong: damaged, forged, or under another key.
    #[error("packet is not authentic")]
    NotAuthentic,
    /// RTCP in clear where encryption was negotiated.
    #[error("SRTCP packet is not encrypted")]
    NotEncrypted,
}

impl From<NotAdmitted> for ProtectError {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            NotAdmitted::Replayed => Self::Repeated,
            NotAdmitted::TooManySources => Self::TooManySources,
        }
    }
}

impl From<NotAdmitted> for UnprotectError {
    fn from(reason: NotAdmitted) -> Self {
        match reason {
            // A receiving table forgets instead of refusing.
            NotAdmitted::Replayed | NotAdmitted::TooManySources => Self::Replayed,
        }
    }
}

impl From<Forged> for UnprotectError {
    fn from(Forged: Forged) -> Self {
        Self::NotAuthentic
    }
}

/// One direction, outwards. Not `Clone`: two of them would use keystream twice.
pub struct Protector {
    rtp: SessionCipher,
    rtcp: SessionCipher,
    srtcp_mode: SrtcpMode,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl std::fmt::Debug for Protector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protector").finish_non_exhaustive()
    }
}

impl Protector {
    /// Derives the session keys: a few microseconds, once a call.
    pub fn new(master: &MasterKey, srtcp_mode: SrtcpMode) -> Self {
        Self {
            rtp: key::rtp_cipher(master),
            rtcp: key::rtcp_cipher(master),
            srtcp_mode,
            rtp_sources: Sources::new(WhenFull::Refuse),
            rtcp_sources: Sources::new(WhenFull::Refuse),
        }
    }

    /// Whether it is time to note how far it has come, for another process that may go on under this key.
    pub const fn is_note_due(&self) -> bool {
        self.rtp_sources.is_note_due() || self.rtcp_sources.is_note_due()
    }

    /// How far it has come with each source of RTP and of RTCP, to be noted now.
    pub fn note_progress(&mut self) -> (Vec<Progress>, Vec<Progress>) {
        (self.rtp_sources.note_progress().collect(), self.rtcp_sources.note_progress().collect())
    }

    /// Goes on under a key of another process, from what that has noted. SRTCP packets get their index here: it leaps over
    /// those that may have been sent since.
    pub fn resume(&mut self, rtp: &[Progress], rtcp: &[Progress]) {
        rtp.iter().for_each(|progress| self.rtp_sources.resume(*progress));
        for Progress { ssrc, index } in rtcp {
            self.rtcp_sources.resume(Progress { ssrc: *ssrc, index: index + 2 * NOTE_EVERY_PACKETS });
        }
    }

    /// Protects the RTP packet that is the first `len` bytes of `buffer` and returns its new length.
    ///
    /// Packets may come out of order, as a relay receives them. Each sequence number is taken once.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, ProtectError> {
        let packet = buffer.get(..len).ok_or(RtpError::Truncated { len: buffer.len() })?;
        let header = Header::parse(packet)?;
        let (ssrc, clear_len) = (header.ssrc(), header.len());
        let admission = self.rtp_sources.admit_rtp(ssrc, header.sequence_number())?;
        let tag_len = self.rtp.tag_len();
        let end = room(buffer, len, tag_len)?;
        let (clear, rest) = buffer[..end].split_at_mut(clear_len);
        let (payload, tag) = rest.split_at_mut(len - clear_len);
        match &self.rtp {
            SessionCipher::Hmac(key) => {
                key.apply_keystream(ssrc, admission.index, payload);
                let (message, tag) = buffer[..end].split_at_mut(len);
                key.write_tag(message, &rollover_counter(admission), tag);
            }
            SessionCipher::Gcm(key) => {
                let sum =
                    key.seal(ssrc, admission.index, clear, payload).ok_or(ProtectError::KeyExhausted)?;
                tag.copy_from_slice(&sum);
            }
        }
        self.rtp_sources.note(admission);
        Ok(end)
    }

    /// Protects the RTCP compound that is the first `len` bytes of `buffer` and returns its new length.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, ProtectError> {
        let packet = buffer.get(..len).filter(|packet| packet.len() >= RTCP_CLEAR_LEN);
        let ssrc = packet.and_then(|packet| read(packet, 4)).ok_or(ProtectError::NotRtcp(len))?;
        let ssrc = Ssrc(u32::from_be_bytes(ssrc));
        // RFC 3711 §3.4: the first packet has index zero in its text, one in every implementation of weight;
        // receivers take either.
        let index = self.rtcp_sources.newest(ssrc).map_or(1, |newest| newest + 1);
        if index > SRTCP_INDEX_MAX {
            return Err(ProtectError::KeyExhausted);
        }
        let admission = self.rtcp_sources.admit(ssrc, index)?;
        let end = room(buffer, len, self.rtcp.tag_len() + SRTCP_INDEX_LEN)?;
        let clear_len = match self.srtcp_mode {
            SrtcpMode::Encrypted => RTCP_CLEAR_LEN,
            SrtcpMode::Unencrypted => len,
        };
        let encrypted = if clear_len < len || self.srtcp_mode == SrtcpMode::Encrypted { E_FLAG } else { 0 };
        let trailer = (encrypted | index as u32).to_be_bytes();
        match &self.rtcp {
            SessionCipher::Hmac(key) => {
                key.apply_keystream(ssrc, index, &mut buffer[clear_len..len]);
                let (message, tag) = buffer[..end].split_at_mut(len + SRTCP_INDEX_LEN);
                message[len..].copy_from_slice(&trailer);
                key.write_tag(message, &[], tag);
            }
            SessionCipher::Gcm(key) => {
                let (clear, rest) = buffer[..end].split_at_mut(clear_len);
                let (payload, rest) = rest.split_at_mut(len - clear_len);
                let (tag, index_place) = rest.split_at_mut(GCM_TAG_LEN);
                let mut scratch = Associated::new();
                let associated = scratch.join(clear, trailer).ok_or(ProtectError::NotRtcp(len))?;
                let sum = key.seal(ssrc, index, associated, payload).ok_or(ProtectError::KeyExhausted)?;
                tag.copy_from_slice(&sum);
                index_place.copy_from_slice(&trailer);
            }
        }
        self.rtcp_sources.note(admission);
        Ok(end)
    }
}

/// One direction, inwards.
pub struct Unprotector {
    rtp: SessionCipher,
    rtcp: SessionCipher,
    srtcp_mode: SrtcpMode,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl std::fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unprotector").finish_non_exhaustive()
    }
}

impl Unprotector {
    /// Derives the session keys: a few microseconds, once a call.
    pub fn new(master: &MasterKey, srtcp_mode: SrtcpMode) -> Self {
        Self {
            rtp: key::rtp_cipher(master),
            rtcp: key::rtcp_cipher(master),
            srtcp_mode,
            rtp_sources: Sources::new(WhenFull::ForgetOldest),
            rtcp_sources: Sources::new(WhenFull::ForgetOldest),
        }
    }

    /// Whether it is time to note how far it has come, for another process that may go on under this key.
    pub const fn is_note_due(&self) -> bool {
        self.rtp_sources.is_note_due() || self.rtcp_sources.is_note_due()
    }

    /// How far it has come with each source of RTP and of RTCP, to be noted now.
    pub fn note_progress(&mut self) -> (Vec<Progress>, Vec<Progress>) {
        (self.rtp_sources.note_progress().collect(), self.rtcp_sources.note_progress().collect())
    }

    /// Goes on under a key of another process, from what that has noted.
    pub fn resume(&mut self, rtp: &[Progress], rtcp: &[Progress]) {
        rtp.iter().for_each(|progress| self.rtp_sources.resume(*progress));
        rtcp.iter().for_each(|progress| self.rtcp_sources.resume(*progress));
    }

    /// Opens the SRTP packet that is all of `packet` and returns the length of the RTP packet now at its start.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, UnprotectError> {
        let header = Header::parse(packet)?;
        let (ssrc, clear_len) = (header.ssrc(), header.len());
        let len = packet.len().checked_sub(self.rtp.tag_len()).filter(|&len| len >= clear_len);
        let len = len.ok_or(UnprotectError::TooShort(packet.len()))?;
        let admission = self.rtp_sources.admit_rtp(ssrc, header.sequence_number())?;
        match &self.rtp {
            SessionCipher::Hmac(key) => {
                let (message, tag) = packet.split_at_mut(len);
                key.verify_tag(message, &rollover_counter(admission), tag)?;
                key.apply_keystream(ssrc, admission.index, &mut message[clear_len..]);
            }
            SessionCipher::Gcm(key) => {
                let (clear, payload_and_tag) = packet.split_at_mut(clear_len);
                key.open(ssrc, admission.index, clear, payload_and_tag)?;
            }
        }
        self.rtp_sources.note(admission);
        Ok(len)
    }

    /// Opens the SRTCP packet that is all of `packet` and returns the length of the RTCP compound now at its start.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, UnprotectError> {
        let too_short = UnprotectError::TooShort(packet.len());
        let len = packet.len().checked_sub(self.rtcp.tag_len() + SRTCP_INDEX_LEN);
        let len = len.filter(|&len| len >= RTCP_CLEAR_LEN).ok_or(too_short)?;
        let ssrc = Ssrc(u32::from_be_bytes(read(packet, 4).ok_or(too_short)?));
        let trailer_at = match &self.rtcp {
            SessionCipher::Hmac(_) => len,
            // RFC 7714 §9.3: with GCM the tag comes first.
            SessionCipher::Gcm(_) => len + GCM_TAG_LEN,
        };
        let trailer = read(packet, trailer_at).ok_or(too_short)?;
        let word = u32::from_be_bytes(trailer);
        let encrypted = word & E_FLAG != 0;
        if !encrypted && self.srtcp_mode == SrtcpMode::Encrypted {
            return Err(UnprotectError::NotEncrypted);
        }
        let index = u64::from(word & !E_FLAG);
        let admission = self.rtcp_sources.admit(ssrc, index)?;
        let clear_len = if encrypted { RTCP_CLEAR_LEN } else { len };
        match &self.rtcp {
            SessionCipher::Hmac(key) => {
                let (message, tag) = packet.split_at_mut(len + SRTCP_INDEX_LEN);
                key.verify_tag(message, &[], tag)?;
                key.apply_keystream(ssrc, index, &mut message[clear_len..len]);
            }
            SessionCipher::Gcm(key) => {
                let (clear, rest) = packet.split_at_mut(clear_len);
                let mut scratch = Associated::new();
                let associated = scratch.join(clear, trailer).ok_or(too_short)?;
                key.open(ssrc, index, associated, &mut rest[..len - clear_len + GCM_TAG_LEN])?;
            }
        }
        self.rtcp_sources.note(admission);
        Ok(len)
    }
}

impl SessionCipher {
    const fn tag_len(&self) -> usize {
        match self {
            Self::Hmac(key) => key.tag_len(),
            Self::Gcm(_) => GCM_TAG_LEN,
        }
    }
}

/// Where the protected packet will end.
fn room(buffer: &[u8], len: usize, needed: usize) -> Result<usize, ProtectError> {
    let available = buffer.len() - len;
    if available < needed { Err(ProtectError::NoRoom { len, available, needed }) } else { Ok(len + needed) }
}

/// What RTP's tag covers beyond the packet. RFC 3711 §4.2.
fn rollover_counter(admission: Admission) -> [u8; 4] {
    ((admission.index >> 16) as u32).to_be_bytes()
}

/// Longest RTCP compound that is authenticated without encryption under GCM, in bytes: beyond any path's MTU.
const ASSOCIATED_LEN_MAX: usize = 2048;

/// Room to put GCM's associated data of SRTCP in one piece: what is in clear, then E flag and index. RFC 7714 §9.2.
struct Associated([u8; ASSOCIATED_LEN_MAX]);

impl Associated {
    const fn new() -> Self {
        Self([0; ASSOCIATED_LEN_MAX])
    }

    fn join(&mut self, clear: &[u8], trailer: [u8; SRTCP_INDEX_LEN]) -> Option<&[u8]> {
        let len = clear.len() + SRTCP_INDEX_LEN;
        let whole = self.0.get_mut(..len)?;
        whole[..clear.len()].copy_from_slice(clear);
        whole[clear.len()..].copy_from_slice(&trailer);
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offhook_base::CryptoSuite;

    use crate::srtp::cipher::GcmKey;
    use aws_lc_rs::aead;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn lines(file: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
        file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_whitespace().collect())
    }

    /// The RFC states its vectors by session keys, so they go in below the key derivation.
    fn session(suite: &str, key: &str, salt: &str) -> SessionCipher {
        let algorithm = if suite == "AEAD_AES_128_GCM" { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        SessionCipher::Gcm(GcmKey::new(algorithm, &hex(key), &hex(salt)))
    }

    #[test]
    fn packets_are_protected_and_opened_as_in_rfc_7714() {
        for line in lines(include_str!("../../tests/vectors/rfc7714.txt")) {
            let [kind, suite, key, salt, plain, protected] = line[..] else { panic!("{line:?}") };
            let (plain, protected) = (hex(plain), hex(protected));
            let mode = if kind == "rtcp-unencrypted" { SrtcpMode::Unencrypted } else { SrtcpMode::Encrypted };
            let master = MasterKey::new(CryptoSuite::AeadAes128Gcm, &[0; 28]).unwrap();
            let mut sender = Protector::new(&master, mode);
            sender.rtp = session(suite, key, salt);
            sender.rtcp = session(suite, key, salt);
            let ssrc = Ssrc(0x4d61_7273);
            sender.rtcp_sources.note(sender.rtcp_sources.admit(ssrc, 0x5d3).unwrap());
            let mut receiver = Unprotector::new(&master, mode);
            receiver.rtp = session(suite, key, salt);
            receiver.rtcp = session(suite, key, salt);

            let mut buffer = plain.clone();
            buffer.resize(plain.len() + OVERHEAD_MAX, 0);
            let len = match kind {
                "rtp" => sender.protect_rtp(&mut buffer, plain.len()),
                _ => sender.protect_rtcp(&mut buffer, plain.len()),
            };
            assert_eq!(buffer[..len.unwrap()], protected, "{kind} {suite}");
            let mut packet = protected.clone();
            let len = match kind {
                "rtp" => receiver.unprotect_rtp(&mut packet),
                _ => receiver.unprotect_rtcp(&mut packet),
            };
            assert_eq!(packet[..len.unwrap()], plain, "{kind} {suite}");
        }
    }

    #[test]
    fn counter_mode_packets_are_those_of_other_implementations() {
        let master = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let master = MasterKey::new(CryptoSuite::AesCm128HmacSha1_80, &master).unwrap();
        let mut sender = Protector::new(&master, SrtcpMode::Encrypted);
        let mut receiver = Unprotector::new(&master, SrtcpMode::Encrypted);
        for line in lines(include_str!("../../tests/vectors/aes_cm_hmac_sha1_80.txt")) {
            let [kind, plain, protected] = line[..] else { panic!("{line:?}") };
            let (plain, protected) = (hex(plain), hex(protected));
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + OVERHEAD_MAX, 0);
            let len = match kind {
                "rtp" => sender.protect_rtp(&mut buffer, plain.len()),
                _ => sender.protect_rtcp(&mut buffer, plain.len()),
            };
            assert_eq!(buffer[..len.unwrap()], protected, "{kind}");
            let mut packet = protected.clone();
            let len = match kind {
                "rtp" => receiver.unprotect_rtp(&mut packet),
                _ => receiver.unprotect_rtcp(&mut packet),
            };
            assert_eq!(packet[..len.unwrap()], plain, "{kind}");
        }
    }
}
