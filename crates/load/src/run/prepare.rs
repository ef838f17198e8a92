//! From options to a run: scenarios read, addresses found, sockets bound, workers made.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use offhook_net::{Clock, DatagramSocket};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Refusal, address,
    files::LogFiles,
    media,
    options::{Options, Source},
    pace::Pace,
    peers::Peers,
    security::Security,
    sockets::Sockets,
    worker::{Window, Worker},
};
use crate::{
    call::{Now, Plan, Settings, Shard, SocketId, trace::Traces},
    inject::Injection,
    media::engine::Engine,
    scenario::{
        Known, Scenario, built_in,
        fault::nearest,
        model::{Action, StepKind},
        read::base_name,
        variables::Scope,
    },
    stats::Stats,
};

/// A run, ready to go.
pub struct Run {
    /// The workers; each goes into a thread.
    pub workers: Vec<Worker>,
    /// What they share with the control thread.
    pub windows: Arc<[Window]>,
    /// When calls start.
    pub pace: Arc<Pace>,
    /// Numbers of calls.
    pub numbers: Arc<AtomicU64>,
    /// What they run.
    pub plan: Arc<Plan>,
    /// The clock.
    pub clock: Clock,
    /// Microseconds since 1970 at the clock's origin.
    pub origin_unix_micros: i64,
    /// How files are named.
    pub label: String,
    /// Whether it makes calls.
    pub is_caller: bool,
    /// The media threads, if there is media.
    pub media: Option<Arc<Engine>>,
}

/// Most injection files' size: they are kept in memory.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Ports that are tried from 5060 on when none is asked for.
const PORTS_TRIED: u16 = 60;

/// The built-in scenario that was asked for is none.
pub fn no_built_in(name: &str) -> Refusal {
    let known: Vec<&str> = built_in::ALL.iter().map(|scenario| scenario.name).collect();
    let hint = nearest(name, &known)
        .map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean {near}?"));
    Refusal::fatal(format!("there is no built-in scenario {name}\nhint: {hint}"))
}

fn text_of(source: &Source) -> Result<Vec<u8>, Refusal> {
    match source {
        Source::BuiltIn(name) => {
            built_in::find(name).map(|found| found.text.into()).ok_or_else(|| no_built_in(name))
        }
        Source::File(path) => {
            let size = fs::metadata(path).map(|found| found.len()).unwrap_or(0);
            if size > FILE_BYTES_MAX {
                return Err(Refusal::fatal(format!("{path} is too large")));
            }
            fs::read(path).map_err(|error| {
                Refusal::fatal(format!("cannot read the scenario {path}: {error}\nhint: check the path"))
            })
        }
    }
}

fn scenario(source: &Source, known: &Known) -> Result<Scenario, Refusal> {
    let name = match source {
        Source::BuiltIn(name) | Source::File(name) => name,
    };
    let (scenario, warnings) = crate::scenario::read::read(&text_of(source)?, known)
        .map_err(|fault| Refusal::fatal(format!("{name}:{fault}")))?;
    if matches!(source, Source::File(_)) {
        for warning in warnings {
            super::terminal::note(&format!("{name}:{warning}"));
        }
    }
    Ok(scenario)
}

fn injections(options: &Options) -> Result<Vec<Arc<Injection>>, Refusal> {
    let mut files = Vec::new();
    for path in &options.injections {
        let text = fs::read(path)
            .map_err(|error| Refusal::fatal(format!("cannot read the injection file {path}: {error}")))?;
        files.push(Injection::parse(base_name(path), &text).map_err(Refusal::fatal)?);
    }
    for (name, field) in &options.indexes {
        let at = options.injections.iter().position(|path| base_name(path) == base_name(name));
        match at {
            Some(at) => files[at].index(*field),
            None => {
                return Err(Refusal::fatal(format!(
                    "-infindex {name}: no such injection file\nhint: -inf {name}"
                )));
            }
        }
    }
    Ok(files.into_iter().map(Arc::new).collect())
}

/// Says what is wrong with the options' files, without a run.
pub fn check(options: &Options) -> Result<(), Refusal> {
    let known = known(options);
    scenario(&options.scenario, &known)?;
    injections(options).map(drop)
}

