//! The file of running calls: the kept form of each, sealed, in memory that is a file.
//!
//! Call control hands out a form whenever a call has changed (`offhook_switch::kept`). It is written without a system call and
//! without waiting: a copy and a seal, into memory that the kernel keeps whatever becomes of the process. So a call outlives
//! `kill -9`, a panic and an upgrade in place. It does not outlive the loss of power, which takes the phones' side of the call
//! with it as likely as not; records and registrations, which must, are in SQLite.
//!
//! The file has a head, then chunks of one size of slot each, which are added as calls need them and stay. What cannot be
//! kept, because the disk is full or the file has its full size, is counted, and the call goes on as if there were no file.

mod map;
mod slot;

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{aead::NONCE_LEN, rand};
use offhook_base::UtcMillis;
use offhook_switch::record::CallId;

use self::{
    map::{Mapping, allocate},
    slot::{HEAD, Opened, Sealer, TAKEN},
};
use crate::{error::OpenError, store::Store};

/// The file in the data directory, unless it is configured to be elsewhere.
pub(crate) const FILE: &str = "calls";

/// The head of the file: a page of its own, so that it can be mapped by itself.
const HEAD_BYTES: usize = 4096;

/// What the file begins with. The last octet is the version of this layout.
const MAGIC: [u8; 8] = *b"offcall\x01";

/// Where the head says when the process was there last.
const ALIVE_AT: usize = 16;

/// What the file grows by, octets.
const CHUNK_BYTES: usize = 1 << 20;

/// Octets of a chunk that say how large its slots are.
const CHUNK_HEAD: usize = 64;

/// Sizes of slots, octets. A call that is on takes 1.5 to 3 KiB, one that rings ten devices some 16.
const SLOT_BYTES: [usize; 9] = [1024, 1536, 2048, 3072, 4096, 8192, 16_384, 32_768, 66_560];

/// Chunks that the file may have: 4 GiB, room for a million calls that are on.
const CHUNKS_MAX: usize = 4096;

/// Forms that are given up, after the file could not grow, before it is tried again: a full disk is not asked for each call.
const GROW_AGAIN_AFTER: u32 = 256;

/// What the file has counted.
#[derive(Debug, Default)]
pub struct CallsFileCounters {
    /// Calls that are kept now.
    pub kept: AtomicU64,
    /// Forms written since the start.
    pub written: AtomicU64,
    /// Forms that found no room, since the start: an alarm if it grows.
    pub unkept: AtomicU64,
    /// Octets of the file.
    pub octets: AtomicU64,
}

/// What an earlier process has left.
#[derive(Debug, Default)]
pub struct EarlierCalls {
    /// The newest form of each call.
    pub forms: Vec<(CallId, Vec<u8>)>,
    /// When that process was there last; `None` if there was none.
    pub last_alive: Option<UtcMillis>,
    /// Forms that could not be opened: damaged, or sealed under another key.
    pub damaged: usize,
}

/// The open file. One thread owns it: that of call control.
pub struct CallsFile {
    path: PathBuf,
    file: File,
    head: Arc<Mapping>,
    sealer: Sealer,
    sequence: u64,
    chunks: Vec<Chunk>,
    /// Free slots by the place of their size in [`SLOT_BYTES`].
    free: [Vec<SlotId>; SLOT_BYTES.len()],
    calls: HashMap<CallId, Entry>,
    counters: Arc<CallsFileCounters>,
    /// Forms to give up before growing is tried again; `None`: the last attempt went well.
    grow_again_in: Option<u32>,
}

struct Chunk {
    map: Mapping,
    slot_bytes: usize,
}

#[derive(Clone, Copy)]
struct SlotId {
    chunk: u32,
    slot: u32,
}

struct Entry {
    slot: SlotId,
    size: usize,
    /// No leg of the call is left.
    is_over: bool,
    /// Its record is on disk.
    is_recorded: bool,
}

/// Says that the process is there; for a thread that does so every second.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mapping>);

impl Heartbeat {
    /// It is, at `now`.
    pub fn beat(&self, now: UtcMillis) {
        self.0.time(ALIVE_AT).store(now.0, Ordering::Release);
    }
}

