//! The sections of `offhook.toml`. The docstrings are the reference page's text: unit, meaning, what speaks for more or
//! less. Bounds are in the types, so that a value that parses is one the node can work with.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use offhook_sip::transport::Transport;

use super::{
    listen::ListenerConfig,
    networks::{MethodRates, Network},
    section::{section, words},
    services::RoomConfig,
    value::{CountryCode, PortRange, Ranged, UtcOffset, WebhookUrl},
};

section! {
    /// Where SIP is spoken, and how long things may ring.
    Sip {
        /// The sockets. A table instead of a text says what peers shall see where a NAT or load balancer stands
        /// before the node. TLS and WSS take their certificate from `[tls]`. SIP over plain WebSocket is also served
        /// at `/sip` of `[http]`.
        listen: Vec<ListenerConfig> = default_listeners(),
        /// What the Server and User-Agent headers say. The version is left out on purpose.
        product: String = "Offhook".into(),
        /// Seconds a group of devices may ring before the next group is tried.
        ring_secs: Ranged<5, 180> = Ranged::of(30),
        /// Seconds a call may stay unanswered in all. 180 is Timer C of RFC 3261 §16.6.
        no_answer_secs: Ranged<10, 180> = Ranged::of(120),
        /// Seconds between the session refreshes the node asks for (RFC 4028 §4). Shorter finds dead calls sooner, for
        /// more messages.
        session_expires_secs: Ranged<90, 86_400> = Ranged::of(1800),
        /// Seconds between refreshes below which a request is refused with 422 (RFC 4028 §5).
        session_expires_min_secs: Ranged<90, 86_400> = Ranged::of(90),
        /// How lines are asked for their password. Some devices look only at the first way they are offered, and fail if
        /// they do not know it.
        digest: DigestOffer = DigestOffer::Both,
        /// Numbers that every line may call, whatever its permission.
        emergency_numbers: Vec<String> =
            offhook_switch::directory::EMERGENCY_NUMBERS.iter().map(|&number| number.into()).collect(),
    }
}

words! {
    /// The hash functions of digest authentication.
    DigestOffer {
        /// SHA-256 first, then MD5 (RFC 8760 §2.3).
        Both = "sha-256 and md5",
        /// MD5 alone: for devices that stop at a challenge they do not know.
        Md5 = "md5",
        /// SHA-256 alone: devices that know only MD5 stay outside.
        Sha256 = "sha-256",
    }
}

section! {
    /// The API, the metrics, and SIP over WebSocket.
    Http {
        /// The socket. It speaks plain HTTP: leave it on a loopback address and put a TLS server before it to reach it
        /// from elsewhere.
        listen: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
        /// Whether `/sip` takes SIP over WebSocket (RFC 7118).
        websocket_sip: bool = true,
        /// Seconds after which an unfinished request is answered with 503. Streams of events and traces are excepted.
        request_timeout_secs: Ranged<1, 300> = Ranged::of(30),
        /// Bytes a request's body may have. `offhook apply` sends a whole site in one.
        body_max_bytes: Ranged<65_536, 67_108_864> = Ranged::of(4_194_304),
    }
}

section! {
    /// RTP and RTCP.
    Media {
        /// UDP ports, two for each audio or video stream of each leg.
        ports: PortRange = PortRange { first: 20_000, last: 49_999 },
        /// The address written into session descriptions instead of the local one, behind a static NAT.
        advertise: Option<IpAddr> = None,
        /// The differentiated services code point on outgoing media; 46 is expedited forwarding (RFC 4594).
        dscp: Ranged<0, 63> = Ranged::of(46),
        /// Seconds of silence in both directions that end a call; 0 never does.
        silence_secs: Ranged<0, 86_400> = Ranged::of(60),
        /// Whether media goes through the node. Without it the endpoints must reach each other, and there are no
        /// statistics and no silence check.
        anchor: bool = true,
        /// When the node offers codecs of its own (Opus, G.722, G.711), to transcode between sides that share none.
        transcode: Transcode = Transcode::OnRefusal,
        /// Whether the kernel carries established calls whose media needs nothing but relaying.
        kernel: KernelPlane = KernelPlane::Auto,
        /// A directory on a BPF file system. What the kernel carries is pinned there, so that it flows on while the node is
        /// down; where nothing can be pinned it stops with the node. Nodes of one host may share it.
        kernel_pins: PathBuf = PathBuf::from("/sys/fs/bpf/offhook"),
    }
}

