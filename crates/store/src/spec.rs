//! What can be configured: the wanted state of a tenant, user, device, line or peer, and partial changes of it.

use std::fmt;

use offhook_base::Personal;
use offhook_sip::transport::Transport;
use offhook_switch::directory::{AddressRange, CallPermission, Line, Peer, Secret, Srtp};

/// Contacts a line may have at once where nothing is said: a person's desk phone, softphones and browsers with room.
pub const BINDINGS_MAX_DEFAULT: u16 = 10;

/// Calls a line may have at once where nothing is said.
pub const LINE_CALLS_MAX_DEFAULT: u16 = 10;

/// Calls a peer may have at once where nothing is said.
pub const PEER_CALLS_MAX_DEFAULT: u32 = 1_000;

/// The kinds of things that are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A customer of the platform.
    Tenant,
    /// A person who holds lines.
    User,
    /// An address of record.
    Line,
    /// A telephone.
    Device,
    /// A trunk or another system.
    Peer,
}

impl Kind {
    /// Its name in messages and in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Line => "line",
            Self::Device => "device",
            Self::Peer => "peer",
        }
    }

    /// The name of its table in a site document.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::User => "users",
            Self::Line => "lines",
            Self::Device => "devices",
            Self::Peer => "peers",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names one configured thing: `line 101@default`, `tenant default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// What it is.
    pub kind: Kind,
    /// The tenant it belongs to; a tenant's own name.
    pub tenant: Box<str>,
    /// Its name in the tenant; a tenant's own name.
    pub name: Box<str>,
}

impl ItemKey {
    /// The key of `kind` `name` in `tenant`.
    pub fn new(kind: Kind, tenant: &str, name: &str) -> Self {
        Self { kind, tenant: tenant.into(), name: name.into() }
    }

    /// The key of a tenant.
    pub fn tenant(name: &str) -> Self {
        Self::new(Kind::Tenant, name, name)
    }

    /// Where a site document has it: `tenants.default.lines.101`.
    pub fn document_path(&self) -> String {
        match self.kind {
            Kind::Tenant => format!("tenants.{}", self.tenant),
            kind => format!("tenants.{}.{}.{}", self.tenant, kind.plural(), self.name),
        }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Tenant => write!(f, "tenant {}", self.name),
            kind => write!(f, "{kind} {}@{}", self.name, self.tenant),
        }
    }
}

/// A tenant as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSpec {
    /// 1 to 63 lower-case letters, digits, `-`.
    pub name: Box<str>,
    /// Its domains, host names or addresses; each belongs to one tenant of the node.
    pub domains: Vec<Box<str>>,
    /// Its digest realm. `None`: a new tenant takes its first domain or its name, an old one keeps what it has.
    pub realm: Option<Box<str>>,
}

/// A user as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    pub name: Box<str>,
    /// How the user is called among people; at most 128 characters.
    pub full_name: Option<Personal<String>>,
}

/// A device as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    pub name: Box<str>,
    /// What people call it; at most 128 characters.
    pub kind: Box<str>,
    /// Its `+sip.instance`, at most 255 characters (RFC 5626).
    pub instance: Option<Box<str>>,
    /// The lines it may hold, by name, at most 100.
    pub lines: Vec<Box<str>>,
}

/// Where a line's password comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Password {
    /// The line has one and keeps it. For a new line the same as [`Self::Generate`].
    #[default]
    Keep,
    /// The store makes one and tells it once.
    Generate,
    /// This one; 8 to 128 characters. Only its hashes are kept.
    Clear(Secret),
}

/// A line as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineSpec {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The user part of its address of record; 1 to 63 letters, digits, `.`, `-`, `_`, `+`.
    pub name: Box<str>,
    /// Shown to the people it calls; at most 128 characters.
    pub display_name: Option<Personal<String>>,
    /// The user who holds it, by name.
    pub user: Option<Box<str>>,
    /// Default true.
    pub enabled: bool,
    /// Its password.
    pub password: Password,
    /// Default [`CallPermission::Inside`].
    pub may_call: CallPermission,
    /// 1..=100, default [`BINDINGS_MAX_DEFAULT`].
    pub bindings_max: u16,
    /// 1..=1000, default [`LINE_CALLS_MAX_DEFAULT`].
    pub calls_max: u16,
    /// Default [`Srtp::Auto`].
    pub srtp: Srtp,
}

impl LineSpec {
    /// A line with the defaults and a made password.
    pub fn new(tenant: &str, name: &str) -> Self {
        Self {
            tenant: tenant.into(),
            name: name.into(),
            display_name: None,
            user: None,
            enabled: true,
            password: Password::Keep,
            may_call: CallPermission::default(),
            bindings_max: BINDINGS_MAX_DEFAULT,
            calls_max: LINE_CALLS_MAX_DEFAULT,
            srtp: Srtp::default(),
        }
    }
}

/// What shall be other of a line; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct LineChange {
    /// `Some(None)` takes the name away.
    pub display_name: Option<Option<Personal<String>>>,
    /// `Some(None)` makes it nobody's.
    pub user: Option<Option<Box<str>>>,
    /// On or off.
    pub enabled: Option<bool>,
    /// A new password.
    pub password: Password,
    /// What it may call.
    pub may_call: Option<CallPermission>,
    /// 1..=100.
    pub bindings_max: Option<u16>,
    /// 1..=1000.
    pub calls_max: Option<u16>,
    /// How its media is protected.
    pub srtp: Option<Srtp>,
}

impl LineChange {
    pub(crate) fn patch(self, line: &mut LineSpec) {
        let Self { display_name, user, enabled, password, may_call, bindings_max, calls_max, srtp } = self;
        line.display_name = display_name.unwrap_or(line.display_name.take());
        line.user = user.unwrap_or(line.user.take());
        line.enabled = enabled.unwrap_or(line.enabled);
        line.password = password;
        line.may_call = may_call.unwrap_or(line.may_call);
        line.bindings_max = bindings_max.unwrap_or(line.bindings_max);
        line.calls_max = calls_max.unwrap_or(line.calls_max);
        line.srtp = srtp.unwrap_or(line.srtp);
    }
}

/// Where a peer's outgoing password comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerSecret {
    /// The peer keeps what it has, which may be none.
    #[default]
    Keep,
    /// It shall have none.
    Remove,
    /// This one; at most 128 characters. Kept encrypted.
    Clear(Secret),
}

/// A peer as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    pub name: Box<str>,
    /// Default true.
    pub enabled: bool,
    /// Where its requests come from, at most 256 ranges.
    pub sources: Vec<AddressRange>,
    /// Where calls to it go: host name or address.
    pub host: Option<Box<str>>,
    /// 1..=65535; without it DNS decides.
    pub port: Option<u16>,
    /// Without it DNS decides.
    pub transport: Option<Transport>,
    /// User name for its challenges, at most 128 characters.
    pub username: Option<Box<str>>,
    /// Password for its challenges.
    pub secret: PeerSecret,
    /// Beginnings of the numbers it takes: digits, `+`, `*`, `#`; at most 32 characters each, at most 1,000 of them.
    pub prefixes: Vec<Box<str>>,
    /// Default [`CallPermission::Inside`].
    pub may_call: CallPermission,
    /// 1..=100,000, default [`PEER_CALLS_MAX_DEFAULT`].
    pub calls_max: u32,
    /// Default true.
    pub anchor_media: bool,
    /// Default [`Srtp::Auto`].
    pub srtp: Srtp,
}

