//! A Linux epoll set: which sockets have something to read.
#![expect(unsafe_code, reason = "epoll has no safe interface in std")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Sockets told of per wake-up. More wait for the next turn, so that commands are not kept waiting.
const EVENTS_MAX: usize = 128;

/// An eventfd: whoever writes eight bytes wakes whoever watches it. Non-blocking.
pub fn bell() -> io::Result<File> {
    // SAFETY: no pointers are passed; the result is checked before use.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The set, and room for what it tells.
pub struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS_MAX]>,
    ready: usize,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked before use.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX]), ready: 0 })
    }

    /// Watches `source` for input; `token` names it in [`Epoll::tokens`]. Closing the descriptor ends the watch.
    pub fn add(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        let source = source.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open, `event` lives through the call, and the kernel copies it.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, source, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until a source has input or `timeout` has passed. A signal ends it early.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        self.ready = 0;
        // SAFETY: `events` has room for EVENTS_MAX entries and is borrowed mutably through the call.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), EVENTS_MAX as i32, millis)
        };
        match usize::try_from(count) {
            Ok(count) => self.ready = count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// How many sources have input.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// The token of the `at`-th of them.
    pub fn token(&self, at: usize) -> u64 {
        self.events[at].u64
    }
}
