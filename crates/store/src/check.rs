//! What a name, a domain, a limit or a password may be. All faults of an item are found, not only the first.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use offhook_switch::directory::AddressRange;

use crate::spec::{
    DeviceSpec, Item, ItemKey, LineSpec, Password, PeerSecret, PeerSpec, TenantSpec, UserSpec,
};

/// Characters of a name: one DNS label, so that a name may become part of a host name one day.
const NAME_MAX: usize = 63;
/// Characters of text for people.
const TEXT_MAX: usize = 128;
/// Characters of a domain (RFC 1035 §2.3.4).
const DOMAIN_MAX: usize = 253;
/// Characters of a `+sip.instance`: a URN with room.
const INSTANCE_MAX: usize = 255;
/// Domains of one tenant.
const DOMAINS_MAX: usize = 100;
/// Lines of one device.
const DEVICE_LINES_MAX: usize = 100;
/// Address ranges of one peer: each is tried against the source of every request.
const SOURCES_MAX: usize = 256;
/// Prefixes of one peer: each is tried against every outside number.
const PREFIXES_MAX: usize = 1_000;
/// Characters of a prefix: twice the longest E.164 number with its `+`.
const PREFIX_MAX: usize = 32;
/// Characters of a line's password that a person chose.
const PASSWORD_LENGTHS: (usize, usize) = (8, 128);

/// Something wrong, and where: `tenants.default.lines.101.bindings_max: must be from 1 to 100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path in a site document.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// What can be wrong with a value. Each message says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A tenant's name.
    #[error("a tenant's name has 1 to 63 lower-case letters, digits or '-'")]
    TenantName,
    /// A user's, device's or peer's name.
    #[error("a name has 1 to 63 letters, digits, '.', '-' or '_'")]
    Name,
    /// A line's name.
    #[error("a line's name has 1 to 63 letters, digits, '.', '-', '_' or '+'")]
    LineName,
    /// A domain.
    #[error("not a host name or address in lower case, for example voice.example.org")]
    Domain,
    /// A host.
    #[error("not a host name or address, for example sip.example.org")]
    Host,
    /// A realm.
    #[error("a realm has 1 to 128 printable ASCII characters other than '\"', '\\' and ':'")]
    Realm,
    /// Text that is too long or has control characters.
    #[error("at most {max} characters, none of them a control character")]
    Text {
        /// Characters.
        max: usize,
    },
    /// A number out of range.
    #[error("must be from {low} to {high}")]
    Range {
        /// The lowest allowed.
        low: u32,
        /// The highest allowed.
        high: u32,
    },
    /// Too many entries.
    #[error("at most {max} entries")]
    TooMany {
        /// How many are allowed.
        max: usize,
    },
    /// An entry that is there twice.
    #[error("'{value}' is there more than once")]
    Twice {
        /// The entry.
        value: Box<str>,
    },
    /// A password that is too short or too long.
    #[error("a password has 8 to 128 characters, none of them a control character")]
    Password,
    /// A prefix.
    #[error("a prefix has at most 32 digits, '+', '*' or '#'")]
    Prefix,
    /// An address range in a document.
    #[error("not an address range; write an address or address/prefix, for example 192.0.2.0/24")]
    AddressRange,
    /// A transport in a document.
    #[error("not a transport; allowed are udp, tcp, tls, ws, wss")]
    Transport,
    /// A port without a host.
    #[error("a port or transport needs a host")]
    NeedsHost,
    /// A new line in a document without a password.
    #[error("a new line needs password = \"...\" or generate = true")]
    NeedsPassword,
    /// Both ways to have a password.
    #[error("write either password or generate, not both")]
    PasswordTwice,
    /// A user name for challenges that could not be answered.
    #[error("a username needs a secret, the password for the peer's challenges")]
    NeedsSecret,
    /// A password for challenges without the user name that goes with it.
    #[error("a secret needs a username")]
    NeedsUsername,
    /// Addresses that another enabled peer has: a request from there would be either's.
    #[error("{range} belongs to peer {peer}: a request from there would be either's")]
    SourceTaken {
        /// The range.
        range: Box<str>,
        /// Whose it is, with its tenant.
        peer: Box<str>,
    },
    /// A reference to something that is not there.
    #[error("there is no {kind} '{name}' in this tenant")]
    Missing {
        /// What it should be.
        kind: &'static str,
        /// The name.
        name: Box<str>,
    },
    /// A domain that another tenant has.
    #[error("the domain '{domain}' belongs to tenant '{tenant}'")]
    DomainTaken {
        /// The domain.
        domain: Box<str>,
        /// Whose it is.
        tenant: Box<str>,
    },
    /// A realm that cannot change because hashes were made for the old one.
    #[error(
        "the realm cannot change while the tenant has lines: their password hashes were made for '{realm}'"
    )]
    RealmInUse {
        /// The realm it has.
        realm: Box<str>,
    },
}

/// Collects the faults of one item under its path.
struct Faults<'a> {
    path: String,
    found: &'a mut Vec<Fault>,
}

