//! The places where connections are taken: addresses, each with a socket per worker so that the kernel spreads
//! connections over them, and sockets in the file system.

use std::fs;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::config::listen::{Listen, Place};
use crate::http::client::Peer;
use crate::server::inherited::inherited;
use crate::server::passed::{Passed, Socket as Handed};
use crate::server::unbound;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// A port that nobody else listens on, held by a socket that never listens. The workers share theirs, so that
/// a second server on the same port would not fail but take half of the connections.
pub struct Reservation {
    socket: Socket,
    asked: SocketAddr,
}

impl Reservation {
    /// Holds the port; with port 0 the system chooses one.
    ///
    /// # Errors
    /// If somebody listens there already, or the address is not one of this machine.
    pub fn take(address: SocketAddr) -> io::Result<Self> {
        if address.port() != 0 {
            drop(net::TcpListener::bind(address)?);
        }
        let socket = shared(address)?;
        socket.bind(&address.into())?;
        Ok(Self { socket, asked: address })
    }

    /// The address that is held.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(self.asked)
    }
}

/// One worker's share of a place.
pub(super) struct Share {
    socket: Bound,
    /// What is answered there.
    pub(super) serves: Serves,
}

/// What connections to a place are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// The site.
    Site,
    /// The way to https.
    Redirect,
}

enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

/// Everything that is listened on.
pub(super) struct Places {
    /// The shares of each worker.
    pub(super) shares: Vec<Vec<Share>>,
    /// Where the first place is, with the port that the system chose.
    pub(super) first: Place,
    /// Where plain http is answered.
    pub(super) redirect: Option<SocketAddr>,
    /// Sockets in the file system; gone when dropped.
    pub(super) files: Vec<SocketFile>,
}

/// Binds every place, once for each worker, and shares those sockets that were `passed`.
pub(super) fn bind(listen: &Listen, passed: &Passed) -> io::Result<Places> {
    let count = listen.workers.max(1);
    let mut places = Places {
        shares: std::iter::repeat_with(Vec::new).take(count).collect(),
        first: listen.first(),
        redirect: None,
        files: Vec::new(),
    };
    for (number, (key, place)) in listen.named().enumerate() {
        let named = |error: io::Error| unbound::named(&key, &place, &error);
        let first = match &place {
            Place::Tcp(address) if number == listen.places.len() => {
                places.redirect = Some(places.tcp(*address, Serves::Redirect).map_err(named)?);
                continue;
            }
            Place::Tcp(address) => Place::Tcp(places.tcp(*address, Serves::Site).map_err(named)?),
            Place::Unix(path) => {
                places.unix(path, listen.socket_mode).map_err(named)?;
                place.clone()
            }
            Place::Passed => places.passed(passed).map_err(named)?,
        };
        if number == 0 {
            places.first = first;
        }
    }
    Ok(places)
}

impl Places {
    /// With port 0 all workers share the port that the first was given.
    fn tcp(&mut self, mut address: SocketAddr, serves: Serves) -> io::Result<SocketAddr> {
        for shares in &mut self.shares {
            let listener = listener(address)?;
            address = listener.local_addr()?;
            shares.push(Share { socket: Bound::Tcp(listener), serves });
        }
        Ok(address)
    }

    /// All workers accept from the sockets that were handed over. Says where the first of them is.
    fn passed(&mut self, passed: &Passed) -> io::Result<Place> {
        let mut first = None;
        for socket in passed.sockets() {
            for shares in &mut self.shares {
                let socket = match socket.share()? {
                    Handed::Tcp(listener) => Bound::Tcp(listener),
                    Handed::Unix(listener) => Bound::Unix(listener),
                };
                shares.push(Share { socket, serves: Serves::Site });
            }
            let place = socket.place()?;
            tracing::debug!(%place, "a socket was handed over");
            first = first.or(Some(place));
        }
        let missing = "no socket was handed over: start it by a .socket unit of systemd, or name an address";
        first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))
    }

    /// All workers accept from one socket.
    fn unix(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let (listener, file) = SocketFile::make(path, mode)?;
        self.files.push(file);
        for shares in &mut self.shares {
            shares.push(Share { socket: Bound::Unix(listener.try_clone()?), serves: Serves::Site });
        }
        Ok(())
    }
}

fn listener(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = shared(address)?;
    inherited(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket that others of this process may share an address with.
fn shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// A socket in the file system that is ours; removed when dropped, unless somebody has put another one there.
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Listens at `path`. What a process that is gone left there is replaced; it is made under another name, and has
    /// its mode, before it can be found.
    ///
    /// # Errors
    /// If something else than a socket is there, or somebody listens.
    fn make(path: &Path, mode: u32) -> io::Result<(unix::net::UnixListener, Self)> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "is there and is no socket"));
            }
            Ok(_) => is_left_behind(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(name);
        // Of a process of this number that did not get so far; in a container it is always the same number.
        if fs::symlink_metadata(&fresh).is_ok_and(|there| there.file_type().is_socket()) {
            fs::remove_file(&fresh)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&socket2::SockAddr::unix(&fresh)?)?;
        let placed = || {
            fs::set_permissions(&fresh, fs::Permissions::from_mode(mode))?;
            socket.listen(BACKLOG)?;
            let there = fs::symlink_metadata(&fresh)?;
            fs::rename(&fresh, path)?;
            Ok(Self { path: path.to_owned(), device: there.dev(), inode: there.ino() })
        };
        match placed() {
            Ok(file) => Ok((socket.into(), file)),
            Err(error) => {
                // It is of no use to anybody.
                let _ = fs::remove_file(&fresh);
                Err(error)
            }
        }
    }
}

/// Whether nobody listens at a socket any more.
///
/// # Errors
/// If somebody does, or nobody can tell.
fn is_left_behind(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // Somebody does, and has much to do.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (self.device, self.inode));
        if ours {
            // Left behind, it is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes connections on a worker's runtime.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// On the runtime of the calling thread.
    pub(super) fn new(share: Share) -> io::Result<Self> {
        Ok(match share.socket {
            Bound::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// The next connection, and who made it.
    pub(super) async fn accept(&self, proxies: &[IpNet]) -> io::Result<(TcpStream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((stream, Peer::new(address, proxies)))
            }
            Self::Unix(listener) => {
                // Whoever serves it reads, writes, looks ahead and shuts down, which is the same for both kinds of
                // socket; the type that is named after one of them carries either.
                let stream = OwnedFd::from(listener.accept().await?.0.into_std()?);
                Ok((TcpStream::from_std(stream.into())?, Peer::local()))
            }
        }
    }
}
