//! Why nobody can be waited for at a place, and what whoever configured it can do about that.

use std::io::{self, ErrorKind};

use crate::config::listen::Place;

/// What needs a right of its own (`ip(7)`, `net.ipv4.ip_unprivileged_port_start`).
const PRIVILEGED: u16 = 1024;

/// The same error, of the same kind, with the place, the key that names it and, where there is one, the remedy.
pub fn named(key: &str, place: &Place, error: &io::Error) -> io::Error {
    let remedy = remedy(place, error.kind());
    let semicolon = if remedy.is_empty() { "" } else { "; " };
    io::Error::new(error.kind(), format!("{place} (`{key}`): {error}{semicolon}{remedy}"))
}

fn remedy(place: &Place, kind: ErrorKind) -> &'static str {
    match (place, kind) {
        (Place::Tcp(address), ErrorKind::PermissionDenied) if address.port() < PRIVILEGED => {
            "a port below 1024 needs CAP_NET_BIND_SERVICE, or a socket of systemd's (`listen.address = \"systemd\"`)"
        }
        (Place::Tcp(_), ErrorKind::AddrInUse) => {
            "another program listens there (`ss -ltnp` shows which): end it, or name another port"
        }
        (Place::Tcp(_), ErrorKind::AddrNotAvailable) => {
            "this machine has no such address: name one that `ip address` shows, or 0.0.0.0 or [::] for all of them"
        }
        (Place::Unix(_), ErrorKind::PermissionDenied) => {
            "let the user that Sidegate runs as write in that directory"
        }
        (Place::Unix(_), ErrorKind::NotFound) => "make the directory first",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of an error of the system at a place.
    fn said(place: &Place, code: i32) -> String {
        named("listen.more[0]", place, &io::Error::from_raw_os_error(code)).to_string()
    }

    fn tcp(address: &str) -> Place {
        Place::Tcp(address.parse().expect("an address"))
    }

    #[test]
    fn each_cause_has_a_remedy_of_its_own_and_others_have_none() {
        let (denied, missing, too_many) = (13, 2, 24);
        let low = said(&tcp("127.0.0.1:443"), denied);
        assert!(low.starts_with("127.0.0.1:443 (`listen.more[0]`): Permission denied"), "{low}");
        assert!(low.contains("; a port below 1024 needs CAP_NET_BIND_SERVICE"), "{low}");
        let high = said(&tcp("127.0.0.1:1024"), denied);
        assert!(!high.contains(';'), "{high}");
        let file = || Place::Unix("/run/sidegate/x.sock".into());
        assert!(said(&file(), denied).ends_with("write in that directory"));
        assert!(said(&file(), missing).ends_with("make the directory first"));
        assert!(!said(&file(), too_many).contains(';'));
    }
}
