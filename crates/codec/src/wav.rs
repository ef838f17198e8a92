//! Reading WAV files: PCM of 8 or 16 bits, A-law and µ-law, in any number of channels, which are mixed into one.
//!
//! A file is a row of chunks, each with a name and a length; `fmt ` says what the samples of `data` are. Everything is
//! checked against what is there: a length that goes beyond the file ends with it, as recorders that were cut off leave it.

use crate::G711;

/// Most channels of a file.
const CHANNELS_MAX: u16 = 8;

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// It does not begin as a WAV file does.
    #[error("not a WAV file")]
    NotWav,
    /// It has no description of its samples, or one that is cut off.
    #[error("the WAV file does not say what its samples are")]
    NoFormat,
    /// It has no samples.
    #[error("the WAV file has no samples")]
    NoData,
    /// Its samples are coded in a way that is not known.
    #[error("format {format} with {bits} bits; PCM of 8 or 16 bits, A-law and µ-law are understood")]
    Unknown {
        /// The format's number.
        format: u16,
        /// Bits of a sample.
        bits: u16,
    },
    /// No channel, or more than eight.
    #[error("{0} channels; at most 8 are understood")]
    Channels(
        /// How many it says.
        u16,
    ),
}

/// How samples are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Pcm8,
    Pcm16,
    Law(G711),
}

impl Coding {
    const fn octets(self) -> usize {
        match self {
            Self::Pcm16 => 2,
            Self::Pcm8 | Self::Law(_) => 1,
        }
    }

    fn sample(self, octets: &[u8]) -> i16 {
        match (self, octets) {
            (Self::Pcm16, [low, high, ..]) => i16::from_le_bytes([*low, *high]),
            (Self::Pcm8, [octet, ..]) => (i16::from(*octet) - 128) * 256,
            (Self::Law(law), [octet, ..]) => law.decode_sample(*octet),
            _ => 0,
        }
    }
}

/// A WAV file that was read.
#[derive(Clone, Copy, Debug)]
pub struct Wav<'a> {
    rate: u32,
    channels: u16,
    coding: Coding,
    data: &'a [u8],
}

impl<'a> Wav<'a> {
    /// Finds what is needed to play `file`.
    ///
    /// # Errors
    /// See [`WavError`].
    pub fn parse(file: &'a [u8]) -> Result<Self, WavError> {
        let Some((head, mut rest)) = file.split_at_checked(12) else { return Err(WavError::NotWav) };
        if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
            return Err(WavError::NotWav);
        }
        let mut format = None;
        while let Some((name, length, after)) = chunk_head(rest) {
            let body = &after[..length.min(after.len())];
            match &name {
                b"fmt " => format = Some(read_format(body)?),
                b"data" => {
                    let (rate, channels, coding) = format.ok_or(WavError::NoFormat)?;
                    return match body {
                        [] => Err(WavError::NoData),
                        data => Ok(Self { rate, channels, coding, data }),
                    };
                }
                _ => {}
            }
            // Chunks begin at even places.
            rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
        }
        Err(if format.is_some() { WavError::NoData } else { WavError::NoFormat })
    }

    /// Sample rate, Hz, as the file says: at least 1.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// The samples, all channels mixed into one.
    pub fn samples(&self) -> Vec<i16> {
        let octets = self.coding.octets();
        let frames = self.data.chunks_exact(octets * usize::from(self.channels));
        frames
            .map(|frame| {
                let sum: i32 =
                    frame.chunks_exact(octets).map(|octets| i32::from(self.coding.sample(octets))).sum();
                (sum / i32::from(self.channels)) as i16
            })
            .collect()
    }
}

/// Name and length of the next chunk, and what follows them.
fn chunk_head(rest: &[u8]) -> Option<([u8; 4], usize, &[u8])> {
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some((*name, usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

fn read_format(body: &[u8]) -> Result<(u32, u16, Coding), WavError> {
    /// The real format stands in the first two octets of a GUID further on.
    const EXTENSIBLE: u16 = 0xfffe;
    let word = |at: usize| body.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
    let rate = body.get(4..8).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    let (Some(said), Some(channels), Some(rate), Some(bits)) = (word(0), word(2), rate, word(14)) else {
        return Err(WavError::NoFormat);
    };
    let format = if said == EXTENSIBLE { word(24).ok_or(WavError::NoFormat)? } else { said };
    let coding = match (format, bits) {
        (1, 8) => Coding::Pcm8,
        (1, 16) => Coding::Pcm16,
        (6, 8) => Coding::Law(G711::ALaw),
        (7, 8) => Coding::Law(G711::MuLaw),
        _ => return Err(WavError::Unknown { format, bits }),
    };
    match (channels, rate) {
        (1..=CHANNELS_MAX, 1..) => Ok((rate, channels, coding)),
        (1..=CHANNELS_MAX, 0) => Err(WavError::NoFormat),
        _ => Err(WavError::Channels(channels)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(format: u16, channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        for word in [format, channels] {
            file.extend(word.to_le_bytes());
        }
        file.extend(16_000_u32.to_le_bytes());
        file.extend([0; 4]);
        file.extend([0, 0]);
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    fn read(file: &[u8]) -> Result<Vec<i16>, WavError> {
        Wav::parse(file).map(|wav| wav.samples())
    }

    #[test]
    fn every_coding_is_read() {
        assert_eq!(read(&file(1, 1, 16, &[1, 0, 0xff, 0xff])), Ok(vec![1, -1]));
        assert_eq!(read(&file(1, 1, 8, &[128, 255, 0])), Ok(vec![0, 127 * 256, -32_768]));
        assert_eq!(read(&file(7, 1, 8, &[0xff])), Ok(vec![G711::MuLaw.decode_sample(0xff)]));
        assert_eq!(read(&file(6, 1, 8, &[0xd5])), Ok(vec![G711::ALaw.decode_sample(0xd5)]));
        assert_eq!(
            read(&file(1, 2, 16, &[10, 0, 20, 0, 7])),
            Ok(vec![15]),
            "a frame that is cut off is left out"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_reason() {
        assert_eq!(read(b"RIFF"), Err(WavError::NotWav));
        assert_eq!(read(b"RIFF\0\0\0\0WAVE"), Err(WavError::NoFormat));
        assert_eq!(read(&file(3, 1, 32, &[0; 8])), Err(WavError::Unknown { format: 3, bits: 32 }));
        assert_eq!(read(&file(1, 0, 16, &[0; 8])), Err(WavError::Channels(0)));
        assert_eq!(read(&file(1, 1, 16, &[])), Err(WavError::NoData));
    }

    #[test]
    fn a_length_beyond_the_end_ends_with_the_file() {
        let mut cut = file(1, 1, 16, &[1, 0, 2, 0]);
        let at = cut.len() - 8;
        cut[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&cut), Ok(vec![1, 2]));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(start in 0_usize..60, octets: Vec<u8>) {
            let mut file = file(1, 2, 16, &[0; 16]);
            let start = start.min(file.len());
            file.splice(start.., octets);
            let _ = read(&file);
        }

        #[test]
        fn samples_come_back_as_they_were(samples: Vec<i16>) {
            let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let known = read(&file(1, 1, 16, &data)).unwrap_or_default();
            prop_assert_eq!(known, samples);
        }
    }
}
