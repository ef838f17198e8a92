//! What connections are dressed in: TLS, WebSocket, both, or nothing.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use offhook_net::tls::{CertificateFiles, ClientTls, ClientTlsConfig, ServerTls, TlsError};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::ServerName};

use super::{Refusal, address, options::Options, stream::Stream, websocket::WebSocket};

/// Where SIPp looks for certificate and key.
const CERTIFICATE_FILE: &str = "cacert.pem";
const KEY_FILE: &str = "cakey.pem";

/// How connections are dressed.
#[derive(Clone, Default)]
pub struct Security {
    /// For connections that we open, and whom the other side must prove to be.
    client: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// For connections that we take.
    server: Option<Arc<ServerConfig>>,
    /// The host that WebSocket requests name; `None`: no WebSocket.
    authority: Option<String>,
}

fn refuse(error: &TlsError) -> Refusal {
    Refusal::fatal(format!("{error}\nhint: {}", error.hint()))
}

impl Security {
    /// As the options want it.
    pub fn of(options: &Options, is_server: bool, remote: Option<SocketAddr>) -> Result<Self, Refusal> {
        let transport = options.transport;
        let host = options.remote.as_deref().map(address::host_of);
        let mut security = Self::default();
        if transport.websocket {
            let name = host.clone().unwrap_or_default();
            let name = if name.contains(':') { format!("[{name}]") } else { name };
            let port = remote.map_or(0, |remote| remote.port());
            security.authority = Some(format!("{name}:{port}"));
        }
        if !transport.tls {
            return Ok(security);
        }
        let files = certificate_files(options);
        if is_server {
            let tls = ServerTls::load(files).map_err(|error| {
                let hint = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout cakey.pem -out cacert.pem";
                Refusal::fatal(format!("{error}\nhint: name files with -tls_cert and -tls_key, or make them: {hint}"))
            })?;
            security.server = Some(tls.config());
            return Ok(security);
        }
        let certificate = files.certificate.exists().then_some(files);
        let roots: Vec<PathBuf> = options.tls.authorities.iter().map(PathBuf::from).collect();
        // As SIPp: whoever answers is believed, unless authorities are named.
        let verifies = !roots.is_empty();
        let config = ClientTlsConfig { extra_roots: roots, only_extra_roots: verifies, certificate };
        let tls = ClientTls::new(&config).map_err(|error| refuse(&error))?;
        let name = match (host.as_deref().map(|host| ServerName::try_from(host.to_string())), remote) {
            (Some(Ok(name)), _) => name,
            (_, Some(remote)) => ServerName::IpAddress(remote.ip().into()),
            _ => return Ok(security),
        };
        security.client = Some((tls.config(verifies), name));
        Ok(security)
    }

    /// Dresses a connection that we opened, or took.
    pub fn dress(&self, stream: Stream, opened: bool) -> io::Result<Stream> {
        let failed = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut stream = match (&self.client, &self.server) {
            (Some((config, name)), _) if opened => {
                let tls = ClientConnection::new(Arc::clone(config), name.clone()).map_err(failed)?;
                stream.with_tls(tls.into())
            }
            (_, Some(config)) if !opened => {
                stream.with_tls(ServerConnection::new(Arc::clone(config)).map_err(failed)?.into())
            }
            _ => stream,
        };
        if let Some(authority) = &self.authority {
            let end = if opened {
                WebSocket::client(authority, self.client.is_some())?
            } else {
                WebSocket::server()?
            };
            stream = stream.with_websocket(end);
        }
        Ok(stream)
    }
}

fn certificate_files(options: &Options) -> CertificateFiles {
    let path = |given: &Option<String>, usual: &str| given.as_deref().unwrap_or(usual).into();
    CertificateFiles {
        certificate: path(&options.tls.certificate, CERTIFICATE_FILE),
        key: path(&options.tls.key, KEY_FILE),
    }
}
