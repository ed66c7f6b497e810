//! The answer of the app: its head parsed strictly, its body passed on straight from the socket.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::AsyncReadExt as _;

use crate::config::upstream::Upstream;
use crate::http::chunked::{Chunked, Piece};
use crate::proxy::failure::Failure;
use crate::proxy::headers::response_fields;
use crate::proxy::pace::Pace;
use crate::proxy::term::{LONG, Term};
use crate::proxy::upload::Upload;
use crate::proxy::upstream::{Connection, Pool};
use crate::visitor::Session;

/// Most fields of an answer.
const MOST_FIELDS: usize = 128;
/// Interim answers (1xx) that are skipped before one final answer must come (RFC 9110 §15.2).
const MOST_INTERIM: usize = 8;
/// What is read at a time at first, and once a body proves to be large, in bytes. A client that does not read
/// holds up as much memory.
const READS: [usize; 2] = [16 * 1024, 48 * 1024];

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Which protocol the app switches to; none if its `Connection` does not say that it does.
    pub(super) protocol: Option<Bytes>,
    body: Delimited,
    keep: bool,
}

/// How the body ends.
#[derive(Debug)]
enum Delimited {
    Length(u64),
    Chunked(Chunked),
    Close,
}

/// Sends what is to be sent and waits for the head of the final answer.
pub(super) async fn receive(
    connection: &mut Connection,
    upload: &mut Upload,
    method: &Method,
    settings: &Upstream,
) -> Result<Head, Failure> {
    let mut interim = 0;
    std::future::poll_fn(|cx| {
        if !upload.finished(connection)
            && let Poll::Ready(Err(failure)) = upload.poll(cx, connection)
        {
            return Poll::Ready(Err(failure));
        }
        if upload.waits_for_app(connection) {
            connection.deadline.arm_once(settings.response_timeout);
        }
        loop {
            while let Some(head) = take_head(&mut connection.unread, settings.head)? {
                let head = parse(&head, method, &mut connection.names)?;
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    connection.deadline.disarm();
                    return Poll::Ready(Ok(head));
                }
                interim += 1;
                if interim > MOST_INTERIM {
                    return Poll::Ready(Err(Failure::Invalid("too many interim answers")));
                }
            }
            match poll_read(connection, cx, READS[0]) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    let untouched = interim == 0 && connection.unread.is_empty();
                    return Poll::Ready(Err(Failure::Closed { untouched }));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return connection.deadline.poll(cx).map(|()| Err(Failure::ResponseTimeout)),
            }
        }
    })
    .await
}

/// Reads once into `connection.unread`.
///
/// Through `AsyncRead` rather than `try_read_buf`: only the former notes that a short read has emptied the
/// socket, which spares the system call that would find out.
fn poll_read(connection: &mut Connection, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
    let unread = &mut connection.unread;
    // What is left of the last piece of memory does for most answers; a new one is a trip to the allocator.
    if unread.capacity() - unread.len() < size / 4 {
        unread.reserve(size);
    }
    pin!(connection.stream.read_buf(&mut connection.unread)).poll(cx)
}

/// Cuts a complete head off what was read. Every line must end with CRLF: a bare LF or CR is read in
/// different ways.
fn take_head(unread: &mut BytesMut, largest: usize) -> Result<Option<Bytes>, Failure> {
    let mut start = 0;
    loop {
        let Some(length) = memchr::memchr(b'\n', &unread[start..]) else {
            return if unread.len() > largest { Err(Failure::Invalid("head too large")) } else { Ok(None) };
        };
        let end = start + length;
        if end == 0 || unread[end - 1] != b'\r' {
            return Err(Failure::Invalid("a line of the head does not end with CRLF"));
        }
        if end == start + 1 {
            if end >= largest {
                return Err(Failure::Invalid("head too large"));
            }
            return Ok(Some(unread.split_to(end + 1).freeze()));
        }
        start = end + 1;
    }
}

fn parse(head: &Bytes, method: &Method, names: &mut Vec<HeaderName>) -> Result<Head, Failure> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut fields,
    ) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return Err(Failure::Invalid("malformed head")),
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Failure::Invalid("no status"))?;
    let modern = response.version == Some(1);
    let facts = Facts::of(response.headers)?;
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    let body = match (facts.chunked, facts.length) {
        (true, Some(_)) => return Err(Failure::Invalid("both Content-Length and Transfer-Encoding")),
        (true, None) if !modern => return Err(Failure::Invalid("Transfer-Encoding in HTTP/1.0")),
        _ if bodiless => Delimited::Length(0),
        (true, None) => Delimited::Chunked(Chunked::default()),
        (false, Some(length)) => Delimited::Length(length),
        (false, None) => Delimited::Close,
    };
    let keep = if modern { !facts.close } else { facts.keep_alive };
    let keep = keep && !matches!(body, Delimited::Close) && status != StatusCode::SWITCHING_PROTOCOLS;
    let headers = response_fields(head, response.headers, names)
        .ok_or(Failure::Invalid("a field that HTTP does not allow"))?;
    let upgrade = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("upgrade");
    let protocol = (status == StatusCode::SWITCHING_PROTOCOLS && facts.upgrade)
        .then(|| response.headers.iter().find(upgrade).map(|field| head.slice_ref(field.value)))
        .flatten();
    Ok(Head { status, headers, protocol, body, keep })
}

