//! The signalling worker: one thread that owns the UDP sockets and the exchange, and carries messages between them.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use offhook_api::control::PeerName;
use offhook_base::{Instant, Moment, Purpose};
use offhook_edge::{EdgeOverview, Episode, Lists, SourceView};
use offhook_media::MediaHandle;
use offhook_net::{NetEvent, WorkerIo, stream::PeerIdentity};
use offhook_sip::{
    transaction::TransmitToken,
    transport::{Destination, Transport},
};
use offhook_switch::{
    directory::Directory,
    exchange::{Answer, Exchange, Gauges, Input, Output, RouteExplained, RouteQuestion, UnknownCaller},
    media::MediaEvent,
    record::CallId,
    summary::{CallSummary, LineSummary, RegistrationSummary},
};
use tokio::sync::oneshot;

use crate::{
    asks::Asker,
    calls::KeptCalls,
    facts::FactSink,
    trace::{Account, Seen, Tap},
    trace_names::call_id,
};

/// Messages that have waited for no longer have not waited because of a change of the process.
const CAUGHT_UP: Duration = Duration::from_millis(10);

/// How long it may take to work off what has come while the process changed: until then it is no sign of overload.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

/// Bans that are shown at once, the latest: more than anybody reads.
const BANS_SHOWN_MAX: usize = 1000;

/// What other threads ask of the worker.
pub enum Command {
    /// The media engine speaks.
    Media(MediaEvent),
    /// A question was answered.
    Answer(Answer),
    /// Who must be found at these addresses before anything goes there over TLS: told before the answer that names them.
    Expect(Vec<SocketAddr>, PeerIdentity),
    /// The directory changed; the sender hears when it is in force.
    Directory(Arc<Directory>, oneshot::Sender<()>),
    /// The calls that are on.
    Calls(oneshot::Sender<Vec<CallSummary>>),
    /// The contacts that are bound.
    Registrations(oneshot::Sender<Vec<RegistrationSummary>>),
    /// The lines that are in a call.
    Lines(oneshot::Sender<Vec<LineSummary>>),
    /// The sizes of the tables.
    Gauges(oneshot::Sender<Gauges>),
    /// Other lists of networks.
    Lists(Arc<Lists>),
    /// Who sends most and who is banned; who of the former is a peer.
    Edge(oneshot::Sender<(EdgeOverview, Vec<Option<PeerName>>)>),
    /// What is known of an address; whether it is a peer's.
    LookAt(IpAddr, oneshot::Sender<(SourceView, Option<PeerName>)>),
    /// Where a call would go.
    ExplainRoute(Box<RouteQuestion>, oneshot::Sender<Result<RouteExplained, UnknownCaller>>),
    /// Ban an address.
    Ban(IpAddr, Duration, oneshot::Sender<()>),
    /// End the ban of an address; whether there was one.
    Pardon(IpAddr, oneshot::Sender<bool>),
    /// End a call; whether there was one.
    HangUp(CallId, oneshot::Sender<bool>),
    /// The records of these calls are on disk.
    Recorded(Box<[CallId]>),
    /// Someone wants to see messages.
    Trace(Tap),
    /// No new calls, but to emergency numbers, until told otherwise.
    Hold(bool),
    /// No new calls.
    Drain,
    /// End all calls.
    EndAll,
    /// Work off what was received, send what is to be sent, say so, and touch no socket until the other end is dropped.
    Pause(Pause),
    /// Leave the loop.
    Stop,
}

/// Both ends of a pause.
pub struct Pause {
    /// Told when it has begun.
    pub begun: oneshot::Sender<()>,
    /// It ends when the other end is dropped; nothing is ever sent.
    pub end: std::sync::mpsc::Receiver<Infallible>,
}

/// The worker and its ends of everything.
pub struct Worker {
    /// Its sockets.
    pub io: WorkerIo<Command>,
    /// All decisions.
    pub exchange: Exchange,
    /// Takes media commands.
    pub media: MediaHandle,
    /// Puts questions to the outside.
    pub asker: Asker,
    /// Takes facts.
    pub facts: FactSink,
    /// Keeps running calls for the process after this one.
    pub calls: KeptCalls,
    /// Who watches messages.
    pub taps: Vec<Tap>,
    /// The directory in force, for the taps.
    pub directory: Arc<Directory>,
    /// A pause that begins with the next turn.
    pub pause: Option<Pause>,
    /// What is to be sent over streams, until the turn's calls are kept.
    pub for_streams: Vec<(Destination, Bytes, TransmitToken)>,
}

