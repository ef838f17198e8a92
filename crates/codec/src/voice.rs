//! One face for all voice codecs: packets to samples and back.
//!
//! [`Decoder`] and [`Encoder`] work on 16-bit samples at a rate chosen when they are made, take no lock and allocate nothing
//! per packet: results go into the caller's buffers, which grow to their size once. Opus decodes to, and encodes from, the
//! rate of the codec at the other side of a call, so that nothing is computed that is thrown away.

use opus::{Application, Bitrate, Channels};

use crate::{Concealment, G711, G722Decoder, G722Encoder};

/// Longest packet, ms: Opus allows no longer one (RFC 7587 §4.2), and nobody packs G.711 like that.
pub const PACKET_MS_MAX: u32 = 120;
/// Longest encoded packet, octets: 120 ms of G.711 are 960, and Opus is told this limit; L16 at 48 kHz comes in packets of
/// at most 10 ms.
pub const PACKET_OCTETS_MAX: usize = 1300;
/// Share of packets that the Opus encoder arms itself against where the other side takes FEC and has not reported a
/// loss yet, percent.
const EXPECTED_LOSS_PERCENT: i32 = 5;
/// Highest effort of an encoder; the library's scale for Opus goes on to ten, but beyond five a listener hears no gain on
/// speech any more, for a third more work.
pub const EFFORT_MAX: u8 = 5;

/// A codec that the node itself can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoiceCodec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus (RFC 6716, RFC 7587).
    Opus,
    /// Samples as they are, at 8, 16, 32 or 48 kHz, one channel (RFC 3551 §4.5.11).
    L16(
        /// The rate, Hz.
        u32,
    ),
}

impl VoiceCodec {
    /// The codec that an `a=rtpmap` names; `None` if the node does not speak it.
    pub fn of_encoding(name: &str, clock_rate: u32, channels: u8) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match (clock_rate, channels) {
            (8000, 1) if is("PCMU") => Some(Self::Pcmu),
            (8000, 1) if is("PCMA") => Some(Self::Pcma),
            (8000, 1) if is("G722") => Some(Self::G722),
            // RFC 7587 §7: always these two, whatever is sent.
            (48_000, 2) if is("opus") => Some(Self::Opus),
            (8000 | 16_000 | 32_000 | 48_000, 1) if is("L16") => Some(Self::L16(clock_rate)),
            _ => None,
        }
    }

    /// The name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::L16(_) => "L16",
        }
    }

    /// Channels in `a=rtpmap`.
    pub const fn channels(self) -> u8 {
        match self {
            Self::Opus => 2,
            _ => 1,
        }
    }

    /// The payload type that RFC 3551 gives it.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::Opus | Self::L16(_) => None,
        }
    }

    /// RTP clock, Hz. That of G.722 is 8000 by an old error (RFC 3551 §4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            Self::Opus => 48_000,
            Self::L16(rate) => rate,
        }
    }

    /// Rate of the sound it can carry at most, Hz.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722 => 16_000,
            Self::Opus => 48_000,
            Self::L16(rate) => rate,
        }
    }

    /// The rate to decode it to, or encode it from, opposite `other`, Hz.
    pub fn rate_beside(self, other: Self) -> u32 {
        match (self, other.sample_rate()) {
            (Self::Opus, rate @ (8000 | 16_000)) => rate,
            _ => self.sample_rate(),
        }
    }

    /// Lengths in ms that a packet may have; all multiples of ten for codecs whose packets are just samples in a row.
    pub fn takes_packet_of(self, ms: u32) -> bool {
        match self {
            Self::Opus => matches!(ms, 10 | 20 | 40 | 60),
            Self::L16(rate) => ms == 10 || (ms == 20 && rate <= 16_000),
            Self::Pcmu | Self::Pcma | Self::G722 => {
                ms.is_multiple_of(10) && (10..=PACKET_MS_MAX).contains(&ms)
            }
        }
    }
}

/// What the other side has asked of the Opus it is sent (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpusWishes {
    /// It makes use of forward error correction: `useinbandfec=1`.
    pub fec: bool,
    /// Silence need not be sent: `usedtx=1`.
    pub dtx: bool,
    /// At most so many bit/s: `maxaveragebitrate`.
    pub bitrate_max: Option<u32>,
}

/// A packet that is none of its codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a packet of this codec")]
pub struct Unreadable;

/// No such codec state can be had: the rate is not one that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the codec does not work at this sample rate")]
pub struct UnknownRate;

/// Decodes the packets of one stream.
#[derive(Debug)]
pub struct Decoder {
    rate: u32,
    state: DecoderState,
}