/// What the fields say of the framing (RFC 9112 §6.3).
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are what single fields say, and independent")]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Facts {
    fn of(fields: &[httparse::Header<'_>]) -> Result<Self, Failure> {
        let mut facts = Self::default();
        for field in fields {
            if field.name.eq_ignore_ascii_case("content-length") {
                let digits = field.value.trim_ascii();
                let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
                let length =
                    std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| text.parse().ok());
                if length.is_none() || facts.length.is_some_and(|before| Some(before) != length) {
                    return Err(Failure::Invalid("no single Content-Length"));
                }
                facts.length = length;
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                if facts.chunked || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Failure::Invalid("a transfer coding other than chunked"));
                }
                facts.chunked = true;
            } else if field.name.eq_ignore_ascii_case("connection") {
                for option in field.value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    facts.close |= option.eq_ignore_ascii_case(b"close");
                    facts.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    facts.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
        }
        Ok(facts)
    }
}

/// The body of an answer by HTTP/1.1. Dropped before its end, it takes the connection with it.
pub struct Http1Body {
    connection: Option<Box<Connection>>,
    pool: Rc<Pool>,
    upload: Upload,
    body: Delimited,
    keep: bool,
    /// Which of [`READS`] comes next.
    reads: usize,
    term: Term,
    /// How long the app has been silent.
    silent: Duration,
    /// Whether the client takes it fast enough, and how much it was given last.
    pace: Pace,
    given: u64,
}

impl Http1Body {
    /// The body that follows `head` on `connection`.
    pub(super) fn new(
        connection: Box<Connection>,
        (pool, pace): (Rc<Pool>, Pace),
        mut upload: Upload,
        head: Head,
        session: Option<Arc<Session>>,
    ) -> (StatusCode, HeaderMap, Self) {
        let Head { status, headers, body, keep, .. } = head;
        upload.answered();
        let term = Term::begin(session, pool.now());
        let connection = Some(connection);
        let silent = Duration::ZERO;
        let mut this = Self { connection, pool, upload, body, keep, reads: 0, term, silent, pace, given: 0 };
        if matches!(this.body, Delimited::Length(0)) {
            this.finish();
        }
        (status, headers, this)
    }

    /// No body at all.
    pub(super) fn empty(pool: Rc<Pool>) -> Self {
        Self {
            connection: None,
            pool,
            upload: Upload::head_only(),
            body: Delimited::Length(0),
            keep: false,
            reads: 0,
            term: Term::default(),
            silent: Duration::ZERO,
            pace: Pace::new(0, Duration::ZERO),
            given: 0,
        }
    }

    /// Sends on what has come of the request, whether or not the answer can be passed on.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && !self.upload.finished(connection)
        {
            // What went wrong is found again by who asks for the next piece.
            let _ = self.upload.poll(cx, connection);
        }
    }

    /// The answer has been read to its end: the connection can carry the next one if all of the request went
    /// out.
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keep
            && self.upload.clean()
        {
            self.pool.put(connection);
        }
    }

    /// Takes what is there of the body. `None` if nothing is.
    fn piece(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let unread = &mut connection.unread;
        match &mut self.body {
            Delimited::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                if most == 0 {
                    return Ok(None);
                }
                *left -= most as u64;
                let piece = unread.split_to(most).freeze();
                if *left == 0 {
                    self.finish();
                }
                Ok(Some(Frame::data(piece)))
            }
            Delimited::Chunked(chunked) => match chunked.take(unread)? {
                Piece::Data(data) => {
                    // The end is often there already; to know it now spares the client a packet of its own
                    // for it.
                    if chunked.at_bare_end(unread) {
                        self.finish();
                    }
                    Ok(Some(Frame::data(data)))
                }
                Piece::Trailers(trailers) => {
                    self.finish();
                    Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
                }
                Piece::Nothing => Ok(None),
            },
            Delimited::Close => {
                let piece = unread.split().freeze();
                Ok((!piece.is_empty()).then(|| Frame::data(piece)))
            }
        }
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        // Asked for more: the client has taken what it was given.
        if !this.pace.pass(std::mem::take(&mut this.given), this.pool.now()) {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        if let Some(connection) = &mut this.connection
            && !this.upload.finished(connection)
            && let Poll::Ready(Err(_)) = this.upload.poll(cx, connection)
        {
            // The client's body broke: whatever the app still says of it answers no whole request.
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        loop {
            if this.term.is_over(this.pool.now(), this.pool.live()) {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            if let Some(frame) = this.piece()? {
                this.given = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.pace.wait(this.pool.now());
                return Poll::Ready(Some(Ok(frame)));
            }
            let patience = this.pool.settings().idle_timeout;
            let Some(connection) = &mut this.connection else { return Poll::Ready(None) };
            let size = READS[this.reads];
            match poll_read(connection, cx, size) {
                Poll::Ready(Ok(0)) if matches!(this.body, Delimited::Close) => {
                    this.connection = None;
                    return Poll::Ready(None);
                }
                // Cut short: the client must be able to see it (RFC 9112 §8).
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(Ok(_)) => {
                    connection.deadline.disarm();
                    this.silent = Duration::ZERO;
                    let full = connection.unread.len() == connection.unread.capacity();
                    this.reads = if full { (this.reads + 1).min(READS.len() - 1) } else { this.reads };
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => {
                    let look = LONG.min(patience);
                    connection.deadline.arm_once(look);
                    ready!(connection.deadline.poll(cx));
                    connection.deadline.disarm();
                    this.silent += look;
                    if this.silent >= patience {
                        return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body {
            Delimited::Length(left) => SizeHint::with_exact(left),
            Delimited::Chunked(_) | Delimited::Close => SizeHint::default(),
        }
    }
}
