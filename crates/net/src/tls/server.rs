//! The server's side of TLS: one certificate, exchanged without touching live connections.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{CertificateFiles, TlsError, provider};

/// Certificate and key of a TLS or WSS listener. Share one between listeners that show the same certificate.
pub struct ServerTls {
    files: CertificateFiles,
    current: Arc<CurrentKey>,
    config: Arc<ServerConfig>,
    /// When the files that are in use were written.
    written: Mutex<Option<(SystemTime, SystemTime)>>,
}

impl ServerTls {
    /// Reads the files: TLS 1.2 and 1.3, no client certificates asked for.
    ///
    /// # Errors
    /// [`TlsError`] if a file is missing, malformed, or the key does not fit.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let provider = provider();
        // Before the files are read: a write in between is seen as a change.
        let written = Mutex::new(files.written());
        let current = Arc::new(CurrentKey(RwLock::new(Arc::new(files.load(&provider)?))));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<CurrentKey>::clone(&current));
        Ok(Self { files, current, config: Arc::new(config), written })
    }

    /// Reads the files again, for SIGHUP. Handshakes from now on show the new certificate; live connections go on.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let written = self.files.written();
        let key = self.files.load(&provider())?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
        Ok(())
    }

    /// [`reload`](Self::reload) if a file was written since; says whether it was. For a poll every few seconds. A pair
    /// that does not fit is tried again at the next poll: the other file may be on its way.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays in use.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let now = self.files.written();
        if now.is_none() || now == *self.written.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(false);
        }
        self.reload()?;
        Ok(true)
    }

    /// Where certificate and key come from.
    pub const fn files(&self) -> &CertificateFiles {
        &self.files
    }

    /// For a TLS acceptor, here or in an HTTP server.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Without the key.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Locked for the time of a pointer copy, once per handshake.
#[derive(Debug)]
struct CurrentKey(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
