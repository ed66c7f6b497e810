//! A client of HTTP/2 that does only what it is told to, frame by frame.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::h2::{frame, get, preface, read_frame};
use crate::support::raw::{PATIENCE, Raw};
use crate::support::stage::Stage;

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

/// One connection.
pub(crate) struct Bare {
    /// What `:authority` says.
    host: String,
    stream: TcpStream,
    /// What was said on leaving: the last stream that counts, and a code.
    pub(crate) goodbyes: Vec<(u32, u32)>,
    /// Pings are not answered.
    deaf: bool,
}

/// How a stream ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// With so many bytes of its answer.
    Whole(usize),
    /// By a reset with this code.
    Reset(u32),
    /// With the connection.
    Lost,
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

impl Bare {
    /// With this `SETTINGS_INITIAL_WINDOW_SIZE`.
    pub(crate) fn greets(stage: &Stage, window: u32) -> Self {
        Self::connects(stage.site.address, stage.host(), window)
    }

    /// The same with little room for what comes ([`Raw::connect_narrow`]).
    pub(crate) fn greets_narrow(stage: &Stage, window: u32) -> Self {
        let stream = Raw::connect_narrow(stage.site.address).into_stream();
        Self::begins_on(stream, stage.host(), window, b"")
    }

    /// The same, for somebody at this address of IPv6, as the PROXY protocol says it.
    pub(crate) fn connects_for(address: SocketAddr, host: &str, client: &str) -> Self {
        let header = format!("PROXY TCP6 {client} ::1 4711 80\r\n");
        Self::begins(address, host, 65_535, header.as_bytes())
    }

    /// The same at an address, to whoever has this name.
    pub(crate) fn connects(address: SocketAddr, host: &str, window: u32) -> Self {
        Self::begins(address, host, window, b"")
    }

    fn begins(address: SocketAddr, host: &str, window: u32, first: &[u8]) -> Self {
        Self::begins_on(TcpStream::connect(address).expect("it listens"), host, window, first)
    }

    fn begins_on(mut stream: TcpStream, host: &str, window: u32, first: &[u8]) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let hello = [first.to_vec(), preface(), frame(SETTINGS, 0, 0, &settings), frame(SETTINGS, 1, 0, b"")];
        stream.write_all(&hello.concat()).expect("it is sent");
        Self { host: host.to_owned(), stream, goodbyes: Vec::new(), deaf: false }
    }

    /// The same connection, to send and listen at the same time.
    pub(crate) fn again(&self) -> Self {
        let stream = self.stream.try_clone().expect("a socket");
        Self { host: self.host.clone(), stream, goodbyes: Vec::new(), deaf: self.deaf }
    }

    /// The same connection, on which pings are not answered any more.
    pub(crate) fn deaf(self) -> Self {
        Self { deaf: true, ..self }
    }

    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is sent");
    }

    /// `GET path`, as nobody.
    pub(crate) fn asks(&mut self, stream: u32, path: &str) {
        let block = get(&self.host, path);
        self.sends(&frame(1, 5, stream, &block));
    }

    /// Gives a request up.
    pub(crate) fn resets(&mut self, stream: u32, code: u32) {
        self.sends(&frame(RST_STREAM, 0, stream, &code.to_be_bytes()));
    }

    /// Waits until all that was sent has been read.
    pub(crate) fn is_read(&mut self) {
        self.sends(&frame(PING, 0, 0, &[7; 8]));
        while self.hears_a_frame().expect("a connection").0 != PING {}
    }

    /// Takes so many bytes more, of this stream and in all.
    pub(crate) fn opens(&mut self, stream: u32, count: u32) {
        for stream in [0, stream] {
            self.sends(&frame(WINDOW_UPDATE, 0, stream, &count.to_be_bytes()));
        }
    }

    /// The next frame: its type, flags, stream and payload. Answers a ping unless it is deaf, and keeps a goodbye.
    fn hears_a_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let (kind, flags, of, payload) = read_frame(&mut self.stream)?;
        match kind {
            GOAWAY => self.goodbyes.push((number(&payload[..4]), number(&payload[4..8]))),
            PING if flags == 0 && !self.deaf => self.sends(&frame(PING, 1, 0, &payload)),
            _ => {}
        }
        Some((kind, flags, of, payload))
    }

    /// Listens until something is said on this stream.
    pub(crate) fn is_answered(&mut self, stream: u32) -> bool {
        std::iter::from_fn(|| self.hears_a_frame()).any(|(_, _, of, _)| of == stream)
    }

    /// Listens until this stream has ended.
    pub(crate) fn hears(&mut self, stream: u32) -> End {
        let mut count = 0;
        while let Some((kind, flags, of, payload)) = self.hears_a_frame() {
            match kind {
                RST_STREAM if of == stream => return End::Reset(number(&payload)),
                // HEADERS or DATA.
                0 | 1 if of == stream => {
                    count += if kind == DATA { payload.len() } else { 0 };
                    if flags & END_STREAM != 0 {
                        return End::Whole(count);
                    }
                }
                _ => {}
            }
        }
        End::Lost
    }

    /// Waits for the `GOAWAY` that names the last stream that counts, after those that name none yet (RFC 9113 §6.8).
    pub(crate) fn is_told_to_leave(&mut self) -> (u32, u32) {
        loop {
            match self.goodbyes.pop() {
                Some((last, code)) if last != i32::MAX.cast_unsigned() => return (last, code),
                _ => assert!(self.hears_a_frame().is_some(), "the connection ends without a GOAWAY"),
            }
        }
    }

    /// Whether the other side has ended the connection, or does so soon.
    pub(crate) fn is_ended(&mut self) -> bool {
        while self.hears(u32::MAX) != End::Lost {}
        !matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}
