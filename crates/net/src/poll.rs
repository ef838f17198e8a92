//! epoll, eventfd and timerfd, as thin as they can be.
#![expect(unsafe_code, reason = "epoll, eventfd and timerfd have no safe binding in std")]

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

/// Most file descriptors that one wait reports. The rest is reported by the next: epoll is fair among ready ones.
const EVENTS_PER_WAIT: usize = 64;

/// An eventfd counter at zero: non-blocking, closed on exec.
pub(crate) fn eventfd() -> io::Result<File> {
    // SAFETY: no pointers are passed; the result is checked.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and belongs to nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// A timer that makes its descriptor readable once, until it is set again.
#[derive(Debug)]
pub(crate) struct Alarm {
    fd: OwnedFd,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and belongs to nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Goes off in `wait`, at least a nanosecond: zero would turn it off. What it was set to before is forgotten.
    pub(crate) fn set(&self, wait: Duration) -> io::Result<()> {
        let wait = wait.max(Duration::from_nanos(1));
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let once = libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let setting = libc::itimerspec { it_interval: never, it_value: once };
        // SAFETY: `setting` lives through the call; no old value is asked for.
        let result = unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// What a watched descriptor is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// The key it was added with.
    pub key: u64,
    /// A read will not block (or will report the error that is pending).
    pub readable: bool,
    /// A write will not block.
    pub writable: bool,
}

/// A level-triggered epoll instance.
#[derive(Debug)]
pub struct Poll {
    fd: OwnedFd,
}

impl Poll {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and belongs to nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watches `fd` for reading. A descriptor that is closed is watched no more.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn add(&self, fd: RawFd, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, key, libc::EPOLLIN)
    }

    /// Watches `fd` for becoming readable: it is reported once each time, and need not be read.
    pub(crate) fn add_edge(&self, fd: RawFd, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, key, libc::EPOLLIN | libc::EPOLLET)
    }

    /// Watches `fd` for reading, and for writing while something waits to be written.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn watch_writable(&self, fd: RawFd, key: u64, writable: bool) -> io::Result<()> {
        let interest = if writable { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        self.control(libc::EPOLL_CTL_MOD, fd, key, interest)
    }

    fn control(&self, operation: i32, fd: RawFd, key: u64, interest: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: key };
        // SAFETY: `event` lives through the call and the kernel copies it.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something is ready or `timeout` is over (`None`: for ever) and puts what is ready into `ready`.
    /// A signal ends the wait early with nothing ready.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT];
        let timeout_ms = timeout.map_or(-1, ceil_millis);
        // SAFETY: `events` is valid for writes of EVENTS_PER_WAIT elements for the time of the call.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), EVENTS_PER_WAIT as i32, timeout_ms)
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        };
        ready.extend(events.iter().take(count).map(|event| {
            let bits = event.events as i32;
            Readiness {
                key: event.u64,
                readable: bits & (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP) != 0,
                writable: bits & libc::EPOLLOUT != 0,
            }
        }));
        Ok(())
    }
}

/// Rounded up: a worker that wakes before its deadline would spin until it.
fn ceil_millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}
