//! Sound to send: WAV files and raw payload, cut into packets once for all calls.

use offhook_codec::{G711, G722Encoder, Resampler};

/// How a payload type is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Its number in the header.
    pub payload_type: u8,
    /// Octets of one packet.
    pub bytes: usize,
    /// How much the timestamp grows from one packet to the next.
    pub ticks: u32,
    /// Time from one packet to the next.
    pub ms: u64,
    /// How samples become payload; `None`: only a file of payload can be sent.
    pub coding: Option<Coding>,
}

/// A codec that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// One octet for a sample at 8 kHz.
    Law(G711),
    /// One octet for two samples at 16 kHz.
    G722,
}

impl Coding {
    const fn rate(self) -> u32 {
        match self {
            Self::Law(_) => 8000,
            Self::G722 => 16_000,
        }
    }

    const fn samples_per_octet(self) -> usize {
        match self {
            Self::Law(_) => 1,
            Self::G722 => 2,
        }
    }

    fn encode(self, samples: &[i16]) -> Vec<u8> {
        let mut octets = vec![0; samples.len() / self.samples_per_octet()];
        match self {
            Self::Law(law) => law.encode(samples, &mut octets),
            Self::G722 => G722Encoder::default().encode(samples, &mut octets),
        };
        octets
    }
}

/// The payload types that SIPp's `rtp_stream` knows, by number.
const PACKINGS: [Packing; 5] = [
    Packing { payload_type: 0, bytes: 160, ticks: 160, ms: 20, coding: Some(Coding::Law(G711::MuLaw)) },
    Packing { payload_type: 8, bytes: 160, ticks: 160, ms: 20, coding: Some(Coding::Law(G711::ALaw)) },
    Packing { payload_type: 9, bytes: 160, ticks: 160, ms: 20, coding: Some(Coding::G722) },
    Packing { payload_type: 18, bytes: 20, ticks: 160, ms: 20, coding: None },
    Packing { payload_type: 98, bytes: 50, ticks: 240, ms: 30, coding: None },
];

impl Packing {
    /// That of a payload type.
    pub fn of(payload_type: u8) -> Option<Self> {
        PACKINGS.into_iter().find(|packing| packing.payload_type == payload_type)
    }
}

/// Sound as it goes into packets.
#[derive(Clone, PartialEq, Eq)]
pub struct Audio {
    /// How it is packed.
    pub packing: Packing,
    payload: Vec<u8>,
}

impl std::fmt::Debug for Audio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (packing, packets) = (self.packing, self.packets());
        f.debug_struct("Audio").field("packing", &packing).field("packets", &packets).finish()
    }
}

impl Audio {
    /// Sound from a file: a WAV file of 16-bit samples or G.711 is understood, anything else is payload as it stands.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &[u8], packing: Packing) -> Result<Self, String> {
        let mut payload = match wav(file)? {
            None => file.to_vec(),
            Some(wav) => wav.payload(packing)?,
        };
        if payload.is_empty() {
            return Err("there is no sound in it".into());
        }
        // The last packet is as long as the others.
        let silence = match packing.coding {
            Some(Coding::Law(law)) => law.silence(),
            _ => 0,
        };
        payload.resize(payload.len().next_multiple_of(packing.bytes), silence);
        Ok(Self { packing, payload })
    }

    /// How many packets it fills.
    pub fn packets(&self) -> usize {
        self.payload.len() / self.packing.bytes
    }

    /// The payload of one of them.
    pub fn packet(&self, index: usize) -> &[u8] {
        let start = index * self.packing.bytes;
        self.payload.get(start..start + self.packing.bytes).unwrap_or_default()
    }
}

/// What a WAV file holds.
struct Wav<'a> {
    format: u16,
    channels: u16,
    rate: u32,
    data: &'a [u8],
}

/// `None` if it is no WAV file at all.
fn wav(file: &[u8]) -> Result<Option<Wav<'_>>, String> {
    let Some(mut rest) = file.strip_prefix(b"RIFF").filter(|_| file.get(8..12) == Some(b"WAVE")) else {
        return Ok(None);
    };
    rest = &rest[8..];
    let mut format = None;
    while let Some((name, length)) = rest.first_chunk::<4>().zip(rest.get(4..8)) {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let body = &rest[8..rest.len().min(8 + length)];
        match name {
            b"fmt " if body.len() >= 16 => {
                let short = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
                let rate = u32::from(short(4)) | u32::from(short(6)) << 16;
                format = Some((short(0), short(2), rate, short(14)));
            }
            b"data" => {
                let (format, channels, rate, bits) =
                    format.ok_or("the WAV file does not say its format".to_string())?;
                let fits = matches!((format, bits), (PCM, 16) | (ALAW | MULAW, 8));
                if !fits || channels == 0 {
                    return Err(format!(
                        "WAV files of 16-bit samples or G.711 are read, not format {format} with {bits} bits"
                    ));
                }
                return Ok(Some(Wav { format, channels, rate, data: body }));
            }
            _ => {}
        }
        rest = rest.get(8 + length.next_multiple_of(2)..).unwrap_or_default();
    }
    Err("the WAV file has no sound".into())
}

// Formats of WAV files, as Microsoft numbers them.
const PCM: u16 = 1;
const ALAW: u16 = 6;
const MULAW: u16 = 7;

