//! A Sidegate for what is hostile or long: two workers, a database of its own, limits on attempts out of the way.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::servers::process::Process;
use crate::servers::running::Plan;
use crate::servers::tls::Certificate;

pub(crate) const PASSWORD: &str = "vexed quarry lamp";

/// Where it runs, and between whom.
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    /// The app, and what is spoken to it.
    pub(crate) upstream: (SocketAddr, &'a str),
    /// With it, clients come by TLS.
    pub(crate) certificate: Option<&'a Certificate>,
    /// How many files it may have open.
    pub(crate) files: Option<u32>,
}

/// Starts it there, with these further keys of `[limits]` and sections after it.
pub(crate) fn start(binary: &Path, place: &Place<'_>, sections: &str) -> Result<Process, Box<dyn Error>> {
    let sections = format!(
        "[limits]\nattempts_per_address = 1000000\nattempts_per_account = 1000000\nattempts_in_all = 1000000\n\
         body_idle = \"5s\"\n{sections}"
    );
    let store = format!("url = \"sqlite:{}\"", place.folder.join("sidegate.db").display());
    let (upstream, protocol) = place.upstream;
    let plan = Plan {
        binary,
        cores: None,
        callgrind: false,
        certificate: place.certificate,
        files: place.files,
        workers: 2,
        upstream,
        protocol,
        store,
        sections: &sections,
    };
    plan.start(place.folder)
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
