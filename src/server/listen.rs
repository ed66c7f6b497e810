//! One listening socket per worker on the same address, so that the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

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
            drop(TcpListener::bind(address)?);
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

/// Binds `count` sockets to `address`; with port 0 all of them share the port that the first was given.
pub(super) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = listener(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listener(address)?);
    }
    Ok(listeners)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = shared(address)?;
    // Inherited by every accepted connection.
    socket.set_tcp_nodelay(true)?;
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
