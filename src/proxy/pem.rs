//! Certificates and keys from PEM files, with the key of the configuration that named the file.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::tls::Unusable;

/// The certificates of a file, in their order.
///
/// # Errors
/// If the file cannot be read or holds none.
pub fn chain(file: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let unusable =
        |what: String| Unusable { key: key.to_owned(), what: format!("{} {what}", file.display()) };
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if chain.is_empty() { Err(unusable("holds no certificate".to_owned())) } else { Ok(chain) }
}

/// The private key of a file.
///
/// # Errors
/// If the file cannot be read or holds none.
pub fn key(file: &Path, key: &str) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| Unusable {
        key: key.to_owned(),
        what: format!("{} holds no private key: {error}", file.display()),
    })
}
