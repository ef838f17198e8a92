//! A site document: the wanted configuration of some tenants, as TOML.
//!
//! ```toml
//! [tenants.default]
//! domains = ["voice.example.org"]
//!
//! [tenants.default.users.anna]
//! full_name = "Anna Example"
//!
//! [tenants.default.lines.101]
//! user = "anna"
//! generate = true          # or password = "…"
//!
//! [tenants.default.devices.desk]
//! kind = "desk phone"
//! lines = ["101"]
//!
//! [tenants.default.peers.carrier]
//! sources = ["192.0.2.0/24"]
//! host = "sip.example.net"
//! prefixes = ["+49"]
//! ```
//!
//! A setting that is not written has its default; only passwords, secrets and the realm then stay as they are, so that
//! a document can be kept where others may read it.

use std::collections::BTreeMap;

use offhook_base::Personal;
use offhook_switch::directory::{AddressRange, CallPermission, Line, Secret, Srtp};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{
    check::{Fault, Problem},
    spec::{
        BINDINGS_MAX_DEFAULT, DeviceSpec, Item, ItemKey, Kind, LINE_CALLS_MAX_DEFAULT, LineSpec,
        PEER_CALLS_MAX_DEFAULT, Password, PeerSecret, PeerSpec, TenantSpec, UserSpec,
    },
    words::explain,
};

/// A parsed document. What it says is checked when a plan is made of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteDocument {
    #[serde(default)]
    tenants: BTreeMap<Box<str>, TenantDocument>,
}