impl PeerSpec {
    /// A peer with the defaults.
    pub fn new(tenant: &str, name: &str) -> Self {
        Self {
            tenant: tenant.into(),
            name: name.into(),
            enabled: true,
            sources: Vec::new(),
            host: None,
            port: None,
            transport: None,
            username: None,
            secret: PeerSecret::Keep,
            prefixes: Vec::new(),
            may_call: CallPermission::default(),
            calls_max: PEER_CALLS_MAX_DEFAULT,
            anchor_media: true,
            srtp: Srtp::default(),
        }
    }
}

/// Any of them, as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A tenant.
    Tenant(TenantSpec),
    /// A user.
    User(UserSpec),
    /// A line.
    Line(LineSpec),
    /// A device.
    Device(DeviceSpec),
    /// A peer.
    Peer(PeerSpec),
}

impl Item {
    /// What names it.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Tenant(tenant) => ItemKey::tenant(&tenant.name),
            Self::User(user) => ItemKey::new(Kind::User, &user.tenant, &user.name),
            Self::Line(line) => ItemKey::new(Kind::Line, &line.tenant, &line.name),
            Self::Device(device) => ItemKey::new(Kind::Device, &device.tenant, &device.name),
            Self::Peer(peer) => ItemKey::new(Kind::Peer, &peer.tenant, &peer.name),
        }
    }

    /// How `self` differs from `before`, field by field. Passwords are not compared: the caller has their hashes.
    pub fn differences(&self, before: &Self) -> Vec<FieldChange> {
        self.fields()
            .into_iter()
            .zip(before.fields())
            .filter(|((_, after), (_, before))| after != before)
            .map(|((field, after), (_, before))| FieldChange::new(field, before, after))
            .collect()
    }

    fn fields(&self) -> Vec<(&'static str, Shown)> {
        use Shown::{Hidden, Open};
        match self {
            Self::Tenant(tenant) => vec![
                ("domains", Open(list(&tenant.domains))),
                ("realm", Open(tenant.realm.as_deref().unwrap_or_default().to_string())),
            ],
            Self::User(user) => vec![("full_name", Hidden(user.full_name.clone()))],
            Self::Line(line) => vec![
                ("display_name", Hidden(line.display_name.clone())),
                ("user", Open(optional(line.user.as_ref()))),
                ("enabled", Open(line.enabled.to_string())),
                ("may_call", Open(permission(line.may_call).to_string())),
                ("bindings_max", Open(line.bindings_max.to_string())),
                ("calls_max", Open(line.calls_max.to_string())),
                ("srtp", Open(line.srtp.as_str().to_string())),
            ],
            Self::Device(device) => vec![
                ("kind", Open(device.kind.to_string())),
                ("instance", Open(optional(device.instance.as_ref()))),
                ("lines", Open(list(&device.lines))),
            ],
            Self::Peer(peer) => vec![
                ("enabled", Open(peer.enabled.to_string())),
                ("sources", Open(list(&peer.sources))),
                ("host", Open(optional(peer.host.as_ref()))),
                ("port", Open(optional(peer.port.as_ref()))),
                ("transport", Open(optional(peer.transport.as_ref()))),
                ("username", Open(optional(peer.username.as_ref()))),
                ("prefixes", Open(list(&peer.prefixes))),
                ("may_call", Open(permission(peer.may_call).to_string())),
                ("calls_max", Open(peer.calls_max.to_string())),
                ("anchor_media", Open(peer.anchor_media.to_string())),
                ("srtp", Open(peer.srtp.as_str().to_string())),
            ],
        }
    }
}

