//! G.711: eight bits a sample, spaced by ear rather than by ruler.
//!
//! Loud samples are kept coarsely, quiet ones finely: a byte holds a sign, a segment (which power of two) and four bits
//! of position within it. A-law has even steps near zero, µ-law shifts everything up by a bias first. Both laws are
//! tables, computed at compile time from the Recommendation's definition (ITU-T G.711, 11/88).

/// One of the two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum G711 {
    /// A-law, `PCMA`: everywhere but North America and Japan.
    ALaw,
    /// µ-law, `PCMU`.
    MuLaw,
}

impl G711 {
    /// The byte for one sample.
    pub const fn encode_sample(self, sample: i16) -> u8 {
        match self {
            Self::ALaw => ALAW_ENCODE[(sample as u16 >> ALAW_DROPPED_BITS) as usize],
            Self::MuLaw => MULAW_ENCODE[(sample as u16 >> MULAW_DROPPED_BITS) as usize],
        }
    }

    /// The sample for one byte.
    pub const fn decode_sample(self, byte: u8) -> i16 {
        match self {
            Self::ALaw => ALAW_DECODE[byte as usize],
            Self::MuLaw => MULAW_DECODE[byte as usize],
        }
    }

    /// Encodes as many samples as both slices hold; returns how many.
    pub fn encode(self, samples: &[i16], bytes: &mut [u8]) -> usize {
        for (byte, sample) in bytes.iter_mut().zip(samples) {
            *byte = self.encode_sample(*sample);
        }
        bytes.len().min(samples.len())
    }

    /// Decodes as many bytes as both slices hold; returns how many.
    pub fn decode(self, bytes: &[u8], samples: &mut [i16]) -> usize {
        for (sample, byte) in samples.iter_mut().zip(bytes) {
            *sample = self.decode_sample(*byte);
        }
        bytes.len().min(samples.len())
    }

    /// The byte of silence, to fill a packet with.
    pub const fn silence(self) -> u8 {
        self.encode_sample(0)
    }

    /// Encoding name in SDP, at 8000 Hz.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ALaw => "PCMA",
            Self::MuLaw => "PCMU",
        }
    }

    /// Static RTP payload type. RFC 3551 §6.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::ALaw => 8,
            Self::MuLaw => 0,
        }
    }
}

/// Bits of a 16-bit sample that A-law never sees: it works on 13, sign and 12 of magnitude, in steps of two.
const ALAW_DROPPED_BITS: u32 = 4;
/// µ-law works on 14 bits.
const MULAW_DROPPED_BITS: u32 = 2;
/// Every second bit of an A-law byte is inverted on the line, so that silence has transitions. G.711 §3.
const ALAW_INVERSION: u8 = 0x55;
/// Added to a µ-law magnitude (14 bits) so that segments start at powers of two.
const MULAW_BIAS: u16 = 33;
/// Largest biased µ-law magnitude.
const MULAW_MAX: u16 = 0x1fff;

static ALAW_ENCODE: [u8; 1 << (16 - ALAW_DROPPED_BITS)] = {
    let mut table = [0; 1 << (16 - ALAW_DROPPED_BITS)];
    let mut index = 0;
    while index < table.len() {
        table[index] = alaw_byte((index << ALAW_DROPPED_BITS) as u16 as i16);
        index += 1;
    }
    table
};

static MULAW_ENCODE: [u8; 1 << (16 - MULAW_DROPPED_BITS)] = {
    let mut table = [0; 1 << (16 - MULAW_DROPPED_BITS)];
    let mut index = 0;
    while index < table.len() {
        table[index] = mulaw_byte((index << MULAW_DROPPED_BITS) as u16 as i16);
        index += 1;
    }
    table
};

static ALAW_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = alaw_sample(byte as u8);
        byte += 1;
    }
    table
};

static MULAW_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = mulaw_sample(byte as u8);
        byte += 1;
    }
    table
};

/// G.711 table 1. The one's complement makes both signs symmetrical around -½.
const fn alaw_byte(sample: i16) -> u8 {
    let magnitude = (if sample < 0 { !sample } else { sample }) as u16 >> ALAW_DROPPED_BITS;
    let sign = if sample < 0 { 0 } else { 0x80 };
    // Segments 0 and 1 share one step; from 2 on the step doubles with each.
    let segment = match 16 - magnitude.leading_zeros() {
        0..=4 => 0,
        bits => bits - 4,
    };
    let position = if segment <= 1 { magnitude & 15 } else { (magnitude >> (segment - 1)) & 15 };
    (sign | (segment as u8) << 4 | position as u8) ^ ALAW_INVERSION
}

