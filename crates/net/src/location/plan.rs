//! The decisions of RFC 3263, as steps between DNS answers; no I/O.
//!
//! [`begin`] either knows the targets at once (an address literal) or asks questions; the answers go to
//! [`Pending::answer`], which asks again or is done. At most three rounds: NAPTR, SRV, addresses.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use offhook_base::Random;
use offhook_sip::{
    transport::Transport,
    uri::{Scheme, Uri},
};

use super::weight;

/// Most services, records of one service, and hosts that are followed: a zone cannot make us ask without end.
const RECORDS_MAX: usize = 16;

/// Most targets that are handed out; with 32 s for a transaction nobody gets to try more.
const TARGETS_MAX: usize = 32;

/// What a URI says about where its message shall go.
#[derive(Clone, PartialEq, Eq)]
pub struct NextHop {
    /// The scheme was `sips`: TLS on every hop.
    pub secure: bool,
    /// A name, or an address without brackets. `maddr` if there was one.
    pub host: String,
    /// The port, if written.
    pub port: Option<u16>,
    /// The transport, if written; already the secure one if `secure`.
    pub transport: Option<Transport>,
}

/// The host is personal data: only whether it is an address shows.
impl fmt::Debug for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextHop")
            .field("secure", &self.secure)
            .field("literal", &self.host.parse::<IpAddr>().is_ok())
            .field("port", &self.port)
            .field("transport", &self.transport)
            .finish()
    }
}

impl NextHop {
    /// Reads `uri` as RFC 3263 §4 does: scheme, `maddr` or host, port, `transport`.
    ///
    /// # Errors
    /// [`LocationError::Scheme`] for other than `sip` and `sips`, [`LocationError::Transport`] for a transport that we do
    /// not know.
    pub fn from_uri(uri: &Uri<'_>) -> Result<Self, LocationError> {
        let secure = match uri.scheme() {
            Scheme::Sip => false,
            Scheme::Sips => true,
            Scheme::Tel | Scheme::Other(_) => return Err(LocationError::Scheme),
        };
        let written = uri.transport().map(str::parse).transpose().map_err(|_| LocationError::Transport)?;
        let transport = match (written, secure) {
            (Some(Transport::Tcp), true) => Some(Transport::Tls),
            (Some(Transport::Ws), true) => Some(Transport::Wss),
            (Some(Transport::Udp), true) => return Err(LocationError::Transport),
            (written, _) => written,
        };
        let host = uri.maddr().unwrap_or(uri.host).trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { secure, host, port: uri.port, transport })
    }
}

/// What this node can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// Transports it has listeners for, the preferred first.
    pub transports: Vec<Transport>,
    /// Whether it has an IPv4 address.
    pub ipv4: bool,
    /// Whether it has an IPv6 address.
    pub ipv6: bool,
}

impl Support {
    fn speaks(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }

    fn reaches(&self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// One place to try.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// What to speak.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// The address is personal data: only its family shows.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport, if self.address.is_ipv4() { "ipv4" } else { "ipv6" })
    }
}

/// Why there is no target. Becomes 480, 502 or 503 by what the core makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Neither `sip` nor `sips`.
    #[error("the URI's scheme is neither sip nor sips")]
    Scheme,
    /// The URI demands, or the domain offers, only transports that this node does not speak.
    #[error("no common transport")]
    Transport,
    /// The name has no addresses that this node can reach.
    #[error("the name has no usable address")]
    NoAddress,
    /// The domain says that it does not offer SIP (an SRV target of `.`).
    #[error("the domain does not offer the service")]
    NotOffered,
    /// DNS did not answer; a later try may succeed.
    #[error("DNS did not answer")]
    Unavailable,
}

/// A question to DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// NAPTR records of this name.
    Naptr(String),
    /// SRV records of this name.
    Srv(String),
    /// A and AAAA records of this name, the preferred family first.
    Addresses(String),
}

/// A NAPTR record (RFC 3403 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaptrRecord {
    /// Lowest first; a later order is not looked at once one fits.
    pub order: u16,
    /// Lowest first within an order.
    pub preference: u16,
    /// `s` for ours.
    pub flags: String,
    /// `SIP+D2U`, `SIPS+D2T` and so on.
    pub service: String,
    /// The name to ask for SRV records.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// Lowest first.
    pub priority: u16,
    /// Share among those of equal priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` for "not offered".
    pub target: String,
}

