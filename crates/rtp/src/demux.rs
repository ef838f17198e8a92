//! One port carries many protocols: which one a datagram belongs to, by its first bytes.
//!
//! RFC 7983 §7 divides the first byte among STUN, ZRTP, DTLS, TURN channels and RTP; within RTP's share, RFC 5761 §4
//! keeps the payload types 64–95 free so that they can only be RTCP packet types 192–223.

use crate::rtp::FIXED_HEADER_LEN;

/// The protocol of a datagram. A class is a claim of the first bytes only: parsing may still refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatagramClass {
    /// First byte 0–3.
    Stun,
    /// First byte 20–63.
    Dtls,
    /// First byte 128–191, payload type outside 64–95, at least a fixed header long.
    Rtp,
    /// First byte 128–191, packet type 192–223, at least a header and an SSRC long.
    Rtcp,
    /// ZRTP, TURN channel data, keep-alives of a byte or none, noise.
    Other,
}

/// Shortest RTCP packet that names a sender, in bytes: header and SSRC. RFC 3550 §6.4.2.
const RTCP_LEN_MIN: usize = 8;

/// Classifies `datagram` by RFC 7983 §7 and RFC 5761 §4. Never fails: what nobody claims is [`DatagramClass::Other`].
pub fn classify(datagram: &[u8]) -> DatagramClass {
    match *datagram {
        [0..=3, ..] => DatagramClass::Stun,
        [20..=63, ..] => DatagramClass::Dtls,
        [128..=191, second, ..] if matches!(second & 0x7f, 64..=95) => {
            if datagram.len() >= RTCP_LEN_MIN {
                DatagramClass::Rtcp
            } else {
                DatagramClass::Other
            }
        }
        [128..=191, ..] if datagram.len() >= FIXED_HEADER_LEN => DatagramClass::Rtp,
        _ => DatagramClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(first: u8, second: u8) -> DatagramClass {
        let mut datagram = [0; 20];
        datagram[..2].copy_from_slice(&[first, second]);
        classify(&datagram)
    }

    #[test]
    fn every_first_byte_goes_where_rfc_7983_sends_it() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => DatagramClass::Stun,
                20..=63 => DatagramClass::Dtls,
                128..=191 => DatagramClass::Rtp,
                _ => DatagramClass::Other,
            };
            assert_eq!(class_of(first, 0), expected, "first byte {first}");
        }
    }

    #[test]
    fn payload_types_64_to_95_are_rtcp_with_and_without_marker() {
        for second in 0..=255u8 {
            let expected =
                if (64..=95).contains(&(second & 0x7f)) { DatagramClass::Rtcp } else { DatagramClass::Rtp };
            assert_eq!(class_of(0x80, second), expected, "second byte {second}");
        }
    }

    #[test]
    fn short_datagrams_belong_to_nobody() {
        assert_eq!(classify(&[]), DatagramClass::Other);
        assert_eq!(classify(&[0x80]), DatagramClass::Other);
        assert_eq!(classify(&[0x80; 11]), DatagramClass::Other);
        assert_eq!(classify(&[0x80, 200, 0, 0]), DatagramClass::Other);
    }
}
