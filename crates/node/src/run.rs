//! The life of a node: start, serve, drain, end.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use offhook_api::{Api, FIRST_TOKEN};
use offhook_base::Random;
use offhook_media::{MediaConfig, MediaEngine};
use offhook_net::{
    Clock, CommandSender,
    stream::{Streams, UpgradedWebSocket},
    tls::ServerTls,
};
use offhook_sip::transport::ListenerId;
use offhook_store::{Author, BindingWriter, RecordWriter, Store};
use offhook_switch::{
    directory::Secret,
    exchange::{Exchange, ExchangeConfig, Gauges},
};
use tokio::sync::{Notify, broadcast};

use crate::{
    asks::{Asker, PushSettings},
    config::Config,
    control::{Control, Phase},
    demo,
    facts::{FactCounters, FactSink, LISTENER_BACKLOG},
    logging,
    signals::{Asked, Signals},
    start::{self, Sockets},
    worker::{Command, Worker},
};

/// How often the node looks for new certificates and expired records.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(10);

/// How often a drain looks whether calls are left.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// What `offhook serve` was told besides the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Make demo lines on an empty node.
    pub demo: bool,
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

    fn store(error: impl std::fmt::Display) -> Self {
        Self::new(error.to_string(), Self::STORE_HINT)
    }
}

/// What a person is told at the start: on standard output, once.
#[derive(Debug)]
pub struct Welcome {
    /// What the node listens on, a line each.
    pub listening: Vec<String>,
    /// Lines that were just made, with their passwords.
    pub lines: Vec<(&'static str, Secret)>,
    /// The first token, if it was just made.
    pub token: Option<Secret>,
    /// Where the command line finds the token.
    pub token_file: std::path::PathBuf,
    /// The address of the API.
    pub api: String,
    /// A certificate was made.
    pub made_certificate: bool,
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
    let mut signals =
        Signals::new().map_err(|error| RunError::new(format!("cannot take signals: {error}"), ""))?;
    let store = Store::open(&config.storage.data)
        .await
        .map_err(|error| RunError::new(error.to_string(), error.hint()))?;
    let author = Author::new("serve", clock.utc());
    let mut random = start::random()?;
    let made_lines = if options.demo { demo::make_lines(&store, &author).await? } else { Vec::new() };
    let token = first_token(&store, &author, &config.token_file()).await?;
    let runtime = tokio::runtime::Handle::current();
    let sockets = start::open_sockets(&config, clock, &runtime)?;
    let http = tokio::net::TcpListener::bind(config.http.listen).await.map_err(|error| {
        let what = format!("cannot listen on {}/http: {error}", config.http.listen);
        RunError::new(what, "stop the other server, or set http.listen in offhook.toml")
    })?;
    let Sockets { io, listeners, streams, websocket, tls, made_certificate, counters } = sockets;
    let http_address = http.local_addr().map_err(RunError::store)?;
    let greeting = Welcome {
        listening: listeners
            .iter()
            .filter(|listener| listener.id != websocket)
            .map(|listener| format!("sip {} {}", listener.transport, listener.bound))
            .collect(),
        lines: made_lines,
        token,
        token_file: config.token_file(),
        api: format!("http://{http_address}"),
        made_certificate,
    };
    let commands = io.command_sender();
    let media = start_media(&config, commands.clone())?;
    let exchange = exchange(&config, &store, listeners.clone(), clock, &mut random).await?;
    let records = RecordWriter::start(&store, |_| {});
    let bindings = BindingWriter::start(&store);
    let (facts, _) = broadcast::channel(LISTENER_BACKLOG);
    let fact_counters = Arc::new(FactCounters::default());
    let push = config.push.webhook.as_ref().map(|webhook| PushSettings {
        webhook: webhook.reveal().to_string(),
        timeout: Duration::from_millis(config.push.timeout_ms.get()),
    });
    let asker = Asker::new(
        runtime,
        start::resolver(&listeners)?,
        listeners.into(),
        commands.clone(),
        push,
        reqwest::Client::new(),
        random.fork(),
        config.tls.verify,
    );
    let sink = FactSink {
        records: records.clone(),
        bindings: bindings.clone(),
        listeners: facts.clone(),
        counters: Arc::clone(&fact_counters),
        unmasked: config.log.unmasked,
    };
    let worker = Worker { io, exchange, media: media.clone(), asker, facts: sink, taps: Vec::new() };
    let worker_ended = Arc::new(Notify::new());
    let notice = EndNotice(Arc::clone(&worker_ended));
    let serve_calls = move || {
        let _told_at_the_end = notice;
        worker.run()
    };
    let worker =
        std::thread::Builder::new().name("offhook-sip".into()).spawn(serve_calls).map_err(|error| {
            RunError::new(
                format!("cannot start the worker: {error}"),
                "raise the limit of processes (ulimit -u)",
            )
        })?;
    let drain_asked = Arc::new(Notify::new());
    let control = Arc::new(Control {
        commands: commands.clone(),
        facts,
        store: store.clone(),
        fact_counters,
        net_counters: counters,
        media,
        records: records.clone(),
        phase: Phase::default(),
        drain_asked: Arc::clone(&drain_asked),
        gauges: Mutex::new(Gauges::default()),
    });
    let stop_http = Arc::new(Notify::new());
    let api = api(&config, Arc::clone(&control), store.clone(), streams, websocket);
    let server = {
        let stop = Arc::clone(&stop_http);
        tokio::spawn(offhook_api::serve(http, api, async move { stop.notified().await }))
    };
    control.phase.ready();
    welcome(&greeting);
    drop(greeting);
    tokio::select! {
        () = attend(&config, &mut signals, &control, &store, tls.as_ref(), clock, &drain_asked) => {}
        () = worker_ended.notified() => tracing::error!("the worker has ended: so does the node"),
    }
    drain(&config, &mut signals, &control, &commands).await;
    let _ = commands.try_send(Command::Stop);
    let joined = tokio::task::spawn_blocking(move || worker.join()).await;
    stop_http.notify_waiters();
    records.flush().await;
    bindings.flush().await;
    server.abort();
    store.close().await;
    tracing::info!("ended");
    match joined {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            Err(RunError::new(format!("the worker failed: {error}"), "please report it with the log"))
        }
        Ok(Err(_)) | Err(_) => Err(RunError::new("the worker panicked", "please report it with the log")),
    }
}

