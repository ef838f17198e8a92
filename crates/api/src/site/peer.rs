//! Peers as the API has them.

use offhook_sip::transport::Transport;
use offhook_store::{Item, ItemKey, Kind, PEER_CALLS_MAX_DEFAULT, PeerSecret, PeerSpec, Site};
use offhook_switch::directory::{AddressRange, CallPermission, Secret, Srtp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Problem,
    live::Live,
    problem::ValueError,
    resource::{Patched, Resource, boxed, nullable, strings},
};

/// A trunk or another system.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Peer {
    /// Unique in the tenant.
    name: String,
    /// The tenant whose calls it carries.
    tenant: String,
    /// A disabled peer is nobody.
    enabled: bool,
    /// Where its requests come from: addresses and ranges.
    sources: Vec<String>,
    /// Where calls to it go.
    host: Option<String>,
    /// Without it DNS decides.
    port: Option<u16>,
    /// `udp`, `tcp` or `tls`; without it DNS decides.
    transport: Option<String>,
    /// User name for its challenges.
    username: Option<String>,
    /// Whether there is a password for its challenges. It is never shown.
    has_secret: bool,
    /// Beginnings of the numbers it takes; the longest match wins.
    prefixes: Vec<String>,
    /// What its calls may reach: `inside` or `outside`.
    #[schema(value_type = String)]
    may_call: CallPermission,
    /// Calls it may have at once.
    calls_max: u32,
    /// Whether its media goes through the node.
    anchor_media: bool,
    /// How its media is protected: `auto`, `never` or `always`.
    #[schema(value_type = String)]
    srtp: Srtp,
}

/// A peer to make: its name, and any of the settings that can be changed later.
#[derive(ToSchema)]
pub(crate) struct NewPeer {
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    name: String,
    #[serde(flatten)]
    settings: PeerPatch,
}

/// By hand, because serde does not refuse unknown fields where a struct is flattened into another.
impl<'de> Deserialize<'de> for NewPeer {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let mut fields = serde_json::Map::deserialize(from)?;
        let name = match fields.remove("name") {
            Some(serde_json::Value::String(name)) => name,
            Some(_) => return Err(D::Error::custom("name: must be a text")),
            None => return Err(D::Error::missing_field("name")),
        };
        let settings = serde_json::from_value(fields.into()).map_err(D::Error::custom)?;
        Ok(Self { name, settings })
    }
}

/// What shall be other of a peer.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerPatch {
    /// Default true.
    enabled: Option<bool>,
    /// Replaces the list; at most 256 addresses and ranges such as `192.0.2.0/24`.
    sources: Option<Vec<String>>,
    /// Host name or address; `null` for a peer that only calls us.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    host: Option<Option<String>>,
    /// 1 to 65535; `null` lets DNS decide.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u16>)]
    port: Option<Option<u16>>,
    /// `udp`, `tcp` or `tls`; `null` lets DNS decide.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    transport: Option<Option<String>>,
    /// User name for its challenges, with `secret`; `null` takes both away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    username: Option<Option<String>>,
    /// Password for its challenges; kept encrypted; `null` takes it away.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    secret: Option<Option<String>>,
    /// Replaces the list; digits, `+`, `*`, `#`.
    prefixes: Option<Vec<String>>,
    /// `inside` (default) or `outside`.
    #[schema(value_type = Option<String>)]
    may_call: Option<CallPermission>,
    /// 1 to 100000, default 1000.
    calls_max: Option<u32>,
    /// Default true.
    anchor_media: Option<bool>,
    /// `auto` (default), `never` or `always` SRTP between it and the node.
    #[schema(value_type = Option<String>)]
    srtp: Option<Srtp>,
}