impl Worker {
    /// Runs until [`Command::Stop`].
    ///
    /// # Errors
    /// The system refuses to wait for sockets.
    pub fn run(mut self) -> std::io::Result<()> {
        let clock = self.io.clock();
        let mut events = Vec::new();
        let mut deadline = self.drain();
        let mut catch_up_until = Some(clock.instant() + CATCH_UP_MAX);
        loop {
            self.io.turn(deadline, &mut events)?;
            let now = clock.moment();
            let waited = self.io.waited();
            catch_up_until = catch_up_until.filter(|&until| waited > CAUGHT_UP && now.instant < until);
            if catch_up_until.is_none()
                && let Some(episode) = self.exchange.observe_load(waited, now.instant)
            {
                tell(&episode);
            }
            let has_events = !events.is_empty();
            for event in events.drain(..) {
                if !self.take(event, now) {
                    self.drain();
                    self.io.flush();
                    return Ok(());
                }
                // Who watches is told of messages one by one, each while its call is known.
                if !self.taps.is_empty() {
                    self.drain();
                }
            }
            // Once for all of a turn: a call that several messages have changed is kept once.
            if has_events {
                deadline = self.drain();
            }
            // Not before: what was read from a socket would be lost with this process.
            if let Some(Pause { begun, end }) = self.pause.take() {
                self.io.flush();
                let _ = begun.send(());
                let _ = end.recv();
                catch_up_until = Some(clock.instant() + CATCH_UP_MAX);
            }
            if deadline.is_some_and(|deadline| deadline <= now.instant) {
                let decided = self.try_to_decide(Input::Timeout, now);
                deadline = self.drain();
                // A deadline that stays in the past would have the worker spin.
                debug_assert!(
                    !decided || deadline.is_none_or(|deadline| deadline > now.instant),
                    "a timeout left its deadline"
                );
            }
        }
    }

    fn decide(&mut self, input: Input, now: Moment) {
        self.try_to_decide(input, now);
    }

    /// One input to the exchange. A panic is a bug of ours: it costs the call it hit, not the others. False if there was
    /// one.
    fn try_to_decide(&mut self, input: Input, now: Moment) -> bool {
        let exchange = &mut self.exchange;
        let decided = std::panic::catch_unwind(AssertUnwindSafe(|| exchange.handle(input, now))).is_ok();
        if !decided {
            self.facts.counters.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!("call control panicked; one call was given up. Please report the lines above");
            self.exchange.recover(now);
        }
        decided
    }

    /// Works on one event; false to stop.
    fn take(&mut self, event: NetEvent<Command>, now: Moment) -> bool {
        let input = match event {
            NetEvent::Received { flow, bytes } if self.taps.is_empty() => Input::Received { flow, bytes },
            NetEvent::Received { flow, bytes } => {
                // A BYE closes its call's account, an INVITE opens it: the account is looked for on either side.
                let account = self.account_of(&bytes);
                self.decide(Input::Received { flow, bytes: bytes.clone() }, now);
                let account = account.or_else(|| self.account_of(&bytes));
                self.tap(&Seen { account, ..Seen::received(&flow, &bytes, now.utc) });
                return true;
            }
            NetEvent::ConnectionOpened { .. } => return true,
            NetEvent::ConnectionClosed { flow, .. } => match flow.connection {
                Some(connection) => Input::ConnectionClosed(connection),
                None => return true,
            },
            NetEvent::TransmitFailed { token, error } => {
                tracing::debug!(%error, "message not sent");
                Input::TransmitFailed(TransmitToken::from_bits(token))
            }
            NetEvent::Command(command) => return self.obey(command, now),
        };
        self.decide(input, now);
        true
    }

