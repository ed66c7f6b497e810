//! Certificates and keys from PEM files, with the key of the configuration that named the file.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::problem::Problems;

/// The certificates of a file, in their order.
///
/// # Errors
/// If the file cannot be read or holds none.
pub fn chain(file: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, Problems> {
    let unusable = |what: String| {
        let remedy = "name a PEM file with the certificate, then those of its issuers";
        Problems::one(key, format!("{} {what}", file.display()), remedy)
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if chain.is_empty() { Err(unusable("holds no certificate".to_owned())) } else { Ok(chain) }
}

/// The authorities of a file.
///
/// # Errors
/// If the file cannot be read, holds none, or one that cannot be used.
pub fn authorities(file: &Path, key: &str) -> Result<RootCertStore, Problems> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file, key)? {
        roots.add(certificate).map_err(|error| {
            let what = format!("{} holds no authority: {error}", file.display());
            Problems::one(key, what, "name a PEM file with the certificates of the authorities")
        })?;
    }
    Ok(roots)
}

/// The private key of a file.
///
/// # Errors
/// If the file cannot be read or holds none.
pub fn key(file: &Path, key: &str) -> Result<PrivateKeyDer<'static>, Problems> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        let what = format!("{} holds no private key: {error}", file.display());
        Problems::one(key, what, "name a PEM file with the key that belongs to the certificate")
    })
}
