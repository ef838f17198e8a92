//! Recordings: what people have agreed to have kept of what they said, encrypted from the first octet on disk.
//!
//! Each is a file of its own in the directory `recordings`, under a key of its own that the node's key seals ([`form`]). A
//! thread writes them ([`RecordingWriter`]); a disk that does not take them stops recordings, and no calls.

mod form;
mod writer;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use offhook_base::{Random, UtcMillis};
use offhook_switch::{
    record::CallId,
    tape::{Consent, TAPE_RATE},
};

use self::form::{Chunk, Reader, Sealing};
pub use self::{
    form::ReadError,
    writer::{RecordingStatus, RecordingWriter},
};
use crate::{error::StoreError, store::Store};

/// The directory in the data directory.
const FOLDER: &str = "recordings";
/// Their ending.
const ENDING: &str = "rec";
/// What their keys are sealed for.
const PURPOSE: &str = "recordings";

/// A recording's number: 26 letters, sortable by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordingId(CallId);

impl RecordingId {
    fn new(started: UtcMillis, random: &mut Random) -> Self {
        Self(CallId::new(started, random))
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// The text is no number of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a recording: those are 26 letters and digits")]
pub struct BadRecordingId;

impl FromStr for RecordingId {
    type Err = BadRecordingId;

    fn from_str(text: &str) -> Result<Self, BadRecordingId> {
        text.parse().map(Self).map_err(|_| BadRecordingId)
    }
}

/// What is known of a recording without hearing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its number.
    pub id: RecordingId,
    /// Of whose room.
    pub tenant: String,
    /// The number of the room.
    pub room: String,
    /// Begun then.
    pub started: UtcMillis,
    /// Samples, at 16 kHz.
    pub samples: u64,
    /// It has its end. One that has none is still being made, or broke off.
    pub is_complete: bool,
    /// Who agreed, each once, in that order.
    pub consents: Vec<Consent>,
}

/// Why a recording could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is none of this number.
    #[error("there is no recording {0}")]
    Missing(RecordingId),
    /// The disk failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file is none of ours, or was altered, or the node's key is another one.
    #[error("recording {id} cannot be read: {source}")]
    Unreadable {
        /// Which.
        id: RecordingId,
        /// Why.
        #[source]
        source: ReadError,
    },
}

impl RecordingError {
    /// What to do about it, in one line.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "`offhook recordings list` shows all; old ones are deleted",
            Self::File { .. } => "check free space and health of the disk under the data directory",
            Self::Unreadable { .. } => {
                "it was altered, or secret.key is not the one that it was made with: put that one back"
            }
        }
    }
}

/// All recordings of a data directory.
#[derive(Clone, Debug)]
pub struct Recordings {
    folder: PathBuf,
    sealing: Sealing,
}

/// Whether there are recordings in this data directory. If it cannot be told: yes.
pub(crate) fn are_in(data: &Path) -> bool {
    ids_in(&data.join(FOLDER)).map_or(true, |ids| !ids.is_empty())
}

