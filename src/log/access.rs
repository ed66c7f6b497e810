//! The access log: one line for each request, written by its worker into a batch, and handed in batches to the
//! thread that writes.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::id::RequestId;
use crate::log::sink::Sink;
use crate::time::Now;
use crate::trace::hex;
use crate::visitor::Session;

/// A batch of this size is handed over at once, in bytes; a smaller one at the next tick.
const BATCH: usize = 32 * 1024;
/// Lines under way whose memory is kept for the next ones.
const SPARE: usize = 256;
/// What is kept of `User-Agent`, in bytes.
const LONGEST_AGENT: usize = 256;
/// What is kept of a host that is none of ours, in bytes: the longest name there is.
const LONGEST_HOST: usize = 255;
/// What is kept of what a proxy asks about, in bytes.
const LONGEST_ASKED: usize = 512;

/// What is known of a request when it has been read.
pub struct Asked<'a> {
    /// When it came.
    pub at: Now,
    /// Its id.
    pub id: RequestId,
    /// Who sent it.
    pub client: IpAddr,
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query, where codes and tokens travel.
    pub path: &'a [u8],
    /// The host that it names, if it is refused for that.
    pub host: Option<&'a [u8]>,
    /// Which HTTP it came by.
    pub http: &'static str,
    /// Which TLS, if any.
    pub tls: Option<&'static str>,
    /// Whose session came along.
    pub session: Option<&'a Session>,
    /// What the client calls itself.
    pub agent: Option<&'a [u8]>,
    /// The trace it belongs to.
    pub trace: Option<&'a [u8; 16]>,
}

/// What is known when it has been answered.
pub struct Told {
    /// The status; none if the client went away before there was one.
    pub status: Option<u16>,
    /// What was done with it.
    pub decision: &'static str,
    /// The code of the refusal, if it was refused.
    pub reason: Option<&'static str>,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// From its head to the end of its answer.
    pub took: Duration,
    /// From asking the app to the head of its answer.
    pub upstream: Option<Duration>,
    /// The status of a call of gRPC.
    pub grpc_status: Option<u16>,
    /// Why it ended before it was whole, if it did.
    pub ended: Option<&'static str>,
}

/// One worker's access log.
pub struct Access {
    json: bool,
    sink: Option<Sink>,
    batch: RefCell<Vec<u8>>,
    lines: Cell<u64>,
    spare: RefCell<Vec<Vec<u8>>>,
    /// The latest second and its text.
    stamp: RefCell<(i64, String)>,
}

impl Access {
    /// A log of JSON or text lines. Without a sink every line becomes an event of the `access` target.
    pub fn new(json: bool, sink: Option<Sink>) -> Self {
        Self {
            json,
            sink,
            batch: RefCell::default(),
            lines: Cell::new(0),
            spare: RefCell::default(),
            stamp: RefCell::new((i64::MIN, String::new())),
        }
    }

    /// Begins a line.
    pub fn asked(&self, asked: &Asked<'_>) -> Vec<u8> {
        let mut out = self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(512));
        let mut line = Line { out: &mut out, json: self.json };
        if self.sink.is_some() {
            line.start(&mut self.stamp.borrow_mut(), asked.at);
        } else if self.json {
            line.out.push(b'{');
        }
        line.plain("request_id", asked.id.as_bytes());
        line.address("client_ip", asked.client);
        if let Some(trace) = asked.trace {
            line.plain("trace_id", hex(trace).as_bytes());
        }
        line.text("method", asked.method.as_bytes());
        line.text("path", asked.path);
        if let Some(host) = asked.host {
            line.text("host", &host[..host.len().min(LONGEST_HOST)]);
        }
        line.plain("http", asked.http.as_bytes());
        if let Some(tls) = asked.tls {
            line.plain("tls", tls.as_bytes());
        }
        if let Some(session) = asked.session {
            line.plain("user_id", session.user.id.as_str().as_bytes());
            let handle = session.id.as_str();
            line.plain("session", handle.get(..8).unwrap_or(handle).as_bytes());
        }
        if let Some(agent) = asked.agent {
            line.text("user_agent", &agent[..agent.len().min(LONGEST_AGENT)]);
        }
        out
    }

    /// Adds to a line what the question of a proxy is about.
    pub fn about(&self, out: &mut Vec<u8>, method: &str, path: &[u8]) {
        let mut line = Line { out, json: self.json };
        line.text("asked_method", &method.as_bytes()[..method.len().min(LONGEST_ASKED)]);
        line.text("asked_path", &path[..path.len().min(LONGEST_ASKED)]);
    }

    /// What is added to the line of a request of this route, once its rule is known: counted from 1, as `sidegate
    /// explain` does.
    pub fn of_route(&self, name: &str, rule: Option<u16>) -> Box<[u8]> {
        self.part(|line| {
            line.text("route", name.as_bytes());
            if let Some(rule) = rule {
                line.number("rule", u64::from(rule));
            }
        })
    }

    /// What is added to the line of a request that this instance of the app was asked for.
    pub fn of_instance(&self, name: &str) -> Box<[u8]> {
        self.part(|line| line.text("upstream", name.as_bytes()))
    }

    /// Fields that are the same in many lines, as they stand behind others.
    fn part(&self, write: impl FnOnce(&mut Line<'_>)) -> Box<[u8]> {
        const BEFORE: &[u8] = b"..";
        let mut out = BEFORE.to_vec();
        write(&mut Line { out: &mut out, json: self.json });
        out.split_off(BEFORE.len()).into()
    }

    /// Ends it and puts it into the batch.
    pub fn told(&self, mut out: Vec<u8>, told: &Told) {
        let mut line = Line { out: &mut out, json: self.json };
        if let Some(status) = told.status {
            line.number("status", u64::from(status));
        }
        if let Some(status) = told.grpc_status {
            line.number("grpc_status", u64::from(status));
        }
        line.plain("decision", told.decision.as_bytes());
        if let Some(reason) = told.reason {
            line.plain("reason", reason.as_bytes());
        }
        line.number("bytes", told.bytes);
        line.millis("duration_ms", told.took);
        if let Some(upstream) = told.upstream {
            line.millis("upstream_ms", upstream);
        }
        if let Some(ended) = told.ended {
            line.plain("ended", ended.as_bytes());
        }
        if self.json {
            out.push(b'}');
        }
        if self.sink.is_some() {
            out.push(b'\n');
            let mut batch = self.batch.borrow_mut();
            batch.extend_from_slice(&out);
            self.lines.set(self.lines.get() + 1);
            if batch.len() >= BATCH {
                drop(batch);
                self.flush();
            }
        } else {
            tracing::info!(target: "access", "{}", String::from_utf8_lossy(&out));
        }
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && out.capacity() <= 4096 {
            out.clear();
            spare.push(out);
        }
    }

    /// Hands the batch over; called at every tick.
    pub fn flush(&self) {
        let Some(sink) = &self.sink else { return };
        let (lines, size) = (self.lines.replace(0), self.batch.borrow().len());
        if size == 0 {
            return;
        }
        let batch = self.batch.replace(Vec::with_capacity(size.min(BATCH) + 1024));
        sink.hand_over(batch, lines);
    }
}

