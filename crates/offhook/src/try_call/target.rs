//! Where the node speaks SIP, and what its addresses of record look like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use offhook_node::config::Config;
use offhook_sip::transport::Transport;
use serde_json::Value;

use super::TryArgs;
use crate::{client::Client, failure::Failure};

/// Where the phones go.
pub struct Target {
    /// The node's SIP socket.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// The host part of the lines' addresses.
    pub domain: String,
}

impl Target {
    /// What `--to` says; else the listener of the configuration, on the host where the API is.
    pub async fn find(
        client: &Client,
        config: &Config,
        url: Option<&str>,
        args: &TryArgs,
    ) -> Result<Self, Failure> {
        let transport = args.transport.into();
        let address = match &args.to {
            Some(to) => resolve(to, transport).await?,
            None => {
                let listener = listener(config, transport)?;
                match url.and_then(host_of) {
                    Some(host) => resolve(&format!("{host}:{}", listener.port()), transport).await?,
                    None => listener,
                }
            }
        };
        let domain = domain(client, &args.tenant).await?.unwrap_or_else(|| host_text(address.ip()));
        Ok(Self { address, transport, domain })
    }
}

/// The first listener for `transport`; one on all addresses is reached on the loopback.
fn listener(config: &Config, transport: Transport) -> Result<SocketAddr, Failure> {
    let listeners = config.sip.listen.iter().map(|listener| listener.address);
    let found = listeners.filter(|listener| listener.transport == transport).map(|found| found.socket).next();
    let mut socket = found.ok_or_else(|| {
        let what = format!("the configuration has no SIP listener for {transport}");
        Failure::new(what, "choose another --transport, add one to sip.listen, or name the address with --to")
    })?;
    if socket.ip().is_unspecified() {
        socket.set_ip(if socket.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        });
    }
    Ok(socket)
}

/// The host of `--url`, with its brackets if it is an IPv6 address.
fn host_of(url: &str) -> Option<String> {
    reqwest::Url::parse(url).ok()?.host_str().map(Into::into)
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; the port of SIP where there is none.
async fn resolve(to: &str, transport: Transport) -> Result<SocketAddr, Failure> {
    let hint = "write it like 192.0.2.1:5060 or sip.example.org";
    let port = transport.default_port();
    let with_port = match to.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) if to.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => to.into(),
        Err(_) => format!("{to}:{port}"),
    };
    let mut found = tokio::net::lookup_host(&with_port)
        .await
        .map_err(|error| Failure::new(format!("cannot find {to}: {error}"), hint))?;
    found.next().ok_or_else(|| Failure::new(format!("{to} has no address"), hint))
}

/// The first domain of the tenant. The default tenant may have none: then every address of the node is its domain.
async fn domain(client: &Client, tenant: &str) -> Result<Option<String>, Failure> {
    let path = format!("/tenants/{}", crate::command::segment(tenant));
    let tenant: Value = client.get(&path, &[]).await?;
    Ok(tenant["domains"][0].as_str().map(Into::into))
}

fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_tried_on_the_loopback() {
        let config = Config::default();
        let found = |transport| listener(&config, transport).ok().map(|found| found.to_string());
        assert_eq!(found(Transport::Udp).as_deref(), Some("127.0.0.1:5060"));
        assert_eq!(found(Transport::Wss), None);
    }

    #[tokio::test]
    async fn an_address_may_leave_its_port_out() {
        for (text, wanted) in [
            ("192.0.2.1", "192.0.2.1:5060"),
            ("192.0.2.1:5070", "192.0.2.1:5070"),
            ("2001:db8::1", "[2001:db8::1]:5060"),
            ("[2001:db8::1]", "[2001:db8::1]:5060"),
            ("[2001:db8::1]:5070", "[2001:db8::1]:5070"),
        ] {
            let found = resolve(text, Transport::Udp).await.ok().map(|found| found.to_string());
            assert_eq!(found.as_deref(), Some(wanted), "{text}");
        }
    }
}
