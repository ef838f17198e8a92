//! The parts of a node made from its configuration: sockets, certificates, exchange.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use offhook_base::Random;
use offhook_edge::{EdgeLimits, OverloadLimits, Scanners};
use offhook_media::sounds::Sounds;
use offhook_net::{
    BindError, Clock, NetCounters, UdpListenerConfig, WorkerConfig, WorkerIo,
    location::{Resolver, ResolverConfig, Support},
    stream::{StreamLimits, StreamListenerConfig, StreamSettings, Streams},
    tls::{CertificateFiles, ClientTls, ClientTlsConfig, ServerTls, find_or_make},
};
use offhook_sip::{
    digest::HashFunction,
    session_timer::SessionTimerPolicy,
    transaction::TimerConfig,
    transport::{Listener, ListenerId, Transport},
};
use offhook_switch::{
    registrar::RegistrarConfig,
    service::ServiceNumbers,
    settings::{Settings, Transcoding},
};
use tokio::runtime::Handle;

use crate::{
    RunError,
    config::{Config, DigestOffer, Transcode},
    takeover::{Inheritance, NamedSockets},
    worker::Command,
};

/// Commands that may wait for the worker: a media event and an answer for each of the calls that one second can bring.
const COMMANDS_MAX: usize = 65_536;

/// The sockets of the node.
pub struct Sockets {
    /// The worker's end.
    pub io: WorkerIo<Command>,
    /// All listeners, the one of the HTTP server included.
    pub listeners: Vec<Listener>,
    /// Opens streams, and takes WebSockets from the HTTP server.
    pub streams: Streams,
    /// The number of the HTTP server's listener for SIP over WebSocket.
    pub websocket: ListenerId,
    /// The certificates in use, for reloading; `None` without TLS listeners.
    pub tls: Option<Arc<ServerTls>>,
    /// The certificate was made just now.
    pub made_certificate: bool,
    /// What the sockets count.
    pub counters: Arc<NetCounters>,
    /// The listening sockets, for a process that takes over.
    pub listening: NamedSockets,
}

/// Opens every listener of the configuration.
///
/// # Errors
/// One cannot be opened, or the certificates cannot be read; the text says which, why and what to do.
pub fn open_sockets(
    config: &Config,
    clock: Clock,
    runtime: &Handle,
    heritage: Option<&Inheritance>,
) -> Result<Sockets, RunError> {
    let counters = Arc::new(NetCounters::default());
    let mut io = WorkerIo::new(WorkerConfig {
        command_capacity: COMMANDS_MAX,
        ..WorkerConfig::new(clock, Arc::clone(&counters))
    })
    .map_err(|error| {
        RunError::new(
            format!("cannot make the worker's poll: {error}"),
            "raise the limit of open files (ulimit -n)",
        )
    })?;
    let wants_tls = config.sip.listen.iter().any(|listener| listener.address.transport.is_secure());
    let (tls, made_certificate) = if wants_tls { server_tls(config)? } else { (None, false) };
    let streams = io.serve_streams(runtime, stream_settings(config));
    let mut listeners = Vec::with_capacity(config.sip.listen.len() + 1);
    let mut listening = NamedSockets::new();
    for (number, wanted) in config.sip.listen.iter().enumerate() {
        let id = listener_id(number)?;
        let address = wanted.address;
        let name = format!("{} {}", address.transport, address.socket);
        let inherited = heritage.and_then(|heritage| heritage.socket(&name));
        let failed = |error: BindError| RunError::new(error.to_string(), error.hint());
        let (socket, opened) = if address.transport == Transport::Udp {
            let mut udp = UdpListenerConfig::new(id, address.socket);
            let socket = inherited.map_or_else(|| udp.open().map(Arc::new), Ok).map_err(failed)?;
            udp.socket = Some(Arc::clone(&socket));
            (socket, io.bind_udp(&udp))
        } else {
            let mut stream = StreamListenerConfig::new(id, address.transport, address.socket);
            stream.tls = tls.clone().filter(|_| address.transport.is_secure());
            let socket = inherited.map_or_else(|| stream.open().map(Arc::new), Ok).map_err(failed)?;
            stream.socket = Some(Arc::clone(&socket));
            (socket, streams.listen(&stream))
        };
        let mut listener = opened.map_err(failed)?;
        listening.push((name, socket));
        listener.advertised = wanted.advertise.clone();
        listeners.push(listener);
    }
    let websocket = listener_id(listeners.len())?;
    if config.http.websocket_sip {
        let bound = config.http.listen;
        listeners.push(Listener { id: websocket, transport: Transport::Ws, bound, advertised: None });
    }
    Ok(Sockets { io, listeners, streams, websocket, tls, made_certificate, counters, listening })
}

