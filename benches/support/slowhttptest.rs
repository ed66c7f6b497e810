//! `slowhttptest` (Debian has it) as the client of slow heads, bodies and readers.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Holds `connections` at an address and path, with a cookie, for `length`; says what became of them.
///
/// # Errors
/// If it is not installed, or found nobody.
pub(crate) fn attack(
    (address, path, cookie): (SocketAddr, &str, &str),
    connections: usize,
    length: Duration,
    mode: &str,
) -> io::Result<String> {
    let (count, seconds) = (connections.to_string(), length.as_secs().to_string());
    let folder = tempfile::tempdir()?;
    let output = Command::new("slowhttptest")
        .args([
            "-c",
            &count,
            "-r",
            &count,
            "-l",
            &seconds,
            "-p",
            "2",
            "-u",
            &format!("http://{address}{path}"),
        ])
        .args(["-j", cookie, "-g", "-o", "found"])
        .args(mode.split(' '))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::other(format!("slowhttptest is needed: {error}")))?;
    // Lines of: seconds, closed, pending, connected, whether others were served.
    let table = fs::read_to_string(folder.path().join("found.csv"))
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stdout).into_owned()))?;
    let mut cells = table.lines().next_back().unwrap_or_default().split(',').skip(1);
    let mut cell = || cells.next().unwrap_or("?");
    let (closed, pending, connected) = (cell(), cell(), cell());
    Ok(format!("{connected} still open, {closed} closed, {pending} not connected"))
}