/// One field that changes. Personal data and secrets show only that they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name in a site document.
    pub field: &'static str,
    /// What it was and will be, where that may be shown.
    pub values: Option<(String, String)>,
}

impl FieldChange {
    /// A change whose values are secret.
    pub const fn hidden(field: &'static str) -> Self {
        Self { field, values: None }
    }

    fn new(field: &'static str, before: Shown, after: Shown) -> Self {
        match (before, after) {
            (Shown::Open(before), Shown::Open(after)) => Self { field, values: Some((before, after)) },
            _ => Self::hidden(field),
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Some((before, after)) => {
                let dash = |text: &str| if text.is_empty() { "-".to_string() } else { text.to_string() };
                write!(f, "{} {} -> {}", self.field, dash(before), dash(after))
            }
            None => write!(f, "{} changed", self.field),
        }
    }
}

/// A value to compare, and whether people may see it in a plan.
#[derive(PartialEq)]
enum Shown {
    Open(String),
    Hidden(Option<Personal<String>>),
}

fn list<T: fmt::Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn optional<T: fmt::Display>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// The name of a permission in documents and in the database.
pub(crate) const fn permission(permission: CallPermission) -> &'static str {
    match permission {
        CallPermission::Inside => "inside",
        CallPermission::Outside => "outside",
    }
}

impl From<&Line> for LineSpec {
    fn from(line: &Line) -> Self {
        Self {
            tenant: line.tenant.clone(),
            name: line.name.clone(),
            display_name: line.display_name.clone(),
            user: line.user.clone(),
            enabled: line.enabled,
            password: Password::Keep,
            may_call: line.may_call,
            bindings_max: line.bindings_max,
            calls_max: line.calls_max,
            srtp: line.srtp,
        }
    }
}

impl From<&Peer> for PeerSpec {
    fn from(peer: &Peer) -> Self {
        Self {
            tenant: peer.tenant.clone(),
            name: peer.name.clone(),
            enabled: peer.enabled,
            sources: peer.sources.clone(),
            host: peer.host.clone(),
            port: peer.port,
            transport: peer.transport,
            username: peer.username.clone(),
            secret: PeerSecret::Keep,
            prefixes: peer.prefixes.clone(),
            may_call: peer.may_call,
            calls_max: peer.calls_max,
            anchor_media: peer.anchor_media,
            srtp: peer.srtp,
        }
    }
}
