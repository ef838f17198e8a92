//! Questions of the exchange to the outside: where a next hop is, and waking a device.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use offhook_base::{Instant, Random};
use offhook_net::{
    CommandSender,
    location::{NextHop, Resolver, local_address},
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
    local_addresses: HashMap<IpAddr, (IpAddr, Instant)>,
}

impl Asker {
    /// An asker whose tasks run on `runtime`. `verify_tls`: peers reached over TLS must show a certificate that we believe.
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
                let room = Arc::clone(&self.room);
                self.runtime.spawn(async move {
                    let _place = room.acquire().await;
                    let targets = match resolver.locate(hop, &mut random).await {
                        Ok(targets) => targets,
                        Err(error) => {
                            tracing::warn!(%error, "next hop not found");
                            Vec::new()
                        }
                    };
                    let secure = targets.iter().filter(|target| target.transport.is_secure());
                    let secure: Vec<_> = secure.map(|target| target.address).collect();
                    if !secure.is_empty() {
                        let _ = commands.try_send(Command::Expect(secure, identity));
                    }
                    let hops = targets
                        .into_iter()
                        .filter_map(|target| hop_to(&listeners, target.transport, target.address))
                        .collect();
                    let _ = commands.try_send(Command::Answer(Answer::Located { id, hops }));
                });
            }
            Ask::Wake { id, provider, prid, param } => {
                let Some(push) = self.push.clone() else {
                    return Some(Answer::Woken { id, accepted: false });
                };
                let (http, commands, room) =
                    (self.http.clone(), self.commands.clone(), Arc::clone(&self.room));
                self.runtime.spawn(async move {
                    let _place = room.acquire().await;
                    let body = serde_json::json!({ "provider": provider, "prid": prid, "param": param });
                    let sent = http.post(&push.webhook).timeout(push.timeout).json(&body).send().await;
                    let accepted = sent.is_ok_and(|response| response.status().is_success());
                    if !accepted {
                        tracing::warn!("the push webhook did not take the request");
                    }
                    let _ = commands.try_send(Command::Answer(Answer::Woken { id, accepted }));
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
