//! `sidegate healthcheck`: asks a running instance whether it is ready, for container runtimes without a shell.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Failure, Settings};
use crate::config::listen::Place;
use crate::config::{Config, NewSecret};

/// How long connecting may take, and then each read and write.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What an answer that says yes begins with.
const YES: &[u8; 12] = b"HTTP/1.1 200";

/// Asks the admin listener whether we are ready, or, if there is none, our own endpoint whether we are there.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Leave)?;
    let (place, path) = match config.admin {
        Some(admin) => (Place::Tcp(admin).reachable(), "/readyz".to_owned()),
        None => (config.listen.first().reachable(), format!("{}/ok", config.mount())),
    };
    let fail = |what: String| Failure::Other(format!("{place}{path} {what}"));
    match ask(&place, &path, &config) {
        Ok(start) if &start == YES => Ok(()),
        Ok(start) => Err(fail(format!("answers {:?}", String::from_utf8_lossy(&start)))),
        Err(error) => Err(fail(format!("does not answer: {error}"))),
    }
}

/// The first bytes of the answer.
fn ask(place: &Place, path: &str, config: &Config) -> io::Result<[u8; YES.len()]> {
    let host = &config.public.authority;
    let mut stream = match place {
        Place::Tcp(address) => TcpStream::connect_timeout(address, TIMEOUT)?,
        // What follows is the same for both kinds of socket.
        Place::Unix(path) => TcpStream::from(OwnedFd::from(UnixStream::connect(path)?)),
        Place::Passed => {
            return Err(io::Error::other("only systemd knows where it listens; give `admin.address`"));
        }
    };
    if config.listen.proxy_protocol && config.admin.is_none() {
        // Who speaks for nobody but itself.
        stream.write_all(b"PROXY UNKNOWN\r\n")?;
    }
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sidegate-healthcheck\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut start = [0; YES.len()];
    stream.read_exact(&mut start)?;
    Ok(start)
}
