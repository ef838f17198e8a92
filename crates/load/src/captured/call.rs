//! The calls of a capture.

use std::{net::SocketAddr, time::Duration};

use crate::{
    call::view::{self, Start, View},
    media::capture::Datagram,
};

/// Calls that are looked for in one capture: more is a capture of a trunk, to be cut first.
const CALLS_MAX: usize = 10_000;
/// Messages of one call: more is no call that one would want to play.
const MESSAGES_MAX: usize = 500;

/// A call between two addresses, as the point where it was captured saw it.
#[derive(Clone, Debug)]
pub struct Call {
    caller: SocketAddr,
    callee: SocketAddr,
    id: Box<[u8]>,
    /// In order, repetitions left out.
    pub messages: Vec<Message>,
}

/// A message of a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Since the start of the capture.
    pub at: Duration,
    /// Whether the caller sent it.
    pub is_callers: bool,
    /// What was sent.
    pub bytes: Box<[u8]>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("at", &self.at)
            .field("is_callers", &self.is_callers)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Whether the caller sent what goes from one address to the other; `None`: it is between others.
    fn direction(&self, from: SocketAddr, to: SocketAddr) -> Option<bool> {
        // Ports may differ from message to message; on one host they are all that differs.
        let is = |one: SocketAddr, other: SocketAddr| {
            if self.caller.ip() == self.callee.ip() { one == other } else { one.ip() == other.ip() }
        };
        if is(from, self.caller) && is(to, self.callee) {
            Some(true)
        } else if is(from, self.callee) && is(to, self.caller) {
            Some(false)
        } else {
            None
        }
    }
}

/// The calls in `datagrams`, in the order of their first INVITE. A message that passed the point of capture several times, at
/// the hops of a proxy, counts at the first of them.
pub fn calls(datagrams: &[Datagram]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for datagram in datagrams {
        let Some(view) = View::parse(&datagram.payload) else { continue };
        let at = calls.iter().position(|call| *call.id == *view.call_id).unwrap_or_else(|| {
            if begins(&view) && calls.len() < CALLS_MAX {
                let (caller, callee) = (datagram.from, datagram.to);
                calls.push(Call { caller, callee, id: view.call_id.into(), messages: Vec::new() });
                calls.len() - 1
            } else {
                calls.len()
            }
        });
        let Some(call) = calls.get_mut(at) else { continue };
        let Some(is_callers) = call.direction(datagram.from, datagram.to) else { continue };
        let is_repeated = call
            .messages
            .iter()
            .any(|known| known.is_callers == is_callers && known.bytes == datagram.payload);
        if !is_repeated && call.messages.len() < MESSAGES_MAX {
            let bytes = datagram.payload.clone();
            call.messages.push(Message { at: datagram.at, is_callers, bytes });
        }
    }
    calls
}

/// An INVITE outside a dialog.
fn begins(view: &View<'_>) -> bool {
    let has_tag = |to: &[u8]| view::parameter(to, b"tag").is_some();
    view.start == Start::Request(b"INVITE") && !view.header(b"To").is_some_and(has_tag)
}
