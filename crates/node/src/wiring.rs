//! The rooms wired together: a started node, and its end.

use std::{
    collections::BTreeSet,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, atomic::AtomicU64, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use offhook_api::Api;
use offhook_base::Random;
use offhook_media::{MediaConfig, MediaEngine, MediaHandle};
use offhook_net::{
    Clock, CommandError, CommandSender,
    stream::{Streams, UpgradedWebSocket},
    tls::ServerTls,
};
use offhook_sip::transport::{Listener, ListenerId};
use offhook_store::{BindingWriter, OpenError, RecordWriter, RecordingWriter, Store};
use offhook_switch::{
    directory::Directory,
    exchange::{Exchange, ExchangeConfig, Gauges},
    tape::TapeEvent,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, broadcast, oneshot},
    task,
};

use crate::{
    RunError,
    asks::{Asker, PushSettings, deliver_later},
    calls::KeptCalls,
    config::Config,
    control::{Control, Phase},
    doors::Doors,
    facts::{FactCounters, FactSink, LISTENER_BACKLOG},
    kernel_plane,
    lists::{self, ListSources},
    start::{self, Sockets},
    takeover::{Conversation, Inheritance, NamedSockets},
    wall,
    worker::{Command, Pause, Worker},
};

/// A node that runs.
pub struct Node {
    /// What outlives it.
    pub store: Store,
    /// What the API sees of it.
    pub control: Arc<Control>,
    /// To its worker.
    pub commands: CommandSender<Command>,
    /// Its certificates; `None` without TLS listeners.
    pub tls: Option<Arc<ServerTls>>,
    /// Rung when a drain was asked for by the API.
    pub drain_asked: Arc<Notify>,
    /// Rung when the worker's thread has ended, in whatever way.
    pub worker_ended: Arc<Notify>,
    /// What it listens on, a line each.
    pub listening: Vec<String>,
    /// Where its API is.
    pub api_address: String,
    /// Its certificate was made at this start.
    pub made_certificate: bool,
    /// What the site lacked when it was read.
    pub warnings: Vec<String>,
    sockets: NamedSockets,
    streams: Streams,
    worker: JoinHandle<io::Result<()>>,
    server: task::JoinHandle<io::Result<()>>,
    stop_server: Arc<Notify>,
    records: RecordWriter,
    bindings: BindingWriter,
    recordings: RecordingWriter,
}

