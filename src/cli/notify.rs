//! Tells systemd how far we are (`sd_notify(3)`), if it asked to be told.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Connections are taken.
pub(super) const READY: &str = "READY=1";
/// The end has begun.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Says so, in one datagram. Nothing depends on its being heard.
pub(super) fn tell(state: &str) {
    // It stays in the environment, which nothing inherits: no program is ever run.
    let Some(to) = std::env::var_os("NOTIFY_SOCKET").filter(|to| !to.is_empty()) else { return };
    if let Err(error) = send(&to, state) {
        tracing::warn!(%error, "systemd cannot be told: {state}");
    }
}

fn send(to: &OsStr, state: &str) -> io::Result<()> {
    // A name that begins with `@` is none of the file system (unix(7)).
    let address = match to.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(to)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