    fn obey(&mut self, command: Command, now: Moment) -> bool {
        match command {
            Command::Media(event) => self.decide(Input::Media(event), now),
            Command::Answer(answer) => self.decide(Input::Answer(answer), now),
            Command::Expect(addresses, identity) => {
                for remote in addresses {
                    self.io.expect_peer(remote, identity.clone());
                }
            }
            Command::Directory(directory, done) => {
                self.directory = Arc::clone(&directory);
                self.decide(Input::Directory(directory), now);
                let _ = done.send(());
            }
            Command::Calls(answer) => drop(answer.send(self.exchange.calls())),
            Command::Registrations(answer) => drop(answer.send(self.exchange.registrations(now.instant))),
            Command::Lines(answer) => drop(answer.send(self.exchange.lines(now.instant))),
            Command::Gauges(answer) => drop(answer.send(self.exchange.gauges())),
            Command::Lists(lists) => self.decide(Input::Lists(lists), now),
            Command::Edge(answer) => drop(answer.send(self.edge_overview(now.instant))),
            Command::LookAt(address, answer) => {
                let view = self.exchange.look_at_source(address, now.instant);
                drop(answer.send((view, self.peer_at(address))));
            }
            Command::ExplainRoute(question, answer) => {
                drop(answer.send(self.exchange.explain_route(&question)));
            }
            Command::Ban(address, time, done) => {
                self.decide(Input::Ban { address, time }, now);
                let _ = done.send(());
            }
            Command::Pardon(address, answer) => {
                let view = self.exchange.look_at_source(address, now.instant);
                self.decide(Input::Pardon(address), now);
                let _ = answer.send(view.ban.is_some() || view.penalty.is_some());
            }
            Command::HangUp(call, answer) => {
                let known = self.exchange.calls().iter().any(|summary| summary.id == call);
                self.decide(Input::HangUp(call), now);
                let _ = answer.send(known);
            }
            Command::Recorded(calls) => self.calls.recorded(&calls),
            Command::Trace(tap) => self.taps.push(tap),
            Command::Hold(holding) => self.decide(Input::Hold(holding), now),
            Command::Drain => self.decide(Input::Drain, now),
            Command::EndAll => self.decide(Input::EndAll, now),
            Command::Pause(pause) => self.pause = Some(pause),
            Command::Stop => return false,
        }
        true
    }

    /// Carries out what the exchange wants; the next deadline. Messages leave only when the calls they speak of are kept: nobody
    /// hears of what a crash would undo.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.exchange.poll_output() {
                Output::Transmit { to, bytes, token } => {
                    if !self.taps.is_empty() {
                        let at = self.io.clock().utc();
                        let account = self.account_of(&bytes);
                        self.tap(&Seen { account, ..Seen::sent(&to, &bytes, at) });
                    }
                    // Datagrams wait for the end of the turn by themselves.
                    if to.transport() == Transport::Udp {
                        self.io.transmit(&to, bytes, token.to_bits());
                    } else {
                        self.for_streams.push((to, bytes, token));
                    }
                }
                Output::Media(command) => self.media.send(command),
                Output::Ask(ask) => {
                    let now = self.io.clock().moment();
                    if let Some(answer) = self.asker.ask(ask, now.instant) {
                        self.decide(Input::Answer(answer), now);
                    }
                }
                Output::Fact(fact) => self.facts.take(fact),
                Output::Keep { call, form } => self.calls.keep(call, &form),
                Output::Forget { call } => self.calls.forget(call),
                Output::Timeout(deadline) => {
                    for (to, bytes, token) in self.for_streams.drain(..) {
                        self.io.transmit(&to, bytes, token.to_bits());
                    }
                    return deadline;
                }
            }
        }
    }

    fn edge_overview(&mut self, now: Instant) -> (EdgeOverview, Vec<Option<PeerName>>) {
        let overview = self.exchange.edge_overview(BANS_SHOWN_MAX, now);
        let peers = overview.top.iter().map(|top| self.peer_at(*top.source.disclose(Purpose::Operation)));
        let peers = peers.collect();
        (overview, peers)
    }

    fn peer_at(&self, address: IpAddr) -> Option<PeerName> {
        let peer = self.directory.peer_at(address)?;
        Some(PeerName { tenant: peer.tenant.clone(), name: peer.name.clone() })
    }

    /// The call that a message belongs to, as it stands now.
    fn account_of(&self, bytes: &[u8]) -> Option<Account> {
        self.exchange.account_of(&call_id(bytes)?).map(Account::from)
    }

    /// Shows a message to everybody who watches.
    fn tap(&mut self, seen: &Seen<'_>) {
        let Self { directory, taps, .. } = self;
        taps.retain_mut(|tap| tap.show(seen, directory));
    }
}

/// One line at the beginning of an overload and one at its end.
fn tell(episode: &Episode) {
    match episode {
        Episode::Began => tracing::warn!(
            hint = "calls that are on are not touched; if it lasts, see offhook_overload_* in the metrics",
            "overload: some new calls are refused with 503"
        ),
        Episode::Ended { lasted, given_up: [calls, registrations, of_calls] } => tracing::warn!(
            lasted_secs = lasted.as_secs(),
            calls,
            registrations,
            of_calls,
            "overload is over: so many messages were refused or dropped"
        ),
    }
}