impl Node {
    /// Opens everything and starts. Nothing is made that a failure would leave behind, but the data directory.
    ///
    /// # Errors
    /// What cannot be opened, with a hint.
    pub async fn start(
        config: &Config,
        clock: Clock,
        mut heritage: Option<Inheritance>,
    ) -> Result<Self, RunError> {
        let mut random = start::random()?;
        let unopened = |error: OpenError| RunError::new(error.to_string(), error.hint());
        let lock = match heritage.as_mut().and_then(Inheritance::lock) {
            Some(lock) => lock,
            None => Store::claim(&config.storage.data).map_err(unopened)?,
        };
        // Before the data: a new version that cannot listen where it shall must not have changed the schema.
        let runtime = tokio::runtime::Handle::current();
        let sockets = start::open_sockets(config, clock, &runtime, heritage.as_ref())?;
        let Sockets { io, listeners, streams, websocket, tls, made_certificate, counters, mut listening } =
            sockets;
        let (http, api_address) = bind_http(config, heritage.as_ref(), &mut listening)?;
        let store = Store::open_claimed(&config.storage.data, lock).await.map_err(unopened)?;
        let inheritance = listening;
        let listening = listeners
            .iter()
            .filter(|listener| listener.id != websocket)
            .map(|listener| format!("sip {} {}", listener.transport, listener.bound))
            .collect();
        let sip = listeners.iter().filter(|listener| listener.id != websocket);
        let ports: BTreeSet<u16> = sip.map(|listener| listener.bound.port()).collect();
        let commands = io.command_sender();
        let delayed = Arc::new(AtomicU64::new(0));
        let kept = store.recordings().map_err(|error| RunError::new(error.to_string(), error.hint()))?;
        let (keeper, recordings) = RecordingWriter::start(kept).map_err(unopened)?;
        let media = start_media(config, commands.clone(), keeper, Arc::clone(&delayed))?;
        let (mut exchange, directory, warnings) =
            exchange(config, &store, listeners.clone(), clock, &mut random).await?;
        let dns_failures = Arc::<AtomicU64>::default();
        let asker = asker(
            config,
            listeners,
            commands.clone(),
            random.fork(),
            Arc::clone(&delayed),
            Arc::clone(&dns_failures),
        )?;
        // From here on nothing can fail that could be foreseen. What the old process has until its end, its media ports and
        // what it last wrote of its calls, is taken up after this.
        heritage.map_or(Ok(()), Inheritance::prepared)?;
        let (mut calls, earlier) = KeptCalls::open(&store, config.storage.calls.as_deref());
        let kept = calls.resume(&mut exchange, &earlier, clock.moment());
        calls.start_heartbeat(clock);
        let records = start_records(&store, commands.clone(), Arc::clone(&delayed));
        let bindings = BindingWriter::start(&store);
        let doors = Arc::new(Doors::default());
        let door = Arc::clone(&doors);
        streams.guard(Arc::new(move |ip| door.may_connect(ip)));
        if let Some(wall) = wall::build(config, &ports) {
            doors.build_wall(wall);
        }
        let facts = FactSink {
            records: records.clone(),
            bindings: bindings.clone(),
            listeners: broadcast::channel(LISTENER_BACKLOG).0,
            counters: Arc::new(FactCounters::default()),
            doors: Arc::clone(&doors),
            unmasked: config.log.unmasked,
        };
        let drain_asked = Arc::new(Notify::new());
        let control = Arc::new(Control {
            commands: commands.clone(),
            facts: facts.listeners.clone(),
            store: store.clone(),
            fact_counters: Arc::clone(&facts.counters),
            net_counters: counters,
            media: media.clone(),
            kept,
            records: records.clone(),
            phase: Phase::default(),
            drain_asked: Arc::clone(&drain_asked),
            publishing: tokio::sync::Mutex::default(),
            lists: tokio::sync::Mutex::new(ListSources::new(&config.edge)),
            doors,
            gauges: Mutex::new(Gauges::default()),
            dns_failures: Arc::clone(&dns_failures),
            troubles: Mutex::default(),
            bindings: bindings.clone(),
            recordings: Arc::clone(&recordings.status),
            delayed: Arc::clone(&delayed),
        });
        // Before the worker begins: the first message is judged by them.
        control.read_lists(false).await.map_err(|what| RunError::new(what, lists::HINT))?;
        let worker_ended = Arc::new(Notify::new());
        let worker = Worker {
            io,
            exchange,
            media,
            asker,
            facts,
            calls,
            taps: Vec::new(),
            directory,
            pause: None,
            for_streams: Vec::new(),
        };
        let worker = start_worker(worker, EndNotice(Arc::clone(&worker_ended)))?;
        let stop_server = Arc::new(Notify::new());
        let api = api(config, Arc::clone(&control), store.clone(), streams.clone(), websocket);
        let stop = Arc::clone(&stop_server);
        let server = tokio::spawn(offhook_api::serve(http, api, async move { stop.notified().await }));
        Ok(Self {
            store,
            control,
            commands,
            tls,
            drain_asked,
            worker_ended,
            listening,
            api_address,
            made_certificate,
            warnings,
            sockets: inheritance,
            streams,
            worker,
            server,
            stop_server,
            records,
            bindings,
            recordings,
        })
    }