#[derive(Debug)]
enum DecoderState {
    G711(G711, Concealment),
    G722(Box<G722Decoder>, Concealment),
    L16(Concealment),
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder to `rate` Hz, which is [`VoiceCodec::rate_beside`] some other codec.
    ///
    /// # Errors
    /// The rate is another.
    pub fn new(codec: VoiceCodec, rate: u32) -> Result<Self, UnknownRate> {
        if rate != codec.sample_rate() && codec != VoiceCodec::Opus {
            return Err(UnknownRate);
        }
        let state = match codec {
            VoiceCodec::Pcmu => DecoderState::G711(G711::MuLaw, Concealment::new(rate)),
            VoiceCodec::Pcma => DecoderState::G711(G711::ALaw, Concealment::new(rate)),
            VoiceCodec::G722 => DecoderState::G722(Box::default(), Concealment::new(rate)),
            VoiceCodec::L16(_) => DecoderState::L16(Concealment::new(rate)),
            // A decoder for one channel mixes down by itself whatever comes as two.
            VoiceCodec::Opus => {
                DecoderState::Opus(opus::Decoder::new(rate, Channels::Mono).map_err(|_| UnknownRate)?)
            }
        };
        Ok(Self { rate, state })
    }

    /// Rate of its samples, Hz.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// Most samples of a packet.
    const fn samples_max(&self) -> usize {
        (self.rate / 1000 * PACKET_MS_MAX) as usize
    }

    /// How many samples `payload` holds; `None` if it is none of this codec, or too long.
    pub fn samples_in(&self, payload: &[u8]) -> Option<usize> {
        let samples = match &self.state {
            DecoderState::G711(..) => payload.len(),
            DecoderState::G722(..) => payload.len() * 2,
            DecoderState::L16(_) => payload.len() / 2,
            DecoderState::Opus(_) => opus::packet::get_nb_samples(payload, self.rate).ok()?,
        };
        (1..=self.samples_max()).contains(&samples).then_some(samples)
    }

    /// Appends the samples of a packet to `sound`.
    ///
    /// # Errors
    /// It is none of this codec, or holds more than 120 ms.
    pub fn decode(&mut self, payload: &[u8], sound: &mut Vec<i16>) -> Result<(), Unreadable> {
        let samples = self.samples_in(payload).ok_or(Unreadable)?;
        let start = sound.len();
        sound.resize(start + samples, 0);
        let place = &mut sound[start..];
        match &mut self.state {
            DecoderState::G711(law, concealment) => {
                law.decode(payload, place);
                concealment.hear(place);
            }
            DecoderState::G722(decoder, concealment) => {
                decoder.decode(payload, place);
                concealment.hear(place);
            }
            DecoderState::L16(concealment) => {
                for (sample, octets) in place.iter_mut().zip(payload.chunks_exact(2)) {
                    *sample = i16::from_be_bytes([octets[0], octets[1]]);
                }
                concealment.hear(place);
            }
            DecoderState::Opus(decoder) => match decoder.decode(payload, place, false) {
                Ok(decoded) => sound.truncate(start + decoded),
                Err(_) => {
                    sound.truncate(start);
                    return Err(Unreadable);
                }
            },
        }
        Ok(())
    }

    /// Appends `samples` samples (at most 120 ms) for packets that were lost. `next` is the packet after them, if it is
    /// there: that of Opus may hold a copy of the last one before it.
    pub fn conceal(&mut self, samples: usize, next: Option<&[u8]>, sound: &mut Vec<i16>) {
        let start = sound.len();
        sound.resize(start + samples.min(self.samples_max()), 0);
        let place = &mut sound[start..];
        match &mut self.state {
            DecoderState::G711(_, concealment)
            | DecoderState::G722(_, concealment)
            | DecoderState::L16(concealment) => concealment.conceal(place),
            DecoderState::Opus(decoder) => {
                // The library conceals in steps of 2.5 ms; what is left over, or what it refuses, stays silent.
                let step = self.rate as usize / 400;
                let whole = place.len() / step * step;
                if whole > 0
                    && decoder.decode(next.unwrap_or_default(), &mut place[..whole], next.is_some()).is_err()
                {
                    place.fill(0);
                }
            }
        }
    }
}

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder {
    rate: u32,
    state: EncoderState,
}