impl Wav<'_> {
    /// Its sound as payload of this type.
    fn payload(&self, packing: Packing) -> Result<Vec<u8>, String> {
        let coding = packing.coding.ok_or_else(|| {
            let number = packing.payload_type;
            format!("WAV files go into payload types 0, 8 and 9; for {number} give a file of raw payload")
        })?;
        let own = match self.format {
            ALAW => Some(G711::ALaw),
            MULAW => Some(G711::MuLaw),
            _ => None,
        };
        let samples: Vec<i16> = match own {
            Some(own) => self.data.iter().map(|octet| own.decode_sample(*octet)).collect(),
            None => self.data.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect(),
        };
        let mono: Vec<i16> = samples.iter().step_by(usize::from(self.channels)).copied().collect();
        let mut samples = resample(&mono, self.rate, coding.rate())?;
        let packet = packing.bytes * coding.samples_per_octet();
        samples.resize(samples.len().next_multiple_of(packet), 0);
        Ok(coding.encode(&samples))
    }
}

fn resample(samples: &[i16], from: u32, to: u32) -> Result<Vec<i16>, String> {
    if from == to {
        return Ok(samples.to_vec());
    }
    let mut resampler = Resampler::new(from, to).ok_or_else(|| {
        format!("a WAV file of {from} samples a second; 8000, 16000, 32000 and 48000 are read")
    })?;
    let mut output = Vec::new();
    for block in samples.chunks(from as usize / 50) {
        resampler.process(block, &mut output);
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav_file(format: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF....WAVEfmt \x10\0\0\0".to_vec();
        file.extend([format, channels].iter().flat_map(|number| number.to_le_bytes()));
        file.extend(rate.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(b"data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    fn packing(payload_type: u8) -> Packing {
        Packing::of(payload_type).expect("it is known")
    }

    #[test]
    fn samples_become_payload_in_whole_packets() {
        let samples: Vec<u8> =
            [1000_i16, 1000, -1000, -1000].iter().flat_map(|one| one.to_le_bytes()).collect();
        let audio = Audio::read(&wav_file(1, 1, 8000, 16, &samples), packing(0)).expect("it reads");
        let mut wanted = [G711::MuLaw.silence(); 160];
        wanted[..2].fill(G711::MuLaw.encode_sample(1000));
        wanted[2..4].fill(G711::MuLaw.encode_sample(-1000));
        assert_eq!((audio.packets(), audio.packet(0)), (1, &wanted[..]));
        let law = Audio::read(&wav_file(6, 2, 8000, 8, &[0xd5, 1, 0xd5, 2]), packing(8)).expect("it reads");
        assert_eq!(law.packet(0)[..3], [0xd5, 0xd5, G711::ALaw.silence()]);
    }

    #[test]
    fn sound_of_any_usual_rate_keeps_its_length_and_loudness() {
        let amplitude = 8000.0;
        for rate in [8000_u32, 16_000, 32_000, 48_000] {
            let wave =
                |at: u32| (f64::from(at) * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin() * amplitude;
            let samples: Vec<u8> = (0..rate).flat_map(|at| (wave(at) as i16).to_le_bytes()).collect();
            let file = wav_file(1, 1, rate, 16, &samples);
            for payload_type in [0, 9] {
                let audio = Audio::read(&file, packing(payload_type)).expect("it reads");
                assert_eq!(audio.packets(), 50, "{rate} as {payload_type}");
                let mut heard = [0; 320];
                let count = match payload_type {
                    0 => G711::MuLaw.decode(audio.packet(25), &mut heard),
                    _ => {
                        let mut decoder = offhook_codec::G722Decoder::default();
                        for index in 20..25 {
                            decoder.decode(audio.packet(index), &mut heard);
                        }
                        decoder.decode(audio.packet(25), &mut heard)
                    }
                };
                let power =
                    heard[..count].iter().map(|one| f64::from(*one).powi(2)).sum::<f64>() / count as f64;
                let loss_db = 10.0 * (amplitude * amplitude / 2.0 / power).log10();
                assert!(loss_db.abs() < 1.0, "{rate} as {payload_type}: {loss_db} dB");
            }
        }
    }

    #[test]
    fn what_is_no_wav_is_payload_and_what_does_not_fit_is_told() {
        let raw = Audio::read(&[7; 45], packing(18)).expect("it reads");
        assert_eq!((raw.packets(), raw.packet(2)), (3, &[&[7; 5][..], &[0; 15][..]].concat()[..]));
        for (file, packing, word) in [
            (wav_file(1, 1, 44_100, 16, &[0; 4]), packing(0), "44100"),
            (wav_file(1, 1, 8000, 24, &[0; 4]), packing(0), "24 bits"),
            (wav_file(1, 1, 8000, 16, &[0; 4]), packing(18), "raw payload"),
            (b"RIFF....WAVE".to_vec(), packing(0), "no sound"),
            (Vec::new(), packing(0), "no sound"),
        ] {
            let said = Audio::read(&file, packing).expect_err(word);
            assert!(said.contains(word), "{said}");
        }
        let whole = wav_file(1, 1, 8000, 16, &[0; 40]);
        for length in 0..whole.len() {
            let _ = Audio::read(&whole[..length], packing(0));
        }
    }
}
