//! Where we listen: `[listen]`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

/// `[listen]`
#[derive(Clone)]
pub struct Listen {
    /// At least one place; the first is the one that other keys follow from.
    pub places: Vec<Place>,
    /// The permission bits of sockets in the file system.
    pub socket_mode: u32,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Where plain http is answered with the way to https.
    pub redirect_http: Option<SocketAddr>,
    /// Worker threads, at least one; as many as cores unless said otherwise.
    pub workers: usize,
}

/// What stands for [`Place::Passed`].
pub(super) const PASSED: &str = "systemd";

/// A place where connections are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
    /// Wherever those sockets are that whoever starts us hands over (`sd_listen_fds(3)`).
    Passed,
}

/// `listen.proxy_protocol`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum ProxyProtocol {
    /// There is no such header.
    Off,
    /// Every connection begins with one.
    Required,
}

impl Listen {
    /// The first place.
    pub fn first(&self) -> Place {
        self.places.first().cloned().unwrap_or(Place::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    }

    /// All places where something listens for clients, with the keys that name them.
    pub fn named(&self) -> impl Iterator<Item = (String, Place)> {
        let key = |number| match number {
            0 => "listen.address".to_owned(),
            _ => format!("listen.more[{}]", number - 1),
        };
        let redirect = self.redirect_http.map(|to| ("listen.redirect_http".to_owned(), Place::Tcp(to)));
        self.places
            .iter()
            .enumerate()
            .map(move |(number, place)| (key(number), place.clone()))
            .chain(redirect)
    }

    /// The addresses, without sockets in the file system.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.places.iter().filter_map(|place| match place {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) | Place::Passed => None,
        })
    }

    /// Whether only this machine can connect.
    pub fn only_here(&self) -> bool {
        self.places.iter().all(|place| match place {
            Place::Tcp(address) => address.ip().is_loopback(),
            Place::Unix(_) => true,
            // Nobody knows before they are there.
            Place::Passed => false,
        })
    }
}

impl Place {
    /// Where to connect to from this machine, also if all addresses are listened on.
    #[must_use]
    pub fn reachable(&self) -> Self {
        let Self::Tcp(address) = self else { return self.clone() };
        let ip = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self::Tcp(SocketAddr::new(ip, address.port()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed => f.write_str(PASSED),
        }
    }
}
