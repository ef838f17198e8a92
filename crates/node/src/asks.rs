//! Questions of the exchange to the outside: where a next hop is, and waking a device.

use std::{sync::Arc, time::Duration};

use offhook_base::Random;
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
        Self { runtime, resolver, listeners, commands, push, http, random, verify_tls, room }
    }

    /// Asks. The answer comes later, always.
    pub fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Locate { id, host, port, transport, secure, .. } => {
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
                    let _ = self.commands.try_send(Command::Answer(Answer::Woken { id, accepted: false }));
                    return;
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
    }
}

/// The name a certificate must be for; `None` for an address literal, which it must then name itself.
fn name_of(host: &str) -> Option<Arc<str>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    (!literal).then(|| Arc::from(host))
}

/// A target as a hop: with the listener it leaves by and the local address the host's routing picks.
fn hop_to(listeners: &[Listener], transport: Transport, remote: std::net::SocketAddr) -> Option<Hop> {
    let local = local_address(remote).ok()?;
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
