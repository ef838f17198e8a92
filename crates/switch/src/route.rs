//! Where a call goes: from who calls and what was dialled to a line, a peer, or a refusal.

use std::sync::Arc;

use offhook_base::UtcMillis;
use offhook_sip::message::StatusCode;

use crate::{
    directory::{CallPermission, Directory, Line, Peer},
    record::EndCause,
    routing::{Fleet, Found, Teller, Trunks, routed},
    service::Service,
    settings::Settings,
};

/// Who places a call; each variant was proved: by credentials, or by an address on the peer's list.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A line that authenticated.
    Line(Arc<Line>),
    /// A peer known by its source address.
    Peer(Arc<Peer>),
}

impl Caller {
    /// The tenant it belongs to.
    pub fn tenant(&self) -> &str {
        match self {
            Self::Line(line) => &line.tenant,
            Self::Peer(peer) => &peer.tenant,
        }
    }

    /// The line, if it is one.
    pub const fn line(&self) -> Option<&Arc<Line>> {
        match self {
            Self::Line(line) => Some(line),
            Self::Peer(_) => None,
        }
    }

    /// The peer, if it is one.
    pub const fn peer(&self) -> Option<&Arc<Peer>> {
        match self {
            Self::Line(_) => None,
            Self::Peer(peer) => Some(peer),
        }
    }

    fn may_call(&self) -> CallPermission {
        match self {
            Self::Line(line) => line.may_call,
            Self::Peer(peer) => peer.may_call,
        }
    }
}

/// Where to.
#[derive(Clone, Debug)]
pub enum Route {
    /// To a line's devices.
    Line(Arc<Line>),
    /// To a peer, which knows the number.
    Peer(Arc<Peer>),
    /// To one of several peers, as the tenant's routing says.
    Trunks(Box<Trunks>),
    /// Nowhere: the node does it itself.
    Service(Service),
}

/// Why a call goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No line and no peer for it.
    NotFound,
    /// There is a way, but not for this caller.
    NotPermitted,
    /// The domain is none of ours: the node relays for nobody.
    ForeignDomain,
}

impl NoRoute {
    /// The response and the cause for the record.
    pub const fn answer(self) -> (StatusCode, EndCause) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, EndCause::NotFound),
            Self::NotPermitted => (StatusCode::FORBIDDEN, EndCause::NotPermitted),
            Self::ForeignDomain => (StatusCode::FORBIDDEN, EndCause::NotPermitted),
        }
    }
}

/// A call to be routed.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Who there is.
    pub directory: &'a Directory,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// Who calls.
    pub caller: &'a Caller,
    /// The caller's number or name, where routes ask for it.
    pub caller_number: &'a str,
    /// What was dialled.
    pub number: &'a str,
    /// Whether it was dialled at a domain of the caller's tenant.
    pub domain_is_ours: bool,
    /// When.
    pub at: UtcMillis,
}

/// Decides where a call goes.
///
/// Emergency numbers go to a peer, whatever the caller's permission is. Otherwise lines of the caller's tenant come first, then
/// what the node does itself, then the tenant's routes, then peers by their own prefixes; peers only if the caller may.
///
/// # Errors
/// It goes nowhere.
pub fn decide(query: &Query<'_>, fleet: &mut Fleet<'_>, teller: &mut impl Teller) -> Result<Route, NoRoute> {
    let Query { directory, settings, caller, number, .. } = *query;
    if !query.domain_is_ours {
        teller.tell(|| "domain: it is none of the caller's tenant".into());
        return Err(NoRoute::ForeignDomain);
    }
    let tenant = caller.tenant();
    let is_emergency = settings.emergency_numbers.iter().any(|known| **known == *number);
    if is_emergency {
        teller.tell(|| format!("{number} is an emergency number: permissions do not matter"));
        // A line that happens to bear an emergency number does not take the call where a peer leads to the real ones.
        if let Some(route) = outside(query, fleet, teller).filter(|route| !matches!(route, Route::Line(_))) {
            return Ok(route);
        }
    }
    if let Some(line) = directory.line(tenant, number).filter(|line| line.enabled) {
        teller.tell(|| format!("line {}: it is the tenant's", line.name));
        return Ok(Route::Line(Arc::clone(line)));
    }
    if let Some(service) = settings.services.of_number(number) {
        teller.tell(|| "the node answers itself".into());
        return Ok(Route::Service(service));
    }
    teller.tell(|| format!("line {number}: there is none, nor does the node answer itself"));
    let route = outside(query, fleet, teller);
    match route {
        Some(Route::Line(line)) => Ok(Route::Line(line)),
        Some(_) if caller.may_call() == CallPermission::Inside => {
            teller.tell(|| "permission: the caller may call lines only (may_call)".into());
            Err(NoRoute::NotPermitted)
        }
        Some(route) => Ok(route),
        None => Err(NoRoute::NotFound),
    }
}

