//! Addresses: what browsers call us, and where the store is.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::{Host, Url};

use super::between;
use crate::config::file::ops::RawAdmin;
use crate::config::file::{RawAccess, RawPublic, RawStore, STORE_URL};
use crate::config::listen::{Listen, Place};
use crate::config::problem::Problems;
use crate::config::provider::is_loopback;
use crate::config::upstream::Upstream;
use crate::config::{Database, Public, Store};

/// Where the admin listener is. It tells nothing secret, but nothing that everyone should know either.
pub(super) fn admin(
    raw: &RawAdmin,
    (listen, upstream): (&Listen, &Upstream),
    p: &mut Problems,
    dangers: &mut Vec<String>,
) -> Option<SocketAddr> {
    let key = "admin.address";
    let text = raw.address.as_ref()?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let what = format!("{} is not an IP address and a port", p.quote(key, text));
        p.add(key, what, "write \"127.0.0.1:9180\"");
        return None;
    };
    let taken = |visitors: SocketAddr| visitors.port() == address.port() && address.port() != 0;
    if listen.addresses().chain(listen.redirect_http).any(taken) {
        p.add(key, "has a port of `[listen]`", "write another port: it is not for visitors");
        return None;
    }
    if upstream.targets.iter().any(|target| target.is_at(address)) {
        p.add(key, "is where the app is said to be", "write another port, or correct `upstream.url`");
        return None;
    }
    if !address.ip().is_loopback() {
        dangers.push(format!("admin.address: whoever can reach {address} can read the metrics"));
    }
    Some(address)
}

pub(super) fn public(
    raw: &RawPublic,
    listen: &Listen,
    p: &mut Problems,
    dangers: &mut Vec<String>,
) -> Public {
    let key = "public.url";
    let Some(url) = public_url(raw, listen, p) else {
        return Public { origin: String::new(), authority: String::new(), https: false, name: String::new() };
    };
    let https = url.scheme() == "https";
    let local = is_loopback(&url);
    if !https && !local {
        if raw.danger_plain_http {
            dangers.push(format!(
                "public.danger_plain_http: passwords and sessions travel to {url} unencrypted"
            ));
        } else if !p.about("public.danger_plain_http") {
            p.add(
                key,
                "is plain http, so that everyone on the way can read passwords and sessions",
                "write https://, or set `public.danger_plain_http = true`",
            );
        }
    }
    let host = url.host_str().unwrap_or_default();
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let name = raw.name.clone().unwrap_or_else(|| host.to_owned());
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        p.add(
            "public.name",
            "is empty or holds a control character",
            "write a name to be shown on the pages",
        );
    }
    let public = Public { origin: url.origin().ascii_serialization(), authority, https, name };
    dangers.extend(listen.addresses().find_map(|address| public.danger_at(address)));
    public
}

/// The given URL if it is an origin, or else one that follows from where we listen.
fn public_url(raw: &RawPublic, listen: &Listen, p: &mut Problems) -> Option<Url> {
    let key = "public.url";
    let Some(text) = &raw.url else {
        if p.about(key) || p.about("listen.address") {
            return None;
        }
        let from = match listen.first().reachable() {
            Place::Tcp(address) if address.port() != 0 => {
                return Url::parse(&format!("http://{address}")).ok();
            }
            Place::Tcp(_) => "port 0",
            Place::Unix(_) => "a socket in the file system",
            Place::Passed => "what systemd hands over",
        };
        let what = format!("is not given and cannot follow from {from}");
        p.add(key, what, "write what browsers shall call us");
        return None;
    };
    let url = origin(key, text, "https://app.example", p)?;
    if !matches!(url.scheme(), "http" | "https") {
        p.add(key, "is neither http nor https", "write https://app.example");
        return None;
    }
    let nowhere = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_unspecified(),
        Some(Host::Domain(name)) => !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        None => true,
    };
    if url.host_str().is_some_and(|host| host.ends_with('.')) {
        p.add(key, "names a host that ends in a dot, and browsers send none", "leave the dot out");
        return None;
    }
    if nowhere || url.port() == Some(0) {
        p.add(key, "names no host and port that a browser can reach", "write the address that people type");
        return None;
    }
    Some(url)
}

