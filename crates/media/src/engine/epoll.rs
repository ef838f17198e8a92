//! A Linux epoll set: which sockets have something to read, and the descriptors that wake it besides.
#![expect(unsafe_code, reason = "epoll, eventfd and timerfd have no safe interface in std")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr,
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

/// A timerfd: readable once per `period`, until eight bytes are read from it. Non-blocking. A time-out of each wait would
/// be set and taken back by the kernel at nearly every packet.
pub fn metronome(period: Duration) -> io::Result<File> {
    // SAFETY: no pointers are passed; the result is checked before use.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
    let timer = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    set_period(&timer, period)?;
    Ok(timer)
}

/// Gives a metronome another period; zero stops it.
pub fn set_period(metronome: &File, period: Duration) -> io::Result<()> {
    let period = libc::timespec {
        tv_sec: period.as_secs() as libc::time_t,
        tv_nsec: period.subsec_nanos() as libc::c_long,
    };
    let times = libc::itimerspec { it_interval: period, it_value: period };
    // SAFETY: the descriptor is open, `times` lives through the call, and the old value is not asked for.
    let result =
        unsafe { libc::timerfd_settime(metronome.as_raw_fd(), 0, &raw const times, ptr::null_mut()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CLOCK_MONOTONIC, ns: the clock that the standard library's `Instant` hides, and that eBPF programs read.
pub fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
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

    /// Waits until a source has input. A signal ends it early.
    pub fn wait(&mut self) -> io::Result<()> {
        self.ready = 0;
        // SAFETY: `events` has room for EVENTS_MAX entries and is borrowed mutably through the call.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), EVENTS_MAX as i32, -1) };
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
