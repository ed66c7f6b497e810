//! The shape of `[tls]`.

use serde::Deserialize;

table! {
    /// `[tls]`
    RawTls {
        certificate: Option<String> = None,
        key: Option<String> = None,
        more: Vec<RawCertificate> = Vec::new(),
        client_ca: Option<String> = None,
        client_required: bool = false,
    }
}

table! {
    /// One of `[[tls.more]]`
    RawCertificate {
        certificate: Option<String> = None,
        key: Option<String> = None,
    }
}