/// Tells that the worker's thread has ended, in whatever way.
struct EndNotice(Arc<Notify>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The first token, kept for the local command line in a file of mode 0600.
async fn first_token(store: &Store, author: &Author, file: &Path) -> Result<Option<Secret>, RunError> {
    let token = store.first_token(author, FIRST_TOKEN).await.map_err(RunError::store)?;
    if let Some(token) = &token {
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)
            .and_then(|mut file| file.write_all(token.reveal().as_bytes()));
        written.map_err(|error| {
            RunError::new(
                format!("cannot write {}: {error}", file.display()),
                "check the data directory's owner",
            )
        })?;
    }
    Ok(token)
}

fn start_media(
    config: &Config,
    commands: CommandSender<Command>,
) -> Result<offhook_media::MediaHandle, RunError> {
    let silence = config.media.silence_secs.get();
    let media = MediaConfig {
        ports: config.media.ports.first..=config.media.ports.last,
        dscp: u8::try_from(config.media.dscp.get()).unwrap_or(0),
        silence: (silence > 0).then(|| Duration::from_secs(silence)),
    };
    MediaEngine::start(media, move |event| {
        if commands.try_send(Command::Media(event)).is_err() {
            tracing::error!("the worker did not take a media event");
        }
    })
    .map_err(|error| {
        RunError::new(
            format!("cannot start the media engine: {error}"),
            "raise the limit of open files (ulimit -n)",
        )
    })
}

async fn exchange(
    config: &Config,
    store: &Store,
    listeners: Vec<offhook_sip::transport::Listener>,
    clock: Clock,
    random: &mut Random,
) -> Result<Exchange, RunError> {
    let directory = store.load_directory().await.map_err(RunError::store)?;
    let bindings = store.load_bindings(clock.utc()).await.map_err(RunError::store)?;
    let secret = start::exchange_secret(&config.storage.data, random)?;
    let mut exchange = Exchange::new(ExchangeConfig {
        settings: start::settings(config, listeners),
        registrar: start::registrar(config),
        limits: start::edge_limits(config),
        directory: Arc::new(directory),
        secret,
        random: random.fork(),
    });
    exchange.restore(&bindings, clock.moment());
    Ok(exchange)
}

fn api(config: &Config, control: Arc<Control>, store: Store, streams: Streams, listener: ListenerId) -> Api {
    let settings = offhook_api::Settings {
        request_timeout: Duration::from_secs(config.http.request_timeout_secs.get()),
        body_max_bytes: config.http.body_max_bytes.as_usize(),
    };
    let api = Api::new(control, store, settings);
    if !config.http.websocket_sip {
        return api;
    }
    api.with_sip_websocket(Arc::new(move |socket| {
        let streams = streams.clone();
        tokio::spawn(async move {
            let upgraded =
                UpgradedWebSocket { listener, secure: false, local: socket.local, remote: socket.remote };
            if let Err(error) = streams.serve_upgraded(upgraded, socket.stream).await {
                tracing::debug!(%error, "WebSocket not taken");
            }
        });
    }))
}

/// Serves until a stop or a drain is asked for; keeps house meanwhile.
async fn attend(
    config: &Config,
    signals: &mut Signals,
    control: &Control,
    store: &Store,
    tls: Option<&Arc<ServerTls>>,
    clock: Clock,
    drain_asked: &Notify,
) {
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => return,
                Asked::Reload => reload(tls),
            },
            () = drain_asked.notified() => return,
            _ = housekeeping.tick() => {
                control.gauges().await;
                if let Some(Err(error)) = tls.map(|tls| tls.reload_if_changed()) {
                    tracing::error!(%error, hint = error.hint(), "new certificate not taken: the old one stays");
                }
                let days = i64::try_from(config.storage.records_days.get()).unwrap_or(i64::MAX);
                let oldest = offhook_base::UtcMillis(clock.utc().0.saturating_sub(days.saturating_mul(86_400_000)));
                if let Err(error) = store.expire_records(oldest).await {
                    tracing::error!(%error, "old records were not deleted");
                }
            }
        }
    }
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

/// No new calls; running ones may finish within the limit, or until a second signal.
async fn drain(config: &Config, signals: &mut Signals, control: &Control, commands: &CommandSender<Command>) {
    control.phase.draining();
    let _ = commands.try_send(Command::Drain);
    let limit = tokio::time::sleep(Duration::from_secs(config.limits.drain_secs.get()));
    tokio::pin!(limit);
    let mut look = tokio::time::interval(DRAIN_LOOK);
    let mut ending = false;
    tracing::info!("draining: no new calls");
    loop {
        tokio::select! {
            _ = look.tick() => {
                if control.gauges().await.is_none_or(|gauges| gauges.calls == 0) {
                    return;
                }
            }
            asked = signals.next() => if asked == Asked::Stop {
                if ending {
                    return;
                }
                ending = true;
                let _ = commands.try_send(Command::EndAll);
            },
            () = &mut limit, if !ending => {
                ending = true;
                let _ = commands.try_send(Command::EndAll);
            }
        }
    }
}
