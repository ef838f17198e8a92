//! Signals: heard on a thread of their own, told as counts.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};

/// How often each signal came.
#[derive(Debug, Default)]
pub struct Signals {
    graceful: AtomicU32,
    dump: AtomicU32,
    interrupt: AtomicU32,
}

impl Signals {
    /// Listens from now on. Without a thread for it the signals do what they do to any program.
    pub fn listen() -> Arc<Self> {
        let signals = Arc::new(Self::default());
        let heard = Arc::clone(&signals);
        let _ = std::thread::Builder::new().name("signals".into()).spawn(move || heard.wait());
        signals
    }

    fn wait(&self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let _: std::io::Result<()> = runtime.block_on(async {
            let mut usr1 = signal(SignalKind::user_defined1())?;
            let mut usr2 = signal(SignalKind::user_defined2())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            loop {
                let counter = tokio::select! {
                    _ = usr1.recv() => &self.graceful,
                    _ = usr2.recv() => &self.dump,
                    _ = interrupt.recv() => &self.interrupt,
                    _ = terminate.recv() => &self.interrupt,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// USR1 since the last time.
    pub fn graceful(&self) -> u32 {
        self.graceful.swap(0, Ordering::Relaxed)
    }

    /// USR2 since the last time.
    pub fn dump(&self) -> u32 {
        self.dump.swap(0, Ordering::Relaxed)
    }

    /// INT and TERM since the last time.
    pub fn interrupt(&self) -> u32 {
        self.interrupt.swap(0, Ordering::Relaxed)
    }
}
