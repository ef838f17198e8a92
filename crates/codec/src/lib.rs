//! Sound as numbers: codecs, sample rates, what to play for a lost packet, tones, levels.
//!
//! Samples are linear PCM, `i16`, one channel. Levels are in dBm0 ([`Dbm0`]), the unit of telephony: a sine whose peaks
//! just reach full scale has +3.17 dBm0.
//!
//! ```
//! use offhook_codec::{Dbm0, G711, ToneDetector, ToneGenerator};
//! let mut generator = ToneGenerator::new(8000, &[(440.0, Dbm0(-10.0))]).unwrap();
//! let mut samples = [0i16; 400];
//! generator.fill(&mut samples);
//!
//! let mut wire = [0u8; 400];
//! G711::ALaw.encode(&samples, &mut wire);
//! G711::ALaw.decode(&wire, &mut samples);
//!
//! let mut detector = ToneDetector::new(8000, 440.0, 400).unwrap();
//! let reading = detector.feed(&samples).unwrap();
//! assert!(reading.is_tone(Dbm0(-11.0), 20.0));
//! ```
#![forbid(unsafe_code)]

mod concealment;
mod detector;
mod g711;
mod g722;
mod keys;
mod level;
mod leveller;
mod playout;
mod resample;
mod signals;
mod tone;
pub mod voice;
mod wav;

pub use concealment::Concealment;
pub use detector::{ToneDetector, ToneReading};
pub use g711::G711;
pub use g722::{G722Decoder, G722Encoder};
pub use keys::{KeyDetector, tones_of_key};
pub use level::{Dbm0, LevelMeter};
pub use leveller::Leveller;
pub use playout::{Played, Playout};
pub use resample::Resampler;
pub use signals::{Beat, Country, Signal};
pub use tone::ToneGenerator;
pub use voice::{Decoder, Encoder, OpusWishes, VoiceCodec};
pub use wav::{Wav, WavError};
