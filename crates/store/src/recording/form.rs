//! The form of a recording's file.
//!
//! ```text
//! "OHREC" 1 CR LF | begun, ms since 1970 (8) | nonce (12) | the recording's key, sealed (48)
//! chunk: length of what is sealed (4) | kind (1) | sealed
//! ```
//!
//! Numbers are big-endian. Keys are AES-256-GCM. The recording's key is sealed under the node's for this purpose and bound to
//! the recording's number and beginning. It seals the chunks, whose nonces count up from zero: a chunk that is altered, left
//! out, repeated or put elsewhere does not open. The last one says how much there was; where it is missing, the rest is too.

use std::{
    fs,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, RandomizedNonceKey, UnboundKey},
    rand,
};
use offhook_base::UtcMillis;
use offhook_switch::tape::{Consent, TAPE_BLOCK_SAMPLES};

const MAGIC: &[u8; 8] = b"OHREC\x01\r\n";
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// Where the sealed key stands, and its length with the nonce.
const KEY_AT: usize = 16;
const SEALED_KEY_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
/// Longest chunk, octets: twice what the writer makes.
const CHUNK_LEN_MAX: usize = 4 * TAPE_BLOCK_SAMPLES;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It ends before its head does, or the disk failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no recording, or one of another version of this program.
    #[error("it is no recording of this version")]
    Foreign,
    /// It does not open.
    #[error("it does not open with the node's key, or was altered")]
    Sealed,
}

/// What seals the keys of recordings.
#[derive(Clone)]
pub struct Sealing(Arc<RandomizedNonceKey>);

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealing(***)")
    }
}

impl Sealing {
    /// By this key.
    pub fn new(key: &[u8; KEY_LEN]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key).ok().map(|key| Self(Arc::new(key)))
    }
}

/// A part of a recording.
#[derive(Debug)]
pub enum Chunk {
    /// Of whose room it is.
    About { tenant: String, room: String },
    /// Somebody agreed.
    Agreed(Consent),
    /// Sound.
    Sound(Vec<i16>),
    /// Sound that was not asked for.
    Skipped { samples: u64 },
    /// The end, after so many samples.
    End { samples: u64 },
}

const ABOUT: u8 = 0;
const AGREED: u8 = 1;
const SOUND: u8 = 2;
const END: u8 = 3;

/// Seals the chunks of one recording.
struct Sealer {
    key: LessSafeKey,
    chunks: u64,
}

impl Sealer {
    fn new(key: &[u8]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, key).ok().map(|key| Self { key: LessSafeKey::new(key), chunks: 0 })
    }

    /// No two chunks have one: the key is this recording's alone.
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.chunks.to_be_bytes());
        self.chunks += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

fn bound_to(id: &str, started: UtcMillis) -> Vec<u8> {
    [MAGIC, &started.0.to_be_bytes()[..], id.as_bytes()].concat()
}

/// Writes a recording.
pub struct Writer {
    file: fs::File,
    sealer: Sealer,
    samples: u64,
}

impl Writer {
    /// Begins one in an empty file.
    pub fn begin(
        mut file: fs::File,
        sealing: &Sealing,
        (id, started): (&str, UtcMillis),
        (tenant, room): (&str, &str),
    ) -> io::Result<Self> {
        let refused = |_| io::Error::other("the system's cryptography refused");
        let mut key = [0; KEY_LEN];
        rand::fill(&mut key).map_err(refused)?;
        let mut sealed = key.to_vec();
        let bound = bound_to(id, started);
        let nonce = sealing.0.seal_in_place_append_tag(Aad::from(&bound), &mut sealed).map_err(refused)?;
        let head = [MAGIC, &started.0.to_be_bytes()[..], nonce.as_ref(), &sealed].concat();
        let sealer = Sealer::new(&key).ok_or_else(|| io::Error::other("no key"))?;
        file.write_all(&head)?;
        let mut writer = Self { file, sealer, samples: 0 };
        let about = serde_json::json!({ "tenant": tenant, "room": room }).to_string();
        writer.chunk(ABOUT, about.into_bytes())?;
        Ok(writer)
    }

    fn chunk(&mut self, kind: u8, mut content: Vec<u8>) -> io::Result<()> {
        let nonce = self.sealer.next_nonce();
        self.sealer
            .key
            .seal_in_place_append_tag(nonce, Aad::from([kind]), &mut content)
            .map_err(|_| io::Error::other("the system's cryptography refused"))?;
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        // One write: a process that is killed leaves whole chunks.
        let chunk = [&length.to_be_bytes()[..], &[kind], &content].concat();
        self.file.write_all(&chunk)
    }

