//! Where the app is, and how it is reached.

use std::net::IpAddr;
use std::path::PathBuf;

use url::Host;

use super::net::origin;
use super::{between, bytes};
use crate::config::Public;
use crate::config::file::upstream::{RawHealth, RawUpstream};
use crate::config::listen::{Listen, Place};
use crate::config::problem::Problems;
use crate::config::provider::is_loopback;
use crate::config::tls::Certificate;
use crate::config::units::{Size, Span};
use crate::config::upstream::{Health, Protocol, Target, Upstream, UpstreamTls};

pub(super) fn upstream(
    raw: &RawUpstream,
    (listen, public): (&Listen, &Public),
    p: &mut Problems,
) -> Upstream {
    let mut targets: Vec<Target> = app(raw, listen, p).into_iter().collect();
    for (place, text) in raw.more.iter().enumerate() {
        let key = format!("upstream.more[{place}]");
        let Some(further) = target(&key, text, listen, p) else { continue };
        if targets.contains(&further) {
            p.add(key, format!("{further} is there twice"), "remove one");
        }
        targets.push(further);
    }
    between(p, "upstream.failures", raw.failures, 1, 1_000_000);
    let head = bytes(p, "upstream.head", raw.head, Size::kib(4), Size::mib(1));
    between(p, "upstream.rest", raw.rest, Span::millis(0), Span::minutes(60));
    let moment = Span::millis(10);
    between(p, "upstream.connect_timeout", raw.connect_timeout, moment, Span::minutes(5));
    between(p, "upstream.response_timeout", raw.response_timeout, moment, Span::days(1));
    between(p, "upstream.idle_timeout", raw.idle_timeout, moment, Span::days(1));
    // Kept for longer than the app keeps it, a connection breaks under a request.
    between(p, "upstream.keep_alive", raw.keep_alive, Span::millis(0), Span::minutes(5));
    between(p, "upstream.max_idle", raw.max_idle, 0, 65_536);
    between(p, "upstream.ping", raw.ping, Span::millis(0), Span::minutes(60));
    protocol(raw.protocol, &targets, p);
    upgrades(&raw.upgrades, p);
    Upstream {
        tls: tls(raw, &targets, p),
        targets,
        protocol: raw.protocol,
        upgrades: raw.upgrades.clone(),
        rest: raw.rest.0,
        failures: raw.failures,
        health: health(&raw.health, public, p),
        connect_timeout: raw.connect_timeout.0,
        response_timeout: raw.response_timeout.0,
        idle_timeout: raw.idle_timeout.0,
        keep_alive: raw.keep_alive.0,
        max_idle: raw.max_idle,
        head,
        ping: raw.ping.0,
    }
}

/// ALPN is part of TLS, and what is known beforehand needs none.
fn protocol(protocol: Protocol, targets: &[Target], p: &mut Problems) {
    let encrypted = |target: &&Target| matches!(target, Target::Tcp { tls: true, .. });
    let (misfit, what, remedy) = match protocol {
        Protocol::Http1 => return,
        Protocol::H2 | Protocol::Auto => (
            targets.iter().find(|target| !encrypted(target)),
            "is agreed on under TLS, and it is not spoken to",
            "write \"h2c\" for HTTP/2 without TLS, or name the app by https",
        ),
        Protocol::H2c => (
            targets.iter().find(encrypted),
            "is HTTP/2 without TLS, and TLS is spoken to",
            "write \"h2\", or \"auto\" if the app may choose",
        ),
    };
    if let Some(target) = misfit {
        p.add("upstream.protocol", format!("{what} {target}"), remedy);
    }
}

/// Names of protocols (RFC 9110 §7.8), but for HTTP itself, whose requests would pass here unseen.
fn upgrades(upgrades: &[String], p: &mut Problems) {
    for (place, name) in upgrades.iter().enumerate() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b);
        let starts = |with: &str| name.get(..with.len()).is_some_and(|s| s.eq_ignore_ascii_case(with));
        let key = format!("upstream.upgrades[{place}]");
        if name.is_empty() || !name.bytes().all(token) {
            p.add(key, "names no protocol", "write what the header Upgrade says, such as \"websocket\"");
        } else if starts("http") || starts("h2") {
            p.add(
                key,
                "is HTTP again, and no rule would be held against its requests",
                "leave it out; HTTP/2 to the app is `upstream.protocol`",
            );
        }
    }
}

