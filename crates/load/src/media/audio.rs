//! Sound to send: WAV files, patterns and raw payload, cut into packets once for all calls.

use offhook_codec::{
    Encoder, G711, OpusWishes, Resampler, ToneGenerator, VoiceCodec, Wav, WavError, voice::PACKET_OCTETS_MAX,
};

use super::pattern::{self, Pattern};

/// How a payload type is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Its number in the header.
    pub payload_type: u8,
    /// Octets of one packet; 0 where each has its own length.
    pub bytes: usize,
    /// How much the timestamp grows from one packet to the next.
    pub ticks: u32,
    /// Time from one packet to the next.
    pub ms: u64,
    /// How samples become payload; `None`: only a file of payload can be sent.
    pub codec: Option<VoiceCodec>,
}

/// The payload types that SIPp's `rtp_stream` knows, by number, and their names.
const PACKINGS: [(&str, Packing); 5] = [
    ("PCMU/8000", Packing::law(0, VoiceCodec::Pcmu)),
    ("PCMA/8000", Packing::law(8, VoiceCodec::Pcma)),
    ("G722/8000", Packing { payload_type: 9, bytes: 160, ticks: 160, ms: 20, codec: Some(VoiceCodec::G722) }),
    ("G729/8000", Packing { payload_type: 18, bytes: 20, ticks: 160, ms: 20, codec: None }),
    ("ILBC/8000", Packing { payload_type: 98, bytes: 50, ticks: 240, ms: 30, codec: None }),
];

/// Opus has no number of its own: it is known by its name.
const OPUS: &str = "opus/48000";

impl Packing {
    const fn law(payload_type: u8, codec: VoiceCodec) -> Self {
        Self { payload_type, bytes: 160, ticks: 160, ms: 20, codec: Some(codec) }
    }

    /// That of a payload type, and of a name as `a=rtpmap` has it, which counts more.
    pub fn of(payload_type: u8, name: Option<&str>) -> Option<Self> {
        let Some(name) = name else {
            return PACKINGS.iter().map(|(_, packing)| *packing).find(|one| one.payload_type == payload_type);
        };
        let plain = name.strip_suffix("/1").or_else(|| name.strip_suffix("/2")).unwrap_or(name);
        if plain.eq_ignore_ascii_case(OPUS) {
            return Some(Self { payload_type, bytes: 0, ticks: 960, ms: 20, codec: Some(VoiceCodec::Opus) });
        }
        let (_, packing) = PACKINGS.iter().find(|(known, _)| plain.eq_ignore_ascii_case(known))?;
        Some(Self { payload_type, ..*packing })
    }

    /// Samples of one packet.
    fn samples(self, codec: VoiceCodec) -> usize {
        codec.sample_rate() as usize / 1000 * self.ms as usize
    }
}

/// Sound as it goes into packets.
#[derive(Clone, PartialEq, Eq)]
pub struct Audio {
    /// How it is packed.
    pub packing: Packing,
    /// What it can be known again by.
    pub pattern: Option<Pattern>,
    payload: Vec<u8>,
    /// Where each packet ends in `payload`.
    ends: Vec<usize>,
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
        match Wav::parse(file) {
            Ok(wav) => Self::encode(&wav.samples(), wav.rate(), packing),
            Err(WavError::NotWav) if file.is_empty() => Err("there is no sound in it".into()),
            Err(WavError::NotWav) if packing.bytes == 0 => {
                Err("Opus is made of WAV files; this is none".into())
            }
            Err(WavError::NotWav) => {
                // The last packet is as long as the others.
                let silence = match packing.codec {
                    Some(VoiceCodec::Pcmu) => G711::MuLaw.silence(),
                    Some(VoiceCodec::Pcma) => G711::ALaw.silence(),
                    _ => 0,
                };
                let mut payload = file.to_vec();
                payload.resize(payload.len().next_multiple_of(packing.bytes), silence);
                Ok(Self::of_payload(payload, packing))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A second of a pattern.
    ///
    /// # Errors
    /// This payload type cannot carry it.
    pub fn pattern(pattern: Pattern, packing: Packing) -> Result<Self, String> {
        let packets = (1000 / packing.ms) as usize;
        let mut audio = match pattern {
            Pattern::Octet(_) if packing.bytes == 0 => {
                return Err("octets are no Opus\nhint: the patterns from 7 on are tones".into());
            }
            Pattern::Octet(octet) => Self::of_payload(vec![octet; packets * packing.bytes], packing),
            Pattern::Tone(hz) => {
                let rate = packing.codec.map_or(8000, VoiceCodec::sample_rate);
                let mut samples = vec![0; rate as usize];
                if let Some(mut tone) = ToneGenerator::new(rate, &[(f64::from(hz), pattern::LEVEL)]) {
                    tone.fill(&mut samples);
                }
                Self::encode(&samples, rate, packing)?
            }
        };
        audio.pattern = Some(pattern);
        Ok(audio)
    }

    fn of_payload(payload: Vec<u8>, packing: Packing) -> Self {
        let ends = (1..=payload.len() / packing.bytes).map(|packet| packet * packing.bytes).collect();
        Self { packing, pattern: None, payload, ends }
    }

    fn encode(samples: &[i16], rate: u32, packing: Packing) -> Result<Self, String> {
        let codec = packing.codec.ok_or_else(|| {
            let number = packing.payload_type;
            format!(
                "WAV files go into PCMU, PCMA, G722 and opus; for type {number} give a file of raw payload"
            )
        })?;
        let mut samples = resample(samples, rate, codec.sample_rate())?;
        let length = packing.samples(codec);
        samples.resize(samples.len().next_multiple_of(length), 0);
        let mut encoder = Encoder::new(codec, codec.sample_rate(), OpusWishes::default())
            .map_err(|error| error.to_string())?;
        let (mut payload, mut ends) = (Vec::new(), Vec::new());
        for packet in samples.chunks_exact(length) {
            let start = payload.len();
            payload.resize(start + PACKET_OCTETS_MAX, 0);
            let written = encoder.encode(packet, &mut payload[start..]);
            payload.truncate(start + written);
            ends.push(payload.len());
        }
        Ok(Self { packing, pattern: None, payload, ends })
    }

    /// How many packets it fills.
    pub fn packets(&self) -> usize {
        self.ends.len()
    }

    /// The payload of one of them.
    pub fn packet(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(0));
        self.ends.get(index).and_then(|end| self.payload.get(start..*end)).unwrap_or_default()
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
        Packing::of(payload_type, None).expect("it is known")
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
        let law =
            Audio::read(&wav_file(6, 2, 8000, 8, &[0xd5, 0xd5, 0x2a, 0x2a]), packing(8)).expect("it reads");
        assert_eq!(law.packet(0)[..3], [0xd5, 0x2a, G711::ALaw.silence()]);
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
            (b"RIFF....WAVE".to_vec(), packing(0), "WAV file"),
            (vec![7; 45], Packing::of(111, Some("opus/48000/2")).expect("it is known"), "Opus"),
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
