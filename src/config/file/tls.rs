//! The shape of `[tls]`.

use serde::Deserialize;

use crate::config::units::Span;

table! {
    /// `[tls]`
    RawTls {
        certificate: Option<String> = None,
        key: Option<String> = None,
        more: Vec<RawCertificate> = Vec::new(),
        client_ca: Option<String> = None,
        client_crl: Option<String> = None,
        client_required: bool = false,
        watch: Span = Span::minutes(1),
        hsts: Span = Span::days(365),
        hsts_subdomains: bool = false,
        hsts_preload: bool = false,
    }
}

table! {
    /// One of `[[tls.more]]`
    RawCertificate {
        certificate: Option<String> = None,
        key: Option<String> = None,
    }
}
