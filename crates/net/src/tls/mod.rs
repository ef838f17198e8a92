//! Certificates and keys: from files, made at the first start, and exchanged while connections live.

mod client;
mod error;
mod files;
mod self_signed;
mod server;

pub use client::{ClientTls, ClientTlsConfig};
pub use error::TlsError;
pub use files::CertificateFiles;
pub use self_signed::{CERTIFICATE_FILE, KEY_FILE, find_or_make};
pub use server::ServerTls;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The one crypto library of the process, named here so that no process-wide default is needed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