/// The text is not TOML, or has a setting or value that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct DocumentError {
    /// 1 is the first.
    pub line: usize,
    /// 1 is the first; counts characters.
    pub column: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TenantDocument {
    domains: Vec<Box<str>>,
    realm: Option<Box<str>>,
    users: BTreeMap<Box<str>, UserDocument>,
    lines: BTreeMap<Box<str>, LineDocument>,
    devices: BTreeMap<Box<str>, DeviceDocument>,
    peers: BTreeMap<Box<str>, PeerDocument>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UserDocument {
    #[serde(deserialize_with = "personal")]
    full_name: Option<Personal<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LineDocument {
    #[serde(deserialize_with = "personal")]
    display_name: Option<Personal<String>>,
    user: Option<Box<str>>,
    enabled: bool,
    #[serde(deserialize_with = "secret")]
    password: Option<Secret>,
    generate: bool,
    may_call: CallPermission,
    bindings_max: u16,
    calls_max: u16,
    srtp: Srtp,
}

impl Default for LineDocument {
    fn default() -> Self {
        Self {
            display_name: None,
            user: None,
            enabled: true,
            password: None,
            generate: false,
            may_call: CallPermission::default(),
            bindings_max: BINDINGS_MAX_DEFAULT,
            calls_max: LINE_CALLS_MAX_DEFAULT,
            srtp: Srtp::default(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DeviceDocument {
    kind: Box<str>,
    instance: Option<Box<str>>,
    lines: Vec<Box<str>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PeerDocument {
    enabled: bool,
    sources: Vec<Box<str>>,
    host: Option<Box<str>>,
    port: Option<u16>,
    transport: Option<Box<str>>,
    username: Option<Box<str>>,
    /// An empty one takes the old one away, as does leaving the user name out.
    #[serde(deserialize_with = "secret")]
    secret: Option<Secret>,
    prefixes: Vec<Box<str>>,
    may_call: CallPermission,
    calls_max: u32,
    anchor_media: bool,
    srtp: Srtp,
}

impl Default for PeerDocument {
    fn default() -> Self {
        Self {
            enabled: true,
            sources: Vec::new(),
            host: None,
            port: None,
            transport: None,
            username: None,
            secret: None,
            prefixes: Vec::new(),
            may_call: CallPermission::default(),
            calls_max: PEER_CALLS_MAX_DEFAULT,
            anchor_media: true,
            srtp: Srtp::default(),
        }
    }
}

fn personal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Personal<String>>, D::Error> {
    Ok(Option::<Box<str>>::deserialize(deserializer)?.map(|text| Line::display_name_of(&text)))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<Box<str>>::deserialize(deserializer)?.map(|text| Secret::new(&text)))
}

/// Parses TOML, and says where it is wrong.
pub(crate) fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    toml::from_str(text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        DocumentError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: explain(error.message()).to_string().replace('\n', "; "),
        }
    })
}

impl SiteDocument {
    /// Parses TOML.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        parse_toml(text)
    }

    /// The tenants it names: only they are ever pruned.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.tenants.keys().map(|name| &**name)
    }

    /// What it wants, tenants first, then users, lines, devices and peers. Values that have no typed form become faults.
    pub(crate) fn items(&self, faults: &mut Vec<Fault>) -> Vec<Item> {
        let mut items: Vec<_> = self.tenants.iter().map(|(name, tenant)| tenant_item(name, tenant)).collect();
        for (tenant, wanted) in &self.tenants {
            items.extend(wanted.users.iter().map(|(name, user)| user_item(tenant, name, user)));
        }
        for (tenant, wanted) in &self.tenants {
            items.extend(wanted.lines.iter().map(|(name, line)| line_item(tenant, name, line, faults)));
        }
        for (tenant, wanted) in &self.tenants {
            items.extend(wanted.devices.iter().map(|(name, device)| device_item(tenant, name, device)));
            items.extend(wanted.peers.iter().map(|(name, peer)| peer_item(tenant, name, peer, faults)));
        }
        items
    }
}

fn tenant_item(name: &str, tenant: &TenantDocument) -> Item {
    Item::Tenant(TenantSpec {
        name: name.into(),
        domains: tenant.domains.clone(),
        realm: tenant.realm.clone(),
    })
}

fn user_item(tenant: &str, name: &str, user: &UserDocument) -> Item {
    Item::User(UserSpec { tenant: tenant.into(), name: name.into(), full_name: user.full_name.clone() })
}

fn line_item(tenant: &str, name: &str, line: &LineDocument, faults: &mut Vec<Fault>) -> Item {
    let password = match (&line.password, line.generate) {
        (Some(_), true) => {
            let path = format!("{}.generate", ItemKey::new(Kind::Line, tenant, name).document_path());
            faults.push(Fault { path, problem: Problem::PasswordTwice });
            Password::Keep
        }
        (Some(password), false) => Password::Clear(password.clone()),
        (None, true) => Password::Generate,
        (None, false) => Password::Keep,
    };
    Item::Line(LineSpec {
        tenant: tenant.into(),
        name: name.into(),
        display_name: line.display_name.clone(),
        user: line.user.clone(),
        enabled: line.enabled,
        password,
        may_call: line.may_call,
        bindings_max: line.bindings_max,
        calls_max: line.calls_max,
        srtp: line.srtp,
    })
}

fn device_item(tenant: &str, name: &str, device: &DeviceDocument) -> Item {
    Item::Device(DeviceSpec {
        tenant: tenant.into(),
        name: name.into(),
        kind: device.kind.clone(),
        instance: device.instance.clone(),
        lines: device.lines.clone(),
    })
}

fn peer_item(tenant: &str, name: &str, peer: &PeerDocument, faults: &mut Vec<Fault>) -> Item {
    let path = ItemKey::new(Kind::Peer, tenant, name).document_path();
    let mut sources: Vec<AddressRange> = Vec::with_capacity(peer.sources.len());
    for (position, source) in peer.sources.iter().enumerate() {
        match source.parse() {
            Ok(range) => sources.push(range),
            Err(_) => {
                let path = format!("{path}.sources[{position}]");
                faults.push(Fault { path, problem: Problem::AddressRange });
            }
        }
    }
    let transport = peer.transport.as_deref().map(str::parse).transpose().unwrap_or_else(|_| {
        faults.push(Fault { path: format!("{path}.transport"), problem: Problem::Transport });
        None
    });
    Item::Peer(PeerSpec {
        tenant: tenant.into(),
        name: name.into(),
        enabled: peer.enabled,
        sources,
        host: peer.host.clone(),
        port: peer.port,
        transport,
        username: peer.username.clone(),
        secret: match &peer.secret {
            None => PeerSecret::Keep,
            Some(secret) if secret.reveal().is_empty() => PeerSecret::Remove,
            Some(secret) => PeerSecret::Clear(secret.clone()),
        },
        prefixes: peer.prefixes.clone(),
        may_call: peer.may_call,
        calls_max: peer.calls_max,
        anchor_media: peer.anchor_media,
        srtp: peer.srtp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_line_and_column_and_what_is_allowed() {
        let said = |text| SiteDocument::parse(text).unwrap_err().to_string();
        assert_eq!(
            said("[tenants.default]\ndomain = []\n"),
            "line 2, column 1: unknown key `domain`; did you mean `domains`? allowed: domains, realm, users, lines, devices, \
             peers"
        );
        assert_eq!(
            said("[tenants.default.lines.101]\nmay_call = \"all\"\n"),
            "line 2, column 12: unknown word `all`; allowed: inside, outside"
        );
        assert!(
            said("[tenants.default.lines.101]\n[tenants.default.lines.101]\n").starts_with("line 2, column ")
        );
        assert!(said("[tenants.default.lines.101]\nbindings_max = 70000").starts_with("line 2, column 16: "));
    }

    #[test]
    fn passwords_do_not_show_in_debug() {
        let text = "[tenants.default.lines.101]\npassword = \"visible?\"\ndisplay_name = \"Anna\"\n";
        let shown = format!("{:?}", SiteDocument::parse(text).unwrap());
        assert!(!shown.contains("visible") && !shown.contains("Anna"), "{shown}");
    }
}
