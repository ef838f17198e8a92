//! The node's driver: starts it, hands it what comes, carries out what it wants in the order in which the real one does, and kills
//! it between any two steps.

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sip::{
    transaction::TransmitToken,
    transport::{Destination, Listener, Transport},
};
use offhook_switch::{
    exchange::{Answer, Ask, ExchangeConfig, Hop, Input, Output, Resumed},
    media::MediaCommand,
    settings::Settings,
};

use super::{Event, HELPER_DELAY, PUSH_DELAY, WRITE_DELAY_MICROS_MAX, World, listener_of};
use crate::{
    media::Engine,
    network::PhoneId,
    node::Running,
    setup::{NODE, WorldConfig},
};

impl World {
    /// Starts the node, with the registrations, records and calls of its earlier life.
    pub fn start_node(&mut self) -> Resumed {
        let WorldConfig { directory, settings, registrar, limits, .. } = self.config.clone();
        let listeners = [false, true].map(|tcp| {
            let (id, transport) = listener_of(tcp);
            Listener { id, transport, bound: NODE, advertised: None }
        });
        let silence = settings.silence;
        let settings = Settings { listeners: listeners.to_vec(), ..settings };
        let config = ExchangeConfig {
            settings,
            registrar,
            limits,
            directory: Arc::new(directory),
            secret: [7; 32],
            random: self.random.fork(),
        };
        self.life += 1;
        let now = self.moment();
        let mut engine = Engine::new(NODE.ip(), silence, self.node.next_port);
        engine.refuse_opens = mem::take(&mut self.refuse_at_start);
        let resumed = self.node.start(config, engine, now);
        self.drain_node();
        resumed
    }

    /// The node dies: calls, transactions and ports are gone, facts stay.
    pub fn crash_node(&mut self) {
        self.dies = None;
        self.inbox.clear();
        self.node_died_at.push(self.now);
        self.node.crash(self.moment());
        for index in 0..self.streams.len() {
            self.streams[index].id = self.next_connection();
        }
        self.node_wakes_at = None;
    }

    /// The node dies after so many more steps of its driver, which are most often amid a turn, and starts again when it was down
    /// for so long.
    pub const fn crash_node_after(&mut self, steps: usize, down: Duration) {
        self.dies = Some((steps, down));
    }

    /// Takes back what [`Self::crash_node_after`] has announced, if it has not come to that.
    pub const fn spare_node(&mut self) {
        self.dies = None;
    }

    /// Whether the node runs.
    pub const fn is_node_up(&self) -> bool {
        self.node.running.is_some()
    }

    /// Something reaches the node's sockets and channels; its driver takes it with its next turn.
    pub(super) fn reach_node(&mut self, input: Input) {
        if self.turn_max.is_zero() {
            return self.tell_node(input);
        }
        if !self.is_node_up() {
            return;
        }
        if self.inbox.is_empty() {
            let most = u64::try_from(self.turn_max.as_nanos()).unwrap_or(u64::MAX);
            let at = self.now + Duration::from_nanos(self.random.below(most));
            self.schedule(at, Event::TurnOfNode { life: self.life });
        }
        self.inbox.push(input);
    }

    /// The driver takes all that came, and only then carries out what is wanted for it.
    pub(super) fn take_turn(&mut self) {
        let now = self.moment();
        let inbox = mem::take(&mut self.inbox);
        let Some(node) = &mut self.node.running else { return };
        for input in inbox {
            node.exchange.handle(input, now);
        }
        self.drain_node();
    }

    /// Something happens to the node from outside, in a turn of its own.
    pub fn tell_node(&mut self, input: Input) {
        let now = self.moment();
        if let Some(node) = &mut self.node.running {
            node.exchange.handle(input, now);
        }
        self.drain_node();
    }

    /// The node's driver finds that messages waited for so long, in every turn of the next `secs` seconds.
    pub fn be_late(&mut self, waited: Duration, secs: u64) {
        for _ in 0..secs * 10 {
            let now = self.now;
            if let Some(node) = &mut self.node.running {
                node.exchange.observe_load(waited, now);
            }
            self.run_for(Duration::from_millis(100));
        }
    }

