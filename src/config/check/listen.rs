//! Where we listen, and whom we believe when they say who stood before them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::between;
use super::net::{hold_everybody, networks};
use crate::config::Public;
use crate::config::file::Raw;
use crate::config::file::listen::{RawListen, RawProxies};
use crate::config::listen::{Listen, PASSED, Place, ProxyProtocol};
use crate::config::problem::Problems;
use crate::config::proxies::Proxies;

/// Longest path of a socket, in bytes: what the system takes (`sun_path`), less the name that it has while it is made.
const LONGEST_SOCKET_PATH: usize = 96;

pub(super) fn listen(raw: &RawListen, cores: usize, p: &mut Problems) -> Listen {
    let mut places: Vec<Place> = place("listen.address", &raw.address, p).into_iter().collect();
    for (i, text) in raw.more.iter().enumerate() {
        let key = format!("listen.more[{i}]");
        let Some(further) = place(&key, text, p) else { continue };
        if places.contains(&further) && !matches!(further, Place::Tcp(address) if address.port() == 0) {
            let what = format!("{} is there twice", p.quote(&key, text));
            p.add(key, what, "remove one");
        }
        places.push(further);
    }
    between(p, "listen.workers", raw.workers, 0, 1024);
    Listen {
        places,
        socket_mode: socket_mode(&raw.socket_mode, p),
        proxy_protocol: raw.proxy_protocol == ProxyProtocol::Required,
        redirect_http: redirect_http(raw, p),
        workers: if raw.workers == 0 { cores } else { raw.workers },
    }
}

fn place(key: &str, text: &str, p: &mut Problems) -> Option<Place> {
    if text == PASSED {
        return Some(Place::Passed);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        let path = Path::new(path);
        if !path.is_absolute() || path.file_name().is_none() || text.ends_with('/') {
            p.add(key, "names no absolute path", "write unix:/path/to/socket");
            return None;
        }
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            let remedy = format!("write one of at most {LONGEST_SOCKET_PATH} bytes");
            p.add(key, "is too long for the path of a socket", remedy);
            return None;
        }
        return Some(Place::Unix(PathBuf::from(path)));
    }
    address(key, text, p).map(Place::Tcp)
}

fn address(key: &str, text: &str, p: &mut Problems) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let what = format!("{} is not an IP address and a port", p.quote(key, text));
        p.add(
            key,
            what,
            "write \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all networks (\"[::]:8080\" with IPv6)",
        );
    }
    parsed
}

fn socket_mode(text: &str, p: &mut Problems) -> u32 {
    let key = "listen.socket_mode";
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if octal && mode & 0o7111 == 0 && mode & 0o600 == 0o600 => mode,
        _ => {
            let what = format!("{} is no mode for a socket", p.quote(key, text));
            p.add(
                key,
                what,
                "write \"0600\", \"0660\" or \"0666\": the owner at least, and nobody executes it",
            );
            0o600
        }
    }
}

fn redirect_http(raw: &RawListen, p: &mut Problems) -> Option<SocketAddr> {
    address("listen.redirect_http", raw.redirect_http.as_deref()?, p)
}

pub(super) fn proxies(raw: &RawProxies, p: &mut Problems) -> Proxies {
    Proxies { trusted: trusted(&raw.trusted, p), chain: raw.header }
}

/// Notes what one of these keys asks for and another one makes impossible.
pub(super) fn go_together(raw: &Raw, listen: &Listen, public: &Public, p: &mut Problems) {
    // Those that are handed over may be in the file system.
    let by_socket = listen.places.iter().any(|place| matches!(place, Place::Unix(_) | Place::Passed));
    let nobody = raw.proxies.trusted.is_empty() && !by_socket && !p.about("proxies.trusted");
    let remedy = "name the addresses of the proxies in `proxies.trusted`";
    if listen.proxy_protocol && nobody {
        p.add("listen.proxy_protocol", "is required, and nobody is trusted to say who connects", remedy);
    }
    if raw.forward_auth.enabled && nobody {
        p.add("forward_auth.enabled", "is true, and nobody is trusted to ask", remedy);
    }
    let Some(redirect) = listen.redirect_http else { return };
    let key = "listen.redirect_http";
    if listen.addresses().any(|address| address == redirect && address.port() != 0) {
        p.add(key, format!("{redirect} is where requests are answered"), "name the port for plain http");
    }
    if !public.https && !public.origin.is_empty() {
        let what = format!("leads to https, and browsers are told to come by plain http ({})", public.origin);
        p.add(key, what, "write https:// in `public.url`, or leave it out");
    }
}

fn trusted(raw: &[String], p: &mut Problems) -> Vec<IpNet> {
    let nets = networks("proxies.trusted", raw, p);
    let remedy = "name the networks of the proxies";
    for (key, net) in nets.iter().filter(|(_, net)| net.prefix_len() == 0) {
        p.add(key.as_str(), format!("{net} trusts every client to say who it is"), remedy);
    }
    let narrow: Vec<IpNet> = nets.iter().map(|(_, net)| *net).filter(|net| net.prefix_len() > 0).collect();
    if hold_everybody(&narrow) {
        p.add("proxies.trusted", "together trusts every client to say who it is", remedy);
    }
    nets.into_iter().map(|(_, net)| net).collect()
}
