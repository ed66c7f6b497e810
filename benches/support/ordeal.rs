//! A Sidegate for what is hostile or long: two workers, a database of its own, limits on attempts out of the way.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::servers::process::Process;
use crate::servers::running::Plan;

pub(crate) const PASSWORD: &str = "vexed quarry lamp";

/// Starts it in front of `upstream`, with these further keys of `[limits]` and sections after it.
pub(crate) fn start(
    binary: &Path,
    folder: &Path,
    upstream: SocketAddr,
    sections: &str,
) -> Result<Process, Box<dyn Error>> {
    let sections = format!(
        "[limits]\nattempts_per_address = 1000000\nattempts_per_account = 1000000\nattempts_in_all = 1000000\n\
         body_idle = \"5s\"\n{sections}"
    );
    let store = format!("url = \"sqlite:{}\"", folder.join("sidegate.db").display());
    let plan = Plan {
        binary,
        cores: None,
        callgrind: false,
        certificate: None,
        workers: 2,
        upstream,
        store,
        sections: &sections,
    };
    plan.start(folder)
}

/// A connection of a client with this patience.
pub(crate) fn connect(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

/// KiB as MiB with one digit.
pub(crate) fn mebibytes(kibibytes: u64) -> String {
    format!("{}.{} MiB", kibibytes / 1024, kibibytes % 1024 * 10 / 1024)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
