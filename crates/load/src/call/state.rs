//! One call.

use std::net::SocketAddr;

use offhook_sip::digest::DigestSession;

use super::{keys::Keys, outbox::SocketId, value::Value};
use crate::{media::description::Described, scenario::variables::VariableId};

/// A call under way. Its memory is used again by later calls.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) number: u64,
    /// Counts the calls that had this memory.
    pub(super) generation: u32,
    pub(super) id: Vec<u8>,
    pub(super) step: usize,
    pub(super) out_of_call: bool,
    /// It came to us: nothing of it is ended with BYE or CANCEL.
    pub(super) is_incoming: bool,
    pub(super) socket: SocketId,
    pub(super) owns_socket: bool,
    pub(super) local_port: u16,
    pub(super) remote: Option<SocketAddr>,
    pub(super) user: Option<u32>,
    /// The line of each injection file.
    pub(super) lines: Vec<u32>,
    pub(super) started_nanos: u64,
    pub(super) waiting: Waiting,
    /// When a pause or a wait ends, ms.
    pub(super) wake_at: Option<u64>,
    pub(super) repeat: Option<Repeat>,
    /// When the wheel will look at it, ms.
    pub(super) wheel_at: Option<u64>,
    /// In `<timewait>`: it has succeeded.
    pub(super) in_timewait: bool,
    /// The last message sent.
    pub(super) sent: Vec<u8>,
    pub(super) sent_step: Option<usize>,
    /// The last message received, if the scenario looks at it.
    pub(super) received: Vec<u8>,
    pub(super) received_anything: bool,
    pub(super) received_code: u16,
    /// The hash of the last message received, until it is answered.
    pub(super) last: Option<Seen>,
    /// The one before, that was answered, and the step that answered.
    pub(super) answered: Option<(Seen, usize)>,
    pub(super) cseq: u32,
    pub(super) peer_tag: Vec<u8>,
    pub(super) routes: Vec<u8>,
    pub(super) next_url: Vec<u8>,
    pub(super) established: bool,
    pub(super) ack_is_pending: bool,
    pub(super) variables: Box<[Value]>,
    /// Nanoseconds at which each response time began; 0 if not.
    pub(super) rtd_started: Vec<u64>,
    pub(super) rtd_done: u64,
    /// The branch of each transaction.
    pub(super) branches: Vec<Box<[u8]>>,
    pub(super) challenge: Option<Box<Challenge>>,
    /// What came by surprise, until the steps behind `_unexp.main` receive it.
    pub(super) surprise: Option<Box<[u8]>>,
    /// Commands that came before the scenario waited for them.
    pub(super) commands: Vec<Box<[u8]>>,
    pub(super) media: Option<Box<CallMedia>>,
    /// If it speaks of encrypted media at all.
    pub(super) keys: Option<Box<Keys>>,
}

/// Where a call's media comes from and goes to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallMedia {
    /// As we described it last.
    pub(super) ours: Described,
    /// As the other side did.
    pub(super) theirs: Described,
    /// The media threads know of the call.
    pub(super) is_known: bool,
    /// The first of the ports for its streams.
    pub(super) stream_port: Option<u16>,
    /// That of `[auto_media_port]`.
    pub(super) auto_port: Option<u16>,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: it goes on.
    #[default]
    Nothing,
    /// A message.
    Message,
    /// A command of another instance.
    Command,
    /// The end of a pause.
    Pause,
}

/// Repetitions of the last message sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    pub(super) at: u64,
    pub(super) interval: u64,
    pub(super) count: u32,
}

/// A received message, to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) hash: u64,
    pub(super) step: usize,
}

/// A challenge, and the session that answers it.
pub(super) struct Challenge {
    /// 401 or 407.
    pub(super) code: u16,
    /// The values of its headers.
    pub(super) values: Vec<String>,
    /// Who answered it, and how.
    pub(super) session: Option<(Vec<u8>, DigestSession)>,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge").field("code", &self.code).finish_non_exhaustive()
    }
}

impl Call {
    /// Makes it a new call; buffers keep their memory.
    pub(super) fn renew(&mut self, number: u64, variables: usize, rtds: usize, transactions: usize) {
        let mut old = std::mem::take(self);
        self.number = number;
        self.generation = old.generation.wrapping_add(1);
        let emptied = |mut buffer: Vec<u8>| {
            buffer.clear();
            buffer
        };
        self.id = emptied(old.id);
        self.sent = emptied(old.sent);
        self.received = emptied(old.received);
        self.peer_tag = emptied(old.peer_tag);
        self.routes = emptied(old.routes);
        self.next_url = emptied(old.next_url);
        old.rtd_started.clear();
        old.rtd_started.resize(rtds, 0);
        self.rtd_started = old.rtd_started;
        if old.variables.len() == variables {
            old.variables.fill(Value::Unset);
            self.variables = old.variables;
        } else {
            self.variables = vec![Value::Unset; variables].into();
        }
        old.branches.clear();
        old.branches.resize(transactions, Box::default());
        self.branches = old.branches;
        old.lines.clear();
        self.lines = old.lines;
    }

    pub(super) fn variable(&self, id: VariableId) -> &Value {
        &self.variables[usize::from(id.0)]
    }

    /// When it must be looked at next, ms.
    pub(super) fn deadline(&self) -> Option<u64> {
        match (self.wake_at, self.repeat) {
            (Some(wake), Some(repeat)) => Some(wake.min(repeat.at)),
            (Some(wake), None) => Some(wake),
            (None, repeat) => repeat.map(|repeat| repeat.at),
        }
    }
}