impl CallsFile {
    /// Opens the file (mode 0600) or makes it, and reads what an earlier process has left. `path`: elsewhere than in the data
    /// directory.
    ///
    /// # Errors
    /// The file cannot be made or mapped, or there is no room for its head. A node can go on without it.
    pub fn open(store: &Store, path: Option<&Path>) -> Result<(Self, EarlierCalls), OpenError> {
        let path = path.map_or_else(|| store.folder().join(FILE), Path::to_path_buf);
        let failed = |doing| {
            let path = path.clone();
            move |source| OpenError::File { doing, path, source }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed("open"))?;
        let (head, is_known) = open_head(&file).map_err(failed("map"))?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| OpenError::NoRandomness)?;
        let alive = head.time(ALIVE_AT).load(Ordering::Acquire);
        let mut opened = Self {
            file,
            head: Arc::new(head),
            sealer: Sealer::new(&store.key().derive("calls file 1"), nonce),
            sequence: 0,
            chunks: Vec::new(),
            free: Default::default(),
            calls: HashMap::new(),
            counters: Arc::default(),
            grow_again_in: None,
            path: path.clone(),
        };
        let mut earlier = opened.read_chunks().map_err(failed("read"))?;
        earlier.last_alive = (is_known && alive > 0).then_some(UtcMillis(alive));
        opened.count();
        Ok((opened, earlier))
    }

    /// Keeps a form in place of the one before it. Never waits; what finds no room is counted.
    pub fn keep(&mut self, call: CallId, form: &[u8]) {
        let Some((size, slot)) = self.take_slot(HEAD + form.len()) else { return self.give_up(call) };
        self.sequence += 1;
        let (chunk, range) = place(&mut self.chunks, slot);
        let slot_start = range.start;
        if !self.sealer.seal(&mut chunk.bytes_mut()[range], call, self.sequence, form) {
            self.free[size].push(slot);
            return self.give_up(call);
        }
        // Only now: whoever reads a taken slot finds all of it.
        chunk.word(slot_start).store(TAKEN, Ordering::Release);
        let entry = Entry { slot, size, is_over: false, is_recorded: false };
        if let Some(before) = self.calls.insert(call, entry) {
            let is_recorded = before.is_recorded;
            self.release(&before);
            if let Some(entry) = self.calls.get_mut(&call).filter(|_| is_recorded) {
                entry.is_recorded = true;
            }
        }
        self.counters.written.fetch_add(1, Ordering::Relaxed);
        self.count();
    }

    /// No leg of the call is left: its form is dropped as soon as its record is on disk.
    pub fn forget(&mut self, call: CallId) {
        self.mark(call, |entry| entry.is_over = true);
    }

    /// The call's record is on disk.
    pub fn recorded(&mut self, call: CallId) {
        self.mark(call, |entry| entry.is_recorded = true);
    }

    /// Drops the form of a call that nobody can go on with.
    pub fn discard(&mut self, call: CallId) {
        if let Some(entry) = self.calls.remove(&call) {
            self.release(&entry);
            self.count();
        }
    }

    /// Says that the process is there.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(Arc::clone(&self.head))
    }

    /// What it has counted, for whoever shows it.
    pub fn counters(&self) -> Arc<CallsFileCounters> {
        Arc::clone(&self.counters)
    }

    fn mark(&mut self, call: CallId, mark: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        mark(entry);
        if entry.is_over && entry.is_recorded {
            self.discard(call);
        }
    }

    /// The form is not kept, and neither is an older one: that would bring back a call as it no longer is.
    fn give_up(&mut self, call: CallId) {
        self.counters.unkept.fetch_add(1, Ordering::Relaxed);
        self.discard(call);
    }

    /// A free slot for `length` octets, and the place of its size.
    fn take_slot(&mut self, length: usize) -> Option<(usize, SlotId)> {
        let size = SLOT_BYTES.iter().position(|&bytes| length <= bytes)?;
        if self.free[size].is_empty() {
            self.grow(size);
        }
        self.free[size].pop().map(|slot| (size, slot))
    }

    /// Adds a chunk of slots of this size.
    fn grow(&mut self, size: usize) {
        if let Some(left) = &mut self.grow_again_in {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return;
            }
        }
        match self.add_chunk(size) {
            Ok(()) => {
                if self.grow_again_in.take().is_some() {
                    tracing::info!(path = %self.path.display(), "running calls are kept again");
                }
            }
            Err(error) => {
                if self.grow_again_in.is_none() {
                    let hint = "make room on its disk, or name another place in storage.calls";
                    tracing::error!(
                        path = %self.path.display(), %error, hint,
                        "some running calls are not kept: they would not survive a crash"
                    );
                }
                self.grow_again_in = Some(GROW_AGAIN_AFTER);
            }
        }
    }

    fn add_chunk(&mut self, size: usize) -> io::Result<()> {
        if self.chunks.len() >= CHUNKS_MAX {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the file has its full size"));
        }
        let number = u32::try_from(self.chunks.len()).map_err(|_| io::ErrorKind::StorageFull)?;
        let offset = chunk_offset(self.chunks.len());
        allocate(&self.file, offset, CHUNK_BYTES)?;
        let mut map = Mapping::new(&self.file, offset, CHUNK_BYTES)?;
        let slot_bytes = SLOT_BYTES[size];
        map.bytes_mut()[..4].copy_from_slice(&(slot_bytes as u32).to_le_bytes());
        // The last in is the first out: those at the beginning are used again and again, the rest takes no memory.
        self.free[size]
            .extend((0..slots_of(slot_bytes)).rev().map(|slot| SlotId { chunk: number, slot: slot as u32 }));
        self.chunks.push(Chunk { map, slot_bytes });
        Ok(())
    }

    /// Frees a slot. Its form is overwritten: who had a call is nobody's business when it is over.
    fn release(&mut self, entry: &Entry) {
        let (chunk, range) = place(&mut self.chunks, entry.slot);
        chunk.word(range.start).store(0, Ordering::Release);
        let slot = &mut chunk.bytes_mut()[range];
        let length = u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]) as usize;
        let used = (HEAD + length).min(slot.len());
        slot[4..used].fill(0);
        self.free[entry.size].push(entry.slot);
    }

    /// Reads every chunk of the file and takes what it holds.
    fn read_chunks(&mut self) -> io::Result<EarlierCalls> {
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        let count = (length.saturating_sub(HEAD_BYTES) / CHUNK_BYTES).min(CHUNKS_MAX);
        let mut earlier = EarlierCalls::default();
        let mut newest: HashMap<CallId, (u64, Vec<u8>)> = HashMap::new();
        for number in 0..count {
            let mut map = Mapping::new(&self.file, chunk_offset(number), CHUNK_BYTES)?;
            let bytes = map.bytes_mut();
            let said = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
            let size = SLOT_BYTES.iter().position(|&bytes| bytes == said);
            // A chunk that was being added when the process died says nothing yet; it has no forms.
            let size = size.unwrap_or_else(|| {
                bytes[..4].copy_from_slice(&(SLOT_BYTES[0] as u32).to_le_bytes());
                0
            });
            self.chunks.push(Chunk { map, slot_bytes: SLOT_BYTES[size] });
            for slot in (0..slots_of(SLOT_BYTES[size])).rev() {
                let id = SlotId { chunk: number as u32, slot: slot as u32 };
                self.read_slot(id, size, &mut newest, &mut earlier);
            }
        }
        earlier.forms = newest.into_iter().map(|(call, (_, form))| (call, form)).collect();
        // In the order in which they began, which is that of their ids: no two starts differ.
        earlier.forms.sort_unstable_by_key(|(call, _)| *call);
        Ok(earlier)
    }

    fn read_slot(
        &mut self,
        id: SlotId,
        size: usize,
        newest: &mut HashMap<CallId, (u64, Vec<u8>)>,
        earlier: &mut EarlierCalls,
    ) {
        let (map, range) = place(&mut self.chunks, id);
        if map.word(range.start).load(Ordering::Acquire) != TAKEN {
            return self.free[size].push(id);
        }
        let slot = map.bytes()[range].to_vec();
        let entry = Entry { slot: id, size, is_over: false, is_recorded: false };
        let Some(Opened { call, sequence, form }) = self.sealer.open(&slot) else {
            earlier.damaged += 1;
            return self.release(&entry);
        };
        self.sequence = self.sequence.max(sequence);
        match newest.get(&call) {
            Some((known, _)) if *known > sequence => self.release(&entry),
            _ => {
                newest.insert(call, (sequence, form));
                if let Some(older) = self.calls.insert(call, entry) {
                    self.release(&older);
                }
            }
        }
    }

    fn count(&self) {
        self.counters.kept.store(self.calls.len() as u64, Ordering::Relaxed);
        let octets = HEAD_BYTES + self.chunks.len() * CHUNK_BYTES;
        self.counters.octets.store(octets as u64, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for CallsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallsFile({}, {} calls)", self.path.display(), self.calls.len())
    }
}