/// What came to its end with the worker is written too.
impl Drop for Access {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A line that is being written.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    json: bool,
}

impl Line<'_> {
    /// What every line of the log begins with, here as elsewhere.
    fn start(&mut self, stamp: &mut (i64, String), at: Now) {
        let second = at.seconds();
        if stamp.0 != second {
            // `2026-01-02T03:04:05`
            let mut text = at.iso();
            text.truncate(19);
            *stamp = (second, text);
        }
        let millis = u16::try_from(at.millis().rem_euclid(1000)).unwrap_or(0);
        let digit = |n: u16| b'0' + u8::try_from(n % 10).unwrap_or(0);
        let end = [b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z'];
        let (before, after): (&[u8], &[u8]) = if self.json {
            (b"{\"timestamp\":\"", b"\",\"level\":\"INFO\",\"target\":\"access\",\"message\":\"request\"")
        } else {
            (b"", b"  INFO access: request")
        };
        for part in [before, stamp.1.as_bytes(), &end, after] {
            self.out.extend_from_slice(part);
        }
    }

    fn name(&mut self, name: &str) {
        if self.json {
            if self.out.len() > 1 {
                self.out.push(b',');
            }
            self.out.push(b'"');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\":");
        } else {
            if !self.out.is_empty() {
                self.out.push(b' ');
            }
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b'=');
        }
    }

    /// A value that is known to need no escape.
    fn plain(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        self.out.extend_from_slice(value);
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A value from outside: no byte of it can end the line, or its place in the line.
    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        let bare = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'=');
        let quoted = self.json || value.is_empty() || !value.iter().all(bare);
        if !quoted {
            self.out.extend_from_slice(value);
            return;
        }
        self.out.push(b'"');
        for &byte in value {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b' '..=b'~' => self.out.push(byte),
                _ => {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    self.out.extend_from_slice(b"\\u00");
                    self.out.push(DIGITS[usize::from(byte >> 4)]);
                    self.out.push(DIGITS[usize::from(byte & 15)]);
                }
            }
        }
        self.out.push(b'"');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        decimal(self.out, value);
    }

    /// Milliseconds with three digits behind the point.
    fn millis(&mut self, name: &str, value: Duration) {
        self.name(name);
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        decimal(self.out, micros / 1000);
        let digit = |n: u64| b'0' + u8::try_from(n % 10).unwrap_or(0);
        self.out.extend_from_slice(&[b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
    }

    fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        if self.json {
            self.out.push(b'"');
        }
        match address {
            IpAddr::V4(v4) => {
                for (place, octet) in v4.octets().into_iter().enumerate() {
                    if place > 0 {
                        self.out.push(b'.');
                    }
                    decimal(self.out, u64::from(octet));
                }
            }
            // Writing to a Vec cannot fail.
            IpAddr::V6(v6) => {
                let _ = write!(self.out, "{v6}");
            }
        }
        if self.json {
            self.out.push(b'"');
        }
    }
}

/// The digits of a number; the formatting machinery costs more than the rest of the line.
fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
