//! The numbers of an RTP header, each with its own arithmetic.

use std::fmt;

/// A synchronisation source: one sender's one clock and one count. RFC 3550 §3.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ssrc({self})")
    }
}

/// What a payload is: 0–127, static below 96 (RFC 3551 §6), bound by SDP from 96 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(u8);

impl PayloadType {
    /// G.711 µ-law, 8000 Hz. RFC 3551 §4.5.14.
    pub const PCMU: Self = Self(0);
    /// G.711 A-law, 8000 Hz. RFC 3551 §4.5.14.
    pub const PCMA: Self = Self(8);
    /// G.722; its clock is said to be 8000 Hz though it samples at 16000. RFC 3551 §4.5.2.
    pub const G722: Self = Self(9);
    /// Comfort noise, 8000 Hz. RFC 3389 §5.1.
    pub const COMFORT_NOISE: Self = Self(13);
    /// G.729, 8000 Hz. RFC 3551 §4.5.6.
    pub const G729: Self = Self(18);

    /// None above 127.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 128 { Some(Self(value)) } else { None }
    }

    /// The number.
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    pub(super) const fn from_low_bits(byte: u8) -> Self {
        Self(byte & 0x7f)
    }
}

/// Counts packets modulo 2^16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// The one after this, 0 after 65535.
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The one before this, 65535 before 0.
    pub const fn previous(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// Steps from `earlier` forward to `self`, modulo 2^16: above 32768 it is rather behind than ahead.
    pub const fn steps_since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// True if `self` lies less than half the circle ahead of `other`.
    pub const fn is_newer_than(self, other: Self) -> bool {
        let steps = self.steps_since(other);
        steps != 0 && steps < 0x8000
    }
}

/// A sampling instant in units of a media clock, modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timestamp(pub u32);

impl Timestamp {
    /// This instant and `units` more.
    pub const fn wrapping_add(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }

    /// Units from `earlier` forward to `self`, modulo 2^32.
    pub const fn units_since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// True if `self` lies less than half the circle ahead of `other`.
    pub const fn is_newer_than(self, other: Self) -> bool {
        let units = self.units_since(other);
        units != 0 && units < 0x8000_0000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_turn_of_the_circle() {
        assert_eq!(SequenceNumber(65535).next(), SequenceNumber(0));
        assert!(SequenceNumber(3).is_newer_than(SequenceNumber(65530)));
        assert!(!SequenceNumber(65530).is_newer_than(SequenceNumber(3)));
        assert!(!SequenceNumber(3).is_newer_than(SequenceNumber(3)));
        assert!(Timestamp(5).is_newer_than(Timestamp(u32::MAX)));
        assert_eq!(Timestamp(5).units_since(Timestamp(u32::MAX)), 6);
    }

    #[test]
    fn payload_types_end_at_127() {
        assert_eq!(PayloadType::new(127).map(PayloadType::as_u8), Some(127));
        assert_eq!(PayloadType::new(128), None);
    }
}