/// Where the tenant's routes lead, or the prefixes of its peers.
fn outside(query: &Query<'_>, fleet: &mut Fleet<'_>, teller: &mut impl Teller) -> Option<Route> {
    let Query { directory, caller, number, .. } = *query;
    if let Some(routing) = directory.routing().of(caller.tenant()) {
        match routed(query, routing, fleet, teller) {
            Some(Found::Line(line)) => return Some(Route::Line(line)),
            Some(Found::Trunks(trunks)) => return Some(Route::Trunks(Box::new(trunks))),
            None => {}
        }
    }
    let peer = directory.peer_for_number(caller.tenant(), number);
    // A peer's own number sent back to it would loop between the two.
    let peer = peer.filter(|peer| caller.peer().is_none_or(|source| source.id != peer.id));
    teller.tell(|| match peer {
        Some(peer) => format!("peer {}: its own prefixes have the number", peer.name),
        None => format!("peers: none has a prefix for {number}"),
    });
    peer.map(|peer| Route::Peer(Arc::clone(peer)))
}

#[cfg(test)]
pub(crate) mod tests {
    use offhook_base::{Instant, Random};

    use super::*;
    use crate::{
        directory::{LineId, PasswordHashes, PeerId, Srtp, Tenant},
        peer_calls::PeerCalls,
        routing::{Probes, Silent, Turns},
        service::ServiceNumbers,
    };

    fn line(name: &str, may_call: CallPermission) -> Line {
        Line {
            id: LineId(u64::from(name.bytes().fold(0_u32, |sum, letter| sum * 31 + u32::from(letter)))),
            tenant: "default".into(),
            name: name.into(),
            display_name: None,
            user: None,
            enabled: name != "off",
            password: PasswordHashes { md5: [b'0'; 32], sha256: [b'0'; 64] },
            may_call,
            bindings_max: 10,
            calls_max: 10,
            srtp: Srtp::Auto,
        }
    }

    pub(crate) fn peer(id: u64, prefixes: &[&str]) -> Peer {
        Peer {
            id: PeerId(id),
            name: format!("peer{id}").into(),
            tenant: "default".into(),
            enabled: true,
            sources: vec![],
            host: Some("carrier.example".into()),
            port: None,
            transport: None,
            username: None,
            secret: None,
            prefixes: prefixes.iter().map(|&prefix| prefix.into()).collect(),
            may_call: CallPermission::Inside,
            calls_max: 10,
            anchor_media: true,
            srtp: Srtp::Auto,
        }
    }

    fn directory() -> Directory {
        let tenant = Tenant { name: "default".into(), domains: vec![], realm: "offhook".into() };
        let lines = vec![
            line("101", CallPermission::Inside),
            line("102", CallPermission::Outside),
            line("off", CallPermission::Inside),
            line("112", CallPermission::Inside),
        ];
        Directory::new(vec![tenant], vec![], vec![], lines, vec![peer(1, &["00"]), peer(2, &["0049", "1"])])
    }

    fn settings() -> Settings {
        let mut services = ServiceNumbers::default();
        for (number, service) in
            [("*43", Service::Echo), ("0033500", Service::Tones), ("102", Service::Clock)]
        {
            services.add(number, service);
        }
        Settings { emergency_numbers: vec!["112".into()], services, ..Settings::default() }
    }

    fn decided(caller: &str, user: &str) -> Result<String, NoRoute> {
        let directory = directory();
        let caller = Caller::Line(Arc::clone(directory.line("default", caller).unwrap()));
        decided_in(&directory, &caller, user, true).map(|route| match route {
            Route::Line(line) => line.name.to_string(),
            Route::Peer(peer) => peer.name.to_string(),
            Route::Trunks(trunks) => format!("{trunks:?}"),
            Route::Service(service) => format!("{service:?}"),
        })
    }

    fn decided_in(
        directory: &Directory,
        caller: &Caller,
        number: &str,
        ours: bool,
    ) -> Result<Route, NoRoute> {
        let settings = settings();
        let query = Query {
            directory,
            settings: &settings,
            caller,
            caller_number: "",
            number,
            domain_is_ours: ours,
            at: UtcMillis(0),
        };
        let (mut turns, mut random) = (Turns::default(), Random::from_number(1));
        let mut fleet = Fleet {
            calls: &PeerCalls::default(),
            turns: &mut turns,
            probes: &Probes::default(),
            now: Instant::default(),
            random: &mut random,
        };
        decide(&query, &mut fleet, &mut Silent)
    }

    #[test]
    fn a_line_reaches_lines_and_emergency_numbers_but_the_outside_only_by_permission() {
        assert_eq!(decided("101", "102"), Ok("102".into()));
        assert_eq!(decided("101", "0049301234"), Err(NoRoute::NotPermitted));
        assert_eq!(decided("102", "0049301234"), Ok("peer2".into()));
        assert_eq!(decided("102", "0033123"), Ok("peer1".into()));
        assert_eq!(decided("101", "112"), Ok("peer2".into()), "although a line bears that name");
        assert_eq!(decided("101", "777"), Err(NoRoute::NotFound));
        assert_eq!(decided("101", "off"), Err(NoRoute::NotFound));
    }

    #[test]
    fn services_come_after_lines_and_before_peers() {
        assert_eq!(decided("101", "*43"), Ok("Echo".into()));
        assert_eq!(decided("102", "0033500"), Ok("Tones".into()));
        assert_eq!(decided("101", "102"), Ok("102".into()));
    }

    #[test]
    fn a_foreign_domain_is_never_relayed_to() {
        let directory = directory();
        let caller = Caller::Line(Arc::clone(directory.line("default", "102").unwrap()));
        assert_eq!(decided_in(&directory, &caller, "101", false).unwrap_err(), NoRoute::ForeignDomain);
    }
}
