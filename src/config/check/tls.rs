//! Certificates for TLS towards the client.

use std::path::PathBuf;

use super::between;
use crate::config::Public;
use crate::config::file::tls::RawTls;
use crate::config::problem::Problems;
use crate::config::tls::{Certificate, Tls};
use crate::config::units::Span;

/// What lists of names that browsers are shipped with ask for (hstspreload.org).
const PRELOADED: Span = Span::days(365);

/// What browsers are told of https (RFC 6797 §6.1); nothing where they come by plain http.
pub(super) fn hsts(raw: &RawTls, public: &Public, p: &mut Problems) -> Option<String> {
    between(p, "tls.hsts", raw.hsts, Span::millis(0), Span::days(3650));
    if raw.hsts_preload && (raw.hsts < PRELOADED || !raw.hsts_subdomains) {
        p.add(
            "tls.hsts_preload",
            "is for names whose subdomains are all https, for a year or longer",
            format!(
                "set `tls.hsts_subdomains = true` and `tls.hsts` to {PRELOADED} or more, or leave it out"
            ),
        );
    }
    let seconds = raw.hsts.0.as_secs();
    if !public.https || seconds == 0 {
        return None;
    }
    let subdomains = if raw.hsts_subdomains { "; includeSubDomains" } else { "" };
    let preload = if raw.hsts_preload { "; preload" } else { "" };
    Some(format!("max-age={seconds}{subdomains}{preload}"))
}

pub(super) fn tls(raw: &RawTls, public: &Public, p: &mut Problems) -> Option<Tls> {
    let first = (raw.certificate.as_deref(), raw.key.as_deref());
    let pairs =
        std::iter::once(("tls".to_owned(), first)).chain(raw.more.iter().enumerate().map(|(place, pair)| {
            (format!("tls.more[{place}]"), (pair.certificate.as_deref(), pair.key.as_deref()))
        }));
    let mut certificates = Vec::new();
    for (table, pair) in pairs {
        match pair {
            (Some(certificate), Some(key)) => {
                certificates.push(Certificate { certificate: certificate.into(), key: key.into() });
            }
            (None, None) if table == "tls" => {}
            (None, _) => p.add(
                format!("{table}.certificate"),
                "is not given",
                "name the file with the certificate and those of its issuers (PEM)",
            ),
            (_, None) => p.add(
                format!("{table}.key"),
                "is not given",
                "name the file with the private key of the certificate (PEM)",
            ),
        }
    }
    if raw.certificate.is_none() && raw.key.is_none() {
        if raw.more.is_empty() && raw.client_ca.is_none() && raw.client_crl.is_none() {
            return None;
        }
        p.add("tls.certificate", "is not given", "name the file with the certificate (PEM)");
    }
    if !public.https && !public.origin.is_empty() {
        p.add(
            "tls.certificate",
            format!("is given, but browsers are told to come by plain http ({})", public.origin),
            "write https:// in `public.url`, or leave `tls` out",
        );
    }
    if raw.client_required && raw.client_ca.is_none() {
        p.add(
            "tls.client_required",
            "asks for certificates of clients, and nobody is named who issues them",
            "name the issuers in `tls.client_ca`",
        );
    }
    if raw.client_crl.is_some() && raw.client_ca.is_none() {
        p.add(
            "tls.client_crl",
            "takes certificates of clients back, and nobody is named who issues them",
            "name the issuers in `tls.client_ca`",
        );
    }
    if raw.watch != Span::millis(0) {
        between(p, "tls.watch", raw.watch, Span::seconds(1), Span::days(1));
    }
    Some(Tls {
        certificates,
        watch: raw.watch.0,
        client_ca: raw.client_ca.as_ref().map(PathBuf::from),
        client_crl: raw.client_crl.as_ref().map(PathBuf::from),
        client_required: raw.client_required,
    })
}
