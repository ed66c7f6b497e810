//! What every connection has from the socket that it was accepted at.

use std::io;

use socket2::Socket;

/// What of an answer may wait in the kernel to be sent, in bytes. Without a bound it takes megabytes of it at once, and
/// then none for so long that a client that reads slowly looks like one that does not read.
const NOT_SENT: u32 = 256 * 1024;

/// Sets what every accepted connection inherits.
///
/// # Errors
/// As `setsockopt(2)`.
pub(super) fn inherited(listener: &Socket) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    listener.set_tcp_notsent_lowat(NOT_SENT)
}
