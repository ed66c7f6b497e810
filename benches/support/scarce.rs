//! Attacks on what is scarce: handshakes of TLS, and open files.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::ClientConnection;

use crate::ordeal::now;
use crate::servers::tls;
use crate::victim::{self, Aftermath, Victim, closed};

/// Who does nothing but handshakes, at a time.
const HANDSHAKERS: usize = 32;

impl Victim {
    /// Full handshakes, one after the other, without a request.
    pub(crate) fn handshakes(&self) -> Aftermath {
        let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let begun = now();
        thread::scope(|scope| {
            for _ in 0..HANDSHAKERS {
                scope.spawn(|| {
                    victim::stands_back();
                    while begun.elapsed() < self.length {
                        let count = if self.shake().is_ok() { &done } else { &failed };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let (done, failed) = (done.into_inner(), failed.into_inner());
        Box::new(move || format!("{done} done, {failed} failed"))
    }

    fn client(&self) -> io::Result<ClientConnection> {
        let certificate = self.certificate.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        ClientConnection::new(Arc::clone(&certificate.client), tls::name(self.address))
            .map_err(io::Error::other)
    }

    fn shake(&self) -> io::Result<()> {
        let (mut client, mut stream) = (self.client()?, self.connect()?);
        client.complete_io(&mut stream)?;
        // With what the server says of itself after it, so that this is no reset.
        client.send_close_notify();
        client.complete_io(&mut stream).map(drop)
    }

    /// Handshakes that are begun and never go on.
    pub(crate) fn half_handshakes(&self, count: usize) -> io::Result<Aftermath> {
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = self.connect()?;
            let mut hello = Vec::new();
            self.client()?.write_tls(&mut hello)?;
            stream.write_all(&hello)?;
            held.push(stream);
        }
        thread::sleep(self.length);
        Ok(Box::new(move || format!("{} of {count} closed", closed(&held))))
    }

    /// More connections than there are open files, each with a request; or, if `none` is said, when there is not a
    /// single one left until they have come. They are closed at the end, and then somebody new asks.
    pub(crate) fn crowd(&self, count: usize, none: bool) -> io::Result<Aftermath> {
        if none {
            // Not as many as it has: what is closed meanwhile would be room for some of them.
            self.limit_files("3:")?;
        }
        let request = self.request("/x", &self.cookie);
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = self.connect()?;
            // It may have been closed at once.
            let _ = stream.write_all(request.as_bytes());
            held.push(stream);
        }
        thread::sleep(self.length);
        let [early, errors] = answered(&held);
        if none {
            self.limit_files("4096:")?;
            // It looks again after a second at most.
            thread::sleep(Duration::from_secs(3));
        }
        let [late, more] = answered(&held);
        let (errors, closed) = (errors + more, closed(&held));
        drop(held);
        let begun = now();
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        let again = stream.read_exact(&mut [0; 12]).map(|()| begun.elapsed());
        Ok(Box::new(move || {
            let again = match again {
                Ok(time) => format!("after {:.0} ms", time.as_secs_f64() * 1e3),
                Err(error) => format!("never ({error})"),
            };
            let freed = if none { format!(", {late} once there were files") } else { String::new() };
            format!(
                "{early} of {count} answered{freed}, {errors} refused, {closed} closed; when they had gone, somebody \
                 new {again}"
            )
        }))
    }

    fn limit_files(&self, files: &str) -> io::Result<()> {
        let pid = self.process.pid().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}")]).status()?;
        if set.success() { Ok(()) } else { Err(io::Error::other("prlimit (util-linux) is needed")) }
    }
}

/// How many of these have a good answer to read, and how many another.
fn answered(streams: &[TcpStream]) -> [usize; 2] {
    let mut counts = [0; 2];
    for mut stream in streams {
        let _ = stream.set_nonblocking(true);
        let mut head = [0; 4096];
        if let Ok(count @ 1..) = stream.read(&mut head) {
            counts[usize::from(!head[..count].starts_with(b"HTTP/1.1 200"))] += 1;
        }
    }
    counts
}