words! {
    /// When codecs of the node are offered.
    Transcode {
        /// Once a phone has refused a call with 488.
        OnRefusal = "on refusal",
        /// In every call. It saves a second INVITE, but some phones then pick what they like best and are transcoded
        /// without need.
        Always = "always",
        /// Never: sides that share no codec cannot talk.
        Never = "never",
    }
}

section! {
    /// What the node does itself, at numbers that every line may call. A line of the same name goes before it; an empty list
    /// turns a service off.
    Services {
        /// Callers hear themselves.
        echo: Vec<String> = vec!["*43".into()],
        /// The time of day is said.
        clock: Vec<String> = vec!["*60".into()],
        /// The signals of the telephone network can be heard, by keys.
        tones: Vec<String> = vec!["*61".into()],
        /// A menu leads to the others by keys.
        menu: Vec<String> = vec!["*65".into()],
        /// Rooms: who calls one hears all others of its tenant that do. A room is a table: `pin`, without which nobody comes in,
        /// `moderator_pin`, and `only_moderators_talk`. Some that are written take the place of the one that is there.
        rooms: BTreeMap<String, RoomConfig> = BTreeMap::from([("*70".into(), RoomConfig::default())]),
        /// Whose signals are played (ITU-T E.180).
        country: CountryCode = CountryCode::default(),
        /// What the clock is ahead of UTC.
        utc_offset: UtcOffset = UtcOffset::default(),
        /// A directory of WAV files, read at the start. One that is named as one of the node's own sounds (`welcome.wav`) is
        /// played in its place.
        sounds: Option<PathBuf> = None,
    }
}

words! {
    /// How the kernel is made to carry media.
    KernelPlane {
        /// By an eBPF program, where the node may (capabilities BPF and NET_ADMIN) and the kernel can: in the driver of network
        /// cards on hosts that forward packets, else in traffic control. Elsewhere user space does all, and the log says why.
        Auto = "auto",
        /// The same, in traffic control only.
        Tc = "tc",
        /// Nothing is loaded: user space does all.
        Off = "off",
    }
}

section! {
    /// How names of peers become addresses (RFC 3263).
    Dns {
        /// The name servers; an empty list takes those of `/etc/resolv.conf`.
        servers: Vec<SocketAddr> = Vec::new(),
    }
}

section! {
    /// Where data is kept.
    Storage {
        /// The directory of the database, the API's token and the self-signed certificate. Made at the first start,
        /// readable by its owner only.
        data: PathBuf = PathBuf::from("./data"),
        /// The file that running calls are kept in, so that they outlive a crash; `calls` in the data directory without it.
        /// It is sealed, and written at every change of a call: on a slow disk a place in memory, such as `/run`, is better.
        calls: Option<PathBuf> = None,
        /// Days that call records are kept.
        records_days: Ranged<1, 3650> = Ranged::of(90),
        /// Days that recordings are kept.
        recordings_days: Ranged<1, 3650> = Ranged::of(30),
    }
}

