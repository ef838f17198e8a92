//! Who there is: tenants, users, devices, lines and peers, as one immutable snapshot.
//!
//! The store makes a [`Directory`] and hands it to every worker whole; a change makes a new one. Call control never
//! asks a database in the middle of a call.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use offhook_base::{DataSubject, Personal};
use offhook_edge::{Prefix, PrefixMap};
use offhook_sip::transport::Transport;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::{
    routing::{PeerRules, Routing},
    rules::HeaderRules,
};

/// A line's number in the store; never used again for another line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LineId(pub u64);

/// A peer's number in the store; never used again for another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub u64);

/// A customer of the platform: its lines, peers and calls are no other tenant's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// A short name, unique on the node: letters, digits, `-`; 1 to 63 characters.
    pub name: Box<str>,
    /// The domains of its addresses of record, lower case. The tenant named `default` also serves every request
    /// whose domain is an address of this node.
    pub domains: Vec<Box<str>>,
    /// The digest realm its password hashes were made for. Changing it needs new passwords.
    pub realm: Box<str>,
}

/// A person who holds lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Unique in the tenant: letters, digits, `.`, `-`, `_`; 1 to 63 characters.
    pub name: Box<str>,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// How the user is called among people.
    pub full_name: Option<Personal<String>>,
}

/// A telephone, softphone or browser that registers one or many lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Unique in the tenant.
    pub name: Box<str>,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// What people call it, for example `desk phone`.
    pub kind: Box<str>,
    /// The `+sip.instance` it registers with (RFC 5626), where known.
    pub instance: Option<Box<str>>,
    /// The lines it may hold, by name.
    pub lines: Vec<Box<str>>,
}

/// The digest hashes of a line's password, `H(name:realm:password)` (RFC 7616 §3.4.2). The password itself is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHashes {
    /// MD5, for the many phones that know nothing else; lower-case hexadecimal.
    pub md5: [u8; 32],
    /// SHA-256; lower-case hexadecimal.
    pub sha256: [u8; 64],
}

impl std::fmt::Debug for PasswordHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHashes(***)")
    }
}

/// What a line or peer may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPermission {
    /// Lines of its own tenant and the emergency numbers: the default.
    #[default]
    Inside,
    /// Also numbers that a peer serves.
    Outside,
}

/// How the media between the node and a line or peer is protected by keys in descriptions (SRTP with SDES, RFC 4568).
///
/// It speaks of this one leg: where the two legs of a call differ, the node ends the encryption of one, or of both.
/// Where media goes straight between the endpoints only `Auto` can be kept, so the others lead it through the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Srtp {
    /// As the other side has it, keys from end to end. An INVITE that is refused with 488 for it is sent once more, the
    /// other way. The default.
    #[default]
    Auto,
    /// It is offered plain RTP. Keys that it offers itself are answered.
    Never,
    /// It is offered SRTP, and what it offers without keys is refused with 488, but to an emergency number.
    Always,
}

impl Srtp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Never, Self::Always];

    /// Its name in documents, in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Always => "always",
        }
    }

    /// By name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|srtp| srtp.as_str() == text)
    }
}

/// An address of record and all that is configured of it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number in the store.
    pub id: LineId,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The user part of its address of record, for example `101` or `anna`; 1 to 63 characters.
    pub name: Box<str>,
    /// Shown to the people it calls.
    pub display_name: Option<Personal<String>>,
    /// The user who holds it, by name.
    pub user: Option<Box<str>>,
    /// A disabled line is refused as an unknown one is.
    pub enabled: bool,
    /// What its devices prove their right with.
    pub password: PasswordHashes,
    /// What it may call.
    pub may_call: CallPermission,
    /// Contacts it may have at once; 1..=100, default 10.
    pub bindings_max: u16,
    /// Calls it may have at once, both directions; 1..=1000, default 10.
    pub calls_max: u16,
    /// How its media is protected.
    pub srtp: Srtp,
}

