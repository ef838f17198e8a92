//! What the node can play: its own sounds, and those of the operator's, by name.
//!
//! All are kept as samples of one rate, read once at the start: playing one is copying from memory.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use offhook_codec::{G722Decoder, Resampler, Wav, WavError};

/// Rate of everything that the node plays, Hz: that of G.722.
pub const SOUND_RATE: u32 = 16_000;
/// Longest sound, s.
const SOUND_SECS_MAX: usize = 600;
/// Longest file that is read, octets: ten minutes at 48 kHz in two channels.
const FILE_BYTES_MAX: u64 = 120 << 20;
/// Most sounds of an operator.
const FILES_MAX: usize = 1000;
/// Samples that are resampled at once: 100 ms at 48 kHz.
const BLOCK_SAMPLES: usize = 4800;

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../sounds/en/", $name, ".g722")))),+]
    };
}

/// Made by `scripts/make-sounds.sh`, in G.722.
const BUILT_IN: &[(&str, &[u8])] = built_in!(
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "10",
    "11",
    "12",
    "13",
    "14",
    "15",
    "16",
    "17",
    "18",
    "19",
    "20",
    "30",
    "40",
    "50",
    "the-time-is",
    "hours",
    "minutes",
    "welcome",
    "menu",
    "no-such-choice",
    "goodbye",
    "echo-test",
    "tones",
    "room-number",
    "room-pin",
    "room-recorded",
    "wrong-pin",
    "no-such-room",
    "room-full",
    "you-are-alone",
    "you-are-in",
    "now-muted",
    "now-unmuted",
);

/// Why a sound of the operator's cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no WAV file that is understood.
    #[error("{}: {source}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: WavError,
    },
    /// A file has a rate that nothing here works with, or lasts too long.
    #[error("{}: {rate} Hz for {secs} s; rates are 8000, 16000, 32000 and 48000 Hz, for at most 600 s", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// Its rate.
        rate: u32,
        /// Its length.
        secs: usize,
    },
    /// There are more files than that.
    #[error("more than 1000 sounds in {}", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

/// All sounds by name.
#[derive(Clone, Default)]
pub struct Sounds(BTreeMap<Box<str>, Arc<[i16]>>);

impl std::fmt::Debug for Sounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sounds({})", self.0.len())
    }
}

impl Sounds {
    /// The node's own.
    pub fn built_in() -> Self {
        let decoded = BUILT_IN.iter().map(|(name, octets)| {
            let mut samples = vec![0; octets.len() * 2];
            G722Decoder::default().decode(octets, &mut samples);
            ((*name).into(), samples.into())
        });
        Self(decoded.collect())
    }

    /// Adds the WAV files of a directory, each by its name without `.wav`; one that is named as one of the node's own takes
    /// its place. How many there were.
    ///
    /// # Errors
    /// See [`SoundError`]; nothing was added then.
    pub fn add_directory(&mut self, path: &Path) -> Result<usize, SoundError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| SoundError::Read { path, source }
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(read(path))? {
            let file = entry.map_err(read(path))?.path();
            if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav")) {
                files.push(file);
            }
            if files.len() > FILES_MAX {
                return Err(SoundError::TooMany { path: path.to_owned() });
            }
        }
        let mut added = Vec::with_capacity(files.len());
        for file in files {
            let length = fs::metadata(&file).map_err(read(&file))?.len();
            if length > FILE_BYTES_MAX {
                let source = io::Error::new(io::ErrorKind::FileTooLarge, "larger than 120 MiB");
                return Err(SoundError::Read { path: file, source });
            }
            let octets = fs::read(&file).map_err(read(&file))?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            added.push((name.into_boxed_str(), understand(&file, &octets)?));
        }
        let count = added.len();
        self.0.extend(added);
        Ok(count)
    }

    /// The samples of a sound.
    pub fn get(&self, name: &str) -> Option<&Arc<[i16]>> {
        self.0.get(name)
    }
}

fn understand(path: &Path, octets: &[u8]) -> Result<Arc<[i16]>, SoundError> {
    let wav = Wav::parse(octets).map_err(|source| SoundError::Format { path: path.to_owned(), source })?;
    let (rate, samples) = (wav.rate(), wav.samples());
    let secs = samples.len() / rate.max(1) as usize;
    let resampler = Resampler::new(rate, SOUND_RATE).filter(|_| secs <= SOUND_SECS_MAX);
    let Some(mut resampler) = resampler else {
        return Err(SoundError::Unfit { path: path.to_owned(), rate, secs });
    };
    let mut sound = Vec::with_capacity(samples.len() * SOUND_RATE as usize / rate as usize + 1);
    for block in samples.chunks(BLOCK_SAMPLES.min((rate / 10) as usize)) {
        resampler.process(block, &mut sound);
    }
    Ok(sound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_own_sounds_are_speech_of_sensible_length_and_level() {
        let sounds = Sounds::built_in();
        for (name, _) in BUILT_IN {
            let samples = sounds.get(name).unwrap();
            let secs = samples.len() as f64 / f64::from(SOUND_RATE);
            assert!((0.2..15.0).contains(&secs), "{name}: {secs}");
            let mut meter = offhook_codec::LevelMeter::new();
            meter.feed(samples);
            assert!((-35.0..-5.0).contains(&meter.level().0), "{name}: {}", meter.level());
        }
    }

    /// Speech is never taken for keys: talk-off over a minute of it, at two rates.
    #[test]
    fn no_key_is_heard_in_speech() {
        let sounds = Sounds::built_in();
        for (name, _) in BUILT_IN {
            let mut detector = offhook_codec::KeyDetector::new(SOUND_RATE).unwrap();
            let samples = sounds.get(name).unwrap();
            assert!(samples.chunks(320).all(|packet| detector.feed(packet).is_none()), "{name}");
            let mut narrow = Vec::new();
            let mut resampler = Resampler::new(SOUND_RATE, 8000).unwrap();
            samples.chunks(320).for_each(|block| resampler.process(block, &mut narrow));
            let mut detector = offhook_codec::KeyDetector::new(8000).unwrap();
            assert!(narrow.chunks(160).all(|packet| detector.feed(packet).is_none()), "{name}");
        }
    }

    #[test]
    fn a_directory_of_wav_files_adds_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let wav = |rate: u32, samples: u32| {
            let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
            file.extend(rate.to_le_bytes());
            file.extend((rate * 2).to_le_bytes());
            file.extend([2, 0, 16, 0]);
            file.extend(b"data");
            file.extend((samples * 2).to_le_bytes());
            file.resize(file.len() + samples as usize * 2, 1);
            file
        };
        fs::write(directory.path().join("welcome.wav"), wav(8000, 800)).unwrap();
        fs::write(directory.path().join("readme.txt"), "no sound").unwrap();
        let mut sounds = Sounds::built_in();
        assert_eq!(sounds.add_directory(directory.path()).unwrap(), 1);
        assert!((1590..=1600).contains(&sounds.get("welcome").unwrap().len()));
        fs::write(directory.path().join("odd.wav"), wav(11_025, 800)).unwrap();
        let error = sounds.add_directory(directory.path()).unwrap_err().to_string();
        assert!(error.contains("odd.wav: 11025 Hz"), "{error}");
        fs::write(directory.path().join("odd.wav"), "RIFF").unwrap();
        assert!(matches!(sounds.add_directory(directory.path()), Err(SoundError::Format { .. })));
    }
}