section! {
    /// How much is let in. What is over a limit is refused with a status that says so, and counted.
    Limits {
        /// Calls at once.
        calls: Ranged<1, 1_000_000> = Ranged::of(10_000),
        /// Seconds after which an answered call is ended.
        call_duration_max_secs: Ranged<60, 604_800> = Ranged::of(43_200),
        /// Bindings at once, all lines together.
        bindings: Ranged<1, 10_000_000> = Ranged::of(200_000),
        /// Seconds a registration must last at least; less is refused with 423 (RFC 3261 §10.3).
        expires_min_secs: Ranged<10, 86_400> = Ranged::of(60),
        /// Seconds a registration lasts that asks for none.
        expires_default_secs: Ranged<10, 86_400> = Ranged::of(3600),
        /// Seconds a registration lasts at most; more is shortened to this.
        expires_max_secs: Ranged<10, 604_800> = Ranged::of(86_400),
        /// Requests a second from one address; known peers are excepted.
        requests_per_source_per_sec: Ranged<1, 1_000_000> = Ranged::of(100),
        /// Requests that one address may send at once before the rate counts.
        requests_burst: Ranged<1, 1_000_000> = Ranged::of(300),
        /// Wrong passwords a minute from one address; after that its credentials are not looked at for a while.
        auth_failures_per_source_per_min: Ranged<1, 10_000> = Ranged::of(10),
        /// Stream connections at once, all listeners together.
        connections: Ranged<1, 1_000_000> = Ranged::of(20_000),
        /// Stream connections at once from one address.
        connections_per_source: Ranged<1, 1_000_000> = Ranged::of(200),
        /// Bytes of one SIP message over a stream; a datagram cannot be longer than 65,535.
        message_max_bytes: Ranged<4_096, 1_048_576> = Ranged::of(65_535),
        /// Milliseconds that messages may wait for the node before it refuses new calls with 503, and if that is not enough
        /// registrations, and drops messages of calls last; calls to emergency numbers are never refused for it. Less
        /// answers faster at the limit, for a little less of what can be done. 0 never refuses.
        overload_wait_ms: Ranged<0, 400> = Ranged::of(50),
        /// Seconds the node may have been down so that it goes on with its calls; after a longer time it ends them.
        outage_secs: Ranged<0, 86_400> = Ranged::of(300),
        /// Seconds after a restart in which a phone on TCP, TLS or WebSocket must have connected again; then its call ends.
        reconnect_secs: Ranged<5, 3600> = Ranged::of(60),
        /// Seconds that running calls may take to end while the node drains.
        drain_secs: Ranged<0, 86_400> = Ranged::of(300),
    }
}

section! {
    /// The guard at the edge: who is never let in, and what strangers may do. A stranger is who is neither a peer nor on a list of
    /// the allowed, and has not proved itself lately; a proof is a password, a registration or a call. What is refused is
    /// counted by reason; `offhook edge top` shows it.
    Edge {
        /// Networks and addresses that are let in without rates and bans. They still have to prove who they are.
        allow: Vec<Network> = Vec::new(),
        /// Networks and addresses that are never let in nor answered. Of several that hold an address the longest counts.
        deny: Vec<Network> = Vec::new(),
        /// Files with more of `allow`: a network a line, remarks behind `#` or `;`. They are read again when they change, and
        /// at SIGHUP; one that is wrong changes nothing, and the log says where.
        allow_files: Vec<PathBuf> = Vec::new(),
        /// Files with more of `deny`. A million networks take some 10 MB.
        deny_files: Vec<PathBuf> = Vec::new(),
        /// Whether strangers hear what is wrong with requests that are no call, message or registration for this node. A
        /// scanner then learns that there is a telephone system.
        answer_strangers: bool = false,
        /// What scanners call themselves, in any case, as a part of User-Agent or From. Such requests are dropped.
        scanners: Vec<String> = offhook_edge::SCANNERS.iter().map(|&name| name.into()).collect(),
        /// Requests a second from all strangers of one network, an IPv4 /24 or an IPv6 /48; four times as many may come at once.
        /// 0: no limit.
        requests_per_network_per_sec: Ranged<0, 1_000_000> = Ranged::of(1000),
        /// Requests a second of one account, wherever they come from; four times as many may come at once. 0: no limit.
        requests_per_account_per_sec: Ranged<0, 1_000_000> = Ranged::of(100),
        /// Wrong passwords for one account, from wherever, after which those of strangers are not looked at; one is forgiven every
        /// 20 seconds. Phones that are registered go on. 0: no limit.
        auth_failures_per_account: Ranged<0, 1_000_000> = Ranged::of(100),
        /// What a stranger may do that nobody does who has business here, in points, before it is banned: 1 for a challenge, which
        /// a right answer takes back, 10 for what is not for this node or no SIP, 100 for a scanner's name. One point is
        /// forgiven every second. 0: nobody is banned for it.
        stray_points: Ranged<0, 1_000_000> = Ranged::of(400),
        /// Seconds that the first ban lasts. Each further one is twice as long, but not over UDP without a password: there an
        /// address can be forged.
        ban_first_secs: Ranged<1, 86_400> = Ranged::of(30),
        /// Seconds that a ban lasts at most.
        ban_max_secs: Ranged<1, 604_800> = Ranged::of(3600),
        /// Whether the kernel drops what comes from denied networks and banned sources to the SIP ports.
        kernel: KernelWall = KernelWall::Auto,
        /// Strangers whose rates are known at once; 13 bytes each in three tables, used as they come.
        sources: Ranged<1_000, 100_000_000> = Ranged::of(1_048_576),
        /// Requests a second from one stranger by method; four times as many may come at once.
        method_rates: MethodRates = MethodRates::default(),
    }
}

