//! A client's stream of HTTP/2 as both see it who use it at the same time: whoever answers the request, and the body of
//! the request that is being answered.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use memchr::memchr;

use crate::http::gathered::Received;

/// Most of what is kept for a client that does not read what precedes an answer, in bytes.
const MOST_UNHEARD: usize = 16 * 1024;

/// Whether the library should have taken this field: it lets a quote pass in a name, which is no token (RFC 9110 §5.1),
/// and white space around a value (RFC 9113 §8.2.1).
pub fn is_sound((name, value): (&HeaderName, &HeaderValue)) -> bool {
    let padded = matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    !padded && memchr(b'"', name.as_str().as_bytes()).is_none()
}

/// The side of a stream that the answer goes to.
pub struct Answering {
    to: RefCell<SendResponse<Bytes>>,
    /// Bytes of interim answers.
    told: Cell<usize>,
    /// The client may still be sending the body.
    sending: Cell<bool>,
}

impl Answering {
    /// To the request that came with it.
    pub fn new(to: SendResponse<Bytes>) -> Self {
        Self { to: RefCell::new(to), told: Cell::new(0), sending: Cell::new(false) }
    }

    /// Ready once the client has given the stream up, or it is lost.
    pub fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.to.borrow_mut().poll_reset(cx).map(|_| ())
    }

    /// Has the client hear an interim answer (RFC 9110 §15.2) before the final one, unless it was told much already.
    pub fn inform(&self, status: StatusCode, fields: HeaderMap) {
        let size: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let told = self.told.get().saturating_add(size);
        if told > MOST_UNHEARD {
            return;
        }
        self.told.set(told);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        // A client that has gone need not hear of it.
        let _ = self.to.borrow_mut().send_informational(response);
    }

    /// Sends the head of the final answer; `whole` if nothing follows.
    ///
    /// # Errors
    /// If the stream has ended, or the head is none that HTTP/2 allows.
    pub fn respond(&self, head: Response<()>, whole: bool) -> Result<SendStream<Bytes>, h2::Error> {
        self.to.borrow_mut().send_response(head, whole)
    }

    /// Whether the client may still be sending the body of the request.
    pub fn is_early(&self) -> bool {
        self.sending.get()
    }

    /// Ends the stream without an answer (RFC 9113 §8.1).
    pub fn break_off(&self) {
        self.to.borrow_mut().send_reset(Reason::INTERNAL_ERROR);
    }
}

/// The body of a request. Dropped before its end, it ends the client's side of the stream once the last [`Answering`] is
/// dropped too.
pub struct StreamBody {
    /// None if nothing comes: the request has no body, or is to become a tunnel.
    received: Option<Rc<RefCell<Received>>>,
    /// Bytes that are still to come, if the request says how many.
    left: Option<u64>,
    /// Only trailer fields may still come.
    data_ended: bool,
    /// The client waits to hear that the body is wanted (RFC 9110 §10.1.1).
    waits: bool,
    answering: Rc<Answering>,
}

/// What comes of a body that whoever has it may not ask for yet. It does not keep the body.
pub struct Ahead(Weak<RefCell<Received>>);

impl Ahead {
    /// Takes what has come. Whoever waits for the body has to be woken as whoever calls this.
    pub fn gather(&self, cx: &mut Context<'_>) {
        if let Some(received) = self.0.upgrade() {
            received.borrow_mut().gather(cx);
        }
    }
}

impl StreamBody {
    /// What is received behind a request whose head speaks of so many bytes, if it does.
    pub fn new(receive: RecvStream, length: Option<u64>, waits: bool, answering: Rc<Answering>) -> Self {
        if receive.is_end_stream() {
            return Self::none(answering);
        }
        let received = Some(Rc::new(RefCell::new(Received::new(receive))));
        answering.sending.set(true);
        Self { received, left: length, data_ended: false, waits, answering }
    }

    /// None, of a request that is complete with its head or is to become a tunnel.
    pub fn none(answering: Rc<Answering>) -> Self {
        Self { received: None, left: Some(0), data_ended: true, waits: false, answering }
    }

    /// Who hears of the answer.
    pub fn answering(&self) -> Rc<Answering> {
        Rc::clone(&self.answering)
    }

    /// What comes of it while it is not asked for.
    pub fn ahead(&self) -> Ahead {
        Ahead(self.received.as_ref().map_or_else(Weak::new, Rc::downgrade))
    }

    /// Takes what has come while it cannot be passed on.
    pub fn gather(&mut self, cx: &mut Context<'_>) {
        if let Some(received) = &self.received {
            received.borrow_mut().gather(cx);
        }
    }

    /// Whether nothing comes any more.
    pub fn is_end_stream(&self) -> bool {
        self.received.as_ref().is_none_or(|received| received.borrow().is_end_stream())
    }

    /// How much of the body is still to come.
    pub fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The next piece of the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(received) = &self.received else { return Poll::Ready(None) };
        let mut received = received.borrow_mut();
        if !self.data_ended {
            let polled = received.poll_data(cx);
            if polled.is_pending() && std::mem::take(&mut self.waits) {
                self.answering.inform(StatusCode::CONTINUE, HeaderMap::new());
            }
            match ready!(polled) {
                Some(Ok(data)) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(received.poll_trailers(cx)).map_err(io::Error::other)?;
        self.answering.sending.set(false);
        if trailers.as_ref().is_some_and(|trailers| !trailers.iter().all(is_sound)) {
            return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into())));
        }
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(received) = &self.received {
            self.answering.sending.set(!received.borrow_mut().has_come());
        }
    }
}
