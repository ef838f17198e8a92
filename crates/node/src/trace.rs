//! Live traces: copies of SIP messages for whoever asked to see them.

use std::{collections::VecDeque, net::SocketAddr};

use offhook_api::control::{Direction, TraceFilter, TracedMessage};
use offhook_base::{DataSubject, Personal, UtcMillis};
use offhook_sip::transport::{Destination, Flow, Transport};
use offhook_switch::{
    directory::{DEFAULT_TENANT, Directory},
    record::{CallId, CallRecord},
};
use tokio::sync::mpsc;

use crate::trace_names::{self, call_id};

/// Messages that wait for a slow watcher; more are dropped.
pub const TRACE_BACKLOG: usize = 1024;

/// Call-IDs that a watcher's messages are recognised by after their call has ended or before it has begun: enough for
/// the transactions of the last half minute on a busy line.
const THREADS_MAX: usize = 512;

/// One watcher.
pub struct Tap {
    filter: TraceFilter,
    watcher: mpsc::Sender<TracedMessage>,
    /// Call-IDs of messages it was shown, with the call they belong to, the oldest first.
    threads: VecDeque<(String, Option<CallId>)>,
}

impl Tap {
    /// A watcher and the end it reads.
    pub fn new(filter: TraceFilter) -> (Self, mpsc::Receiver<TracedMessage>) {
        let (watcher, messages) = mpsc::channel(TRACE_BACKLOG);
        (Self { filter, watcher, threads: VecDeque::new() }, messages)
    }

    /// Shows a message to the watcher if it asked for its like; false once the watcher has left.
    pub fn show(&mut self, seen: &Seen<'_>, directory: &Directory) -> bool {
        if self.watcher.is_closed() {
            return false;
        }
        let thread = call_id(seen.bytes);
        let known =
            thread.as_ref().and_then(|id| self.threads.iter().find(|(known, _)| known == id)).cloned();
        // The last words of a call come when its account is closed: the Call-ID tells what they belong to. A watcher of
        // everything has no threads and needs none.
        if known.is_none() && !self.wants(seen, directory) {
            return true;
        }
        let call =
            seen.account.as_ref().map(|account| account.call).or(known.as_ref().and_then(|(_, call)| *call));
        if let Some(thread) = thread.filter(|_| self.filter != TraceFilter::default()) {
            self.remember(thread, call);
        }
        let message = TracedMessage {
            at: seen.at,
            direction: seen.direction,
            transport: seen.transport.to_string().into(),
            local: seen.local,
            remote: Personal::new(seen.remote, DataSubject::RemoteParty),
            call,
            text: Personal::new(String::from_utf8_lossy(seen.bytes).into_owned(), DataSubject::RemoteParty),
        };
        // A watcher that cannot keep up misses messages; the calls do not wait for it.
        let _ = self.watcher.try_send(message);
        true
    }

    fn remember(&mut self, thread: String, call: Option<CallId>) {
        match self.threads.iter_mut().find(|(known, _)| *known == thread) {
            Some((_, of)) => *of = call,
            None => {
                if self.threads.len() == THREADS_MAX {
                    self.threads.pop_front();
                }
                self.threads.push_back((thread, call));
            }
        }
    }

    /// Whether a message belongs to the call, line and peer that the watcher asked for.
    fn wants(&self, seen: &Seen<'_>, directory: &Directory) -> bool {
        let TraceFilter { call, line, peer } = &self.filter;
        let account = seen.account.as_ref();
        let of_call = call.is_none_or(|call| account.is_some_and(|account| account.call == call));
        let of_line = line.as_ref().is_none_or(|(tenant, name)| {
            let took_part = |account: &Account| account.tenant == *tenant && account.lines.contains(name);
            account.is_some_and(took_part) || names_line(seen.bytes, tenant, name, directory)
        });
        let of_peer = peer.as_ref().is_none_or(|(tenant, name)| {
            let took_part = |account: &Account| account.tenant == *tenant && account.peers.contains(name);
            // Before a call begins, and where none does: a peer is known by where it sends from.
            let at = || directory.peer_at(seen.remote.ip());
            account.is_some_and(took_part)
                || at().is_some_and(|peer| peer.tenant == *tenant && peer.name == *name)
        });
        of_call && of_line && of_peer
    }
}