fn server_tls(config: &Config) -> Result<(Option<Arc<ServerTls>>, bool), RunError> {
    let (files, made) = match (&config.tls.certificate, &config.tls.key) {
        (Some(certificate), Some(key)) => {
            (CertificateFiles { certificate: certificate.clone(), key: key.clone() }, false)
        }
        _ => find_or_make(&config.storage.data, &["localhost".to_string()])
            .map_err(|error| RunError::new(error.to_string(), error.hint()))?,
    };
    let tls = ServerTls::load(files).map_err(|error| RunError::new(error.to_string(), error.hint()))?;
    Ok((Some(Arc::new(tls)), made))
}

fn stream_settings(config: &Config) -> StreamSettings {
    let client = ClientTlsConfig {
        extra_roots: config.tls.authorities.iter().cloned().collect(),
        only_extra_roots: false,
        certificate: None,
    };
    let client_tls = match ClientTls::new(&client) {
        Ok(client) => Some(client),
        Err(error) => {
            tracing::warn!(%error, hint = error.hint(), "TLS to peers is off");
            None
        }
    };
    let limits = StreamLimits {
        connections_max: config.limits.connections.as_usize(),
        connections_per_source_max: config.limits.connections_per_source.as_usize(),
        ..StreamLimits::default()
    };
    StreamSettings { limits, client_tls, ..StreamSettings::default() }
}

fn listener_id(number: usize) -> Result<ListenerId, RunError> {
    let too_many = |_| RunError::new("too many listeners", "keep sip.listen below 65,535 entries");
    u16::try_from(number).map(ListenerId).map_err(too_many)
}

/// Asks DNS, for the transports that the node has listeners for.
///
/// # Errors
/// The system's DNS configuration cannot be read.
pub fn resolver(config: &Config, listeners: &[Listener]) -> Result<Resolver, RunError> {
    let speaks = |transport| listeners.iter().any(|listener| listener.transport == transport);
    let support = Support {
        transports: [Transport::Udp, Transport::Tcp, Transport::Tls]
            .into_iter()
            .filter(|&t| speaks(t))
            .collect(),
        ipv4: listeners.iter().any(|listener| listener.bound.is_ipv4()),
        ipv6: listeners.iter().any(|listener| listener.bound.is_ipv6()),
    };
    let resolver = ResolverConfig { servers: config.dns.servers.clone(), ..ResolverConfig::default() };
    Resolver::new(&resolver, support).map_err(|error| RunError::new(error.to_string(), error.hint()))
}

/// What call control may do.
pub fn settings(config: &Config, listeners: Vec<Listener>) -> Settings {
    let sip = &config.sip;
    let signalling = &config.signalling;
    let silence = config.media.silence_secs.get();
    Settings {
        listeners,
        media_advertised: config.media.advertise,
        anchor_media: config.media.anchor,
        transcoding: match config.media.transcode {
            Transcode::OnRefusal => Transcoding::OnRefusal,
            Transcode::Always => Transcoding::Always,
            Transcode::Never => Transcoding::Never,
        },
        ring: seconds(sip.ring_secs.get()),
        unanswered: seconds(sip.no_answer_secs.get()),
        call_duration: seconds(config.limits.call_duration_max_secs.get()),
        silence: (silence > 0).then(|| seconds(silence)),
        session_timers: SessionTimerPolicy {
            interval_secs: sip.session_expires_secs.as_u32(),
            min_secs: sip.session_expires_min_secs.as_u32(),
            ..SessionTimerPolicy::default()
        },
        timers: TimerConfig {
            t1: Duration::from_millis(signalling.t1_ms.get()),
            t2: Duration::from_millis(signalling.t2_ms.get()),
            t4: Duration::from_millis(signalling.t4_ms.get()),
        },
        wake: seconds(config.push.wait_secs.get()),
        bindings: config.limits.bindings.as_usize(),
        calls: config.limits.calls.as_usize(),
        emergency_numbers: config.emergency_numbers(),
        services: services(config),
        keeps_calls: true,
        outage: seconds(config.limits.outage_secs.get()),
        reconnect: seconds(config.limits.reconnect_secs.get()),
        product: sip.product.as_str().into(),
        digest: match sip.digest {
            DigestOffer::Both => vec![HashFunction::Sha256, HashFunction::Md5],
            DigestOffer::Md5 => vec![HashFunction::Md5],
            DigestOffer::Sha256 => vec![HashFunction::Sha256],
        },
    }
}