    /// Hands everything over to a new process. When this returns `Ok`, that one has all and this one must end at once,
    /// without a word to anybody.
    ///
    /// # Errors
    /// The new one ended before it was prepared, or the disk does not take what must be written: this one serves on.
    pub async fn hand_over(&self, mut successor: Conversation) -> Result<(), String> {
        let (begun, has_begun) = oneshot::channel();
        let (pause, end) = std::sync::mpsc::channel();
        self.streams.pause(true);
        let outcome = async {
            let told = self.commands.try_send(Command::Pause(Pause { begun, end }));
            told.map_err(|_| "the worker is overloaded")?;
            has_begun.await.map_err(|_| "the worker has ended")?;
            let written = async {
                self.records.flush().await;
                self.bindings.flush().await;
            };
            let written = tokio::time::timeout(WRITE_PATIENCE, written).await;
            written.map_err(|_| "the disk does not take what must be written")
        }
        .await;
        let outcome = match outcome {
            Ok(()) => {
                let (sockets, store) = (self.sockets.clone(), self.store.clone());
                let talk = move || {
                    successor.hand_over(&sockets, store.lock())?;
                    successor.let_go()
                };
                let talked = task::spawn_blocking(talk).await;
                talked.map_err(io::Error::other).flatten().map_err(|error| error.to_string())
            }
            Err(why) => {
                successor.refuse(why);
                Err(why.to_string())
            }
        };
        match outcome {
            // The worker's pause lasts as long as the process.
            Ok(()) => std::mem::forget(pause),
            Err(_) => self.streams.pause(false),
        }
        outcome
    }

    /// Ends it: the worker first, then what it left to be written.
    ///
    /// # Errors
    /// The worker had failed before.
    pub async fn end(self) -> Result<(), RunError> {
        let _ = self.commands.try_send(Command::Stop);
        // First, so that a reader of a stream hears that the node stops before the stream is cut.
        self.stop_server.notify_waiters();
        if let Some(wall) = self.control.doors.wall() {
            wall.take_down();
        }
        let worker = self.worker;
        let joined = task::spawn_blocking(move || worker.join()).await;
        self.records.flush().await;
        self.bindings.flush().await;
        let mut server = self.server;
        if tokio::time::timeout(LAST_ANSWERS, &mut server).await.is_err() {
            server.abort();
        }
        // The media engine ends with its last handle, and lets go of what it records.
        drop(self.control);
        self.recordings.finish(LAST_ANSWERS).await;
        self.store.close().await;
        tracing::info!("ended");
        let report = "please report it with the log";
        match joined {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(RunError::new(format!("the worker failed: {error}"), report)),
            Ok(Err(_)) | Err(_) => Err(RunError::new("the worker panicked", report)),
        }
    }
}

/// How long records and bindings may take to be written before a new process takes over. Phones repeat themselves after half
/// a second, and give up after 32.
const WRITE_PATIENCE: Duration = Duration::from_secs(3);