/// Whether a message names the line `name` of `tenant`: as its target, in From, To or an asserted identity, or in its
/// credentials.
fn names_line(bytes: &[u8], tenant: &str, name: &str, directory: &Directory) -> bool {
    // A host that is no tenant's domain is an address of this node, or of nobody: both count as the default tenant's.
    let is_here = |host: &str| match directory.tenant_of_domain(host, || false) {
        Some(owner) => *owner.name == *tenant,
        None => tenant == DEFAULT_TENANT,
    };
    let has_realm = |realm: &str| directory.tenant(tenant).is_some_and(|tenant| *tenant.realm == *realm);
    trace_names::in_message(bytes).any(|named| match named {
        trace_names::Named::Address { user, host } => user == name && is_here(&host),
        trace_names::Named::Credentials { user, realm } => user == name && has_realm(&realm),
    })
}

/// Which call a message belongs to, and who takes part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    call: CallId,
    tenant: Box<str>,
    lines: Vec<Box<str>>,
    peers: Vec<Box<str>>,
}

impl From<&CallRecord> for Account {
    fn from(record: &CallRecord) -> Self {
        Self {
            call: record.id,
            tenant: record.tenant.clone(),
            lines: record.legs.iter().filter_map(|leg| leg.line.clone()).collect(),
            peers: record.legs.iter().filter_map(|leg| leg.peer.clone()).collect(),
        }
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
    pub account: Option<Account>,
}

impl<'a> Seen<'a> {
    /// A message that came over `flow`.
    pub const fn received(flow: &Flow, bytes: &'a [u8], at: UtcMillis) -> Self {
        let Flow { transport, local, remote, .. } = *flow;
        Self { direction: Direction::Received, transport, local, remote, bytes, at, account: None }
    }

    /// A message that goes to `to`.
    pub fn sent(to: &Destination, bytes: &'a [u8], at: UtcMillis) -> Self {
        let (transport, local, remote) = (to.transport(), to.local(), to.remote());
        Self { direction: Direction::Sent, transport, local, remote, bytes, at, account: None }
    }
}

#[cfg(test)]
mod tests {
    use offhook_switch::directory::{CallPermission, Peer, PeerId, Tenant};

    use super::*;

    const REGISTER: &[u8] = b"REGISTER sip:192.0.2.1 SIP/2.0\r\nFrom: <sip:101@192.0.2.1>;tag=1\r\n\
        To: <sip:101@192.0.2.1>\r\nCall-ID: abc\r\n\r\n";

    fn directory() -> Directory {
        let tenant = |name: &str, domain: &str| Tenant {
            name: name.into(),
            domains: vec![domain.into()],
            realm: domain.into(),
        };
        let peer = Peer {
            id: PeerId(1),
            name: "carrier".into(),
            tenant: "default".into(),
            enabled: true,
            sources: vec!["203.0.113.0/24".parse().unwrap()],
            host: None,
            port: None,
            transport: None,
            username: None,
            secret: None,
            prefixes: Vec::new(),
            may_call: CallPermission::default(),
            calls_max: 1,
            anchor_media: true,
            srtp: Default::default(),
        };
        let tenants = vec![tenant("default", "voice.example"), tenant("acme", "acme.example")];
        Directory::new(tenants, Vec::new(), Vec::new(), Vec::new(), vec![peer])
    }

    fn seen(bytes: &[u8]) -> Seen<'_> {
        let any = "198.51.100.1:5060".parse().unwrap();
        Seen {
            direction: Direction::Received,
            transport: Transport::Udp,
            local: any,
            remote: any,
            bytes,
            at: UtcMillis(0),
            account: None,
        }
    }

    fn account(line: &str) -> Account {
        let call = "01M8248NEFJ51WEHF6GS2ZYB74".parse().unwrap();
        Account { call, tenant: "default".into(), lines: vec![line.into()], peers: Vec::new() }
    }

    fn of_line(tenant: &str, name: &str) -> TraceFilter {
        TraceFilter { line: Some((tenant.into(), name.into())), ..TraceFilter::default() }
    }

    /// How many of `messages` a watcher with `filter` is shown.
    fn shown(filter: TraceFilter, messages: Vec<Seen<'_>>) -> usize {
        let (directory, (mut tap, mut watched)) = (directory(), Tap::new(filter));
        messages.iter().for_each(|seen| assert!(tap.show(seen, &directory)));
        std::iter::from_fn(|| watched.try_recv().ok()).count()
    }