impl Faults<'_> {
    fn check(&mut self, good: bool, field: &str, problem: Problem) {
        if !good {
            let path = if field.is_empty() { self.path.clone() } else { format!("{}.{field}", self.path) };
            self.found.push(Fault { path, problem });
        }
    }

    fn list(
        &mut self,
        field: &str,
        values: &[Box<str>],
        max: usize,
        good: fn(&str) -> bool,
        problem: &Problem,
    ) {
        self.check(values.len() <= max, field, Problem::TooMany { max });
        let mut seen = std::collections::HashSet::new();
        for (position, value) in values.iter().enumerate().take(max) {
            self.check(good(value), &format!("{field}[{position}]"), problem.clone());
            self.check(seen.insert(value), field, Problem::Twice { value: value.clone() });
        }
    }
}

/// Adds the faults of `item` to `found`.
pub fn check_item(item: &Item, found: &mut Vec<Fault>) {
    let mut faults = Faults { path: item.key().document_path(), found };
    match item {
        Item::Tenant(tenant) => check_tenant(tenant, &mut faults),
        Item::User(user) => check_user(user, &mut faults),
        Item::Line(line) => check_line(line, &mut faults),
        Item::Device(device) => check_device(device, &mut faults),
        Item::Peer(peer) => check_peer(peer, &mut faults),
    }
}

fn check_tenant(tenant: &TenantSpec, faults: &mut Faults<'_>) {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    faults.check(
        (1..=NAME_MAX).contains(&tenant.name.len()) && tenant.name.bytes().all(letter),
        "",
        Problem::TenantName,
    );
    faults.list("domains", &tenant.domains, DOMAINS_MAX, is_domain, &Problem::Domain);
    if let Some(realm) = &tenant.realm {
        faults.check(is_realm(realm), "realm", Problem::Realm);
    }
}

fn check_user(user: &UserSpec, faults: &mut Faults<'_>) {
    faults.check(is_name(&user.name), "", Problem::Name);
    if let Some(name) = &user.full_name {
        let good = is_text(name.disclose(offhook_base::Purpose::Operation), TEXT_MAX);
        faults.check(good, "full_name", Problem::Text { max: TEXT_MAX });
    }
}

fn check_line(line: &LineSpec, faults: &mut Faults<'_>) {
    faults.check(is_line_name(&line.name), "", Problem::LineName);
    if let Some(name) = &line.display_name {
        let good = is_text(name.disclose(offhook_base::Purpose::Operation), TEXT_MAX);
        faults.check(good, "display_name", Problem::Text { max: TEXT_MAX });
    }
    if let Password::Clear(password) = &line.password {
        let (low, high) = PASSWORD_LENGTHS;
        let good = password.reveal().chars().count() >= low && is_text(password.reveal(), high);
        faults.check(good, "password", Problem::Password);
    }
    let range = |high| Problem::Range { low: 1, high };
    faults.check((1..=100).contains(&line.bindings_max), "bindings_max", range(100));
    faults.check((1..=1000).contains(&line.calls_max), "calls_max", range(1000));
}

fn check_device(device: &DeviceSpec, faults: &mut Faults<'_>) {
    faults.check(is_name(&device.name), "", Problem::Name);
    faults.check(is_text(&device.kind, TEXT_MAX), "kind", Problem::Text { max: TEXT_MAX });
    if let Some(instance) = &device.instance {
        faults.check(is_text(instance, INSTANCE_MAX), "instance", Problem::Text { max: INSTANCE_MAX });
    }
    faults.list("lines", &device.lines, DEVICE_LINES_MAX, is_line_name, &Problem::LineName);
}

fn check_peer(peer: &PeerSpec, faults: &mut Faults<'_>) {
    faults.check(is_name(&peer.name), "", Problem::Name);
    faults.check(peer.sources.len() <= SOURCES_MAX, "sources", Problem::TooMany { max: SOURCES_MAX });
    match &peer.host {
        Some(host) => faults.check(is_domain(&host.to_ascii_lowercase()), "host", Problem::Host),
        None => {
            faults.check(peer.port.is_none(), "port", Problem::NeedsHost);
            faults.check(peer.transport.is_none(), "transport", Problem::NeedsHost);
        }
    }
    faults.check(peer.port != Some(0), "port", Problem::Range { low: 1, high: 65_535 });
    let text = Problem::Text { max: TEXT_MAX };
    if let Some(username) = &peer.username {
        faults.check(is_text(username, TEXT_MAX), "username", text.clone());
    }
    match &peer.secret {
        PeerSecret::Clear(secret) => {
            faults.check(is_text(secret.reveal(), TEXT_MAX), "secret", text);
            faults.check(peer.username.is_some(), "secret", Problem::NeedsUsername);
        }
        PeerSecret::Remove => faults.check(peer.username.is_none(), "username", Problem::NeedsSecret),
        // What is kept is known to the store alone.
        PeerSecret::Keep => {}
    }
    let mut seen = std::collections::HashSet::new();
    for source in &peer.sources {
        let value = || Problem::Twice { value: source.to_string().into() };
        if !seen.insert(network(source)) {
            faults.check(false, "sources", value());
        }
    }
    faults.list("prefixes", &peer.prefixes, PREFIXES_MAX, is_prefix, &Problem::Prefix);
    let range = Problem::Range { low: 1, high: 100_000 };
    faults.check((1..=100_000).contains(&peer.calls_max), "calls_max", range);
}

