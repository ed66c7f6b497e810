//! `sidegate healthcheck`: asks a running instance whether it is ready, for container runtimes without a shell.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Failure, Settings};
use crate::config::{NewSecret, reachable};

/// How long connecting may take, and then each read and write.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What an answer that says yes begins with.
const YES: &[u8; 12] = b"HTTP/1.1 200";

/// Asks the admin listener whether we are ready, or, if there is none, our own endpoint whether we are there.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Leave)?;
    let (address, path) = match config.admin {
        Some(admin) => (reachable(admin), "/readyz".to_owned()),
        None => (config.listen.reachable(), format!("{}/ok", config.mount())),
    };
    let fail = |what: String| Failure::Other(format!("{address}{path} {what}"));
    match ask(address, &config.public.authority, &path) {
        Ok(start) if &start == YES => Ok(()),
        Ok(start) => Err(fail(format!("answers {:?}", String::from_utf8_lossy(&start)))),
        Err(error) => Err(fail(format!("does not answer: {error}"))),
    }
}

/// The first bytes of the answer.
fn ask(address: SocketAddr, host: &str, path: &str) -> io::Result<[u8; YES.len()]> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
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