    #[test]
    fn a_watcher_of_a_line_sees_its_registrations_and_no_other_tenants() {
        assert_eq!(shown(of_line("default", "101"), vec![seen(REGISTER)]), 1);
        assert_eq!(shown(of_line("default", "102"), vec![seen(REGISTER)]), 0);
        assert_eq!(shown(of_line("acme", "101"), vec![seen(REGISTER)]), 0, "that is another tenant's 101");
        let acme: &[u8] =
            b"REGISTER sip:acme.example SIP/2.0\r\nTo: <sip:101@ACME.example>\r\nCall-ID: b\r\n\r\n";
        assert_eq!(shown(of_line("acme", "101"), vec![seen(acme)]), 1);
        assert_eq!(shown(of_line("default", "101"), vec![seen(acme)]), 0);
    }

    /// Goal: what the trace used to miss. An anonymous caller is known by its credentials only; the answers to it, and
    /// what follows the end of its call, by their Call-ID only.
    #[test]
    fn a_watcher_of_a_line_sees_all_of_an_anonymous_call() {
        let invite: &[u8] =
            b"INVITE sip:+4930@192.0.2.1 SIP/2.0\r\nFrom: <sip:anonymous@anonymous.invalid>;tag=1\r\n\
            To: <sip:+4930@192.0.2.1>\r\nCall-ID: anon\r\n\
            Authorization: Digest username=\"101\", realm=\"voice.example\", nonce=\"x\"\r\n\r\n";
        let refusal: &[u8] = b"SIP/2.0 403 Forbidden\r\nFrom: <sip:anonymous@anonymous.invalid>;tag=1\r\n\
            To: <sip:+4930@192.0.2.1>;tag=2\r\ni: anon\r\n\r\n";
        assert_eq!(shown(of_line("default", "101"), vec![seen(invite), seen(refusal)]), 2);
        assert_eq!(shown(of_line("default", "101"), vec![seen(refusal)]), 0, "it may be anybody's");
    }

    #[test]
    fn the_last_words_of_a_call_are_shown_with_its_id() {
        let bye: &[u8] = b"BYE sip:x@192.0.2.7 SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: leg\r\n\r\n";
        let answer: &[u8] = b"SIP/2.0 200 OK\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: leg\r\n\r\n";
        let during = Seen { account: Some(account("101")), ..seen(bye) };
        let filter = TraceFilter { call: Some(account("101").call), ..TraceFilter::default() };
        for filter in [filter, of_line("default", "101")] {
            let (directory, (mut tap, mut watched)) = (directory(), Tap::new(filter));
            tap.show(&Seen { account: during.account.clone(), ..seen(bye) }, &directory);
            tap.show(&seen(answer), &directory);
            let calls: Vec<_> =
                std::iter::from_fn(|| watched.try_recv().ok()).map(|seen| seen.call).collect();
            assert_eq!(calls, [Some(account("101").call); 2]);
        }
    }

    #[test]
    fn a_peer_is_known_by_where_it_sends_from() {
        let filter =
            TraceFilter { peer: Some(("default".into(), "carrier".into())), ..TraceFilter::default() };
        let from_peer = Seen { remote: "203.0.113.9:5060".parse().unwrap(), ..seen(REGISTER) };
        assert_eq!(shown(filter, vec![from_peer, seen(b"OPTIONS sip:x SIP/2.0\r\nCall-ID: z\r\n\r\n")]), 1);
    }

    #[test]
    fn a_watcher_of_one_call_sees_no_other() {
        let filter =
            TraceFilter { call: "01M8248NEFJ51WEHF6GS2ZYB75".parse().ok(), ..TraceFilter::default() };
        let other = Seen { account: Some(account("101")), ..seen(REGISTER) };
        assert_eq!(shown(filter, vec![other]), 0);
    }

    #[test]
    fn a_watcher_remembers_a_bounded_number_of_threads() {
        let (mut tap, _watched) = Tap::new(of_line("default", "101"));
        (0..THREADS_MAX + 9).for_each(|number| tap.remember(number.to_string(), None));
        assert_eq!(tap.threads.len(), THREADS_MAX);
    }
}
