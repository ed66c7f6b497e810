//! Attacks that need no more than HTTP/1.1: connections that are held, slow clients, invented cookies, guessed passwords.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::ordeal::now;
use crate::servers::running::Client;
use crate::victim::{self, Aftermath, EMAIL, Victim, closed, status};

/// Tokens as long as ours.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An attack by number ends after this time too.
const LONGEST: Duration = Duration::from_secs(45);

impl Victim {
    pub(crate) fn idle(&self, count: usize) -> io::Result<Aftermath> {
        let request = self.request("/x", &self.cookie);
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = self.connect()?;
            stream.write_all(request.as_bytes())?;
            status(&mut stream)?;
            held.push(stream);
        }
        thread::sleep(self.length);
        Ok(Box::new(move || format!("{} of them closed", closed(&held))))
    }

    /// One byte at a time, of the head or of the body.
    pub(crate) fn trickle(&self, count: usize, body: bool) -> io::Result<Aftermath> {
        let mut start = format!("POST /x HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n", self.address, self.cookie);
        if body {
            start.push_str("Content-Length: 8192\r\n\r\n");
        }
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = self.connect()?;
            stream.write_all(start.as_bytes())?;
            held.push(stream);
        }
        let begun = now();
        while begun.elapsed() < self.length {
            for stream in &mut held {
                // Whether it is still taken is counted at the end.
                let _ = stream.write_all(b"x");
            }
            thread::sleep(Duration::from_millis(500));
        }
        Ok(Box::new(move || format!("{} of them closed", closed(&held))))
    }

    pub(crate) fn stuck(&self, count: usize) -> io::Result<Aftermath> {
        let request = self.request("/large", &self.cookie);
        let mut held = Vec::new();
        for _ in 0..count {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(&self.address.into())?;
            let mut stream = TcpStream::from(socket);
            stream.write_all(request.as_bytes())?;
            held.push(stream);
        }
        thread::sleep(self.length);
        Ok(Box::new(move || {
            let begun = now();
            let whole = held.iter().filter(|stream| whole(stream, begun)).count();
            format!("{whole} of them could have had it all")
        }))
    }

    /// Random cookies over a few connections, many at a time.
    pub(crate) fn invented(&self, count: u64) -> io::Result<Aftermath> {
        const CONNECTIONS: u64 = 16;
        const AT_ONCE: u64 = 32;
        let length = self.cookie.split_once('=').map_or(54, |(_, token)| token.len());
        let begun = now();
        let one = |place: u64| -> io::Result<[u64; 2]> {
            victim::stands_back();
            let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(place + 1);
            let mut stream = self.connect()?;
            let mut answers = BufReader::new(stream.try_clone()?);
            let mut counts = [0; 2];
            while counts[0] < count / CONNECTIONS && begun.elapsed() < LONGEST {
                let mut wire = String::new();
                for _ in 0..AT_ONCE {
                    let token: String = (0..length).map(|_| letter(&mut random)).collect();
                    let _ = write!(wire, "{}", self.request("/x", &format!("sidegate={token}")));
                }
                stream.write_all(wire.as_bytes())?;
                for _ in 0..AT_ONCE {
                    counts[1] += u64::from(status(&mut answers)? != 401);
                }
                counts[0] += AT_ONCE;
            }
            Ok(counts)
        };
        let [sent, let_through] = thread::scope(|scope| {
            let one = &one;
            let runs: Vec<_> = (0..CONNECTIONS).map(|place| scope.spawn(move || one(place))).collect();
            runs.into_iter().try_fold([0; 2], |[sent, through], run| {
                let [more, past] = run.join().unwrap_or(Ok([0, u64::MAX]))?;
                io::Result::Ok([sent + more, through + past])
            })
        })?;
        Ok(Box::new(move || format!("{let_through} of {sent} were not refused")))
    }

    pub(crate) fn guess(&self, people: usize) -> Aftermath {
        let counts = thread::scope(|scope| {
            let runs: Vec<_> = (0..people)
                .map(|number| {
                    scope.spawn(move || -> [u64; 3] {
                        victim::stands_back();
                        let mut counts = [0; 3];
                        let begun = now();
                        while begun.elapsed() < self.length {
                            let answer =
                                Client::connect(self.address).map_err(Box::<dyn Error>::from).and_then(
                                    |mut client| client.sign_in(EMAIL, &format!("wrong guess {number}")),
                                );
                            match answer.map(|answer| answer.status) {
                                Ok(401) => counts[0] += 1,
                                Ok(429 | 503) => counts[1] += 1,
                                Ok(_) | Err(_) => counts[2] += 1,
                            }
                        }
                        counts
                    })
                })
                .collect();
            runs.into_iter().fold([0; 3], |mut sum, run| {
                let counts = run.join().unwrap_or([0, 0, 1]);
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                sum
            })
        });
        let [hashed, refused, other] = counts;
        Box::new(move || format!("{hashed} hashed, {refused} turned away, {other} otherwise"))
    }
}

/// The next letter of a token (xorshift64).
fn letter(random: &mut u64) -> char {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let place = usize::try_from(*random >> 58).unwrap_or_default();
    char::from(LETTERS[place])
}

/// Whether the whole of 1 MiB is there for who reads at last. Who was let wait for it is not waited for long.
fn whole(mut stream: &TcpStream, begun: Instant) -> bool {
    let patience = Duration::from_secs(2).saturating_sub(begun.elapsed()).max(Duration::from_millis(5));
    let _ = stream.set_read_timeout(Some(patience));
    let (mut sum, mut buffer) = (0, vec![0; 1 << 16]);
    while sum < 1 << 20
        && let Ok(count @ 1..) = stream.read(&mut buffer)
    {
        sum += count;
    }
    sum >= 1 << 20
}