words! {
    /// How the kernel is made to keep out the denied and the banned.
    KernelWall {
        /// By nftables, where the program `nft` is and the node may use it (capability NET_ADMIN); elsewhere the node drops
        /// them itself, and the log says why.
        Auto = "auto",
        /// The node drops all itself.
        Off = "off",
    }
}

section! {
    /// Certificates. Files are read again when they change; live connections are not touched.
    Tls {
        /// PEM file with the certificate chain, the node's own first. Without it a self-signed one is made in the data
        /// directory at the first start.
        certificate: Option<PathBuf> = None,
        /// PEM file with the private key of `certificate`.
        key: Option<PathBuf> = None,
        /// PEM file with certificates of authorities that are trusted besides the system's when the node connects to
        /// others.
        authorities: Option<PathBuf> = None,
        /// Whether the certificates of others are checked when the node connects to them (RFC 5922 §7).
        verify: bool = true,
    }
}

words! {
    /// How much is logged.
    LogLevel {
        /// An operator must act.
        Error = "error",
        /// Odd, and recovered from.
        Warn = "warn",
        /// Starts, stops, and some three lines a call.
        Info = "info",
        /// Every message.
        Debug = "debug",
        /// Every packet; left out of release builds.
        Trace = "trace",
    }
}

words! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line, for collectors.
        Json = "json",
    }
}

section! {
    /// What is written of the node's own work, to standard error.
    Log {
        /// The least weighty level that is written. The environment's `RUST_LOG` goes before it.
        level: LogLevel = LogLevel::Info,
        /// For people or for collectors.
        format: LogFormat = LogFormat::Text,
        /// Whether numbers, names and addresses are written in clear. Whoever reads the log then reads who called whom.
        unmasked: bool = false,
    }
}

section! {
    /// Waking sleeping devices (RFC 8599).
    Push {
        /// Where the node sends a POST with the push parameters of a device before it calls it. Without it nobody is
        /// woken.
        webhook: Option<WebhookUrl> = None,
        /// Milliseconds the webhook may take to answer.
        timeout_ms: Ranged<100, 30_000> = Ranged::of(3000),
        /// Seconds a woken device has to register again before the call goes on without it.
        wait_secs: Ranged<1, 60> = Ranged::of(10),
    }
}

section! {
    /// Timers of the signalling.
    Signalling {
        /// Milliseconds a message is expected to need to the other side and back: T1 of RFC 3261 §17.
        t1_ms: Ranged<50, 5000> = Ranged::of(500),
        /// Milliseconds between retransmissions at most: T2 of RFC 3261 §17.
        t2_ms: Ranged<500, 30_000> = Ranged::of(4000),
        /// Milliseconds a message may stay in the network: T4 of RFC 3261 §17.
        t4_ms: Ranged<500, 30_000> = Ranged::of(5000),
    }
}

/// UDP and TCP on 5060, TLS on 5061, every address of both families.
fn default_listeners() -> Vec<ListenerConfig> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .flat_map(|transport| {
            everywhere
                .map(|ip| ListenerConfig::plain(transport, SocketAddr::new(ip, transport.default_port())))
        })
        .collect()
}