/// The numbers of what the node does itself.
fn services(config: &Config) -> ServiceNumbers {
    let settings = &config.services;
    let mut numbers = ServiceNumbers::new(settings.country.0, settings.utc_offset.0);
    settings.numbers().for_each(|(number, service)| numbers.add(number, service));
    numbers
}

/// What the node can play.
///
/// # Errors
/// A sound of the operator's cannot be played.
pub fn sounds(config: &Config) -> Result<Sounds, RunError> {
    let mut sounds = Sounds::built_in();
    if let Some(directory) = &config.services.sounds {
        let added = sounds.add_directory(directory).map_err(|error| {
            RunError::new(
                format!("services.sounds: {error}"),
                "make it playable, for example with: sox in.wav -r 16000 -c 1 -b 16 out.wav",
            )
        })?;
        tracing::info!(sounds = added, "sounds read");
    }
    Ok(sounds)
}

/// Push services that phones name (RFC 8599 §14.1): the operator's webhook decides what it can do with each.
const PUSH_PROVIDERS: [&str; 3] = ["apns", "fcm", "webpush"];

/// What the registrar grants.
pub fn registrar(config: &Config) -> RegistrarConfig {
    RegistrarConfig {
        expires_min: seconds(config.limits.expires_min_secs.get()),
        expires_default: seconds(config.limits.expires_default_secs.get()),
        expires_max: seconds(config.limits.expires_max_secs.get()),
        push_providers: match config.push.webhook {
            Some(_) => PUSH_PROVIDERS.iter().map(|&provider| provider.into()).collect(),
            None => Vec::new(),
        },
        ..RegistrarConfig::default()
    }
}

/// What sources may do.
pub fn edge_limits(config: &Config) -> EdgeLimits {
    let (limits, edge) = (&config.limits, &config.edge);
    EdgeLimits {
        message_bytes_max: limits.message_max_bytes.as_usize(),
        messages_per_second: limits.requests_per_source_per_sec.as_u32(),
        messages_burst: limits.requests_burst.as_u32(),
        failures_burst: limits.auth_failures_per_source_per_min.as_u32(),
        network_messages_per_second: edge.requests_per_network_per_sec.as_u32(),
        method_rates: edge
            .method_rates
            .0
            .iter()
            .map(|(name, rate)| (name.0.as_str().into(), *rate))
            .collect(),
        account_requests_per_second: edge.requests_per_account_per_sec.as_u32(),
        account_failures_burst: edge.auth_failures_per_account.as_u32(),
        penalty_first: seconds(edge.ban_first_secs.get()),
        penalty_max: seconds(edge.ban_max_secs.get()),
        stray_points: edge.stray_points.as_u32(),
        scanners: Scanners::new(edge.scanners.iter().map(String::as_str)),
        answer_strangers: edge.answer_strangers,
        sources_max: edge.sources.as_u32(),
        overload: OverloadLimits { wait_target: Duration::from_millis(limits.overload_wait_ms.get()) },
        ..EdgeLimits::default()
    }
}

/// The file with what nonces and temporary GRUUs are made with.
const EXCHANGE_KEY_FILE: &str = "exchange.key";

/// What nonces and temporary GRUUs are made with: made at the first start, kept in a file of mode 0600, so that phones
/// need not notice a restart.
///
/// # Errors
/// The file cannot be read or written, or is damaged.
pub fn exchange_secret(data: &Path, random: &mut Random) -> Result<[u8; 32], RunError> {
    let path = data.join(EXCHANGE_KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            RunError::new(
                format!("{} is not a key of 32 bytes", path.display()),
                "delete it: phones then authenticate anew",
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = [0; 32];
            random.fill(&mut secret);
            let written = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .and_then(|mut file| file.write_all(&secret));
            let failed = |error| {
                RunError::new(format!("cannot write {}: {error}", path.display()), RunError::STORE_HINT)
            };
            written.map(|()| secret).map_err(failed)
        }
        Err(error) => {
            Err(RunError::new(format!("cannot read {}: {error}", path.display()), "check its owner and mode"))
        }
    }
}

/// Randomness from the operating system.
///
/// # Errors
/// It has none.
pub fn random() -> Result<Random, RunError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        RunError::new(format!("no randomness from the system: {error}"), "use a kernel with getrandom(2)")
    })?;
    Ok(Random::from_seed(seed))
}

const fn seconds(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