impl Line {
    /// What stands for a line that was removed while a call of it lasts: it may do nothing more.
    pub fn removed(id: LineId, tenant: &str, name: &str) -> Self {
        Self {
            id,
            tenant: tenant.into(),
            name: name.into(),
            display_name: None,
            user: None,
            enabled: false,
            password: PasswordHashes { md5: [0; 32], sha256: [0; 64] },
            may_call: CallPermission::Inside,
            bindings_max: 0,
            calls_max: 0,
            srtp: Srtp::Auto,
        }
    }
}

/// A range of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address.
    pub base: IpAddr,
    /// How many leading bits count: 0..=32 or 0..=128.
    pub prefix: u8,
}

impl std::str::FromStr for AddressRange {
    type Err = BadAddressRange;

    fn from_str(text: &str) -> Result<Self, BadAddressRange> {
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| BadAddressRange)?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| BadAddressRange)?;
        if prefix > longest {
            return Err(BadAddressRange);
        }
        Ok(Self { base, prefix })
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// The text is no address and no `address/prefix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address range; write an address or address/prefix, for example 192.0.2.0/24")]
pub struct BadAddressRange;

/// How calls leave towards a peer, and how it proves itself.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its number in the store.
    pub id: PeerId,
    /// Unique in the tenant; 1 to 63 characters.
    pub name: Box<str>,
    /// The tenant whose calls it carries.
    pub tenant: Box<str>,
    /// A disabled peer is nobody.
    pub enabled: bool,
    /// Requests from here are the peer's, without a password.
    pub sources: Vec<AddressRange>,
    /// Where calls to it go: host name or address; `None` for one that only calls us.
    pub host: Option<Box<str>>,
    /// The port; without it DNS decides (RFC 3263).
    pub port: Option<u16>,
    /// The transport; without it DNS decides.
    pub transport: Option<Transport>,
    /// User name for its challenges.
    pub username: Option<Box<str>>,
    /// Password for its challenges, opened from its encrypted form by the store.
    pub secret: Option<Secret>,
    /// Beginnings of the outside numbers it takes; the longest match wins, an empty one takes all.
    pub prefixes: Vec<Box<str>>,
    /// What its calls may reach.
    pub may_call: CallPermission,
    /// Calls it may have at once, both directions; 1..=100,000, default 1,000.
    pub calls_max: u32,
    /// Whether its media goes through the node (default) or straight between the endpoints.
    pub anchor_media: bool,
    /// How its media is protected.
    pub srtp: Srtp,
}

impl Peer {
    /// What stands for a peer that was removed while a call of it lasts: it may do nothing more.
    pub fn removed(id: PeerId, tenant: &str, name: &str) -> Self {
        Self {
            id,
            tenant: tenant.into(),
            name: name.into(),
            enabled: false,
            sources: Vec::new(),
            host: None,
            port: None,
            transport: None,
            username: None,
            secret: None,
            prefixes: Vec::new(),
            may_call: CallPermission::Inside,
            calls_max: 0,
            anchor_media: true,
            srtp: Srtp::Auto,
        }
    }
}

/// A password that must be used in clear. It has no `Display`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a password.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Opens it, to answer a challenge or to encrypt it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Everything configured that a call may ask for. Built once, read by all.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    tenants: Vec<Arc<Tenant>>,
    users: Vec<Arc<User>>,
    devices: Vec<Arc<Device>>,
    lines: HashMap<Box<str>, HashMap<Box<str>, Arc<Line>>>,
    lines_by_id: FxHashMap<LineId, Arc<Line>>,
    peers: Vec<Arc<Peer>>,
    /// The place in `peers`, counted from one, of who sends from an address; 0 for nobody.
    peers_by_source: PrefixMap<u32>,
    domains: HashMap<Box<str>, Arc<Tenant>>,
    routing: Arc<Routing>,
    /// Where peers stand, by tenant and name: only where there is routing, which asks by name.
    peer_names: HashMap<Box<str>, HashMap<Box<str>, usize>>,
}