/// The middle of the byte's interval.
const fn alaw_sample(byte: u8) -> i16 {
    let byte = byte ^ ALAW_INVERSION;
    let (segment, position) = ((byte >> 4) & 7, (byte & 15) as i16);
    let magnitude = match segment {
        0 => (position << 4) + 8,
        segment => ((position << 4) + 0x108) << (segment - 1),
    };
    if byte & 0x80 != 0 { magnitude } else { -magnitude }
}

/// G.711 table 2; all bits are inverted on the line.
const fn mulaw_byte(sample: i16) -> u8 {
    let magnitude = (if sample < 0 { !sample } else { sample }) as u16 >> MULAW_DROPPED_BITS;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = magnitude + MULAW_BIAS;
    let biased = if biased > MULAW_MAX { MULAW_MAX } else { biased };
    // The bias has six bits, so the top bit is the fifth or higher.
    let segment = 10 - biased.leading_zeros();
    let position = (biased >> (segment + 1)) & 15;
    !(sign | (segment as u8) << 4 | position as u8)
}

const fn mulaw_sample(byte: u8) -> i16 {
    let byte = !byte;
    let (segment, position) = ((byte >> 4) & 7, (byte & 15) as i16);
    let biased = ((position << 1) + MULAW_BIAS as i16) << segment;
    let magnitude = (biased - MULAW_BIAS as i16) << MULAW_DROPPED_BITS;
    if byte & 0x80 != 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAWS: [G711; 2] = [G711::ALaw, G711::MuLaw];

    #[test]
    fn the_corners_are_those_of_the_recommendation() {
        for (law, sample, byte) in [
            (G711::ALaw, 0, 0xd5),
            (G711::ALaw, -1, 0x55),
            (G711::ALaw, i16::MAX, 0xaa),
            (G711::ALaw, i16::MIN, 0x2a),
            (G711::MuLaw, 0, 0xff),
            (G711::MuLaw, -1, 0x7f),
            (G711::MuLaw, i16::MAX, 0x80),
            (G711::MuLaw, i16::MIN, 0x00),
        ] {
            assert_eq!(law.encode_sample(sample), byte, "{law:?} {sample}");
        }
        assert_eq!((G711::ALaw.decode_sample(0xaa), G711::ALaw.decode_sample(0x2a)), (32256, -32256));
        assert_eq!((G711::MuLaw.decode_sample(0x80), G711::MuLaw.decode_sample(0x00)), (32124, -32124));
    }

    #[test]
    fn every_byte_survives_a_round_trip_but_negative_zero() {
        for law in LAWS {
            for byte in 0..=255u8 {
                let back = law.encode_sample(law.decode_sample(byte));
                let expected = if law == G711::MuLaw && byte == 0x7f { 0xff } else { byte };
                assert_eq!(back, expected, "{law:?} {byte:#x}");
            }
        }
    }

    #[test]
    fn every_sample_comes_back_within_half_a_step() {
        for law in LAWS {
            // Largest magnitude of the law at 16 bits, G.711 tables 1a and 2a; louder ones are clipped.
            let loudest: i32 = if law == G711::ALaw { 32767 } else { 32635 };
            for sample in -loudest..=loudest {
                let decoded = i32::from(law.decode_sample(law.encode_sample(sample as i16)));
                let (magnitude, error) = (sample.abs(), (decoded - sample).abs());
                let half_step = match law {
                    G711::ALaw => (magnitude / 32).max(8),
                    // The two bits µ-law never sees add up to 4.
                    G711::MuLaw => (magnitude + 132) / 32 + 4,
                };
                assert!(error <= half_step, "{law:?} {sample} came back as {decoded}");
            }
        }
    }

    #[test]
    fn louder_never_sounds_quieter() {
        for law in LAWS {
            let decoded = |sample: i16| law.decode_sample(law.encode_sample(sample));
            assert!((i16::MIN..i16::MAX).all(|sample| decoded(sample) <= decoded(sample + 1)));
        }
    }

    #[test]
    fn slices_of_unequal_length_stop_at_the_shorter() {
        let mut bytes = [9; 3];
        assert_eq!(G711::ALaw.encode(&[0, 0], &mut bytes), 2);
        assert_eq!(bytes, [0xd5, 0xd5, 9]);
        assert_eq!(G711::MuLaw.decode(&[0xff; 5], &mut [1; 4]), 4);
    }
}
