//! The shape of what concerns whoever runs the program: the admin listener, log lines, traces.

use serde::Deserialize;

use crate::config::units::Span;

table! {
    /// `[admin]`; without an address there is none.
    RawAdmin {
        address: Option<String> = None,
    }
}

table! {
    /// `[log]`
    RawLog {
        format: LogFormat = LogFormat::Text,
        level: String = "info".to_owned(),
        access: bool = true,
        keep_sign_ins: Span = Span::days(400),
    }
}

/// `log.format`
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

table! {
    /// `[trace]`; without an endpoint nothing is traced.
    RawTrace {
        otlp_endpoint: Option<String> = None,
        sample: f64 = 1.0,
        service: String = "sidegate".to_owned(),
    }
}