fn known(options: &Options) -> Known {
    Known {
        keys: options.keys.clone(),
        files: options.injections.iter().map(|path| base_name(path).to_string()).collect(),
        read_media,
        directory: match &options.scenario {
            Source::File(path) => {
                Path::new(path).parent().map_or_else(String::new, |parent| parent.display().to_string())
            }
            Source::BuiltIn(_) => String::new(),
        },
        rtp_payload: options.rtp_payload,
        read: |name| {
            let content = fs::read(name).map_err(|error| format!("cannot read {name}: {error}"))?;
            if content.len() > MESSAGE_FILE_BYTES_MAX {
                return Err(format!("{name} is larger than {MESSAGE_FILE_BYTES_MAX} bytes"));
            }
            Ok(content)
        },
    }
}

/// A file with media: beside the scenario, else from where we were started.
fn read_media(directory: &str, name: &str) -> Result<Vec<u8>, String> {
    let beside = Path::new(directory).join(name);
    let path = if beside.exists() { beside } else { name.into() };
    let size = fs::metadata(&path).map(|found| found.len()).unwrap_or(0);
    if size > FILE_BYTES_MAX {
        return Err(format!("{name} is larger than {FILE_BYTES_MAX} bytes"));
    }
    fs::read(&path).map_err(|error| format!("cannot read {name}: {error}"))
}

/// The largest file that `[file]` takes, bytes: what fits a datagram.
const MESSAGE_FILE_BYTES_MAX: usize = 65_000;

/// Makes everything ready.
pub fn prepare(options: &Options) -> Result<Run, Refusal> {
    let known = known(options);
    let main = scenario(&options.scenario, &known)?;
    let out_of_call = options.out_of_call.as_ref().map(|source| scenario(source, &known)).transpose()?;
    check_presets(options, &main)?;
    let is_server = main.is_server();
    let local_ip = options.local_ip.as_deref().map(|text| address::resolve(text, None)).transpose()?;
    let local_ip = local_ip.map(|found| found.ip());
    let remote = options.remote.as_deref().map(|text| address::resolve(text, local_ip)).transpose()?;
    let send_to = options.send_to.as_deref().map(|text| address::resolve(text, local_ip)).transpose()?;
    for target in [remote, send_to].into_iter().flatten() {
        address::guard(target, options.allow_public)?;
    }
    if remote.is_none() && !is_server {
        return Err(Refusal::fatal(
            "the scenario makes calls, and there is no host to call\nhint: offhook load HOST[:PORT] ..., or -sn uas to take calls",
        ));
    }
    let local_ip = local_ip.unwrap_or_else(|| address::local_towards(send_to.or(remote)));
    let workers = worker_count(options, &main, is_server);
    let bound = Bound::open(options, local_ip, workers, is_server, send_to.or(remote))?;
    let mut settings = settings(options, local_ip, bound.port, remote);
    let scenarios: Vec<&Scenario> = [Some(&main), out_of_call.as_ref()].into_iter().flatten().collect();
    let has_media = media::settle(options, &scenarios, &mut settings)?;
    let injections = injections(options)?;
    let label = label(&options.scenario);
    let mut plan = Plan::new(settings, main, out_of_call, injections)
        .map_err(|fault| Refusal::fatal(format!("{label}: {fault}")))?;
    if let Some(send_to) = send_to {
        // Texts name the remote host; messages go elsewhere.
        plan.settings.remote = Some(send_to);
    }
    assemble(options, plan, bound, workers, label, has_media)
}

fn check_presets(options: &Options, scenario: &Scenario) -> Result<(), Refusal> {
    for (name, _) in &options.presets {
        let id = scenario.variables.find(name);
        if id.is_none_or(|id| scenario.variables.scope(id) != Scope::Global) {
            return Err(Refusal::fatal(format!(
                "-set {name}: the scenario has no global variable of that name\nhint: <Global variables=\"{name}\"/>"
            )));
        }
    }
    Ok(())
}

/// The name that files are called by.
fn label(source: &Source) -> String {
    match source {
        Source::BuiltIn(name) => name.clone(),
        Source::File(path) => Path::new(path)
            .file_stem()
            .map_or_else(|| path.clone(), |stem| stem.to_string_lossy().into_owned()),
    }
}