    /// Notes that somebody has agreed.
    pub fn agreed(&mut self, consent: Consent) -> io::Result<()> {
        self.chunk(AGREED, [consent.call.as_str().as_bytes(), &consent.at.0.to_be_bytes()].concat())
    }

    /// Takes sound.
    pub fn sound(&mut self, samples: &[i16]) -> io::Result<()> {
        for samples in samples.chunks(TAPE_BLOCK_SAMPLES) {
            self.chunk(SOUND, samples.iter().flat_map(|sample| sample.to_be_bytes()).collect())?;
            self.samples += samples.len() as u64;
        }
        Ok(())
    }

    /// Ends it, and waits until the disk has it.
    pub fn end(mut self) -> io::Result<()> {
        let samples = self.samples;
        self.chunk(END, samples.to_be_bytes().to_vec())?;
        self.file.sync_all()
    }
}

/// Reads a recording.
pub struct Reader {
    file: BufReader<fs::File>,
    sealer: Sealer,
    started: UtcMillis,
    samples: u64,
}

impl Reader {
    /// Opens one.
    pub fn open(file: fs::File, sealing: &Sealing, id: &str) -> Result<Self, ReadError> {
        let mut file = BufReader::new(file);
        let mut head = [0; KEY_AT + SEALED_KEY_LEN];
        file.read_exact(&mut head)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let (started, sealed) = rest.split_at(8);
        if magic != MAGIC {
            return Err(ReadError::Foreign);
        }
        let started = UtcMillis(i64::from_be_bytes(started.try_into().unwrap_or_default()));
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(ReadError::Foreign)?;
        let mut sealed = sealed.to_vec();
        let bound = bound_to(id, started);
        let key = sealing
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(&bound), &mut sealed)
            .map_err(|_| ReadError::Sealed)?;
        let sealer = Sealer::new(key).ok_or(ReadError::Sealed)?;
        Ok(Self { file, sealer, started, samples: 0 })
    }

    /// When it began.
    pub const fn started(&self) -> UtcMillis {
        self.started
    }

    /// The next part, `None` at the end of what is there. Sound is only opened where `wants_sound`.
    pub fn next(&mut self, wants_sound: bool) -> Result<Option<Chunk>, ReadError> {
        let mut head = [0; 5];
        match self.file.read_exact(&mut head) {
            // A head that is not whole is one that is just being written.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [a, b, c, d, kind] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(TAG_LEN..=CHUNK_LEN_MAX).contains(&length) {
            return Err(ReadError::Sealed);
        }
        if kind == SOUND && !wants_sound {
            return self.skip(length);
        }
        let mut content = vec![0; length];
        match self.file.read_exact(&mut content) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let nonce = self.sealer.next_nonce();
        let content = self
            .sealer
            .key
            .open_in_place(nonce, Aad::from([kind]), &mut content)
            .map_err(|_| ReadError::Sealed)?;
        let chunk = parse(kind, content).ok_or(ReadError::Foreign)?;
        match &chunk {
            Chunk::Sound(samples) => self.samples += samples.len() as u64,
            Chunk::End { samples } if *samples != self.samples => return Err(ReadError::Sealed),
            _ => {}
        }
        Ok(Some(chunk))
    }

    fn skip(&mut self, length: usize) -> Result<Option<Chunk>, ReadError> {
        self.sealer.chunks += 1;
        let end = self.file.get_ref().metadata()?.len();
        let at = self.file.stream_position()?;
        if at + length as u64 > end {
            return Ok(None);
        }
        self.file.seek_relative(length as i64)?;
        let samples = (length - TAG_LEN) as u64 / 2;
        self.samples += samples;
        Ok(Some(Chunk::Skipped { samples }))
    }
}

fn parse(kind: u8, content: &[u8]) -> Option<Chunk> {
    Some(match kind {
        ABOUT => {
            let about: serde_json::Value = serde_json::from_slice(content).ok()?;
            let text = |name: &str| about[name].as_str().map(str::to_owned);
            Chunk::About { tenant: text("tenant")?, room: text("room")? }
        }
        AGREED => {
            let (call, at) = content.split_last_chunk::<8>()?;
            let call = std::str::from_utf8(call).ok()?.parse().ok()?;
            Chunk::Agreed(Consent { call, at: UtcMillis(i64::from_be_bytes(*at)) })
        }
        SOUND => {
            Chunk::Sound(content.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect())
        }
        END => Chunk::End { samples: u64::from_be_bytes(content.try_into().ok()?) },
        _ => return None,
    })
}

/// Overwrites the sealed key of a recording, and waits until the disk has that.
pub fn destroy_key(path: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(KEY_AT as u64))?;
    file.write_all(&[0; SEALED_KEY_LEN])?;
    file.sync_data()
}