/// The answer to a question. One that does not fit its question counts as [`Answer::Nothing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Naptr`].
    Naptr(Vec<NaptrRecord>),
    /// To [`Question::Srv`].
    Srv(Vec<SrvRecord>),
    /// To [`Question::Addresses`].
    Addresses(Vec<IpAddr>),
    /// There are no such records.
    Nothing,
    /// No answer in time, or a server failure.
    Failed,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Ask all of these, in any order, and give the answers in the order of the questions.
    Ask {
        /// At least one.
        questions: Vec<Question>,
        /// What takes the answers.
        then: Pending,
    },
    /// Try these, in this order. At least one.
    Done(Vec<Target>),
    /// There is no target.
    Failed(LocationError),
}

/// A location that waits for answers.
#[derive(Debug)]
pub struct Pending {
    hop: NextHop,
    support: Support,
    stage: Stage,
    /// A question before this one failed: finding nothing may be its fault.
    failed_before: bool,
}

#[derive(Debug)]
enum Stage {
    Naptr,
    /// One transport per question.
    Srv(Vec<Transport>),
    /// One host per question.
    Addresses(Vec<Host>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    transport: Transport,
    port: u16,
    name: String,
}

/// Begins to locate `hop`.
pub fn begin(hop: NextHop, support: Support) -> Step {
    // RFC 3263 §4.1: what is written decides; literals and ports leave nothing to DNS but addresses.
    let transport = hop.transport.unwrap_or(default_transport(&hop, &support));
    let port = hop.port.unwrap_or(transport.default_port());
    let speaks = support.speaks(transport);
    if let Ok(ip) = hop.host.parse::<IpAddr>() {
        return match (speaks, support.reaches(ip)) {
            (false, _) => Step::Failed(LocationError::Transport),
            (_, false) => Step::Failed(LocationError::NoAddress),
            (true, true) => Step::Done(vec![Target { transport, address: SocketAddr::new(ip, port) }]),
        };
    }
    let asking = Pending { hop, support, stage: Stage::Naptr, failed_before: false };
    match (asking.hop.transport, asking.hop.port) {
        (Some(_), _) | (None, Some(_)) if !speaks => Step::Failed(LocationError::Transport),
        (_, Some(_)) => asking.ask_host(transport, port),
        (Some(written), None) => asking.ask_srv(vec![(written, None)]),
        (None, None) => {
            let questions = vec![Question::Naptr(asking.hop.host.clone())];
            Step::Ask { questions, then: asking }
        }
    }
}

impl Pending {
    /// Takes the answers, in the order of the questions; missing ones count as [`Answer::Nothing`].
    pub fn answer(mut self, answers: Vec<Answer>, random: &mut Random) -> Step {
        self.failed_before |= answers.contains(&Answer::Failed);
        match std::mem::replace(&mut self.stage, Stage::Naptr) {
            Stage::Naptr => self.take_naptr(answers),
            Stage::Srv(transports) => self.take_srv(&transports, answers, random),
            Stage::Addresses(hosts) => self.take_addresses(&hosts, answers),
        }
    }

    fn take_naptr(self, answers: Vec<Answer>) -> Step {
        let records = answers.into_iter().find_map(|answer| match answer {
            Answer::Naptr(records) => Some(records),
            _ => None,
        });
        let offered: Vec<(NaptrRecord, Transport)> = records
            .unwrap_or_default()
            .into_iter()
            .filter(|record| record.flags.eq_ignore_ascii_case("s"))
            .filter_map(|record| service_transport(&record.service).map(|transport| (record, transport)))
            .collect();
        if offered.is_empty() {
            // RFC 3263 §4.1: no NAPTR records: SRV is asked for each transport we could use.
            let usable = |transport: &Transport| match self.hop.secure {
                true => *transport == Transport::Tls,
                false => matches!(transport, Transport::Udp | Transport::Tcp),
            };
            let candidates: Vec<_> = self.support.transports.iter().copied().filter(usable).collect();
            return match candidates.is_empty() {
                true => Step::Failed(LocationError::Transport),
                false => self.ask_srv(candidates.into_iter().map(|transport| (transport, None)).collect()),
            };
        }
        let mut usable: Vec<_> = offered
            .into_iter()
            .filter(|(_, transport)| self.support.speaks(*transport))
            .filter(|(_, transport)| transport.is_secure() || !self.hop.secure)
            .collect();
        usable.sort_by_key(|(record, _)| (record.order, record.preference));
        let Some(order) = usable.first().map(|(record, _)| record.order) else {
            return Step::Failed(LocationError::Transport);
        };
        // RFC 3403 §4.1: once an order fits, later ones are not considered.
        let chosen = usable.into_iter().take_while(|(record, _)| record.order == order).take(RECORDS_MAX);
        self.ask_srv(chosen.map(|(record, transport)| (transport, Some(record.replacement))).collect())
    }