impl PeerPatch {
    fn onto(&self, peer: &mut PeerSpec) -> Result<(), Problem> {
        let mut errors = Vec::new();
        if let Some(sources) = &self.sources {
            peer.sources = parsed(sources, "sources", &mut errors);
        }
        if let Some(transport) = &self.transport {
            let transport: Vec<String> = transport.iter().cloned().collect();
            let known = |name: &String| name.parse::<Transport>().ok();
            peer.transport = transport.iter().find_map(known);
            if peer.transport.is_none() && !transport.is_empty() {
                let problem = "not a transport; allowed are udp, tcp, tls, ws, wss".into();
                errors.push(ValueError { path: "transport".into(), problem });
            }
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        if let Some(host) = &self.host {
            peer.host = host.as_deref().map(Into::into);
        }
        if let Some(port) = self.port {
            peer.port = port;
        }
        if let Some(username) = &self.username {
            peer.username = username.as_deref().map(Into::into);
        }
        if let Some(prefixes) = &self.prefixes {
            peer.prefixes = boxed(prefixes);
        }
        peer.secret = match &self.secret {
            None => PeerSecret::Keep,
            Some(None) => PeerSecret::Remove,
            Some(Some(secret)) => PeerSecret::Clear(Secret::new(secret)),
        };
        peer.enabled = self.enabled.unwrap_or(peer.enabled);
        peer.may_call = self.may_call.unwrap_or(peer.may_call);
        peer.calls_max = self.calls_max.unwrap_or(peer.calls_max);
        peer.anchor_media = self.anchor_media.unwrap_or(peer.anchor_media);
        peer.srtp = self.srtp.unwrap_or(peer.srtp);
        Ok(())
    }
}

fn parsed(texts: &[String], field: &str, errors: &mut Vec<ValueError>) -> Vec<AddressRange> {
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(value) => values.push(value),
            Err(error) => {
                errors.push(ValueError { path: format!("{field}[{index}]"), problem: format!("{error}") })
            }
        }
    }
    values
}

impl Resource for Peer {
    type New = NewPeer;
    type Patch = PeerPatch;

    const KIND: Kind = Kind::Peer;

    fn all(site: &Site, tenant: &str, _live: &Live) -> Vec<Self> {
        let mine = site.peers.iter().filter(|peer| &*peer.tenant == tenant);
        mine.map(|peer| Self {
            name: peer.name.to_string(),
            tenant: peer.tenant.to_string(),
            enabled: peer.enabled,
            sources: peer.sources.iter().map(ToString::to_string).collect(),
            host: peer.host.as_ref().map(ToString::to_string),
            port: peer.port,
            transport: peer.transport.map(|transport| transport.to_string()),
            username: peer.username.as_ref().map(ToString::to_string),
            has_secret: peer.secret.is_some(),
            prefixes: strings(&peer.prefixes),
            may_call: peer.may_call,
            calls_max: peer.calls_max,
            anchor_media: peer.anchor_media,
            srtp: peer.srtp,
        })
        .collect()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn item(tenant: &str, new: NewPeer) -> Result<Item, Problem> {
        let mut peer = PeerSpec { calls_max: PEER_CALLS_MAX_DEFAULT, ..PeerSpec::new(tenant, &new.name) };
        new.settings.onto(&mut peer)?;
        Ok(Item::Peer(peer))
    }

    fn patched(site: &Site, key: &ItemKey, patch: &PeerPatch) -> Result<Option<Patched>, Problem> {
        let found = site.peers.iter().find(|peer| peer.tenant == key.tenant && peer.name == key.name);
        let Some(found) = found else { return Ok(None) };
        let before = PeerSpec::from(found);
        let mut after = before.clone();
        patch.onto(&mut after)?;
        // What is stored goes with the user name it belonged to.
        if after.username.is_none() && found.secret.is_some() && after.secret == PeerSecret::Keep {
            after.secret = PeerSecret::Remove;
        }
        let secret = (after.secret != PeerSecret::Keep).then_some("secret");
        Ok(Some(Patched { before: Item::Peer(before), after: Item::Peer(after), secret }))
    }
}