/// The tenant that serves requests for the node's own addresses.
pub const DEFAULT_TENANT: &str = "default";

/// The numbers that every line may call, whatever its permission: the European and North American ones.
pub const EMERGENCY_NUMBERS: [&str; 3] = ["112", "110", "911"];

impl Directory {
    /// A snapshot of these parts. Names are taken as they are: the store has checked them.
    pub fn new(
        tenants: Vec<Tenant>,
        users: Vec<User>,
        devices: Vec<Device>,
        lines: Vec<Line>,
        peers: Vec<Peer>,
    ) -> Self {
        let tenants: Vec<_> = tenants.into_iter().map(Arc::new).collect();
        let domains = tenants
            .iter()
            .flat_map(|tenant| tenant.domains.iter().map(|domain| (domain.clone(), Arc::clone(tenant))))
            .collect();
        let sources = peers.iter().zip(1..).filter(|(peer, _)| peer.enabled).flat_map(|(peer, place)| {
            peer.sources.iter().map(move |range| (Prefix::of(range.base, range.prefix), place))
        });
        let peers_by_source = PrefixMap::new(sources);
        let mut directory = Self {
            tenants,
            users: users.into_iter().map(Arc::new).collect(),
            devices: devices.into_iter().map(Arc::new).collect(),
            peers: peers.into_iter().map(Arc::new).collect(),
            peers_by_source,
            domains,
            ..Self::default()
        };
        directory.lines_by_id.reserve(lines.len());
        for line in lines.into_iter().map(Arc::new) {
            directory.lines_by_id.insert(line.id, Arc::clone(&line));
            match directory.lines.get_mut(&line.tenant) {
                Some(of_tenant) => drop(of_tenant.insert(line.name.clone(), line)),
                None => {
                    let of_tenant = HashMap::from([(line.name.clone(), Arc::clone(&line))]);
                    directory.lines.insert(line.tenant.clone(), of_tenant);
                }
            }
        }
        directory
    }

    /// The same with this routing.
    #[must_use]
    pub fn with_routing(mut self, routing: Arc<Routing>) -> Self {
        self.peer_names.clear();
        for (place, peer) in self.peers.iter().enumerate() {
            self.peer_names.entry(peer.tenant.clone()).or_default().insert(peer.name.clone(), place);
        }
        Self { routing, ..self }
    }

    /// Where calls go by number, caller and time.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// The peer `name` of `tenant`, enabled or not; found only where there is routing.
    pub fn peer_named(&self, tenant: &str, name: &str) -> Option<&Arc<Peer>> {
        self.peers.get(*self.peer_names.get(tenant)?.get(name)?)
    }

    /// What the routing says of `peer`.
    pub fn rules_of(&self, peer: &Peer) -> Option<&PeerRules> {
        self.routing.of(&peer.tenant)?.rules_of(&peer.name)
    }

    /// What is done to headers of calls to and from `peer`, if anything.
    pub fn header_rules_of(&self, peer: &Peer) -> Option<&HeaderRules> {
        self.routing.of(&peer.tenant)?.header_rules_of(&peer.name)
    }