    /// Does what the node wants done, until it wants nothing more. What is sent leaves last: nobody hears of what a crash undoes.
    fn drain_node(&mut self) {
        let mut outbox = Vec::new();
        loop {
            if self.meets_its_end() {
                return;
            }
            let Some(Running { exchange, .. }) = &mut self.node.running else { return };
            match exchange.poll_output() {
                Output::Transmit { to, bytes, token } => outbox.push((to, bytes, token)),
                Output::Media(command) => self.command_engine(command),
                Output::Ask(ask) => self.answer(ask),
                Output::Fact(fact) => {
                    let waits = !self.node.state.waiting.is_empty();
                    self.node.state.take(fact);
                    if !waits && !self.node.state.waiting.is_empty() {
                        let delay = Duration::from_micros(self.random.below(WRITE_DELAY_MICROS_MAX));
                        self.schedule(self.now + delay, Event::WriteRecords { life: self.life });
                    }
                }
                Output::Keep { call, form } => self.node.state.keep(call, form),
                Output::Forget { call } => self.node.state.forget(call),
                Output::Timeout(at) => {
                    self.wake_node_at(at);
                    break;
                }
            }
        }
        self.node.state.settled();
        for (to, bytes, token) in outbox {
            if self.meets_its_end() {
                return;
            }
            self.transmit(to, bytes, token);
        }
    }

    fn wake_node_at(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && self.node_wakes_at.is_none_or(|wakes_at| at < wakes_at)
        {
            let at = at.max(self.now);
            self.node_wakes_at = Some(at);
            self.schedule(at, Event::WakeNode);
        }
    }

    /// One more step of the driver; whether it is one that the node does not live to see.
    fn meets_its_end(&mut self) -> bool {
        let Some((steps, down)) = self.dies else { return false };
        if let Some(left) = steps.checked_sub(1) {
            self.dies = Some((left, down));
            return false;
        }
        self.crash_node();
        self.schedule(self.now + down, Event::StartNode);
        true
    }

    fn transmit(&mut self, to: Destination, bytes: Bytes, token: TransmitToken) {
        let at = to.remote();
        let phone = self.by_ip.get(&at.ip()).copied();
        if phone.is_some_and(|phone| self.is_lost(phone, false, &bytes)) {
            return;
        }
        if to.transport() == Transport::Udp {
            for delay in self.faults.arrivals(&mut self.random) {
                let event = Event::ToPhone { at, connection: None, bytes: bytes.clone() };
                self.schedule(self.now + delay, event);
            }
            return;
        }
        // A phone takes no connections: there is the one it has opened, or none.
        let open = phone.filter(|phone| match to {
            Destination::Flow(flow) => flow.connection == Some(self.streams[phone.0].id),
            Destination::Address { remote, .. } => remote == self.outside[phone.0],
        });
        let Some(phone) = open.filter(|phone| self.phones[phone.0].habits.tcp) else {
            return self.schedule(self.now + HELPER_DELAY, Event::NotSent { life: self.life, token });
        };
        let delay = self.faults.delay(&mut self.random);
        let stream = &mut self.streams[phone.0];
        stream.to_phone = stream.to_phone.max(self.now + delay);
        let (arrives, connection) = (stream.to_phone, Some(stream.id));
        self.schedule(arrives, Event::ToPhone { at, connection, bytes });
    }

    fn command_engine(&mut self, command: MediaCommand) {
        let now = self.now;
        let Some(node) = &mut self.node.running else { return };
        let event = node.engine.command(command, now);
        if let Some(event) = event.filter(|_| !self.helpers_mute) {
            self.schedule(now + HELPER_DELAY, Event::Media { life: self.life, event });
        }
    }

    fn answer(&mut self, ask: Ask) {
        if self.helpers_mute {
            return;
        }
        let answer = match ask {
            Ask::Locate { id, host, port, .. } => {
                let (listener, transport) = listener_of(false);
                let literal = host.parse().ok().map(|ip| vec![SocketAddr::new(ip, port.unwrap_or(5060))]);
                let addresses = literal.or_else(|| self.names.get(&*host).cloned()).unwrap_or_default();
                let hop = |remote: SocketAddr| Hop { transport, remote, local: NODE.ip(), listener };
                Answer::Located { id, hops: addresses.into_iter().map(hop).collect() }
            }
            Ask::Wake { id, prid, .. } => {
                // The phone's number stands for the token of its push service.
                let phone = prid.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let phone = phone.filter(|index| *index < self.phones.len()).map(PhoneId);
                if let Some(phone) = phone {
                    self.schedule(self.now + PUSH_DELAY, Event::PushedAwake(phone));
                }
                Answer::Woken { id, accepted: phone.is_some() }
            }
        };
        self.schedule(self.now + HELPER_DELAY, Event::Answer { life: self.life, answer });
    }
}
