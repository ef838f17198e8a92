//! How other threads reach the worker: bounded channels, and a bell (an eventfd) that ends its sleep.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
};

/// A bell that ends a worker's sleep: its descriptor becomes readable. Clones ring the same one.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    eventfd: File,
    /// Rung and not yet heard: saves the system call of a second ring.
    ringing: AtomicBool,
}

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { eventfd: crate::poll::eventfd()?, ringing: AtomicBool::new(false) })))
    }

    /// Wakes the worker. Call it after what it shall find is in the channel.
    pub fn ring(&self) {
        if !self.0.ringing.swap(true, Ordering::SeqCst) {
            // Fails only if the counter would overflow, and then the bell rings already.
            let _ = (&self.0.eventfd).write(&1u64.to_ne_bytes());
        }
    }

    /// Called by the worker before it empties its channels: whatever is put there later rings again.
    pub fn hear(&self) {
        let _ = (&self.0.eventfd).read(&mut [0; 8]);
        self.0.ringing.store(false, Ordering::SeqCst);
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.eventfd.as_raw_fd()
    }
}

/// Sends commands to a worker from any thread: answers of the store, of DNS, of media; orders of the API.
#[derive(Debug)]
pub struct CommandSender<C> {
    commands: SyncSender<C>,
    bell: Bell,
}

impl<C> Clone for CommandSender<C> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), bell: self.bell.clone() }
    }
}

/// The command was not taken; it is handed back.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<C> {
    /// The worker has too many waiting: answer "busy" or try later.
    #[error("the worker's command queue is full")]
    Full(C),
    /// The worker has ended.
    #[error("the worker has ended")]
    Ended(C),
}

impl<C> CommandSender<C> {
    pub(crate) const fn new(commands: SyncSender<C>, bell: Bell) -> Self {
        Self { commands, bell }
    }

    /// Hands over `command` and wakes the worker. Never blocks.
    ///
    /// # Errors
    /// [`CommandError::Full`] if the bounded queue is full, [`CommandError::Ended`] if the worker is gone.
    pub fn try_send(&self, command: C) -> Result<(), CommandError<C>> {
        let sent = self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => CommandError::Full(command),
            TrySendError::Disconnected(command) => CommandError::Ended(command),
        });
        // Full: the worker is awake or about to be; a ring costs nothing and heals a lost one.
        self.bell.ring();
        sent
    }
}