#[derive(Debug)]
enum EncoderState {
    G711(G711),
    G722(Box<G722Encoder>),
    L16,
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder of sound at `rate` Hz, which is [`VoiceCodec::rate_beside`] some other codec.
    ///
    /// # Errors
    /// The rate is another.
    pub fn new(codec: VoiceCodec, rate: u32, wishes: OpusWishes) -> Result<Self, UnknownRate> {
        if rate != codec.sample_rate() && codec != VoiceCodec::Opus {
            return Err(UnknownRate);
        }
        let state = match codec {
            VoiceCodec::Pcmu => EncoderState::G711(G711::MuLaw),
            VoiceCodec::Pcma => EncoderState::G711(G711::ALaw),
            VoiceCodec::G722 => EncoderState::G722(Box::default()),
            VoiceCodec::L16(_) => EncoderState::L16,
            VoiceCodec::Opus => EncoderState::Opus(opus_encoder(rate, wishes).map_err(|_| UnknownRate)?),
        };
        Ok(Self { rate, state })
    }

    /// Rate of its samples, Hz.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// Encodes one packet into `payload`, which needs [`PACKET_OCTETS_MAX`] octets; its length. A length of zero says
    /// that nothing need be sent: silence, where the other side takes DTX.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        match &mut self.state {
            EncoderState::G711(law) => law.encode(samples, payload),
            EncoderState::G722(encoder) => encoder.encode(samples, payload),
            EncoderState::L16 => {
                for (octets, sample) in payload.chunks_exact_mut(2).zip(samples) {
                    octets.copy_from_slice(&sample.to_be_bytes());
                }
                (payload.len() / 2).min(samples.len()) * 2
            }
            // A packet of one or two octets is one that need not be sent (RFC 6716 §2.1.9, `OPUS_SET_DTX`).
            EncoderState::Opus(encoder) => {
                encoder.encode(samples, payload).map_or(0, |length| if length <= 2 { 0 } else { length })
            }
        }
    }

    /// How hard it tries from the next packet on, 0 to [`EFFORT_MAX`], which is the default. Only Opus has a choice.
    pub fn set_effort(&mut self, effort: u8) {
        if let EncoderState::Opus(encoder) = &mut self.state {
            // Refused only out of range, which it cannot be.
            let _ = encoder.set_complexity(i32::from(effort.min(EFFORT_MAX)));
        }
    }

    /// Tells how much of what was sent got lost, percent: Opus spends as much on FEC as it takes. Others have none.
    pub fn expect_loss(&mut self, percent: u8) {
        if let EncoderState::Opus(encoder) = &mut self.state {
            // Without FEC it changes nothing, and a value out of range is refused: then the old one stays.
            let _ = encoder.set_packet_loss_perc(i32::from(percent.min(100)));
        }
    }
}

