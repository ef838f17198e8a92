//! Questions of the exchange to the outside: where a next hop is, and waking a device.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use offhook_base::{Instant, Random};
use offhook_net::{
    CommandError, CommandSender,
    location::{LocationError, NextHop, Resolver, local_address},
    stream::PeerIdentity,
};
use offhook_sip::transport::{Listener, Transport};
use offhook_switch::exchange::{Answer, Ask, Hop};
use tokio::{runtime::Handle, sync::Semaphore};

use crate::worker::Command;

/// Questions on their way at once. More wait their turn: a slow DNS must not fill the memory with tasks that all ask it.
const ASKS_MAX: usize = 4096;

/// Local addresses remembered; more are forgotten all at once.
const LOCAL_ADDRESSES_MAX: usize = 4096;

/// How long one is remembered: after a change of the host's routes, calls find the new way that soon.
const LOCAL_ADDRESS_LIFETIME: Duration = Duration::from_secs(5);

/// How long what a full queue did not take waits before it is handed over again. The worker empties a full queue within a
/// few milliseconds.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Where a device's push service is told to wake it.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The operator's webhook.
    pub webhook: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// Puts questions to the outside, each in a task of its own; the answers come back as commands.
pub struct Asker {
    runtime: Handle,
    resolver: Resolver,
    listeners: Arc<[Listener]>,
    commands: CommandSender<Command>,
    push: Option<PushSettings>,
    http: reqwest::Client,
    random: Random,
    verify_tls: bool,
    room: Arc<Semaphore>,
    delayed: Arc<AtomicU64>,
    dns_failures: Arc<AtomicU64>,
    local_addresses: HashMap<IpAddr, (IpAddr, Instant)>,
}

impl Asker {
    /// An asker whose tasks run on `runtime`. `verify_tls`: peers reached over TLS must show a certificate that we believe.
    /// `delayed` counts as [`deliver`] does, `dns_failures` times that no name server answered.
    #[expect(clippy::too_many_arguments, reason = "made once, at the start, of what it needs")]
    pub fn new(
        runtime: Handle,
        resolver: Resolver,
        listeners: Arc<[Listener]>,
        commands: CommandSender<Command>,
        push: Option<PushSettings>,
        http: reqwest::Client,
        random: Random,
        verify_tls: bool,
        delayed: Arc<AtomicU64>,
        dns_failures: Arc<AtomicU64>,
    ) -> Self {
        let room = Arc::new(Semaphore::new(ASKS_MAX));
        Self {
            runtime,
            resolver,
            listeners,
            commands,
            push,
            http,
            random,
            verify_tls,
            room,
            delayed,
            dns_failures,
            local_addresses: HashMap::new(),
        }
    }

    /// Asks. The answer comes later as a command, or is returned where no one need be asked.
    pub fn ask(&mut self, ask: Ask, now: Instant) -> Option<Answer> {
        match ask {
            Ask::Locate { id, host, port, transport, secure, .. } => {
                if let Some(hop) = self.literal(&host, port, transport, secure, now) {
                    return Some(Answer::Located { id, hops: vec![hop] });
                }
                let identity = PeerIdentity { name: name_of(&host), verify: self.verify_tls };
                let hop = NextHop { secure, host: host.into(), port, transport };
                let (resolver, listeners) = (self.resolver.clone(), Arc::clone(&self.listeners));
                let (commands, mut random) = (self.commands.clone(), self.random.fork());
                let (room, delayed) = (Arc::clone(&self.room), Arc::clone(&self.delayed));
                let dns_failures = Arc::clone(&self.dns_failures);
                self.runtime.spawn(async move {
                    let _place = room.acquire().await;
                    let targets = match resolver.locate(hop, &mut random).await {
                        Ok(targets) => targets,
                        Err(error) => {
                            if error == LocationError::Unavailable {
                                dns_failures.fetch_add(1, Ordering::Relaxed);
                            }
                            tracing::debug!(%error, "next hop not found");
                            Vec::new()
                        }
                    };
                    let secure = targets.iter().filter(|target| target.transport.is_secure());
                    let secure: Vec<_> = secure.map(|target| target.address).collect();
                    if !secure.is_empty() {
                        deliver(&commands, Command::Expect(secure, identity), &delayed).await;
                    }
                    let hops = targets
                        .into_iter()
                        .filter_map(|target| hop_to(&listeners, target.transport, target.address))
                        .collect();
                    deliver(&commands, Command::Answer(Answer::Located { id, hops }), &delayed).await;
                });
            }
            Ask::Wake { id, provider, prid, param } => {
                let Some(push) = self.push.clone() else {
                    return Some(Answer::Woken { id, accepted: false });
                };
                let (http, commands) = (self.http.clone(), self.commands.clone());
                let (room, delayed) = (Arc::clone(&self.room), Arc::clone(&self.delayed));
                self.runtime.spawn(async move {
                    let _place = room.acquire().await;
                    let body = serde_json::json!({ "provider": provider, "prid": prid, "param": param });
                    let sent = http.post(&push.webhook).timeout(push.timeout).json(&body).send().await;
                    let accepted = sent.is_ok_and(|response| response.status().is_success());
                    if !accepted {
                        tracing::warn!("the push webhook did not take the request");
                    }
                    deliver(&commands, Command::Answer(Answer::Woken { id, accepted }), &delayed).await;
                });
            }
        }
        None
    }