/// How instances are asked whether they are well; not at all without a path.
fn health(raw: &RawHealth, public: &Public, p: &mut Problems) -> Option<Health> {
    between(p, "upstream.health.interval", raw.interval, Span::millis(100), Span::minutes(60));
    between(p, "upstream.health.timeout", raw.timeout, Span::millis(10), Span::minutes(5));
    between(p, "upstream.health.healthy", raw.healthy, 1, 1000);
    between(p, "upstream.health.unhealthy", raw.unhealthy, 1, 1000);
    let path = raw.path.clone()?;
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains('#') {
        p.add("upstream.health.path", "is no path", "write what the app answers, such as /healthz");
    }
    Some(Health {
        path,
        host: public.authority.clone(),
        interval: raw.interval.0,
        timeout: raw.timeout.0,
        healthy: raw.healthy,
        unhealthy: raw.unhealthy,
    })
}

/// How the app shows that it is the app, and we that we are we.
fn tls(raw: &RawUpstream, targets: &[Target], p: &mut Problems) -> UpstreamTls {
    let client = match (&raw.client_certificate, &raw.client_key) {
        (Some(certificate), Some(key)) => {
            Some(Certificate { certificate: certificate.into(), key: key.into() })
        }
        (Some(_), None) => {
            p.add("upstream.client_key", "is not given", "name the file with the key of the certificate");
            None
        }
        (None, Some(_)) => {
            p.add("upstream.client_certificate", "is not given", "name the file with the certificate");
            None
        }
        (None, None) => None,
    };
    let spoken = targets.iter().any(|target| matches!(target, Target::Tcp { tls: true, .. }));
    for (key, given) in [
        ("upstream.ca_file", raw.ca_file.is_some()),
        ("upstream.server_name", raw.server_name.is_some()),
        ("upstream.client_certificate", client.is_some()),
    ] {
        if given && !spoken && !targets.is_empty() {
            p.add(key, "is for an app that is reached by https, and this one is not", "leave it out");
        }
    }
    UpstreamTls {
        ca_file: raw.ca_file.as_ref().map(PathBuf::from),
        server_name: raw.server_name.clone(),
        client,
    }
}

/// The first place where the app listens.
fn app(raw: &RawUpstream, listen: &Listen, p: &mut Problems) -> Option<Target> {
    let key = "upstream.url";
    let Some(text) = &raw.url else {
        if !p.about(key) {
            p.add(
                key,
                "is not given",
                "name the app: --upstream http://127.0.0.1:3000, or `url` under [upstream]",
            );
        }
        return None;
    };
    target(key, text, listen, p)
}

fn target(key: &str, text: &str, listen: &Listen, p: &mut Problems) -> Option<Target> {
    const EXAMPLE: &str = "http://127.0.0.1:3000, where the app listens";
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            p.add(key, "names no absolute path", "write unix:/path/to/socket");
            return None;
        }
        if listen.places.contains(&Place::Unix(path.into())) {
            p.add(key, "is the socket where we listen ourselves", "name the app's own");
        }
        return Some(Target::Unix(path.into()));
    }
    let url = origin(key, text, EXAMPLE, p)?;
    let tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => {
            p.add(key, "is neither http nor https", format!("write {EXAMPLE}"));
            return None;
        }
    };
    let port = url.port_or_known_default().unwrap_or(80);
    let (host, address): (_, Option<IpAddr>) = match url.host()? {
        Host::Domain(name) => (name.to_owned(), None),
        Host::Ipv4(ip) => (ip.to_string(), Some(ip.into())),
        Host::Ipv6(ip) => (ip.to_string(), Some(ip.into())),
    };
    let is_ours = listen.addresses().chain(listen.redirect_http).any(|own| {
        let here = own.ip().is_loopback() || own.ip().is_unspecified();
        let same = address.map_or(is_loopback(&url) && here, |theirs| same_machine(theirs, own.ip()));
        same && port == own.port()
    });
    if port == 0 {
        p.add(key, "has port 0", format!("write {EXAMPLE}"));
    } else if is_ours && !p.about("listen.address") {
        p.add(
            key,
            "is the address where we listen ourselves",
            "name the app's own port, or change `listen.address`",
        );
    }
    Some(Target::Tcp { host, port, tls })
}

fn same_machine(theirs: IpAddr, ours: IpAddr) -> bool {
    theirs == ours || theirs.is_unspecified() || (ours.is_unspecified() && theirs.is_loopback())
}