fn opus_encoder(rate: u32, wishes: OpusWishes) -> opus::Result<opus::Encoder> {
    let mut encoder = opus::Encoder::new(rate, Channels::Mono, Application::Voip)?;
    // What RFC 7587 §3.1.1 recommends for speech of this bandwidth, at the upper end.
    let bitrate = match rate {
        8000 => 16_000,
        16_000 => 24_000,
        _ => 40_000,
    };
    let bitrate = wishes.bitrate_max.map_or(bitrate, |max| bitrate.min(max.clamp(6000, 510_000)));
    encoder.set_bitrate(Bitrate::Bits(bitrate as i32))?;
    encoder.set_complexity(i32::from(EFFORT_MAX))?;
    encoder.set_inband_fec(wishes.fec)?;
    encoder.set_packet_loss_perc(if wishes.fec { EXPECTED_LOSS_PERCENT } else { 0 })?;
    encoder.set_dtx(wishes.dtx)?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dbm0, ToneDetector, ToneGenerator};

    const ALL: [VoiceCodec; 7] = [
        VoiceCodec::Pcmu,
        VoiceCodec::Pcma,
        VoiceCodec::G722,
        VoiceCodec::Opus,
        VoiceCodec::L16(8000),
        VoiceCodec::L16(16_000),
        VoiceCodec::L16(48_000),
    ];

    fn is_clear(sound: &[i16], rate: u32, hz: f64) -> bool {
        let block = rate as usize / 10;
        let reading =
            ToneDetector::new(rate, hz, block).unwrap().feed(&sound[sound.len() - block..]).unwrap();
        reading.is_tone(Dbm0(-12.0), 15.0)
    }

    #[test]
    fn every_codec_brings_a_tone_through_at_every_rate() {
        for (codec, other) in ALL.iter().flat_map(|codec| ALL.map(|other| (*codec, other))) {
            let rate = codec.rate_beside(other);
            let mut encoder = Encoder::new(codec, rate, OpusWishes::default()).unwrap();
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let mut voice = ToneGenerator::new(rate, &[(1000.0, Dbm0(-10.0))]).unwrap();
            let (mut sound, mut samples) = (Vec::new(), vec![0; rate as usize / 100]);
            let mut payload = [0; PACKET_OCTETS_MAX];
            for _ in 0..50 {
                voice.fill(&mut samples);
                let length = encoder.encode(&samples, &mut payload);
                assert_eq!(decoder.samples_in(&payload[..length]), Some(samples.len()));
                decoder.decode(&payload[..length], &mut sound).unwrap();
            }
            assert_eq!(sound.len(), rate as usize / 2);
            assert!(is_clear(&sound, rate, 1000.0), "{codec:?} at {rate}");
        }
    }

    #[test]
    fn names_lead_to_codecs_and_back() {
        for codec in ALL {
            let found = VoiceCodec::of_encoding(codec.name(), codec.clock_rate(), codec.channels());
            assert_eq!(found, Some(codec));
        }
        for (name, rate, channels) in
            [("opus", 48_000, 1), ("G722", 16_000, 1), ("G729", 8000, 1), ("L16", 44_100, 1)]
        {
            assert_eq!(VoiceCodec::of_encoding(name, rate, channels), None);
        }
    }

    #[test]
    fn a_lost_opus_packet_comes_back_from_the_next_one() {
        let wishes = OpusWishes { fec: true, ..OpusWishes::default() };
        let mut encoder = Encoder::new(VoiceCodec::Opus, 16_000, wishes).unwrap();
        encoder.expect_loss(20);
        // A sweep: what comes back of it can only come from the copy, as going on with the sound would miss its pitch.
        let sweep = |at: usize| {
            let t = at as f64 / 16_000.0;
            (8000.0 * (std::f64::consts::TAU * (300.0 * t + 600.0 * t * t)).sin()) as i16
        };
        let sound: Vec<i16> = (0..16_000).map(sweep).collect();
        let packets: Vec<Vec<u8>> = sound
            .chunks(320)
            .map(|samples| {
                let mut payload = [0; PACKET_OCTETS_MAX];
                let length = encoder.encode(samples, &mut payload);
                payload[..length].to_vec()
            })
            .collect();
        let heard = |fec: bool, lost: Option<usize>| {
            let mut decoder = Decoder::new(VoiceCodec::Opus, 16_000).unwrap();
            let mut heard = Vec::new();
            for (number, packet) in packets.iter().enumerate() {
                match lost {
                    Some(lost) if lost == number => {
                        decoder.conceal(320, fec.then_some(&packets[number + 1][..]), &mut heard);
                    }
                    _ => decoder.decode(packet, &mut heard).unwrap(),
                }
            }
            heard
        };
        let whole = heard(true, None);
        let error = |fec: bool| -> f64 {
            let got = heard(fec, Some(30));
            (30 * 320..31 * 320).map(|at| (f64::from(got[at]) - f64::from(whole[at])).powi(2)).sum()
        };
        assert!(error(true) < error(false) / 4.0, "{} {}", error(true), error(false));
    }

    #[test]
    fn silence_is_not_sent_where_dtx_is_wished() {
        let wishes = OpusWishes { dtx: true, ..OpusWishes::default() };
        let mut encoder = Encoder::new(VoiceCodec::Opus, 8000, wishes).unwrap();
        let sent = (0..100).filter(|_| encoder.encode(&[0; 160], &mut [0; PACKET_OCTETS_MAX]) > 0).count();
        assert!(sent < 40, "{sent}");
    }

    #[test]
    fn two_channels_are_mixed_to_one() {
        let mut stereo = opus::Encoder::new(48_000, Channels::Stereo, Application::Audio).unwrap();
        let mut voice = ToneGenerator::new(48_000, &[(1000.0, Dbm0(-6.0))]).unwrap();
        let mut decoder = Decoder::new(VoiceCodec::Opus, 16_000).unwrap();
        let mut sound = Vec::new();
        for _ in 0..25 {
            let mut left = [0; 960];
            voice.fill(&mut left);
            let pairs: Vec<i16> = left.iter().flat_map(|left| [*left, left / 2]).collect();
            let mut payload = [0; PACKET_OCTETS_MAX];
            let length = stereo.encode(&pairs, &mut payload).unwrap();
            decoder.decode(&payload[..length], &mut sound).unwrap();
        }
        assert_eq!(sound.len(), 8000);
        assert!(is_clear(&sound, 16_000, 1000.0));
    }

    #[test]
    fn what_is_no_packet_is_refused_and_appends_nothing() {
        for codec in ALL {
            let mut decoder = Decoder::new(codec, codec.sample_rate()).unwrap();
            let mut sound = Vec::new();
            assert_eq!(decoder.decode(&[], &mut sound), Err(Unreadable));
            assert_eq!(decoder.decode(&[0xff; 20_000], &mut sound), Err(Unreadable));
            assert!(sound.is_empty());
            decoder.conceal(usize::MAX, None, &mut sound);
            assert_eq!(sound.len(), decoder.samples_max());
        }
    }
}
