//! The frames of a WebSocket as they pass: only to know whether one has ended, so that a last one of ours can
//! follow (RFC 6455 §5.2).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// "Going away" (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;
/// A final frame whose opcode is Close.
const CLOSE: u8 = 0x88;
const OPCODE: u8 = 0x0f;
const CLOSE_OPCODE: u8 = 0x08;
const MASKED: u8 = 0x80;
/// The longest head of a frame: two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;
/// How long a client may take to hear the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where in a sequence of frames its bytes are.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; LONGEST_HEAD],
    /// Bytes of the head that have passed.
    begun: usize,
    /// Bytes that are missing of the payload.
    left: u64,
    /// The side that sends them has said that it is done.
    closed: bool,
}

impl Frames {
    /// These bytes have passed.
    pub(super) fn passed(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= here as u64;
                bytes = &bytes[here..];
                continue;
            }
            self.head[self.begun] = first;
            self.begun += 1;
            bytes = rest;
            if self.begun >= 2 && self.begun == self.head_length() {
                self.left = self.payload_length();
                self.closed |= self.head[0] & OPCODE == CLOSE_OPCODE;
                self.begun = 0;
            }
        }
    }

    /// Whether a frame of ours can follow what has passed.
    pub(super) fn between(&self) -> bool {
        self.begun == 0 && self.left == 0 && !self.closed
    }

    fn head_length(&self) -> usize {
        let length = match self.head[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & MASKED == 0 { 0 } else { 4 }
    }

    fn payload_length(&self) -> u64 {
        let digits = match self.head[1] & !MASKED {
            126 => &self.head[2..4],
            127 => &self.head[2..10],
            short => return u64::from(short),
        };
        digits.iter().fold(0, |length, &digit| length << 8 | u64::from(digit))
    }
}

/// Tells the client that this is the end, and why, and listens until it has heard, but not for long: to close at
/// once could reset the connection, and the client would lose what it was told.
pub(super) async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S, why: &'static str) {
    let length = u8::try_from(2 + why.len()).unwrap_or(2);
    let frame = [&[CLOSE, length], &GOING_AWAY.to_be_bytes()[..], why.as_bytes()].concat();
    let said = async {
        client.write_all(&frame).await?;
        client.flush().await?;
        client.shutdown().await?;
        let mut rest = [0; 1024];
        while client.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whether it hears of it or not, the connection is over.
    let _ = timeout(FAREWELL, said).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with this opcode and a payload of this length.
    fn frame(opcode: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0x80 | opcode];
        match length {
            0..126 => out.push(u8::try_from(length).expect("short")),
            126..65_536 => {
                out.push(126);
                out.extend_from_slice(&u16::try_from(length).expect("fits").to_be_bytes());
            }
            _ => {
                out.push(127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend(std::iter::repeat_n(0x88, length));
        out
    }

    #[test]
    fn the_end_of_a_frame_is_found_however_its_bytes_are_cut() {
        let masked = [&[0x82, 0x83, 1, 2, 3, 4][..], b"abc"].concat();
        for whole in [frame(1, 0), frame(2, 125), frame(1, 126), frame(9, 5), frame(2, 70_000), masked] {
            for size in [1, 2, 3, 7, 4096, whole.len()] {
                let mut frames = Frames::default();
                let mut passed = 0;
                for piece in whole.chunks(size) {
                    assert!(frames.between() == (passed == 0), "{passed} of {}", whole.len());
                    frames.passed(piece);
                    passed += piece.len();
                }
                assert!(frames.between());
            }
            let mut frames = Frames::default();
            frames.passed(&[whole.as_slice(), &whole].concat());
            assert!(frames.between());
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut frames = Frames::default();
        frames.passed(&frame(8, 2));
        assert!(!frames.between());
    }
}
