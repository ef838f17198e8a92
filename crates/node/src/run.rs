//! The life of a node: start, serve, drain, end.

use std::{sync::Arc, time::Duration};

use offhook_api::control::NodeControl as _;
use offhook_base::UtcMillis;
use offhook_net::{Clock, tls::ServerTls};
use offhook_store::Store;

use crate::{
    Welcome,
    config::Config,
    control::Control,
    lists, logging, notify,
    signals::{Asked, Signals},
    takeover::Inheritance,
    upgrades::Upgrades,
    wiring::Node,
    worker::Command,
};

/// How often the node looks for new certificates and expired records.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(10);

/// How often the node looks for what is wrong around it.
const TROUBLE_LOOK: Duration = Duration::from_secs(1);

/// How often a drain looks whether calls are left.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// What `offhook serve` was told besides the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Make demo lines on an empty node.
    pub demo: bool,
    /// Take over from the node that runs on the same data.
    pub take_over: bool,
}

/// Why a node did not start or ended.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct RunError {
    what: String,
    hint: String,
}

impl RunError {
    /// For errors of the data directory.
    pub(crate) const STORE_HINT: &str = "check that the data directory is whole and its disk is not full";

    /// What went wrong, with its value, and what to do about it.
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// What the operator can do.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    pub(crate) fn store(error: impl std::fmt::Display) -> Self {
        Self::new(error.to_string(), Self::STORE_HINT)
    }
}

/// Runs a node until it is told to end. `welcome` is called once, when everything is open.
///
/// # Errors
/// It could not start, or the system failed it; with a hint.
pub fn run(config: Config, options: ServeOptions, welcome: impl FnOnce(&Welcome)) -> Result<(), RunError> {
    logging::start(&config.log);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("offhook-io").build().map_err(
            |error| {
                RunError::new(
                    format!("cannot start threads: {error}"),
                    "raise the limit of processes (ulimit -u)",
                )
            },
        )?;
    let ended = runtime.block_on(serve(config, options, welcome));
    // Tasks that wait for a peer must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(
    config: Config,
    options: ServeOptions,
    welcome: impl FnOnce(&Welcome),
) -> Result<(), RunError> {
    let clock = Clock::new();
    let mut signals = Signals::new()
        .map_err(|error| RunError::new(format!("cannot take signals: {error}"), "check the limits"))?;
    let heritage = if options.take_over { Some(Inheritance::ask(&config.storage.data)?) } else { None };
    let node = Node::start(&config, clock, heritage).await?;
    let prepared = Welcome::prepare(&config, options, &node, clock.utc()).await;
    if let Ok(greeting) = &prepared {
        // Whoever sees that the node is ready may ask it for an upgrade.
        let mut upgrades = Upgrades::open(&config.storage.data);
        node.control.phase.ready();
        notify::ready();
        welcome(greeting);
        forget_bindings(&node, clock).await;
        if options.take_over {
            // Somebody may have changed it while it was handed over.
            node.control.directory_changed().await;
        }
        let reason = attend(&config, &mut signals, &mut upgrades, &node, clock).await;
        if reason == Reason::HandedOver {
            tracing::info!("a new process has taken over: this one ends");
            // At once: calls and media are not ours any more, and the new process waits for our media ports.
            std::process::exit(0);
        }
        notify::stopping();
        drain(&config, &mut signals, &node).await;
    }
    let ended = node.end().await;
    prepared.and(ended)
}

/// What ended while the node was down. After the start, for it reads the whole table.
async fn forget_bindings(node: &Node, clock: Clock) {
    if let Err(error) = node.store.forget_bindings(clock.utc()).await {
        tracing::error!(%error, "ended registrations were not deleted");
    }
}

/// Why a node serves no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It was told to, or cannot.
    Stop,
    /// Another process has everything.
    HandedOver,
}

