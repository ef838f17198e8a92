//! What can be wrong with certificates; each error names the file.

use std::{io, path::PathBuf};

/// A certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file holds no certificate in PEM form.
    #[error("no certificate in {path}")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no private key in PEM form.
    #[error("no private key in {path}")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The file is no proper PEM.
    #[error("{path} is not well-formed PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind we cannot sign with, or is not the certificate's.
    #[error("the key in {key} does not fit the certificate in {certificate}: {source}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// No system file with certificate authorities was found.
    #[error("no certificate authorities found on this system")]
    NoRoots,
    /// A self-signed certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The TLS library refuses the configuration.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsError {
    /// What the operator can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path and that the node's user may read it",
            Self::Write { .. } => "make the directory writable for the node's user",
            Self::NoCertificate { .. } => {
                "it must hold the certificate chain, ours first, as BEGIN CERTIFICATE blocks"
            }
            Self::NoKey { .. } => "it must hold an unencrypted key as a BEGIN PRIVATE KEY block",
            Self::Malformed { .. } => "copy the file again; a block is cut off or not base64",
            Self::Mismatch { .. } => "write the key that belongs to the first certificate of the chain",
            Self::NoRoots => "install the package ca-certificates or name a file with authorities",
            Self::Generate(_) | Self::Setup(_) => "this is a fault of Offhook; please report it",
        }
    }
}
