//! How busy the calling thread is, by the CPU time that the kernel gave it.
#![expect(unsafe_code, reason = "the CPU time of a thread has no safe interface in std")]

use std::time::Duration;

use offhook_base::Instant;

/// Since the last look.
#[derive(Debug, Default)]
pub struct Stopwatch {
    looked_at: Instant,
    used: Duration,
}

impl Stopwatch {
    /// The share of the time since the last look that the thread worked, 0 to 1; that since its start at the first look.
    pub fn busy_since(&mut self, now: Instant) -> f64 {
        let used = thread_time();
        let (worked, lasted) = (used.saturating_sub(self.used), now - self.looked_at);
        (self.looked_at, self.used) = (now, used);
        if lasted.is_zero() { 0.0 } else { (worked.as_secs_f64() / lasted.as_secs_f64()).min(1.0) }
    }
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, which writes nothing else. It fails for unknown clocks only: then no time
    // has passed.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