    /// The hop that an address literal means, if nothing is to be looked up and TLS needs no name (RFC 3263 §4.1, §4.2).
    fn literal(
        &mut self,
        host: &str,
        port: Option<u16>,
        transport: Option<Transport>,
        secure: bool,
        now: Instant,
    ) -> Option<Hop> {
        let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        let transport = transport.unwrap_or(Transport::Udp);
        if secure || transport.is_secure() {
            return None;
        }
        let remote = SocketAddr::new(ip, port.unwrap_or(transport.default_port()));
        let local = self.local_address_of(remote, now)?;
        hop_by(&self.listeners, transport, remote, local)
    }

    /// The address that the host's routing picks towards `remote`, remembered for a while: asking costs three system
    /// calls.
    fn local_address_of(&mut self, remote: SocketAddr, now: Instant) -> Option<IpAddr> {
        if let Some(&(local, until)) = self.local_addresses.get(&remote.ip())
            && now < until
        {
            return Some(local);
        }
        let local = local_address(remote).ok()?;
        if self.local_addresses.len() >= LOCAL_ADDRESSES_MAX {
            self.local_addresses.clear();
        }
        self.local_addresses.insert(remote.ip(), (local, now + LOCAL_ADDRESS_LIFETIME));
        Some(local)
    }
}

/// Hands over what a call waits for, however long the worker's queue stays full; if it was at first, `delayed` counts it.
/// Given up only with the worker. There is at most one task for each open question and each report of the media engine, so
/// the calls bound them.
pub async fn deliver<C>(commands: &CommandSender<C>, command: C, delayed: &AtomicU64) {
    if let Err(CommandError::Full(command)) = commands.try_send(command) {
        deliver_later(commands, command, delayed).await;
    }
}

/// The same for what the full queue has handed back already.
pub async fn deliver_later<C>(commands: &CommandSender<C>, mut command: C, delayed: &AtomicU64) {
    delayed.fetch_add(1, Ordering::Relaxed);
    loop {
        tokio::time::sleep(AGAIN_AFTER).await;
        match commands.try_send(command) {
            Ok(()) | Err(CommandError::Ended(_)) => return,
            Err(CommandError::Full(handed_back)) => command = handed_back,
        }
    }
}

/// The name a certificate must be for; `None` for an address literal, which it must then name itself.
fn name_of(host: &str) -> Option<Arc<str>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    (!literal).then(|| Arc::from(host))
}

/// A target as a hop: with the listener it leaves by and the local address the host's routing picks.
fn hop_to(listeners: &[Listener], transport: Transport, remote: SocketAddr) -> Option<Hop> {
    hop_by(listeners, transport, remote, local_address(remote).ok()?)
}

fn hop_by(listeners: &[Listener], transport: Transport, remote: SocketAddr, local: IpAddr) -> Option<Hop> {
    let fits = |listener: &&Listener| {
        let bound = listener.bound;
        listener.transport == transport
            && bound.is_ipv4() == remote.is_ipv4()
            && (bound.ip().is_unspecified()
                || bound.ip() == local
                || bound.ip().is_loopback() == remote.ip().is_loopback())
    };
    let listener = listeners.iter().find(fits)?;
    let local = if listener.bound.ip().is_unspecified() { local } else { listener.bound.ip() };
    Some(Hop { transport, remote, local, listener: listener.id })
}

#[cfg(test)]
mod tests {
    use offhook_net::{Clock, NetCounters, NetEvent, WorkerConfig, WorkerIo};

    use super::*;

    /// Goal: no call waits for an answer that a full queue has lost. Method: a queue for one command, and a second one.
    #[test]
    fn what_finds_the_queue_full_comes_when_there_is_room() {
        let clock = Clock::new();
        let config = WorkerConfig {
            command_capacity: 1,
            ..WorkerConfig::new(clock, Arc::new(NetCounters::default()))
        };
        let mut io = WorkerIo::<u32>::new(config).expect("a worker without sockets");
        let commands = io.command_sender();
        let mut turn = || {
            let mut events = Vec::new();
            io.turn(Some(clock.moment().instant), &mut events).expect("a turn");
            let command = |event| if let NetEvent::Command(command) = event { Some(command) } else { None };
            events.into_iter().filter_map(command).collect::<Vec<u32>>()
        };
        let delayed = Arc::new(AtomicU64::new(0));
        commands.try_send(1).expect("room for one");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let counter = Arc::clone(&delayed);
        let task = runtime.spawn(async move { deliver(&commands, 2, &counter).await });
        runtime.block_on(tokio::task::yield_now());
        assert_eq!((delayed.load(Ordering::Relaxed), turn()), (1, vec![1]));
        runtime.block_on(task).expect("it ends");
        assert_eq!(turn(), [2]);
    }
}
