//! Looks at the frames of an HTTP/2 connection before the library does: how many of them ask for work and carry nothing
//! (RFC 9113 §10.5).
//!
//! Pings, settings, priorities, resets and frames of unknown types are cheap to send and have to be dealt with. A
//! connection may run up a debt of them; it is paid off by time, and by the bytes of the answers that it is sent, because
//! who is answered much may well ask much.

use crate::proxy::ticker::Ticker;

/// What a client begins with (RFC 9113 §3.4), in bytes.
const PREFACE: usize = 24;
/// The head of a frame (RFC 9113 §4.1), in bytes.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// The largest debt.
const MOST: u64 = 1000;
/// What is forgiven in a second.
const FORGIVEN: u64 = 100;
/// Bytes of answers for which one frame is forgiven. More than an answer to a ping has.
const WORTH: usize = 64;

/// DATA of less than this costs more to keep than it carries, in bytes: as the library counts it, with what may pad it.
const SMALL: usize = 512;
/// So many of these are let in before those have their turn who take them.
const MOST_SMALL: usize = 1000;

/// The frames of one connection.
pub(super) struct Frames {
    ticker: Ticker,
    /// The beginning of a frame's head.
    head: [u8; HEAD],
    have: usize,
    /// Bytes that are no head.
    skip: usize,
    debt: u64,
    /// Until when time has paid, in milliseconds of the worker.
    paid: u64,
    /// Bytes of answers that have paid nothing yet.
    wrote: usize,
    /// The head of a request has not ended with the frame that comes.
    goes_on: bool,
    /// What is skipped belongs to a head, or to the greeting.
    in_head: bool,
    /// A head has come to its end since somebody asked.
    headed: bool,
    /// At least as many as the requests that came and were not taken up: whatever could be one counts.
    requests: usize,
    /// Small ones in this turn.
    small: usize,
}

impl Frames {
    /// Of a connection that begins.
    pub(super) fn new(ticker: &Ticker) -> Self {
        let (ticker, paid) = (ticker.clone(), ticker.now());
        Self {
            ticker,
            head: [0; HEAD],
            have: 0,
            skip: PREFACE,
            debt: 0,
            paid,
            wrote: 0,
            goes_on: false,
            in_head: true,
            headed: false,
            requests: 0,
            small: 0,
        }
    }

    /// Whoever polls the connection begins to, and whoever takes what came has had its turn.
    pub(super) fn begin_turn(&mut self) {
        self.small = 0;
    }

    /// Whether so many came in this turn that it shall end.
    pub(super) fn are_many(&self) -> bool {
        self.small >= MOST_SMALL
    }

    /// Whether something has begun that has to come to its end soon: the greeting, the head of a request or that of a
    /// frame.
    pub(super) fn are_amid_a_head(&self) -> bool {
        self.goes_on || self.have > 0 || (self.in_head && self.skip > 0)
    }

    /// Whether any of these has come to its end since this was asked.
    pub(super) fn have_headed(&mut self) -> bool {
        std::mem::take(&mut self.headed)
    }

    /// A request was taken up. Whether another one may have come.
    pub(super) fn take(&mut self) -> bool {
        self.requests = self.requests.saturating_sub(1);
        self.requests > 0
    }

    /// All requests were taken up whose heads have come to their end.
    pub(super) fn took_all(&mut self) {
        self.requests = usize::from(self.in_head && self.skip > 0 && !self.goes_on);
    }

    /// Looks at bytes that came. False once the debt is too large.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                self.headed |= self.in_head && self.skip == 0 && !self.goes_on;
                bytes = &bytes[count..];
                continue;
            }
            let count = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == HEAD {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.in_head = matches!(kind, HEADERS | CONTINUATION);
                self.goes_on = self.in_head && flags & END_HEADERS == 0;
                self.headed |= !self.in_head;
                self.requests += usize::from(self.in_head && !self.goes_on);
                self.small += usize::from(kind == DATA && self.skip < SMALL);
                self.debt += cost(kind, flags, self.skip);
            }
        }
        if self.debt > MOST {
            self.pay();
        }
        self.debt <= MOST
    }

    /// This many bytes were sent.
    pub(super) fn wrote(&mut self, count: usize) {
        self.wrote = self.wrote.saturating_add(count);
    }

    #[cold]
    fn pay(&mut self) {
        let now = self.ticker.now();
        let by_time = now.saturating_sub(self.paid) * FORGIVEN / 1000;
        let by_answers = (self.wrote / WORTH) as u64;
        self.debt = self.debt.saturating_sub(by_time.saturating_add(by_answers));
        self.paid = now;
        self.wrote %= WORTH;
    }
}