/// Scheme, host and port, and nothing else. What is wrong is told without the text, which may
/// hold a password.
pub(super) fn origin(key: &str, text: &str, example: &str, p: &mut Problems) -> Option<Url> {
    let remedy = format!("write {example}");
    let Ok(url) = Url::parse(text) else {
        p.add(key, "is not a URL with scheme and host", remedy);
        return None;
    };
    let extra = if !url.username().is_empty() || url.password().is_some() {
        "holds a user name or password"
    } else if !url.has_host() {
        "has no host"
    } else if !matches!(url.path(), "" | "/") {
        "has a path"
    } else if url.query().is_some() || url.fragment().is_some() {
        "has a query or a fragment"
    } else {
        return Some(url);
    };
    p.add(key, extra, remedy);
    None
}

/// The origins whose pages may act for a user, ours first.
pub(super) fn origins(raw: &[String], public: &Public, p: &mut Problems) -> Vec<String> {
    let mut origins = vec![public.origin.clone()];
    for (i, text) in raw.iter().enumerate() {
        let key = format!("access.origins[{i}]");
        if let Some(url) = origin(&key, text, "https://www.example", p) {
            if matches!(url.scheme(), "http" | "https") {
                origins.push(url.origin().ascii_serialization());
            } else {
                p.add(key, "is neither http nor https", "write https://www.example");
            }
        }
    }
    origins
}

pub(super) fn cross_site_writes(raw: &RawAccess, dangers: &mut Vec<String>) -> bool {
    if raw.danger_cross_site_writes {
        dangers.push(
            "access.danger_cross_site_writes: pages of sibling subdomains can act as whoever is signed in"
                .to_owned(),
        );
    }
    raw.danger_cross_site_writes
}

pub(super) fn store(raw: &RawStore, p: &mut Problems) -> Store {
    between(p, "store.connections", raw.connections, 1, 1000);
    let key = if raw.url_file.is_some() { "store.url_file" } else { "store.url" };
    let url = raw.url.as_deref().unwrap_or(STORE_URL);
    let database = database(url).unwrap_or_else(|(what, remedy)| {
        p.add(key, what, remedy);
        Database::Sqlite(PathBuf::new())
    });
    Store { database, migrate: raw.migrate, connections: raw.connections }
}

fn database(url: &str) -> Result<Database, (&'static str, &'static str)> {
    let url = url.trim();
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return match Url::parse(url) {
            Ok(_) => Ok(Database::Postgres(url.to_owned())),
            Err(_) => Err((
                "is not a URL that PostgreSQL clients read (not shown, for it may hold a password)",
                "write postgres://user:password@host/database, with special characters of the password as %XX",
            )),
        };
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err((
            "names neither SQLite nor PostgreSQL",
            "write sqlite:path/to/file or postgres://user:password@host/database",
        ));
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.ends_with('/') {
        Err(("names no file", "write sqlite:path/to/file"))
    } else if path.starts_with(':') {
        Err(("would keep nothing beyond this run", "write sqlite:path/to/file"))
    } else if path.contains(['?', '#', '\0']) {
        Err(("has SQLite parameters", "write the path alone: sqlite:path/to/file"))
    } else {
        Ok(Database::Sqlite(path.into()))
    }
}

/// Addresses behind which many may be.
pub(super) fn uncounted(raw: &[String], p: &mut Problems, dangers: &mut Vec<String>) -> Vec<IpNet> {
    let nets: Vec<IpNet> = networks("limits.uncounted", raw, p).into_iter().map(|(_, net)| net).collect();
    if hold_everybody(&nets) {
        dangers.push("limits.uncounted: one address may take all connections".to_owned());
    }
    nets
}

/// Whether these networks together are all addresses of one kind.
pub(super) fn hold_everybody(nets: &[IpNet]) -> bool {
    IpNet::aggregate(&nets.to_vec()).iter().any(|net| net.prefix_len() == 0)
}

/// The networks of a list, each with the key of its place.
pub(super) fn networks(list: &str, raw: &[String], p: &mut Problems) -> Vec<(String, IpNet)> {
    let mut nets = Vec::new();
    for (i, text) in raw.iter().enumerate() {
        let key = format!("{list}[{i}]");
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let shown = p.quote(&key, text);
        match net {
            Err(_) => p.add(key, format!("{shown} is not a network"), "write \"10.0.0.0/8\" or \"10.1.2.3\""),
            Ok(net) if net.trunc() != net => {
                let remedy = format!(
                    "write \"{}\" for the network or \"{}\" for the address",
                    net.trunc(),
                    net.addr()
                );
                p.add(key, format!("{shown} is an address inside its network"), remedy);
            }
            Ok(net) => nets.push((key, net)),
        }
    }
    nets
}
