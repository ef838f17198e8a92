//! Live traces: copies of SIP messages for whoever asked to see them.

use std::net::SocketAddr;

use offhook_api::control::{Direction, TraceFilter, TracedMessage};
use offhook_base::{DataSubject, Personal, UtcMillis};
use offhook_sip::transport::{Destination, Flow, Transport};
use offhook_switch::record::CallRecord;
use tokio::sync::mpsc;

/// Messages that wait for a slow watcher; more are dropped.
pub const TRACE_BACKLOG: usize = 1024;

/// One watcher.
pub struct Tap {
    filter: TraceFilter,
    watcher: mpsc::Sender<TracedMessage>,
}

impl Tap {
    /// A watcher and the end it reads.
    pub fn new(filter: TraceFilter) -> (Self, mpsc::Receiver<TracedMessage>) {
        let (watcher, messages) = mpsc::channel(TRACE_BACKLOG);
        (Self { filter, watcher }, messages)
    }

    /// Shows a message to the watcher if it asked for its like; false once the watcher has left.
    pub fn show(&self, seen: &Seen<'_>) -> bool {
        if self.watcher.is_closed() {
            return false;
        }
        if !self.wants(seen) {
            return true;
        }
        let message = TracedMessage {
            at: seen.at,
            direction: seen.direction,
            transport: seen.transport.to_string().into(),
            local: seen.local,
            remote: Personal::new(seen.remote, DataSubject::RemoteParty),
            call: seen.account.map(|record| record.id),
            text: Personal::new(String::from_utf8_lossy(seen.bytes).into_owned(), DataSubject::RemoteParty),
        };
        // A watcher that cannot keep up misses messages; the calls do not wait for it.
        let _ = self.watcher.try_send(message);
        true
    }

    /// Whether a message belongs to the call, line and peer that the watcher asked for.
    fn wants(&self, seen: &Seen<'_>) -> bool {
        let TraceFilter { call, line, peer } = &self.filter;
        let of_call = call.is_none_or(|call| seen.account.is_some_and(|record| record.id == call));
        let of_line = line.as_ref().is_none_or(|(tenant, name)| match seen.account {
            Some(record) => {
                record.tenant == *tenant && record.legs.iter().any(|leg| leg.line.as_ref() == Some(name))
            }
            // Outside of calls, as a REGISTER is: whose it is stands in From or To.
            None => names(seen.bytes, name),
        });
        let of_peer = peer.as_ref().is_none_or(|(tenant, name)| {
            seen.account.is_some_and(|record| {
                record.tenant == *tenant && record.legs.iter().any(|leg| leg.peer.as_ref() == Some(name))
            })
        });
        of_call && of_line && of_peer
    }
}

/// A message on its way past the taps.
pub struct Seen<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// Over what.
    pub transport: Transport,
    /// Our end.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
    /// Its octets.
    pub bytes: &'a [u8],
    /// When.
    pub at: UtcMillis,
    /// The call it belongs to.
    pub account: Option<&'a CallRecord>,
}

impl<'a> Seen<'a> {
    /// A message that came over `flow`.
    pub fn received(flow: &Flow, bytes: &'a [u8], at: UtcMillis) -> Self {
        let Flow { transport, local, remote, .. } = *flow;
        Self { direction: Direction::Received, transport, local, remote, bytes, at, account: None }
    }

    /// A message that goes to `to`.
    pub fn sent(to: &Destination, bytes: &'a [u8], at: UtcMillis) -> Self {
        let (transport, local, remote) = (to.transport(), to.local(), to.remote());
        Self { direction: Direction::Sent, transport, local, remote, bytes, at, account: None }
    }

    /// The message's Call-ID header, found without a parse: a trace shows broken messages too.
    pub fn call_id(&self) -> Option<&'a str> {
        let head = std::str::from_utf8(self.bytes).ok()?;
        head.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.trim_end();
            (name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i")).then_some(value.trim())
        })
    }
}

/// Whether From or To of a message carry `name` as the user of a SIP URI.
fn names(bytes: &[u8], name: &str) -> bool {
    let user = format!(":{name}@");
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    text.lines().take_while(|line| !line.is_empty()).any(|line| {
        let field = line.split(':').next().unwrap_or_default().trim_end().to_ascii_lowercase();
        matches!(field.as_str(), "from" | "to" | "f" | "t") && line.contains(&user)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTER: &[u8] =
        b"REGISTER sip:x SIP/2.0\r\nf: <sip:101@x>;tag=1\r\nTo: <sip:101@x>\r\nI: abc\r\n\r\nTo: <sip:999@x>";

    #[test]
    fn a_message_is_found_by_its_call_id_and_by_whom_it_names() {
        let any = "192.0.2.1:5060".parse().unwrap();
        let seen = Seen {
            direction: Direction::Received,
            transport: Transport::Udp,
            local: any,
            remote: any,
            bytes: REGISTER,
            at: UtcMillis(0),
            account: None,
        };
        assert_eq!(seen.call_id(), Some("abc"));
        assert!(names(REGISTER, "101"));
        assert!(!names(REGISTER, "01"));
        assert!(!names(REGISTER, "999"), "the body is no header");
    }

    #[test]
    fn a_watcher_of_one_call_sees_no_other() {
        let filter =
            TraceFilter { call: "01M8248NEFJ51WEHF6GS2ZYB74".parse().ok(), ..TraceFilter::default() };
        let (tap, mut messages) = Tap::new(filter);
        let flow_end = "192.0.2.1:5060".parse().unwrap();
        let seen = Seen {
            direction: Direction::Sent,
            transport: Transport::Tcp,
            local: flow_end,
            remote: flow_end,
            bytes: REGISTER,
            at: UtcMillis(0),
            account: None,
        };
        assert!(tap.show(&seen));
        assert!(messages.try_recv().is_err());
    }
}