    /// Asks for the SRV records of each service: of the name NAPTR gave, else of the usual one.
    fn ask_srv(mut self, services: Vec<(Transport, Option<String>)>) -> Step {
        let named: Vec<(Transport, String)> = services
            .iter()
            .filter_map(|(transport, name)| {
                let usual = || Some(format!("{}.{}", srv_prefix(*transport)?, self.hop.host));
                Some((*transport, name.clone().or_else(usual)?))
            })
            .collect();
        if named.is_empty() {
            // WebSocket has no SRV name of its own (RFC 7118 §6 leaves it to NAPTR).
            let transport =
                services.first().map_or(default_transport(&self.hop, &self.support), |(first, _)| *first);
            return self.ask_host(transport, transport.default_port());
        }
        let (transports, names): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        self.stage = Stage::Srv(transports);
        Step::Ask { questions: names.into_iter().map(Question::Srv).collect(), then: self }
    }

    fn take_srv(self, transports: &[Transport], answers: Vec<Answer>, random: &mut Random) -> Step {
        let mut hosts = Vec::new();
        let mut refused = false;
        for (transport, answer) in transports.iter().zip(answers) {
            let Answer::Srv(mut records) = answer else { continue };
            records.truncate(RECORDS_MAX);
            for record in weight::order(records, random) {
                if matches!(record.target.as_str(), "." | "") {
                    refused = true;
                } else {
                    let SrvRecord { port, target, .. } = record;
                    hosts.push(Host { transport: *transport, port, name: target });
                }
            }
        }
        match (hosts.is_empty(), refused) {
            (false, _) => self.ask_addresses(hosts),
            (true, true) => Step::Failed(LocationError::NotOffered),
            // RFC 3263 §4.2: no SRV records: the name itself, at the transport's own port.
            (true, false) => {
                let transport = self.hop.transport.unwrap_or(default_transport(&self.hop, &self.support));
                if !self.support.speaks(transport) {
                    return Step::Failed(LocationError::Transport);
                }
                self.ask_host(transport, transport.default_port())
            }
        }
    }

    fn ask_host(self, transport: Transport, port: u16) -> Step {
        let name = self.hop.host.clone();
        self.ask_addresses(vec![Host { transport, port, name }])
    }

    fn ask_addresses(mut self, mut hosts: Vec<Host>) -> Step {
        hosts.truncate(RECORDS_MAX);
        let questions = hosts.iter().map(|host| Question::Addresses(host.name.clone())).collect();
        self.stage = Stage::Addresses(hosts);
        Step::Ask { questions, then: self }
    }

    fn take_addresses(self, hosts: &[Host], answers: Vec<Answer>) -> Step {
        let mut targets: Vec<Target> = Vec::new();
        for (host, answer) in hosts.iter().zip(answers) {
            let Answer::Addresses(addresses) = answer else { continue };
            for ip in addresses.into_iter().filter(|ip| self.support.reaches(*ip)) {
                let target = Target { transport: host.transport, address: SocketAddr::new(ip, host.port) };
                if targets.len() < TARGETS_MAX && !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        match (targets.is_empty(), self.failed_before) {
            (false, _) => Step::Done(targets),
            (true, true) => Step::Failed(LocationError::Unavailable),
            (true, false) => Step::Failed(LocationError::NoAddress),
        }
    }
}

/// RFC 3263 §4.1: UDP for `sip` and TLS for `sips` where nothing says otherwise; TCP on a node without UDP.
fn default_transport(hop: &NextHop, support: &Support) -> Transport {
    match (hop.secure, support.speaks(Transport::Udp)) {
        (true, _) => Transport::Tls,
        (false, true) => Transport::Udp,
        (false, false) => Transport::Tcp,
    }
}

/// The transport of a NAPTR service field (RFC 3263 §4.1, RFC 7118 §6).
fn service_transport(service: &str) -> Option<Transport> {
    const SERVICES: [(&str, Transport); 5] = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
        ("SIP+D2W", Transport::Ws),
        ("SIPS+D2W", Transport::Wss),
    ];
    SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(service)).map(|(_, transport)| *transport)
}

/// What stands before the domain in the name of an SRV record.
const fn srv_prefix(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        Transport::Ws | Transport::Wss => None,
    }
}
