//! Certificates and keys from PEM files, with the key of the configuration that named the file.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

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
        .map_err(|error| unusable(unreadable(&error)))?;
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

/// The lists of certificates that were taken back, of a file (RFC 5280 §5).
///
/// # Errors
/// If the file cannot be read or holds none.
pub fn revoked(file: &Path, key: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, Problems> {
    let unusable = |what: String| {
        let remedy =
            "name a PEM file with the list of each issuer: openssl crl -in LIST -noout -text shows one";
        Problems::one(key, format!("{} {what}", file.display()), remedy)
    };
    let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(unreadable(&error)))?;
    if lists.is_empty() { Err(unusable("holds no revocation list".to_owned())) } else { Ok(lists) }
}

/// What the head of a key says that a passphrase opens (RFC 7468 §11, RFC 1421 §4.6.1.1).
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// The private key of a file.
///
/// # Errors
/// If the file cannot be read, holds none, or one that a passphrase opens.
pub fn key(file: &Path, key: &str) -> Result<PrivateKeyDer<'static>, Problems> {
    if fs::read_to_string(file).is_ok_and(|text| ENCRYPTED.iter().any(|mark| text.contains(mark))) {
        return Err(Problems::one(
            key,
            format!("{} is encrypted, and nobody can type its passphrase at a start", file.display()),
            "take it off: openssl pkey -in KEY -out PLAIN; and let nobody else read that file",
        ));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        let what = match error {
            pem::Error::Io(_) => unreadable(&error),
            pem::Error::NoItemsFound => "holds no private key".to_owned(),
            _ => format!("holds no private key: {error}"),
        };
        let remedy = "name a PEM file with the key that belongs to the certificate";
        Problems::one(key, format!("{} {what}", file.display()), remedy)
    })
}

/// Why nothing can be read of a file.
fn unreadable(error: &pem::Error) -> String {
    match error {
        // Its own words begin with the kind of error, which goes without saying here.
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        _ => format!("cannot be read: {error}"),
    }
}