/// What a frame adds to the debt.
fn cost(kind: u8, flags: u8, length: usize) -> u64 {
    const ACK_OR_END: u8 = 1;
    match kind {
        // DATA that neither carries nor ends anything.
        DATA => u64::from(length == 0 && flags & ACK_OR_END == 0),
        // HEADERS, PUSH_PROMISE, WINDOW_UPDATE and CONTINUATION have limits of their own, or are asked for by us.
        HEADERS | 5 | 8 | CONTINUATION => 0,
        // A request that was taken up for nothing.
        3 => 2,
        // SETTINGS: what answers ours is free. What answers a PING that was none has a line in the log.
        4 => u64::from(flags & ACK_OR_END == 0),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn fed(frames: &mut Frames, frame: &[u8], times: usize) -> bool {
        (0..times).all(|_| frames.read(frame))
    }

    #[test]
    fn what_carries_nothing_is_counted_however_the_bytes_come() {
        for (ping, size) in [(0, 1), (0, 7), (1, 4096)].map(|(flags, size)| (frame(6, flags, &[0; 8]), size))
        {
            let mut frames = Frames::new(&Ticker::default());
            let bytes = [vec![0; PREFACE], ping.repeat(1000)].concat();
            assert!(bytes.chunks(size).all(|bytes| frames.read(bytes)));
            assert!(!frames.read(&ping), "the one too many");
        }
    }

    #[test]
    fn no_request_is_overlooked_however_its_head_comes() {
        let (whole, begun, rest) = (frame(1, 5, b"head"), frame(1, 1, b"he"), frame(9, 4, b"ad"));
        let mut frames = Frames::new(&Ticker::default());
        assert!(frames.read(&[0; PREFACE]) && frames.read(&whole.repeat(3)));
        assert!(frames.take() && frames.take() && !frames.take());
        for cut in 0..whole.len() {
            frames.read(&whole[..cut]);
            frames.took_all();
            frames.read(&whole[cut..]);
            frames.read(&whole);
            assert!(frames.take() && !frames.take(), "cut at {cut}");
        }
        frames.read(&begun);
        frames.took_all();
        frames.read(&rest);
        frames.read(&whole);
        assert!(frames.take() && !frames.take());
    }

    #[test]
    fn a_turn_ends_after_many_small_pieces_and_not_after_large_ones() {
        let (small, large) = (frame(DATA, 0, b"x"), frame(DATA, 0, &[0; SMALL]));
        let mut frames = Frames::new(&Ticker::default());
        assert!(frames.read(&[0; PREFACE]) && fed(&mut frames, &large, 5000));
        assert!(fed(&mut frames, &small, MOST_SMALL - 1) && !frames.are_many());
        assert!(frames.read(&small) && frames.are_many());
        frames.begin_turn();
        assert!(!frames.are_many());
    }

    #[test]
    fn what_carries_something_is_free_and_answers_pay() {
        let mut frames = Frames::new(&Ticker::default());
        assert!(frames.read(&[0; PREFACE]));
        for useful in [
            frame(1, 5, b"head"),
            frame(0, 0, b"data"),
            frame(0, 1, b""),
            frame(8, 0, &[0; 4]),
            frame(4, 1, b""),
        ] {
            assert!(fed(&mut frames, &useful, 5000));
        }
        for _ in 0..50 {
            assert!(fed(&mut frames, &frame(6, 0, &[0; 8]), 1000));
            frames.wrote(1000 * WORTH);
        }
        assert!(!fed(&mut frames, &frame(3, 0, &[0; 4]), 501), "resets count twice");
    }
}