/// One per core, but one in all where calls share what must be in one place.
fn worker_count(options: &Options, scenario: &Scenario, is_server: bool) -> usize {
    let changes_files = scenario
        .steps
        .iter()
        .flat_map(|step| &step.actions)
        .any(|action| matches!(action, Action::Insert { .. } | Action::Replace { .. }));
    let shares = scenario.variables.has(Scope::Global)
        || scenario.variables.has(Scope::User)
        || changes_files
        || scenario.has_commands()
        || options.transport.tcp && (is_server || !options.transport.per_call);
    if shares {
        return 1;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    options.workers.unwrap_or(cores)
}

fn settings(options: &Options, local_ip: IpAddr, port: u16, remote: Option<SocketAddr>) -> Settings {
    let defaults = Settings::default();
    let media_ip = options.media.0.as_deref().and_then(|text| text.parse().ok()).unwrap_or(local_ip);
    Settings {
        service: options.service.clone(),
        remote_host: options.remote.as_deref().map_or(String::new(), address::host_of),
        remote,
        transport: options.transport.name(),
        socket_per_call: options.transport.per_call,
        local_ip,
        local_port: port,
        media_ip,
        media_port: options.media.1.unwrap_or(defaults.media_port),
        pid: std::process::id(),
        call_id_format: options.call_id_format.clone().unwrap_or(defaults.call_id_format),
        auth_username: options.authentication.0.clone(),
        auth_password: options.authentication.1.clone().unwrap_or(defaults.auth_password),
        auth_uri: options.authentication.2.clone(),
        base_cseq: options.base_cseq,
        pause_ms: options.pause_ms,
        recv_timeout_ms: options.recv_timeout_ms,
        repeating: crate::call::Repeating {
            enabled: options.repeating.enabled && !options.transport.tcp,
            ..options.repeating
        },
        behaviours: options.behaviours,
        auto_answer: options.auto_answer,
        pause_ignores: options.pause_ignores,
        call_id_slash: options.call_id_slash,
        lost_ppm: options.lost_ppm,
        dead_call_ms: options.dead_call_ms.unwrap_or(defaults.dead_call_ms),
        dynamic: options.dynamic,
        users: options.users,
        checks_source: options.role.is_some(),
        presets: options.presets.clone(),
        ..defaults
    }
}

/// What is bound before the first call.
struct Bound {
    udp: Vec<DatagramSocket>,
    listener: Option<TcpListener>,
    address: SocketAddr,
    port: u16,
    remote: Option<SocketAddr>,
}

impl Bound {
    fn open(
        options: &Options,
        local_ip: IpAddr,
        workers: usize,
        is_server: bool,
        remote: Option<SocketAddr>,
    ) -> Result<Self, Refusal> {
        // As SIPp: the address given is what messages say; packets are taken at all addresses, unless it is asked for.
        let any = if local_ip.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
        let one_address = options.bind_local || options.transport.per_address || local_ip.is_loopback();
        let ip = if one_address { local_ip } else { any };
        let ports: Vec<u16> = match options.local_port {
            Some(port) => vec![port],
            None => (5060..5060 + PORTS_TRIED).chain([0]).collect(),
        };
        let mut last = None;
        for port in ports {
            match Self::at(options, SocketAddr::new(ip, port), workers, is_server, remote) {
                Ok(bound) => return Ok(bound),
                Err(error) => last = Some(error),
            }
        }
        let transport = if options.transport.tcp { "tcp" } else { "udp" };
        let (port, why) =
            (options.local_port.unwrap_or(5060), last.map_or(String::new(), |error| error.to_string()));
        let hint = "stop the other program on that port, or choose another with -p";
        Err(Refusal::bind(format!("cannot bind {local_ip} port {port}/{transport}: {why}\nhint: {hint}")))
    }

    fn at(
        options: &Options,
        address: SocketAddr,
        workers: usize,
        is_server: bool,
        remote: Option<SocketAddr>,
    ) -> std::io::Result<Self> {
        if options.transport.tcp {
            let listener = is_server.then(|| listen(address)).transpose()?;
            let bound = listener.as_ref().map_or(Ok(address), TcpListener::local_addr)?;
            return Ok(Self { udp: Vec::new(), listener, address: bound, port: bound.port(), remote });
        }
        // The first bind finds out whether the port is free; the others share it.
        if address.port() != 0 && workers > 1 {
            drop(DatagramSocket::bind(address, false, options.buffer_bytes)?);
        }
        let shared = workers > 1;
        let first = DatagramSocket::bind(address, shared, options.buffer_bytes)?;
        let bound = first.bound();
        let mut udp = vec![first];
        while udp.len() < workers {
            udp.push(DatagramSocket::bind(bound, true, options.buffer_bytes)?);
        }
        Ok(Self { udp, listener: None, address: bound, port: bound.port(), remote })
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    const BACKLOG: i32 = 1024;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn assemble(
    options: &Options,
    plan: Plan,
    mut bound: Bound,
    count: usize,
    label: String,
    has_media: bool,
) -> Result<Run, Refusal> {
    let failed = |error: std::io::Error| Refusal::fatal(format!("cannot start: {error}"));
    let plan = Arc::new(plan);
    let files = Arc::new(LogFiles::open(&options.traces, &label).map_err(Refusal::fatal)?);
    let numbers = Arc::new(AtomicU64::new(0));
    let is_caller = !plan.main.scenario.is_server() && !plan.main.scenario.is_commanded();
    let windows = (0..count).map(|_| Window::new(Stats::of(&plan.main.scenario)));
    let windows: Arc<[Window]> = windows.collect::<Result<Vec<_>, _>>().map_err(failed)?.into();
    let clock = Clock::new();
    let origin_unix_micros = unix_micros();
    let pace = Arc::new(pace(options, &plan));
    let media = has_media.then(|| media::start(options, &plan.settings, clock).map(Arc::new)).transpose()?;
    let security = Security::of(options, plan.main.scenario.is_server(), bound.remote)?;
    let mut workers = Vec::new();
    for index in 0..count {
        let mut sockets = Sockets::new(&windows[index].bell, security.clone()).map_err(failed)?;
        let main = main_socket(options, &plan, &mut bound, &mut sockets)?;
        if index == 0
            && let Some(twin) = &options.twin
        {
            join_twin(&mut sockets, twin, plan.main.scenario.is_commanded())?;
        }
        if let Some(peers) = Peers::read(options)? {
            join_peers(&mut sockets, &peers, &plan.main.scenario)?;
        }
        let now = Now { instant: clock.instant(), unix_micros: origin_unix_micros };
        let traces = Traces::new(options.traces.wanted);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Refusal::fatal(format!("no randomness: {error}")))?;
        let mut shard = Shard::new(Arc::clone(&plan), seed, traces, Arc::clone(&numbers), now);
        shard.set_calls_max(options.calls);
        if let Some(media) = &media {
            let ports = media.ports().clone();
            shard.set_media_ports(ports.streams, ports.auto);
        }
        shard.initialise(now);
        if options.transport.per_address && is_caller {
            let main = main.map(|(socket, _)| (bound.address, socket));
            shard.set_line_sockets(line_sockets(options, &plan, &mut sockets, main, count > 1)?);
        }
        workers.push(Worker {
            index,
            windows: Arc::clone(&windows),
            shard,
            sockets,
            main,
            transport: options.transport,
            reconnecting: options.reconnecting,
            local: bound.address,
            sockets_max: options.sockets_max,
            pace: Arc::clone(&pace),
            numbers: Arc::clone(&numbers),
            files: Arc::clone(&files),
            clock,
            origin_unix_micros,
            is_caller,
            media: media.clone(),
        });
    }
    Ok(Run { media, workers, windows, pace, numbers, plan, clock, origin_unix_micros, label, is_caller })
}

/// The socket of calls that have none of their own.
fn main_socket(
    options: &Options,
    plan: &Plan,
    bound: &mut Bound,
    sockets: &mut Sockets,
) -> Result<Option<(SocketId, u16)>, Refusal> {
    let failed = |error: std::io::Error| Refusal::fatal(format!("cannot start: {error}"));
    if let Some(udp) = bound.udp.pop() {
        return Ok(Some((sockets.add_udp(udp).map_err(failed)?, bound.port)));
    }
    if let Some(listener) = bound.listener.take() {
        sockets.listen(listener).map_err(failed)?;
        return Ok(None);
    }
    let Some(remote) = bound.remote.filter(|_| !options.transport.per_call) else { return Ok(None) };
    // The port that texts name is the one the connection leaves from.
    let local = SocketAddr::new(bound.address.ip(), plan.settings.local_port);
    let connected = sockets.connect_now(local, remote);
    connected.map(Some).map_err(|error| {
        Refusal::fatal(format!("cannot connect to {remote}/tcp: {error}\nhint: is the other side listening?"))
    })
}

fn join_twin(sockets: &mut Sockets, twin: &str, listens: bool) -> Result<(), Refusal> {
    let address = address::resolve(twin, None)?;
    if listens {
        let listener = listen(address).map_err(|error| {
            Refusal::bind(format!("cannot take the twin's connection at {twin}: {error}"))
        })?;
        return sockets.listen_twin(listener).map_err(|error| Refusal::fatal(error.to_string()));
    }
    sockets.connect_twin(address).map_err(|error| {
        Refusal::fatal(format!(
            "cannot connect to the twin at {twin}: {error}\nhint: start this instance last"
        ))
    })
}

fn join_peers(sockets: &mut Sockets, peers: &Peers, scenario: &Scenario) -> Result<(), Refusal> {
    let own = peers.own;
    let listener = listen(own)
        .map_err(|error| Refusal::bind(format!("cannot take commands of others at {own}: {error}")))?;
    sockets.listen_twin(listener).map_err(|error| Refusal::fatal(error.to_string()))?;
    sockets.know_peers(&peers.addresses);
    for step in scenario.steps.iter().filter(|_| peers.is_master) {
        let StepKind::SendCommand { dest: Some(name), .. } = &step.kind else { continue };
        sockets.connect_peer(name).map_err(|error| {
            Refusal::fatal(format!("cannot reach {name}: {error}\nhint: start the master last"))
        })?;
    }
    Ok(())
}

/// A socket for each address of the first injection file, told line by line.
fn line_sockets(
    options: &Options,
    plan: &Plan,
    sockets: &mut Sockets,
    main: Option<(SocketAddr, SocketId)>,
    shared: bool,
) -> Result<Vec<SocketId>, Refusal> {
    let hint = "hint: -inf FILE, with addresses of ours in the field that -ip_field names";
    let file = plan.injections.first();
    let file = file.ok_or_else(|| Refusal::fatal(format!("-t ui needs addresses\n{hint}")))?;
    let mut known: BTreeMap<SocketAddr, SocketId> = main.into_iter().collect();
    let mut lines = Vec::new();
    for text in file.texts(options.address_field) {
        let ip: IpAddr =
            text.parse().map_err(|_| Refusal::fatal(format!("-t ui: `{text}` is no address\n{hint}")))?;
        let address = SocketAddr::new(ip, plan.settings.local_port);
        if !known.contains_key(&address) {
            if known.len() >= options.sockets_max {
                let most = options.sockets_max;
                return Err(Refusal::fatal(format!("more than {most} addresses\nhint: -max_socket")));
            }
            let bound = DatagramSocket::bind(address, shared, options.buffer_bytes);
            let id = bound.and_then(|socket| sockets.add_udp(socket));
            known.insert(
                address,
                id.map_err(|error| Refusal::bind(format!("cannot bind {address}: {error}")))?,
            );
        }
        lines.extend(known.get(&address));
    }
    Ok(lines)
}

fn pace(options: &Options, plan: &Plan) -> Pace {
    let rate = options.rate / options.period.as_secs_f64();
    // SIPp's default: three times what is under way at once if all goes well.
    let length_ms = plan.main.scenario.duration_ms(options.pause_ms).max(1000) as f64;
    let usual = ((3.0 * rate * length_ms / 1000.0) as u64).max(1);
    let limit = options.limit.or(options.users.is_none().then_some(usual));
    Pace::new(rate, limit, options.calls, options.users, 0)
}

fn unix_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
