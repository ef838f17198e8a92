//! Whose a domain is, and how a caller is named in it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use offhook_base::{HostPort, Purpose};
use offhook_sip::{
    header::{Headers, NameAddr},
    transport::Flow,
    uri::{Escaped, Uri},
};

use super::services::Services;
use crate::{
    directory::{DEFAULT_TENANT, Peer, Tenant},
    identity::Identity,
    route::Caller,
};

impl Services {
    /// Whether a URI means this node in the name of `tenant`: one of the tenant's domains, or for the default tenant an
    /// address of the node.
    pub fn serves(&self, uri: &Uri<'_>, local: IpAddr, tenant: &str) -> bool {
        let host = uri.host_without_brackets();
        host.is_empty()
            || self
                .directory
                .tenant_of_domain(host, || self.settings.is_our_host(host, local))
                .is_some_and(|owner: &Arc<Tenant>| &*owner.name == tenant)
            // A peer reaches its tenant's lines by the node's address: that is all a carrier knows.
            || self.settings.is_our_host(host, local)
    }

    /// The domain that addresses of record of `tenant` are written with; `None` for the default tenant without one.
    pub fn domain_of(&self, tenant: &str) -> Option<&str> {
        self.directory.tenant(tenant)?.domains.first().map(|domain| &**domain)
    }

    /// The host to write into an address of this tenant: its domain, or as it was dialled.
    pub fn tenant_host(&self, tenant: &str, uri: &Uri<'_>, local: IpAddr) -> String {
        match self.domain_of(tenant) {
            Some(domain) => domain.to_string(),
            None if tenant == DEFAULT_TENANT && !uri.host.is_empty() => uri.host.to_string(),
            None => HostPort::from(SocketAddr::new(local, 0)).host,
        }
    }

    /// Who the caller is: of a line what the directory says, of a peer what it asserts (RFC 3325) or says.
    pub fn identity(&self, who: &Caller, headers: &Headers, flow: Flow) -> Identity {
        let from = headers.from().ok();
        let anonymous = from.as_ref().is_some_and(|from| from.uri.contains("anonymous.invalid"));
        let hidden = anonymous || headers.privacy().any(|value| matches!(value, "id" | "user" | "header"));
        let shown_name = |address: &NameAddr<'_>| address.display_name().map(|name| name.into_owned());
        match who {
            Caller::Line(line) => {
                // Without a domain of its own the tenant is known by the node's addresses; the caller's word for one is
                // taken only if it is one.
                let written = from.as_ref().and_then(|from| from.parsed_uri().ok()).map(|uri| uri.host);
                let host = self
                    .domain_of(&line.tenant)
                    .or(written.filter(|host| self.settings.is_our_host(host, flow.local.ip())))
                    .map_or_else(|| HostPort::from(flow.local).host, str::to_string);
                // What the directory says wins over what the phone says: a line cannot call under another's name.
                let configured =
                    line.display_name.as_ref().map(|name| name.disclose(Purpose::Signalling).clone());
                let name = configured.or_else(|| from.as_ref().filter(|_| !anonymous).and_then(shown_name));
                Identity::new(format!("sip:{}@{host}", line.name), name, hidden)
            }
            Caller::Peer(peer) => {
                let asserted = headers.p_asserted_identity().filter_map(Result::ok).next();
                let address = asserted.or(from);
                let uri = address.as_ref().and_then(|address| self.uri_from_outside(peer, address, flow));
                match (uri, address) {
                    (Some(uri), Some(address)) => Identity::new(uri, shown_name(&address), hidden),
                    _ => Identity::new(String::from("sip:unknown@unknown.invalid"), None, true),
                }
            }
        }
    }

    /// What a caller of a peer may be called. It is from outside, whatever domain it gives itself: a number in a domain of
    /// ours is shown at the peer's. The name of one of our lines there is nobody's but the line's: `None`.
    fn uri_from_outside(&self, peer: &Peer, address: &NameAddr<'_>, flow: Flow) -> Option<String> {
        let as_it_is = || Some(address.uri.to_string());
        let Ok(uri) = address.parsed_uri() else { return as_it_is() };
        let host = uri.host_without_brackets();
        let is_our_host = || self.settings.is_our_host(host, flow.local.ip());
        let tenant = match self.directory.tenant_of_domain(host, is_our_host) {
            Some(tenant) if !host.is_empty() => tenant,
            _ => return as_it_is(),
        };
        let user = uri.user_unescaped().unwrap_or_default();
        let names_line = |tenant: &str| self.directory.line(tenant, &user).is_some();
        if names_line(&tenant.name) || names_line(&peer.tenant) {
            return None;
        }
        let remote = || HostPort::from(SocketAddr::new(flow.remote.ip(), 0)).host;
        let host = peer.host.as_deref().map_or_else(remote, str::to_string);
        Some(format!("sip:{}@{host}", Escaped(&user)))
    }
}
