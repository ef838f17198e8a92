//! What a shard wants done: messages one after the other in one buffer, and requests to its driver.

use std::{net::SocketAddr, ops::Range};

use crate::media;

/// A socket or connection of the driver's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

/// A message to be sent. Its octets are `Outbox::bytes[range]`.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where they stand.
    pub range: Range<usize>,
    /// Where they go.
    pub to: SocketAddr,
    /// From where.
    pub socket: SocketId,
    /// The call's place in its shard, for the answer if it cannot be sent.
    pub slot: u32,
}

/// What only the driver can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A shell shall run this; nobody waits for it.
    Execute(String),
    /// `int_cmd="stop_gracefully"`: no new calls.
    StopGracefully,
    /// `int_cmd="stop_now"`: the end.
    StopNow,
    /// A scenario found that the run makes no sense.
    Fatal(String),
    /// A command for another instance (3PCC).
    Command {
        /// Which one, with extended 3PCC.
        dest: Option<String>,
        /// The command.
        text: Vec<u8>,
    },
    /// The call that had this socket for itself is over, or closed it.
    Close(SocketId),
    /// `-users`: this one is free for its next call.
    UserFree(u32),
    /// For the media threads.
    Media {
        /// The number of the call.
        call: u64,
        /// What it wants.
        command: media::Command,
    },
}

/// What a shard wants done. Empty it after each turn; its memory is used again.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The octets of all messages.
    pub bytes: Vec<u8>,
    /// The messages, in order.
    pub messages: Vec<Outgoing>,
    /// The rest.
    pub requests: Vec<Request>,
}

impl Outbox {
    /// Forgets the messages; requests are taken out by the driver.
    pub fn clear_messages(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
}
