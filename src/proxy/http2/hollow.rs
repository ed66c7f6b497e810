//! DATA frames of the app that neither carry nor end anything: the library counts them for as long as a connection lasts
//! and ends it at the hundredth, with all who share it. It is shown a frame of a type that it does not know in place of
//! each, which means as little (RFC 9113 §5.5).

/// The head of a frame (RFC 9113 §4.1), in bytes.
const HEAD: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
/// No type of frame that anybody has given a meaning to.
const UNKNOWN: u8 = 0xf0;

/// Where the frames of a connection begin.
#[derive(Default)]
pub(super) struct Hollow {
    /// The beginning of a frame's head.
    head: [u8; HEAD],
    have: usize,
    /// Bytes that are no head.
    skip: usize,
}

impl Hollow {
    /// Looks at bytes that came, before the library does. A frame of which not all that tells it came at once stays
    /// what it is.
    pub(super) fn hide(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let left = bytes.len() - at;
            if self.skip > 0 {
                let count = self.skip.min(left);
                self.skip -= count;
                at += count;
                continue;
            }
            let count = (HEAD - self.have).min(left);
            let begins = (self.have == 0).then_some(at);
            self.head[self.have..self.have + count].copy_from_slice(&bytes[at..at + count]);
            self.have += count;
            at += count;
            if self.have < HEAD {
                break;
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.head;
            self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
            if let Some(begins) = begins
                && kind == DATA
                && self.skip == 0
                && flags & END_STREAM == 0
            {
                bytes[begins + 3] = UNKNOWN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn only_what_carries_and_ends_nothing_is_hidden() {
        let frames = [
            frame(DATA, 0, b"\0\0\0\0\0\0\0\0\x01"),
            frame(DATA, 0, b""),
            frame(1, 4, b"head"),
            frame(DATA, 0, b""),
            frame(DATA, END_STREAM, b""),
        ];
        let mut shown = frames.clone();
        shown[1][3] = UNKNOWN;
        shown[3][3] = UNKNOWN;
        let (mut bytes, shown) = (frames.concat(), shown.concat());
        Hollow::default().hide(&mut bytes);
        assert_eq!(bytes, shown);
        // However they come: what is cut in its head stays.
        for size in 1..bytes.len() {
            let (mut hollow, mut bytes) = (Hollow::default(), frames.concat());
            bytes.chunks_mut(size).for_each(|bytes| hollow.hide(bytes));
            let differs = bytes.iter().zip(&shown).filter(|(one, other)| one != other).count();
            assert!(differs <= 2 && bytes.len() == shown.len(), "{size}");
        }
    }
}
