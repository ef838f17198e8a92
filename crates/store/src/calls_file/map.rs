//! Parts of a file as memory: what is stored there is the file's, whatever ends the process.
#![expect(unsafe_code, reason = "the system hands out mapped memory as an address")]

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicI64, AtomicU32},
};

/// A part of a file, mapped for reading and writing and shared with the file (`MAP_SHARED`): every store is in the kernel's
/// page cache at once, without a system call, and survives `kill -9`. It does not survive the loss of power, and need not.
///
/// The file must not be shortened while it is mapped, or an access is answered with SIGBUS. Nobody else does that: it lies in
/// the data directory, which is closed to others (mode 0700) and locked by this process.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the mapping alone and is bound to no thread.
unsafe impl Send for Mapping {}
// SAFETY: what is shared through `&Mapping` are atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` octets of `file` from `offset`, both whole pages. They must have been given out by [`allocate`], or a
    /// full disk is answered with SIGBUS at the first store.
    pub fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, file.as_raw_fd(), offset)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, length })
    }

    /// The octets.
    pub const fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `length` octets long and lives as long as `self`; they change only through `&mut self` and
        // through atomics, which nobody reads this way.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }

    /// The octets, to be changed.
    pub const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `bytes`, and `&mut self` keeps others away.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.length) }
    }

    /// The aligned number at `offset`. Stored with `Release`, it is seen after all that was stored before: the kernel may
    /// take the process away between any two stores, but not reorder them.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length, "a word of the mapping");
        // SAFETY: aligned (mappings begin at pages) and within the mapping, as was just checked; the lifetime is that of
        // `self`.
        unsafe { AtomicU32::from_ptr(self.address.as_ptr().add(offset).cast()) }
    }

    /// The aligned time at `offset`.
    pub fn time(&self, offset: usize) -> &AtomicI64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length, "a time of the mapping");
        // SAFETY: as in `word`.
        unsafe { AtomicI64::from_ptr(self.address.as_ptr().add(offset).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}

/// Makes sure that the file has `length` octets from `offset`, with room on the disk for each: a full disk is an error here,
/// and not a signal later.
pub fn allocate(file: &File, offset: u64, length: usize) -> io::Result<()> {
    let range = libc::off_t::try_from(offset).and_then(|offset| Ok((offset, libc::off_t::try_from(length)?)));
    let (offset, length) = range.map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointers; the descriptor is open as long as `file`.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, length) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
