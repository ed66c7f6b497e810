//! Sockets that whoever started the process listens on already, and hands over: socket activation as of systemd
//! (`sd_listen_fds(3)`).

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::config::listen::Place;
use crate::server::inherited::inherited;

/// The first of them (`SD_LISTEN_FDS_START`).
const FIRST: usize = 3;

/// The sockets that were handed over.
#[derive(Default)]
pub struct Passed(Vec<Socket>);

/// One of them.
pub(super) enum Socket {
    /// At an address.
    Tcp(TcpListener),
    /// In the file system, or without a name.
    Unix(UnixListener),
}

impl Passed {
    /// Takes the sockets that `LISTEN_PID` says are for this process, if there are any; whoever calls has seen to it that
    /// it says something. They are handed over once: `LISTEN_PID` and `LISTEN_FDS` are taken out of the environment, and
    /// the sockets are closed where another program is run. Called before the process has a second thread, which could
    /// read the environment meanwhile.
    ///
    /// # Errors
    /// If something else than a listening socket was handed over.
    pub fn take() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        (0..given.len()).map(|place| Socket::of(&mut given, place)).collect::<io::Result<_>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses of those that have one.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter_map(|socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        })
    }

    /// Who may connect that hardly should: peers of a socket in the file system count as a trusted proxy, and whoever made
    /// the socket has said who may be one.
    pub fn dangers(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|socket| {
            let place = socket.place().ok()?;
            let Place::Unix(path) = &place else {
                let nameless = matches!(socket, Socket::Unix(_));
                return nameless.then(|| {
                    "listen: everybody on this machine may connect to a socket without a name, as a trusted proxy".to_owned()
                });
            };
            let open = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0);
            open.then(|| format!("listen: everybody on this machine may connect to {place}, as a trusted proxy"))
        })
    }

    pub(super) fn sockets(&self) -> &[Socket] {
        &self.0
    }
}

impl Socket {
    fn of(given: &mut ListenFd, place: usize) -> io::Result<Self> {
        let unfit = || {
            let what = format!("file descriptor {} is no listening socket of streams", FIRST + place);
            io::Error::new(io::ErrorKind::InvalidInput, what)
        };
        let socket = if let Ok(Some(listener)) = given.take_tcp_listener(place) {
            Self::Tcp(listener)
        } else {
            Self::Unix(given.take_unix_listener(place).ok().flatten().ok_or_else(unfit)?)
        };
        if socket.as_ref().is_listener()? { Ok(socket) } else { Err(unfit()) }
    }

    fn as_ref(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(listener) => SockRef::from(listener),
            Self::Unix(listener) => SockRef::from(listener),
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> io::Result<Place> {
        Ok(match self {
            Self::Tcp(listener) => Place::Tcp(listener.local_addr()?),
            Self::Unix(listener) => match listener.local_addr()?.as_pathname() {
                Some(path) => Place::Unix(path.to_owned()),
                None => Place::Passed,
            },
        })
    }

    /// The same socket once more, as a worker takes it. All wait at one queue, so that nothing is left in a queue of
    /// its own when a worker ends.
    pub(super) fn share(&self) -> io::Result<Self> {
        self.as_ref().set_nonblocking(true)?;
        Ok(match self {
            Self::Tcp(listener) => {
                inherited(&self.as_ref())?;
                Self::Tcp(listener.try_clone()?)
            }
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}