/// Serves until a stop or a drain is asked for; keeps house meanwhile.
async fn attend(
    config: &Config,
    signals: &mut Signals,
    upgrades: &mut Upgrades,
    node: &Node,
    clock: Clock,
) -> Reason {
    let Node { control, store, tls, .. } = node;
    let tls = tls.as_ref();
    let mut looks = tokio::time::interval(TROUBLE_LOOK);
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => return Reason::Stop,
                Asked::Reload => {
                    reload(tls);
                    read_lists(control, false).await;
                }
                Asked::Upgrade => upgrades.begin(None),
            },
            event = upgrades.next() => if upgrades.handle(event, node).await {
                return Reason::HandedOver;
            },
            () = node.drain_asked.notified() => return Reason::Stop,
            () = node.worker_ended.notified() => {
                tracing::error!("the worker has ended: so does the node");
                return Reason::Stop;
            }
            _ = looks.tick() => control.look_for_troubles(clock.moment()),
            _ = housekeeping.tick() => {
                control.gauges().await;
                read_lists(control, true).await;
                if let Some(Err(error)) = tls.map(|tls| tls.reload_if_changed()) {
                    tracing::error!(%error, hint = error.hint(), "new certificate not taken: the old one stays");
                }
                let before = |days: u64| {
                    let days = i64::try_from(days).unwrap_or(i64::MAX);
                    UtcMillis(clock.utc().0.saturating_sub(days.saturating_mul(86_400_000)))
                };
                if let Err(error) = store.expire_records(before(config.storage.records_days.get())).await {
                    tracing::error!(%error, "old records were not deleted");
                }
                expire_recordings(store, before(config.storage.recordings_days.get()));
            }
        }
    }
}

/// Lists that are wrong are told, and those in force stay.
async fn read_lists(control: &Control, only_changed: bool) {
    if let Err(error) = control.read_lists(only_changed).await {
        tracing::error!(%error, hint = lists::HINT, "lists of networks not read: those in force stay");
    }
}

/// Deletes recordings from before `oldest`, in a thread that may wait for the disk.
fn expire_recordings(store: &Store, oldest: UtcMillis) {
    let Ok(recordings) = store.recordings() else { return };
    tokio::task::spawn_blocking(move || match recordings.expire(oldest) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "old recordings deleted"),
        Err(error) => tracing::error!(%error, hint = error.hint(), "old recordings were not deleted"),
    });
}

fn reload(tls: Option<&Arc<ServerTls>>) {
    match tls.map(|tls| tls.reload()) {
        Some(Ok(())) => tracing::info!("certificates read again"),
        Some(Err(error)) => {
            tracing::error!(%error, hint = error.hint(), "certificates not read: the old ones stay")
        }
        None => tracing::info!("nothing to reload: no TLS listener"),
    }
}

/// No new calls; running ones may finish within the limit, or until a second signal ends them. A third one stops the
/// node at once, with calls that have not been taken down yet.
async fn drain(config: &Config, signals: &mut Signals, node: &Node) {
    let Node { control, commands, .. } = node;
    control.phase.draining();
    let _ = commands.try_send(Command::Drain);
    let limit = tokio::time::sleep(Duration::from_secs(config.limits.drain_secs.get()));
    tokio::pin!(limit);
    let mut look = tokio::time::interval(DRAIN_LOOK);
    let mut patience = Patience::default();
    tracing::info!("draining: no new calls");
    loop {
        tokio::select! {
            _ = look.tick() => {
                if control.gauges().await.is_none_or(|gauges| gauges.calls == 0) {
                    return;
                }
            }
            asked = signals.next() => if asked == Asked::Stop {
                match patience.signal() {
                    Step::EndCalls => drop(commands.try_send(Command::EndAll)),
                    Step::Leave => return,
                }
            },
            () = &mut limit, if patience == Patience::Waiting => {
                patience = Patience::Ended;
                drop(commands.try_send(Command::EndAll));
            }
        }
    }
}

/// How a drain stands towards the calls that are still on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Patience {
    /// They may finish.
    #[default]
    Waiting,
    /// They were told to end.
    Ended,
}

/// What a signal during a drain asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// End the calls, and wait until they have been taken down.
    EndCalls,
    /// Wait for nothing.
    Leave,
}

impl Patience {
    /// One more signal to stop; the first one began the drain.
    fn signal(&mut self) -> Step {
        match std::mem::replace(self, Self::Ended) {
            Self::Waiting => Step::EndCalls,
            Self::Ended => Step::Leave,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `offhook serve --help` says it.
    #[test]
    fn the_second_signal_ends_the_calls_and_the_third_the_node() {
        let mut patience = Patience::default();
        assert_eq!([patience.signal(), patience.signal()], [Step::EndCalls, Step::Leave]);
        assert_eq!(Patience::Ended.signal(), Step::Leave, "the calls were ended by the time limit");
    }
}
