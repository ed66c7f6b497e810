//! An answer on its way into its stream: never more of it than the client has opened a window for, and no longer than
//! it can be waited for (RFC 9113 §6.9, §10.5).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as _;

use crate::http::reply::Reply;
use crate::proxy::ticker::{Deadline, Ticker};
use crate::server::reply::ReplyBody;

/// What is waited for at a time, in bytes: as much as a frame carries. A client that takes one such piece each time it
/// is waited for is as fast as `limits.min_rate` asks by default.
const PIECE: usize = 16 * 1024;

/// The head of an answer in the form of HTTP/2, and whether it is all of it.
pub(super) fn head(reply: &Reply<ReplyBody>, date: HeaderValue, to_head: bool) -> (Response<()>, bool) {
    let status = reply.status;
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let whole = bodiless || to_head || reply.body.is_end_stream();
    // Those that may be added have room too: a map that has to grow is made anew.
    let mut fields = HeaderMap::with_capacity(reply.passed.len() + reply.headers.len() + 1);
    let (mut dated, mut measured, mut cached) = (false, false, false);
    let mut say = |name: HeaderName, value| {
        dated |= name == DATE;
        measured |= name == CONTENT_LENGTH;
        cached |= name == CACHE_CONTROL;
        fields.append(name, value);
    };
    for (name, value) in reply.passed.typed() {
        say(name, value);
    }
    for (name, value) in reply.headers.iter() {
        // Those that are of a connection of HTTP/1 (RFC 9113 §8.2.2).
        if ![CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name) {
            say(name.clone(), value.clone());
        }
    }
    if reply.private && !cached {
        fields.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    // A length belongs to the body that would be sent, but not to one that may not be (RFC 9110 §8.6).
    if status == StatusCode::NO_CONTENT {
        fields.remove(CONTENT_LENGTH);
    } else if let Some(length) = reply.body.size_hint().exact()
        && !bodiless
        && !reply.body.is_end_stream()
        && !measured
    {
        fields.append(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !dated {
        fields.append(DATE, date);
    }
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields;
    (head, whole)
}

/// The body of one answer.
pub(super) struct Sending<'t> {
    to: SendStream<Bytes>,
    body: ReplyBody,
    /// What was taken of the body and is not sent, and how much of that is the piece that is waited for.
    rest: Bytes,
    piece: usize,
    /// Nothing comes behind the rest.
    last: bool,
    /// There once the client had to be waited for.
    stalled: Option<Deadline>,
    ticker: &'t Ticker,
    /// How long each piece may take.
    patience: Duration,
}

impl<'t> Sending<'t> {
    /// The body that follows a head.
    pub(super) fn new(
        to: SendStream<Bytes>,
        body: ReplyBody,
        (ticker, patience): (&'t Ticker, Duration),
    ) -> Self {
        Self { to, body, rest: Bytes::new(), piece: 0, last: false, stalled: None, ticker, patience }
    }

    /// Ready once all was sent, or nothing more can be: what is dropped before its end is reset (RFC 9113 §5.4.2). What
    /// is cut is reset so that no client takes it for whole, as some do when they are told `CANCEL`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.poll_send(cx);
        if polled.is_pending() && self.ticker.is_cut() {
            self.to.send_reset(Reason::INTERNAL_ERROR);
            return Poll::Ready(());
        }
        polled
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.rest.is_empty() {
                if !ready!(self.poll_body(cx)) {
                    return Poll::Ready(());
                }
                continue;
            }
            if self.piece == 0 {
                self.piece = self.rest.len().min(PIECE);
                self.to.reserve_capacity(self.piece);
                if let Some(stalled) = &self.stalled {
                    stalled.disarm();
                }
            }
            let count = self.to.capacity().min(self.piece);
            if count == 0 {
                match self.to.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
                // The app may have to hear more before the client takes more.
                if self.body.drive(cx).is_ready() {
                    self.to.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(());
                }
                let stalled = self.stalled.get_or_insert_with(|| self.ticker.deadline());
                stalled.arm_once(self.patience);
                ready!(stalled.poll(cx));
                tracing::debug!("a stream is reset: its client takes nothing");
                return Poll::Ready(());
            }
            self.piece -= count;
            let data = self.rest.split_to(count);
            let end = self.last && self.rest.is_empty();
            let sent = self.to.send_data(data, end).is_ok();
            if sent && end {
                self.body.whole();
            }
            if !sent || end {
                return Poll::Ready(());
            }
        }
    }

    /// Takes the next piece of the body. False if nothing follows.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else {
            return self.to.poll_reset(cx).map(|_| false);
        };
        match next {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.last = self.body.is_end_stream();
                    self.rest = data;
                    if !(self.last && self.rest.is_empty()) {
                        return Poll::Ready(true);
                    }
                    self.end(None);
                }
                Err(frame) => self.end(frame.into_trailers().ok()),
            },
            // Cut short: the client must be able to see it (RFC 9113 §8.1).
            Some(Err(_)) => self.to.send_reset(Reason::INTERNAL_ERROR),
            None => self.end(None),
        }
        Poll::Ready(false)
    }

    /// Ends the stream, with these trailer fields if there are any.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        let ended = match trailers {
            Some(trailers) => self.to.send_trailers(trailers),
            None => self.to.send_data(Bytes::new(), true),
        };
        if ended.is_ok() {
            self.body.whole();
        } else {
            self.to.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}
