//! The client's side of TLS: whom we believe when we connect.

use std::{
    env, fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{CertificateFiles, TlsError, files::certificates, provider};

/// Where Linux distributions keep all certificate authorities in one file.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older RHEL
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/ssl/cert.pem",                  // others
];

/// Whom to believe, and who we are.
#[derive(Clone, Debug, Default)]
pub struct ClientTlsConfig {
    /// PEM files with authorities to believe besides the system's.
    pub extra_roots: Vec<PathBuf>,
    /// Believe only `extra_roots`. Default false.
    pub only_extra_roots: bool,
    /// Shown to servers that ask for it. Default none.
    pub certificate: Option<CertificateFiles>,
}

/// Opens TLS connections.
#[derive(Clone)]
pub struct ClientTls {
    verifying: Arc<ClientConfig>,
    /// For peers the operator marked `insecure`: encrypted, but with whomever.
    insecure: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads authorities and our own certificate. A system without authorities is no error as long as there are extra
    /// ones.
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn new(config: &ClientTlsConfig) -> Result<Self, TlsError> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        for path in &config.extra_roots {
            roots.add_parsable_certificates(certificates(path)?);
        }
        if !config.only_extra_roots {
            // A bundle may hold some that rustls cannot read; the rest counts.
            if let Some(path) = system_roots() {
                roots.add_parsable_certificates(certificates(&path)?);
            }
        }
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let verifying = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let insecure = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
        let (verifying, insecure) = match &config.certificate {
            None => (verifying.with_no_client_auth(), insecure.with_no_client_auth()),
            Some(files) => {
                let chain = certificates(&files.certificate)?;
                let key = files.private_key()?;
                let misfit = |source| TlsError::Mismatch {
                    certificate: files.certificate.clone(),
                    key: files.key.clone(),
                    source,
                };
                let verifying =
                    verifying.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(misfit)?;
                (verifying, insecure.with_client_auth_cert(chain, key).map_err(misfit)?)
            }
        };
        Ok(Self { verifying: Arc::new(verifying), insecure: Arc::new(insecure) })
    }

    /// For a TLS client that is driven elsewhere; `verify` as for a peer here.
    pub fn config(&self, verify: bool) -> Arc<ClientConfig> {
        Arc::clone(if verify { &self.verifying } else { &self.insecure })
    }

    /// Shakes hands with the server at `ip`, which must prove to be `name` (or the address itself) unless `verify` is
    /// false. The name is sent as SNI.
    ///
    /// # Errors
    /// Of kind `InvalidInput` if `name` cannot be a host name; else what TLS or TCP say.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: S,
        name: Option<&str>,
        ip: IpAddr,
        verify: bool,
    ) -> io::Result<TlsStream<S>> {
        let server = match name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            None => ServerName::IpAddress(ip.into()),
        };
        let config = if verify { &self.verifying } else { &self.insecure };
        TlsConnector::from(Arc::clone(config)).connect(server, io).await
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// The file that `SSL_CERT_FILE` names, else the first of the usual ones that is there.
fn system_roots() -> Option<PathBuf> {
    let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_ROOTS.iter().map(PathBuf::from);
    named.into_iter().chain(usual).find(|path| Path::exists(path))
}

/// Believes any certificate, but still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
