//! Who is told of requests as parts of traces.

use url::{Host, Url};

use crate::config::file::ops::RawTrace;
use crate::config::problem::Problems;
use crate::config::trace::Trace;
use crate::config::upstream::Target;
use crate::trace::Share;

/// Where a collector takes spans by HTTP, below what is configured (OTLP §"OTLP/HTTP Request").
const TRACES: &str = "v1/traces";

pub(super) fn trace(raw: &RawTrace, p: &mut Problems) -> Option<Trace> {
    if !(0.0..=1.0).contains(&raw.sample) {
        p.add("trace.sample", format!("{} is no part of a whole", raw.sample), "write 0.0 to 1.0");
    }
    if raw.service.trim().is_empty() {
        p.add("trace.service", "is empty", "write what spans of this site are filed under");
    }
    let key = "trace.otlp_endpoint";
    let text = raw.otlp_endpoint.as_ref()?;
    let remedy = "write \"http://127.0.0.1:4318\"";
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host()?))) else {
        p.add(key, "is not an http or https URL", remedy);
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        p.add(key, "holds a user name, a password or a query", remedy);
        return None;
    }
    let tls = url.scheme() == "https";
    let port = url.port_or_known_default().unwrap_or(4318);
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let host = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    Some(Trace {
        target: Target::Tcp { host, port, tls },
        authority,
        path: format!("{}/{TRACES}", url.path().trim_end_matches('/')),
        share: Share::new(raw.sample),
        service: raw.service.clone(),
    })
}
