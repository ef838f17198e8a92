//! The running side of an upgrade: who is asked to start, who waits to hear of it, and who takes over.

use std::{io, path::Path, process::ExitStatus};

use tokio::sync::mpsc;

use crate::{
    takeover::{self, Conversation, Door, Visitor},
    wiring::Node,
};

/// Operators that wait for the outcome at once; more are told to come later.
const OPERATORS_MAX: usize = 16;

/// The number of a container's first process: when it ends, so do all others.
const FIRST_PROCESS: u32 = 1;

/// Upgrades of one node, one after the other.
pub struct Upgrades {
    /// `None`: nobody can come, which was said at the start.
    door: Option<Door>,
    operators: Vec<Conversation>,
    /// A new process was started and has neither taken over nor ended.
    running: bool,
    ended: (mpsc::Sender<io::Result<ExitStatus>>, mpsc::Receiver<io::Result<ExitStatus>>),
}

/// Something to see to.
pub enum Event {
    /// Somebody came to the door.
    Visitor(Visitor),
    /// A process that was started to take over has ended.
    Ended(io::Result<ExitStatus>),
}

impl Upgrades {
    /// Opens the door in the data directory.
    pub fn open(data: &Path) -> Self {
        let door = Door::open(data).inspect_err(|error| {
            tracing::warn!(%error, hint = "a shorter path of the data directory may help", "no upgrade in place");
        });
        Self { door: door.ok(), operators: Vec::new(), running: false, ended: mpsc::channel(1) }
    }

    /// Starts a new process of this program, which comes to the door by itself.
    pub fn begin(&mut self, operator: Option<Conversation>) {
        if let Some(mut operator) = operator {
            if self.operators.len() >= OPERATORS_MAX {
                return operator.report(Err("others wait already"));
            }
            self.operators.push(operator);
        }
        if self.running {
            return;
        }
        if std::process::id() == FIRST_PROCESS {
            tracing::error!(hint = "start a new container, and drain this one", "no new process");
            return self.report(Err("this is the first process of a container, which ends with it"));
        }
        match takeover::start_successor() {
            Ok(mut child) => {
                tracing::info!(pid = child.id(), "started a new process to take over");
                self.running = true;
                let ended = self.ended.0.clone();
                tokio::task::spawn_blocking(move || {
                    let status = child.wait();
                    let _ = ended.blocking_send(status);
                });
            }
            Err(error) => {
                tracing::error!(%error, hint = "is the program still installed under its name?", "no new process");
                self.report(Err(&format!("the program cannot be started: {error}")));
            }
        }
    }

    /// The next thing to see to. Nothing is lost if it is waited for anew.
    pub async fn next(&mut self) -> Event {
        let visitor = async {
            match &mut self.door {
                Some(door) => door.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            visitor = visitor => Event::Visitor(visitor),
            Some(status) = self.ended.1.recv() => Event::Ended(status),
        }
    }

    /// Sees to it. True: a new process has everything, and this one must end.
    pub async fn handle(&mut self, event: Event, node: &Node) -> bool {
        match event {
            Event::Visitor(Visitor::Operator(operator)) => self.begin(Some(operator)),
            Event::Visitor(Visitor::Successor(successor)) => match node.hand_over(successor).await {
                Ok(()) => {
                    self.report(Ok(()));
                    return true;
                }
                Err(error) => {
                    tracing::error!(%error, "the new process did not take over: this one serves on")
                }
            },
            Event::Ended(status) => {
                self.running = false;
                let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::error!(%how, "the new process has ended: this one serves on");
                self.report(Err(&format!("the new version ended with {how}")));
            }
        }
        false
    }

    fn report(&mut self, outcome: Result<(), &str>) {
        for mut operator in self.operators.drain(..) {
            operator.report(outcome);
        }
    }
}
