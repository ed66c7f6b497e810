//! Certificate authorities of one's own, from the files that providers and the mail server name.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Config;
use super::mail::{Mail, Transport};
use super::problem::Problems;

/// What to do about any of them.
const REMEDY: &str = "name a PEM file with the certificates of the authorities";

/// Reads every `ca_file` of a section that is good otherwise, and notes all that cannot be used.
pub(super) fn read(config: &mut Config, problems: &mut Problems) {
    if let Some(Mail { transport: Transport::Smtp(smtp), .. }) = &mut config.mail
        && !problems.within("mail")
        && let Some(file) = &smtp.ca_file
    {
        match certificates(file) {
            Ok(certificates) => smtp.authorities = certificates,
            Err(what) => problems.add("mail.smtp.ca_file", what, REMEDY),
        }
    }
    if problems.within("providers") {
        return;
    }
    for (i, provider) in config.providers.iter_mut().enumerate() {
        let Some(file) = &provider.ca_file else { continue };
        match certificates(file) {
            Ok(certificates) => provider.authorities = certificates,
            Err(what) => {
                let key = format!("providers[{i}].ca_file");
                problems.add(key, what, REMEDY);
            }
        }
    }
}

/// The certificates of a PEM file, at least one, each fit to be an authority; or what is wrong.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let name = file.display();
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if found.is_empty() {
        return Err(format!("{name} holds no certificate"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| format!("{name} holds no authority: {error}"))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_an_authority_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        assert!(certificates(&path).is_err_and(|what| what.contains("cannot be read")));
        for (text, says) in [
            ("", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no authority"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "cannot be read"),
        ] {
            std::fs::write(&path, text).expect("written");
            let what = certificates(&path).expect_err(text);
            assert!(what.contains(says), "{what}");
        }
    }
}
