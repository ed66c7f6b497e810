//! Frames and header blocks of HTTP/2, byte by byte. The benchmarks use them too.

use std::io::Read;

/// A frame: its type, flags, stream and payload (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client begins with: the preface and empty settings.
pub(crate) fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, b"")].concat()
}

/// The header block of `GET path` to `authority`, without compression (RFC 7541 §6).
pub(crate) fn get(authority: &str, path: &str) -> Vec<u8> {
    let literal = |name: u8, value: &str| {
        [&[name, u8::try_from(value.len()).expect("short")], value.as_bytes()].concat()
    };
    [&[0x82, 0x86][..], &literal(0x04, path), &literal(0x01, authority)].concat()
}

/// A header block without compression and without the static table: what is written is what is read (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fn string(text: &str) -> Vec<u8> {
        let length = text.len();
        let mut bytes = Vec::new();
        if let Some(rest) = length.checked_sub(127) {
            bytes.push(127);
            let mut rest = rest;
            while rest > 127 {
                bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).expect("seven bits"));
        } else {
            bytes.push(u8::try_from(length).expect("seven bits"));
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }
    fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

/// A field that is put into the dynamic table, as large as fits in there (RFC 7541 §6.2.1, §4.1).
pub(crate) fn kept() -> Vec<u8> {
    const LENGTH: usize = 4000;
    let rest = LENGTH - 127;
    let length =
        [127, u8::try_from(rest % 128).expect("seven bits") | 128, u8::try_from(rest / 128).expect("short")];
    [&[0x40, 1, b'a'][..], &length, &[b'b'; LENGTH]].concat()
}

/// The latest field of the dynamic table once more: index 62 (RFC 7541 §6.1).
pub(crate) const AGAIN: u8 = 0xbe;

/// What one side of HTTP/2 says in frames: each with its type, flags, stream and payload.
pub(crate) fn read_frame(stream: &mut impl Read) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// `:status: 200`, and nothing behind it.
pub(crate) fn answered(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x88])
}

pub(crate) fn goaway(last: u32) -> Vec<u8> {
    frame(7, 0, 0, &[&last.to_be_bytes()[..], &0_u32.to_be_bytes()].concat())
}
