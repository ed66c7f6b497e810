//! The thread that writes to standard error: whoever has lines hands them over and goes on, whether or not anybody
//! reads. Lines that find no room, or cannot be written, are counted.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::metrics::Counter;

/// What may wait to be written, in messages and in bytes.
const QUEUE: usize = 2048;
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// What waits is written in pieces of about this size, in bytes.
const PIECE: usize = 64 * 1024;
/// How long the end of the process waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two attempts at what is not possible at once.
const PAUSE: Duration = Duration::from_millis(10);

/// What the thread that writes is told.
enum Message {
    Lines(Vec<u8>),
    /// Say when all that came before is written.
    Finish(SyncSender<()>),
}

/// The way to the thread that writes.
#[derive(Clone)]
pub struct Sink {
    to: SyncSender<Message>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    /// Bytes under way.
    waiting: AtomicUsize,
    /// Lines that were not written.
    lost: Counter,
}

impl Sink {
    /// Starts the thread, which writes to standard error.
    ///
    /// # Errors
    /// If standard error cannot be had, or the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        // Without the lock of the standard library's handle, which would keep out everybody else while a write waits.
        let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let (sink, receiver) = Self::new(QUEUE);
        let tally = Arc::clone(&sink.tally);
        thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, &tally, &mut stderr))?;
        Ok(sink)
    }

    fn new(messages: usize) -> (Self, Receiver<Message>) {
        let (to, receiver) = sync_channel(messages);
        (Self { to, tally: Arc::default() }, receiver)
    }

    /// Hands over `count` whole lines. Never waits: where there is no room they are lost, and counted.
    pub fn hand_over(&self, lines: Vec<u8>, count: u64) {
        let size = lines.len();
        let waiting = self.tally.waiting.fetch_add(size, Ordering::Relaxed);
        if waiting.saturating_add(size) > MOST_WAITING || self.to.try_send(Message::Lines(lines)).is_err() {
            self.tally.waiting.fetch_sub(size, Ordering::Relaxed);
            self.tally.lost.add(count);
        }
    }

    /// How many lines were lost.
    pub fn lost(&self) -> u64 {
        self.tally.lost.get()
    }

    /// Waits, but not for longer than two seconds, until all that was handed over is written.
    pub fn finish(&self) {
        let (done, is_done) = sync_channel(1);
        let mut message = Message::Finish(done);
        let mut left = FAREWELL;
        // Room for this may have to be waited for as well.
        while let Err(TrySendError::Full(back)) = self.to.try_send(message) {
            if left.is_zero() {
                return;
            }
            message = back;
            thread::sleep(PAUSE);
            left = left.saturating_sub(PAUSE);
        }
        let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) =
            is_done.recv_timeout(left);
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(self)
    }
}

/// Takes one line, in one write.
pub struct Event<'a>(&'a Sink);

impl Write for Event<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.hand_over(line.to_vec(), 1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is handed over, until nobody is left who could.
fn write(receiver: &Receiver<Message>, tally: &Tally, to: &mut impl Write) {
    while let Ok(first) = receiver.recv() {
        let (mut piece, mut next) = (Vec::new(), Some(first));
        while let Some(message) = next {
            match message {
                Message::Lines(lines) => {
                    tally.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                    if piece.is_empty() {
                        piece = lines;
                    } else {
                        piece.extend_from_slice(&lines);
                    }
                }
                Message::Finish(done) => {
                    write_out(&std::mem::take(&mut piece), tally, to);
                    let _ = done.send(());
                }
            }
            next = if piece.len() < PIECE { receiver.try_recv().ok() } else { None };
        }
        write_out(&piece, tally, to);
    }
}

/// Writes these bytes, however long that takes; lines that cannot be written are counted.
fn write_out(mut bytes: &[u8], tally: &Tally, to: &mut impl Write) {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever gave us standard error may have it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            _ => {
                let lines = memchr::memchr_iter(b'\n', bytes).count();
                tally.lost.add(u64::try_from(lines).unwrap_or(u64::MAX));
                return;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sink with room for so many messages, which nobody writes until what it is returned with is called.
    pub(in crate::log) fn unread(messages: usize) -> (Sink, impl FnOnce() -> String) {
        let (sink, receiver) = Sink::new(messages);
        let tally = Arc::clone(&sink.tally);
        let read = move || {
            let mut written = Vec::new();
            while let Ok(Message::Lines(lines)) = receiver.try_recv() {
                tally.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                written.extend_from_slice(&lines);
            }
            String::from_utf8(written).expect("UTF-8")
        };
        (sink, read)
    }

    #[test]
    fn what_finds_no_room_is_counted_by_messages_and_by_bytes() {
        let (sink, read) = unread(3);
        for n in 0..5 {
            sink.hand_over(format!("{n}\n").into_bytes(), 1);
        }
        assert_eq!((sink.lost(), &*read()), (2, "0\n1\n2\n"));
        let (sink, read) = unread(3);
        sink.hand_over(vec![b'x'; MOST_WAITING], 1);
        sink.hand_over(b"two\nlines\n".to_vec(), 2);
        assert_eq!(sink.lost(), 2);
        read();
    }

    /// Takes little at a time, and then nothing.
    struct Reluctant(Vec<u8>, usize);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            match self.1 {
                1 => Err(ErrorKind::Interrupted.into()),
                2 => Err(ErrorKind::WouldBlock.into()),
                3 | 4 => self.0.write(&bytes[..bytes.len().min(4)]),
                _ => Err(ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_can_be_written_is_and_what_cannot_is_counted() {
        let (sink, receiver) = Sink::new(8);
        sink.hand_over(b"one\ntwo\n".to_vec(), 2);
        sink.hand_over(b"three\nfour\n".to_vec(), 2);
        let tally = Arc::clone(&sink.tally);
        drop(sink);
        let mut to = Reluctant(Vec::new(), 0);
        write(&receiver, &tally, &mut to);
        assert_eq!((&*to.0, tally.lost.get()), (&b"one\ntwo\n"[..], 2));
        assert_eq!(tally.waiting.load(Ordering::Relaxed), 0);
    }
}