/// Maps the head, and makes the file anew if it is no file of ours: of another version, or not written to its end.
fn open_head(file: &File) -> io::Result<(Mapping, bool)> {
    if file.metadata()?.len() < HEAD_BYTES as u64 {
        allocate(file, 0, HEAD_BYTES)?;
    }
    let head = Mapping::new(file, 0, HEAD_BYTES)?;
    if head.bytes().starts_with(&MAGIC) {
        return Ok((head, true));
    }
    drop(head);
    file.set_len(0)?;
    allocate(file, 0, HEAD_BYTES)?;
    let mut head = Mapping::new(file, 0, HEAD_BYTES)?;
    head.bytes_mut()[..MAGIC.len()].copy_from_slice(&MAGIC);
    Ok((head, false))
}

/// Where a slot lies.
fn place(chunks: &mut [Chunk], slot: SlotId) -> (&mut Mapping, std::ops::Range<usize>) {
    let chunk = &mut chunks[slot.chunk as usize];
    let start = CHUNK_HEAD + slot.slot as usize * chunk.slot_bytes;
    (&mut chunk.map, start..start + chunk.slot_bytes)
}

const fn chunk_offset(number: usize) -> u64 {
    HEAD_BYTES as u64 + number as u64 * CHUNK_BYTES as u64
}

const fn slots_of(slot_bytes: usize) -> usize {
    (CHUNK_BYTES - CHUNK_HEAD) / slot_bytes
}