/// A range by its network: `192.0.2.7/24` is `192.0.2.0/24`, and an IPv4 address mapped into IPv6 is IPv4.
pub(crate) fn network(range: &AddressRange) -> (IpAddr, u8) {
    let (base, prefix) = match (range.base, range.base.to_canonical()) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if range.prefix >= 96 => (mapped, range.prefix - 96),
        _ => (range.base, range.prefix),
    };
    let base = match base {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    };
    (base, prefix)
}

/// Adds a fault for every range of a peer in `changed` that another enabled peer of the node has, too. Of ranges that
/// only overlap the narrower one wins, so that a network and one host of it may be two peers.
pub(crate) fn check_sources<'a>(
    peers: impl Iterator<Item = (ItemKey, &'a [AddressRange])>,
    changed: impl Fn(&ItemKey) -> bool,
    found: &mut Vec<Fault>,
) {
    let mut owners: BTreeMap<(IpAddr, u8), ItemKey> = BTreeMap::new();
    // Whoever was there before comes first, so that the newcomer is at fault.
    let (new, old): (Vec<_>, Vec<_>) = peers.partition(|(key, _)| changed(key));
    for (key, sources) in old.into_iter().chain(new) {
        for (position, range) in sources.iter().enumerate() {
            let owner = owners.entry(network(range)).or_insert_with(|| key.clone());
            if *owner != key && changed(&key) {
                let path = format!("{}.sources[{position}]", key.document_path());
                let peer = format!("{}@{}", owner.name, owner.tenant).into();
                found.push(Fault {
                    path,
                    problem: Problem::SourceTaken { range: range.to_string().into(), peer },
                });
            }
        }
    }
}

fn is_name_of(text: &str, more: &[u8]) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
}

fn is_name(text: &str) -> bool {
    is_name_of(text, b".-_")
}

fn is_line_name(text: &str) -> bool {
    is_name_of(text, b".-_+")
}

fn is_text(text: &str, max: usize) -> bool {
    text.chars().count() <= max && !text.chars().any(char::is_control)
}

fn is_realm(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b':'))
}

fn is_prefix(text: &str) -> bool {
    text.len() <= PREFIX_MAX
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'*' | b'#'))
}

/// A host name of LDH labels (RFC 1123 §2.1), an IPv4 address, or an IPv6 address without brackets.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<std::net::IpAddr>().is_ok() || (text.len() <= DOMAIN_MAX && text.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_of_an_item_are_told_with_their_paths() {
        let mut line = LineSpec::new("default", "10 1");
        line.bindings_max = 0;
        line.calls_max = 2000;
        line.password = Password::Clear(offhook_switch::directory::Secret::new("short"));
        let mut faults = Vec::new();
        check_item(&Item::Line(line), &mut faults);
        let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "tenants.default.lines.10 1: a line's name has 1 to 63 letters, digits, '.', '-', '_' or '+'",
                "tenants.default.lines.10 1.password: a password has 8 to 128 characters, none of them a control character",
                "tenants.default.lines.10 1.bindings_max: must be from 1 to 100",
                "tenants.default.lines.10 1.calls_max: must be from 1 to 1000",
            ]
        );
    }

    #[test]
    fn a_user_name_and_a_secret_need_each_other() {
        let faults_of = |username: Option<&str>, secret: PeerSecret| {
            let peer = PeerSpec {
                username: username.map(Into::into),
                secret,
                ..PeerSpec::new("default", "carrier")
            };
            let mut faults = Vec::new();
            check_item(&Item::Peer(peer), &mut faults);
            faults.into_iter().map(|fault| fault.problem).collect::<Vec<_>>()
        };
        let secret = || PeerSecret::Clear(offhook_switch::directory::Secret::new("password"));
        assert_eq!(faults_of(Some("us"), PeerSecret::Remove), [Problem::NeedsSecret]);
        assert_eq!(faults_of(None, secret()), [Problem::NeedsUsername]);
        assert_eq!(faults_of(Some("us"), secret()), []);
        assert_eq!(faults_of(None, PeerSecret::Remove), []);
    }

    #[test]
    fn the_same_addresses_are_the_same_however_they_are_written() {
        let same =
            |left: &str, right: &str| network(&left.parse().unwrap()) == network(&right.parse().unwrap());
        assert!(same("192.0.2.7/24", "192.0.2.0/24"));
        assert!(same("192.0.2.7", "192.0.2.7/32"));
        assert!(same("::ffff:192.0.2.7", "192.0.2.7"));
        assert!(same("0.0.0.0/0", "192.0.2.7/0"));
        assert!(!same("192.0.2.0/24", "192.0.2.0/25"));
        assert!(!same("2001:db8::1", "2001:db8::2"));
    }

    #[test]
    fn domains_are_host_names_or_addresses() {
        for good in ["example.org", "a", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "Example.org", "a..b", "-a", "a b", "a_b", "sip:example.org"] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
