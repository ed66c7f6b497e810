//! Where the app is, and how it is reached: `[upstream]`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::tls::Certificate;

/// `[upstream]`
#[derive(Clone)]
pub struct Upstream {
    /// Where the app listens; several places are several instances of the same app.
    pub targets: Vec<Target>,
    /// Which HTTP is spoken there.
    pub protocol: Protocol,
    /// Protocols for which a request may leave HTTP.
    pub upgrades: Vec<String>,
    /// How it shows that it is the app, where it is reached by TLS.
    pub tls: UpstreamTls,
    /// How long an instance that failed is passed over, if there are others.
    pub rest: Duration,
    /// Broken exchanges in a row after which an instance counts as failed.
    pub failures: u32,
    /// How instances are asked whether they are well, if they are.
    pub health: Option<Health>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub response_timeout: Duration,
    /// How long an answer's body may pause.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept; shorter than the app keeps it.
    pub keep_alive: Duration,
    /// Unused connections kept by each worker.
    pub max_idle: usize,
    /// How long an app that owes an answer by HTTP/2 may be silent before it is asked whether it is still there,
    /// and how long it may then take to say so; zero if it is not asked.
    pub ping: Duration,
    /// Largest head of an answer, in bytes.
    pub head: usize,
}

/// `[upstream.health]`
#[derive(Clone)]
pub struct Health {
    /// What is asked for.
    pub path: String,
    /// The authority that it is asked of: what `Host` says.
    pub host: String,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row after which an instance is well again.
    pub healthy: u32,
    /// Bad answers in a row after which it is not.
    pub unhealthy: u32,
}

impl Upstream {
    /// The first place where the app listens, as an origin is written.
    pub fn origin(&self) -> String {
        self.targets.first().map(Target::to_string).unwrap_or_default()
    }
}

/// Which HTTP is spoken to the app.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 under TLS, agreed on by ALPN (RFC 9113 §3.2).
    H2,
    /// HTTP/2 without TLS, known beforehand (RFC 9113 §3.3).
    H2c,
    /// What the app prefers of both, agreed on by ALPN.
    Auto,
}

/// One place where the app listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host name or address (IPv6 without brackets) and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Target {
    /// Whether it is this address, as it is written.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        let Self::Tcp { host, port, .. } = self else { return false };
        let same = match host.parse::<IpAddr>() {
            Ok(ip) => ip == address.ip(),
            Err(_) => host == "localhost" && address.ip().is_loopback(),
        };
        same && *port == address.port()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let (scheme, usual) = if *tls { ("https", 443) } else { ("http", 80) };
                write!(f, "{scheme}://")?;
                if host.contains(':') {
                    write!(f, "[{host}]")?;
                } else {
                    f.write_str(host)?;
                }
                if *port == usual { Ok(()) } else { write!(f, ":{port}") }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// TLS towards the app.
#[derive(Clone, Default)]
pub struct UpstreamTls {
    /// Who issues the app's certificate (PEM), in place of the authorities of the web.
    pub ca_file: Option<PathBuf>,
    /// The name that the app's certificate is for, in place of the host that it is reached at.
    pub server_name: Option<String>,
    /// The certificate by which we show the app who we are.
    pub client: Option<Certificate>,
}