    /// The tenant of this name.
    pub fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.iter().find(|tenant| &*tenant.name == name)
    }

    /// The tenant that owns `domain` (case does not matter), or the default one if `domain_is_ours` says that the
    /// domain is an address of this node.
    pub fn tenant_of_domain(
        &self,
        domain: &str,
        domain_is_ours: impl FnOnce() -> bool,
    ) -> Option<&Arc<Tenant>> {
        let owner = if domain.bytes().any(|letter| letter.is_ascii_uppercase()) {
            self.domains.get(domain.to_ascii_lowercase().as_str())
        } else {
            self.domains.get(domain)
        };
        owner.or_else(|| if domain_is_ours() { self.tenant(DEFAULT_TENANT) } else { None })
    }

    /// The line `name` of `tenant`, enabled or not.
    pub fn line(&self, tenant: &str, name: &str) -> Option<&Arc<Line>> {
        self.lines.get(tenant)?.get(name)
    }

    /// The line of this number.
    pub fn line_by_id(&self, id: LineId) -> Option<&Arc<Line>> {
        self.lines_by_id.get(&id)
    }

    /// All tenants, in the store's order.
    pub fn tenants(&self) -> &[Arc<Tenant>] {
        &self.tenants
    }

    /// All users, in the store's order.
    pub fn users(&self) -> &[Arc<User>] {
        &self.users
    }

    /// All devices, in the store's order.
    pub fn devices(&self) -> &[Arc<Device>] {
        &self.devices
    }

    /// All peers, in the store's order.
    pub fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// How many lines there are.
    pub fn line_count(&self) -> usize {
        self.lines_by_id.len()
    }

    /// The enabled peer that sends from `address`: the narrowest matching range wins, of equal ones the last.
    pub fn peer_at(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        self.peers.get((self.peers_by_source.get(address) as usize).checked_sub(1)?)
    }

    /// The enabled peer of `tenant` that proves itself with the login `username`. Its address decides first
    /// ([`Directory::peer_at`]); this is for one whose address is not known.
    pub fn peer_of_login(&self, tenant: &str, username: &str) -> Option<&Arc<Peer>> {
        self.peers.iter().find(|peer| {
            peer.enabled
                && &*peer.tenant == tenant
                && peer.secret.is_some()
                && peer.username.as_deref() == Some(username)
        })
    }

    /// The enabled peer of `tenant` that takes calls to `number`: the longest prefix wins, then the store's order.
    pub fn peer_for_number(&self, tenant: &str, number: &str) -> Option<&Arc<Peer>> {
        let mut best: Option<(usize, &Arc<Peer>)> = None;
        for peer in
            self.peers.iter().filter(|peer| peer.enabled && peer.host.is_some() && &*peer.tenant == tenant)
        {
            let longest =
                peer.prefixes.iter().filter(|prefix| number.starts_with(&***prefix)).map(|p| p.len()).max();
            if let Some(length) = longest
                && best.is_none_or(|(known, _)| length > known)
            {
                best = Some((length, peer));
            }
        }
        best.map(|(_, peer)| peer)
    }
}

impl Line {
    /// A display name as personal data of the subscriber.
    pub fn display_name_of(text: &str) -> Personal<String> {
        Personal::new(text.to_string(), DataSubject::Subscriber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_range_is_an_address_or_a_prefix() {
        for good in ["192.0.2.128/25", "::/0", "2001:db8::1", "192.0.2.1"] {
            assert!(good.parse::<AddressRange>().is_ok(), "{good}");
        }
        for bad in ["192.0.2.0/33", "", "x", "::/129", "192.0.2.1/"] {
            assert_eq!(bad.parse::<AddressRange>(), Err(BadAddressRange), "{bad}");
        }
    }

    #[test]
    fn a_peer_is_known_by_the_narrowest_range_that_holds_its_address() {
        let peer = |id, sources: &[&str], enabled| Peer {
            enabled,
            sources: sources.iter().map(|range| range.parse().unwrap()).collect(),
            ..Peer::removed(PeerId(id), DEFAULT_TENANT, "peer")
        };
        let peers = vec![
            peer(1, &["192.0.2.0/24", "::/0"], true),
            peer(2, &["192.0.2.128/25", "198.51.100.7"], true),
            peer(3, &["192.0.2.200"], false),
            peer(4, &["198.51.100.7"], true),
        ];
        let directory = Directory::new(Vec::new(), Vec::new(), Vec::new(), Vec::new(), peers);
        let at = |address: &str| directory.peer_at(address.parse().unwrap()).map(|peer| peer.id.0);
        assert_eq!(
            (at("192.0.2.127"), at("192.0.2.128"), at("::ffff:192.0.2.200")),
            (Some(1), Some(2), Some(2))
        );
        assert_eq!((at("198.51.100.7"), at("198.51.100.8"), at("2001:db8::1")), (Some(4), None, Some(1)));
    }
}
