//! How connections of clients are encrypted: `[tls]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// `[tls]`
#[derive(Clone)]
pub struct Tls {
    /// At least one. The first is for clients that name no host, or one that none is for.
    pub certificates: Vec<Certificate>,
    /// Who issues the certificates by which clients show who they are (PEM).
    pub client_ca: Option<PathBuf>,
    /// Which of those certificates their issuers took back (PEM).
    pub client_crl: Option<PathBuf>,
    /// Whether a client without such a certificate is turned away.
    pub client_required: bool,
    /// How often it is looked whether the files are others; never if it is zero.
    pub watch: Duration,
}

impl Tls {
    /// All files, in the order in which they are named.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        pairs.chain(&self.client_ca).chain(&self.client_crl).map(PathBuf::as_path)
    }
}

/// A certificate and its key, as PEM files.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, then those of its issuers.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}