/// How long open answers of the API may take to end. They are told to; who does not read is not waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Tells that the worker's thread has ended, in whatever way.
struct EndNotice(Arc<Notify>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn start_worker(worker: Worker, notice: EndNotice) -> Result<JoinHandle<io::Result<()>>, RunError> {
    let serve_calls = move || {
        let _told_at_the_end = notice;
        worker.run()
    };
    std::thread::Builder::new().name("offhook-sip".into()).spawn(serve_calls).map_err(|error| {
        RunError::new(format!("cannot start the worker: {error}"), "raise the limit of processes (ulimit -u)")
    })
}

/// Opens the API's listener, or takes the inherited one, and notes it in `sockets`. The listener and its address.
fn bind_http(
    config: &Config,
    heritage: Option<&Inheritance>,
    sockets: &mut NamedSockets,
) -> Result<(TcpListener, String), RunError> {
    let wanted = config.http.listen;
    let refused = |error: io::Error| {
        let what = format!("cannot listen on {wanted}/http: {error}");
        RunError::new(what, "stop the other server, or set http.listen in offhook.toml")
    };
    let name = format!("http {wanted}");
    let socket = match heritage.and_then(|heritage| heritage.socket(&name)) {
        Some(socket) => socket,
        None => Arc::new(OwnedFd::from(std::net::TcpListener::bind(wanted).map_err(refused)?)),
    };
    let listener = std::net::TcpListener::from(socket.try_clone().map_err(refused)?);
    listener.set_nonblocking(true).map_err(refused)?;
    let listener = TcpListener::from_std(listener).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    sockets.push((name, socket));
    Ok((listener, format!("http://{address}")))
}

fn asker(
    config: &Config,
    listeners: Vec<Listener>,
    commands: CommandSender<Command>,
    random: Random,
    delayed: Arc<AtomicU64>,
    dns_failures: Arc<AtomicU64>,
) -> Result<Asker, RunError> {
    let push = config.push.webhook.as_ref().map(|webhook| PushSettings {
        webhook: webhook.reveal().to_string(),
        timeout: Duration::from_millis(config.push.timeout_ms.get()),
    });
    let (runtime, resolver) = (tokio::runtime::Handle::current(), start::resolver(config, &listeners)?);
    let http = reqwest::Client::new();
    let verify = config.tls.verify;
    Ok(Asker::new(
        runtime,
        resolver,
        listeners.into(),
        commands,
        push,
        http,
        random,
        verify,
        delayed,
        dns_failures,
    ))
}

fn start_media(
    config: &Config,
    commands: CommandSender<Command>,
    keeper: SyncSender<TapeEvent>,
    delayed: Arc<AtomicU64>,
) -> Result<MediaHandle, RunError> {
    let silence = config.media.silence_secs.get();
    let media = MediaConfig {
        ports: config.media.ports.first..=config.media.ports.last,
        dscp: u8::try_from(config.media.dscp.get()).unwrap_or(0),
        silence: (silence > 0).then(|| Duration::from_secs(silence)),
        kernel: kernel_plane::wanted(config),
        sounds: Arc::new(start::sounds(config)?),
        keeper: Some(keeper),
    };
    let runtime = tokio::runtime::Handle::current();
    // The engine's threads must not wait. A call does wait for what they say: where the queue is full a task tries again.
    MediaEngine::start(media, move |event| match commands.try_send(Command::Media(event)) {
        Ok(()) => {}
        Err(CommandError::Full(command)) => {
            let (commands, delayed) = (commands.clone(), Arc::clone(&delayed));
            runtime.spawn(async move { deliver_later(&commands, command, &delayed).await });
        }
        Err(CommandError::Ended(_)) => tracing::debug!("a media event came after the worker's end"),
    })
    .map_err(|error| {
        RunError::new(
            format!("cannot start the media engine: {error}"),
            "raise the limit of open files (ulimit -n)",
        )
    })
}

/// The record writer tells the worker what is on disk: then nothing of those calls need be kept any more.
fn start_records(store: &Store, commands: CommandSender<Command>, delayed: Arc<AtomicU64>) -> RecordWriter {
    RecordWriter::start(store, move |records| {
        let calls = records.iter().map(|record| record.id).collect();
        if let Err(CommandError::Full(command)) = commands.try_send(Command::Recorded(calls)) {
            let (commands, delayed) = (commands.clone(), Arc::clone(&delayed));
            tokio::spawn(async move { deliver_later(&commands, command, &delayed).await });
        }
    })
}

/// Call control with the site and the registrations of before; also what the site lacks.
async fn exchange(
    config: &Config,
    store: &Store,
    listeners: Vec<Listener>,
    clock: Clock,
    random: &mut Random,
) -> Result<(Exchange, Arc<Directory>, Vec<String>), RunError> {
    // They are read beside the site: a phone may be waiting.
    let mut bindings = store.read_bindings(clock.utc());
    let site = store.load_site().await.map_err(RunError::store)?;
    let warnings = site.advice(&config.emergency_numbers());
    let directory = Arc::new(site.into_directory());
    let secret = start::exchange_secret(&config.storage.data, random)?;
    let mut exchange = Exchange::new(ExchangeConfig {
        settings: start::settings(config, listeners),
        registrar: start::registrar(config),
        limits: start::edge_limits(config),
        directory: Arc::clone(&directory),
        secret,
        random: random.fork(),
    });
    while let Some(some) = bindings.next().await {
        exchange.restore(some.map_err(RunError::store)?, clock.moment());
    }
    Ok((exchange, directory, warnings))
}

fn api(config: &Config, control: Arc<Control>, store: Store, streams: Streams, listener: ListenerId) -> Api {
    let settings = offhook_api::Settings {
        request_timeout: Duration::from_secs(config.http.request_timeout_secs.get()),
        body_max_bytes: config.http.body_max_bytes.as_usize(),
        emergency_numbers: config.emergency_numbers(),
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