fn ids_in(folder: &Path) -> Result<Vec<RecordingId>, RecordingError> {
    let failed = |source| RecordingError::File { doing: "read", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let id = |path: &Path| {
        let is_ours = path.extension().is_some_and(|ending| ending == ENDING);
        path.file_stem().filter(|_| is_ours)?.to_str()?.parse().ok()
    };
    Ok(entries.flatten().filter_map(|entry| id(&entry.path())).collect())
}

impl Store {
    /// Its recordings.
    ///
    /// # Errors
    /// The system's cryptography refuses the key: a bug of ours.
    pub fn recordings(&self) -> Result<Recordings, StoreError> {
        let sealing = Sealing::new(&self.key().derive(PURPOSE)).ok_or(StoreError::NoRandomness)?;
        Ok(Recordings { folder: self.folder().join(FOLDER), sealing })
    }
}

impl Recordings {
    fn path(&self, id: RecordingId) -> PathBuf {
        self.folder.join(format!("{id}.{ENDING}"))
    }

    /// All, the newest first. One that cannot be read is left out, with a line in the log. Reads the disk.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<Recording>, RecordingError> {
        let mut ids = ids_in(&self.folder)?;
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let about = |id: &RecordingId| {
            self.about(*id).inspect_err(|error| tracing::error!(%error, hint = error.hint(), "a recording"))
        };
        Ok(ids.iter().filter_map(|id| about(id).ok()).collect())
    }

    /// What is known of one. Reads the disk.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn about(&self, id: RecordingId) -> Result<Recording, RecordingError> {
        let mut reader = self.reader(id)?;
        let mut about = Recording {
            id,
            tenant: String::new(),
            room: String::new(),
            started: reader.started(),
            samples: 0,
            is_complete: false,
            consents: Vec::new(),
        };
        while let Some(chunk) =
            reader.next(false).map_err(|source| RecordingError::Unreadable { id, source })?
        {
            match chunk {
                Chunk::About { tenant, room } => (about.tenant, about.room) = (tenant, room),
                Chunk::Agreed(consent) if about.consents.contains(&consent) => {}
                Chunk::Agreed(consent) => about.consents.push(consent),
                Chunk::Skipped { samples } => about.samples += samples,
                Chunk::Sound(samples) => about.samples += samples.len() as u64,
                Chunk::End { .. } => about.is_complete = true,
            }
        }
        Ok(about)
    }

    fn reader(&self, id: RecordingId) -> Result<Reader, RecordingError> {
        let path = self.path(id);
        let file = fs::File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RecordingError::Missing(id),
            _ => RecordingError::File { doing: "open", path, source },
        })?;
        Reader::open(file, &self.sealing, &id.to_string())
            .map_err(|source| RecordingError::Unreadable { id, source })
    }

    /// Its sound as a WAV file, part by part; `each` returns false to stop. Reads the disk.
    ///
    /// # Errors
    /// There is none, or a part cannot be read: what came before it is sound.
    pub fn export(
        &self,
        id: RecordingId,
        mut each: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), RecordingError> {
        let about = self.about(id)?;
        let mut reader = self.reader(id)?;
        if !each(wav_header(about.samples)) {
            return Ok(());
        }
        let mut left = about.samples;
        while left > 0
            && let Some(chunk) =
                reader.next(true).map_err(|source| RecordingError::Unreadable { id, source })?
        {
            let Chunk::Sound(samples) = chunk else { continue };
            // One that is still being made has grown since.
            let samples = &samples[..samples.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            left -= samples.len() as u64;
            if !each(samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deletes one: its key is in its file, and goes with it.
    ///
    /// # Errors
    /// There is none, or the disk failed.
    pub fn delete(&self, id: RecordingId) -> Result<(), RecordingError> {
        let path = self.path(id);
        let failed = |doing| {
            let path = path.clone();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::NotFound => RecordingError::Missing(id),
                _ => RecordingError::File { doing, path, source },
            }
        };
        // The place on disk may live on after its name: without the key it is noise.
        form::destroy_key(&path).map_err(failed("write"))?;
        fs::remove_file(&path).map_err(failed("delete"))
    }

    /// Deletes those that began before `oldest`; how many.
    ///
    /// # Errors
    /// The disk failed.
    pub fn expire(&self, oldest: UtcMillis) -> Result<usize, RecordingError> {
        let mut deleted = 0;
        for id in ids_in(&self.folder)? {
            // By its number, for what can be read no more must go as well.
            if id.0.started() < oldest {
                self.delete(id)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// The head of a WAV file of so many samples, one channel of 16 bits.
fn wav_header(samples: u64) -> Vec<u8> {
    // The field ends at 4 GiB, 37 hours: programs read such files to their end.
    let octets = u32::try_from(2 * samples).unwrap_or(u32::MAX).min(u32::MAX - 36);
    let mut header = Vec::with_capacity(44);
    header.extend(b"RIFF");
    header.extend((36 + octets).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(TAPE_RATE.to_le_bytes());
    header.extend((2 * TAPE_RATE).to_le_bytes());
    header.extend(2_u16.to_le_bytes());
    header.extend(16_u16.to_le_bytes());
    header.extend(b"data");
    header.extend(octets.to_le_bytes());
    header
}
