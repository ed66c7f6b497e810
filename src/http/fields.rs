//! The fields of one message, where they came: places in the one buffer that holds its head.
//!
//! A message has a dozen fields, is asked for a few of them and mostly passes on as it is, so a list is cheaper than a
//! map, a place in the buffer cheaper than a value of its own, and lines that follow each other are copied as one.
//! Names are in lower case.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::HeaderName;

mod typed;

/// All fields of a message, in their order.
#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    list: Vec<Place>,
    /// A bit for the [`mark`] of each name; some may be left of fields that were taken out.
    marks: u64,
}

/// Where one field is.
#[derive(Clone)]
struct Place {
    name: Range<u32>,
    value: Range<u32>,
    mark: u8,
    /// Its line has the one form in which we write them.
    plain: bool,
}

/// Where the fields of a head are, as they are found.
pub struct Places {
    list: Vec<Place>,
    marks: u64,
}

/// Bytes and fields for which there is room at first where fields are put together: that of most requests.
const USUAL: (usize, usize) = (1024, 16);

/// Largest head whose fields have places, in bytes.
pub(super) const LARGEST: usize = (u32::MAX - 2) as usize;

/// A number below 64 that few names share: most questions for a name are answered by it. Of a name in lower case.
#[inline]
fn mark(name: &[u8]) -> u8 {
    match name {
        [first, .., last] => {
            let [length, ..] = name.len().to_le_bytes();
            length.wrapping_mul(11).wrapping_add(first ^ last.rotate_left(3)) & 63
        }
        _ => 0,
    }
}

/// The value of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'f>(&'f [u8]);

impl<'f> Value<'f> {
    /// As it came, without the white space around it.
    pub fn as_bytes(self) -> &'f [u8] {
        self.0
    }

    /// As text, if it is visible ASCII, spaces and tabs.
    ///
    /// # Errors
    /// If it is not.
    pub fn to_str(self) -> Result<&'f str, NotText> {
        let visible = self.0.iter().all(|&b| matches!(b, b' '..=b'~' | b'\t'));
        std::str::from_utf8(self.0).ok().filter(|_| visible).ok_or(NotText)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.0).fmt(f)
    }
}

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// A value that is not visible ASCII.
#[derive(Debug)]
pub struct NotText;

impl Places {
    /// None so far, with room for those of most requests.
    pub(super) fn new() -> Self {
        Self { list: Vec::with_capacity(USUAL.1), marks: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// One more: where its line begins, its name, in lower case, and the place of its value from there on. Of a head that
    /// is at most [`LARGEST`] bytes long. The line is `plain` if we would write it as it is.
    #[expect(clippy::cast_possible_truncation, reason = "a place in such a head")]
    pub(super) fn add(&mut self, line: usize, name: &[u8], value: Range<usize>, plain: bool) {
        let mark = mark(name);
        self.marks |= 1 << mark;
        self.list.push(Place {
            name: line as u32..(line + name.len()) as u32,
            value: (line + value.start) as u32..(line + value.end) as u32,
            mark,
            plain,
        });
    }
}

fn part<'h>(head: &'h [u8], range: &Range<u32>) -> &'h [u8] {
    head.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl Fields {
    /// The fields that were found at these places of a head.
    pub fn new(head: BytesMut, places: Places) -> Self {
        let Places { list, marks } = places;
        Self { head: head.freeze(), list, marks }
    }

    /// Names in lower case and their values. They are put together in `head`, which is empty before and after that.
    pub fn gather<'f>(head: &mut BytesMut, fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>) -> Self {
        let (mut list, mut marks) = (Vec::with_capacity(USUAL.1), 0);
        // A head is never as large as 4 GiB; if it were, the field would be empty.
        let range = |start: usize, length: usize| {
            let start = u32::try_from(start).unwrap_or_default();
            start..start.saturating_add(u32::try_from(length).unwrap_or_default())
        };
        for (name, value) in fields {
            let at = head.len();
            head.reserve(name.len() + value.len() + 4);
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
            let mark = mark(name);
            marks |= 1 << mark;
            list.push(Place {
                name: range(at, name.len()),
                value: range(at + name.len() + 2, value.len()),
                mark,
                plain: true,
            });
        }
        Self { head: head.split().freeze(), list, marks }
    }

    /// A part of the head that the fields are in.
    pub fn share(&self, range: Range<usize>) -> Bytes {
        self.head.slice(range)
    }

    /// The value as something that lives on.
    pub fn keep(&self, value: Value<'_>) -> Bytes {
        self.head.slice_ref(value.0)
    }

    /// The first field of this name.
    #[inline]
    pub fn get(&self, name: &HeaderName) -> Option<Value<'_>> {
        self.get_all(name).next()
    }

    /// All fields of this name.
    #[inline]
    pub fn get_all<'f, 'n>(
        &'f self,
        name: &'n HeaderName,
    ) -> impl DoubleEndedIterator<Item = Value<'f>> + use<'f, 'n> {
        let name = name.as_str().as_bytes();
        let mark = mark(name);
        let list = if self.marks & (1 << mark) == 0 { &[] } else { self.list.as_slice() };
        let named = move |place: &&Place| place.mark == mark && part(&self.head, &place.name) == name;
        list.iter().filter(named).map(|place| Value(part(&self.head, &place.value)))
    }

    /// Whether there is a field of this name.
    pub fn contains_key(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Takes all fields of this name out.
    pub fn remove(&mut self, name: &HeaderName) {
        if self.marks & (1 << mark(name.as_str().as_bytes())) != 0 {
            self.retain(|known, _| known != name.as_str().as_bytes());
        }
    }

    /// Takes all fields out but those that `keep` names.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], Value<'_>) -> bool) {
        let head = &self.head;
        self.list.retain(|place| keep(part(head, &place.name), Value(part(head, &place.value))));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Names and values, in the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], Value<'_>)> {
        self.list.iter().map(|place| (part(&self.head, &place.name), Value(part(&self.head, &place.value))))
    }

    /// Appends the lines of those fields that `pass` names, in the order in which they came.
    pub fn write(&self, out: &mut Vec<u8>, mut pass: impl FnMut(&[u8], Value<'_>) -> bool) {
        // What is still to be copied: lines that follow each other.
        let mut run = 0..0;
        for place in &self.list {
            let (name, value) = (part(&self.head, &place.name), part(&self.head, &place.value));
            if !pass(name, Value(value)) {
                continue;
            }
            let line = place.name.start..place.value.end + 2;
            if !place.plain {
                out.extend_from_slice(part(&self.head, &run));
                run = 0..0;
                put(out, name, value);
            } else if run.end == line.start {
                run.end = line.end;
            } else {
                out.extend_from_slice(part(&self.head, &run));
                run = line;
            }
        }
        out.extend_from_slice(part(&self.head, &run));
    }
}

/// Appends one field.
pub fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl<'f> FromIterator<(&'f [u8], &'f [u8])> for Fields {
    /// Of names in lower case and their values.
    fn from_iter<I: IntoIterator<Item = (&'f [u8], &'f [u8])>>(fields: I) -> Self {
        Self::gather(&mut BytesMut::with_capacity(USUAL.0), fields)
    }
}

impl fmt::Debug for Fields {
    /// Names only: the values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, HOST};

    use super::*;
    use crate::http::grammar;

    /// The fields of these lines.
    fn read(lines: &[u8]) -> Fields {
        let mut head = BytesMut::from(&[lines, b"\r\n"].concat()[..]);
        let (places, end) = grammar::fields(&mut head, 0, 100).expect("fields");
        assert_eq!(end, head.len());
        Fields::new(head, places)
    }

    fn fields() -> Fields {
        read(b"Host:a\r\nCookie:b\r\nCOOKIE:c\xe9\r\n")
    }

    #[test]
    fn fields_are_found_by_name_in_their_order() {
        let mut fields = fields();
        assert_eq!(fields.get(&HOST).map(Value::as_bytes), Some(&b"a"[..]));
        let cookies: Vec<&[u8]> = fields.get_all(&COOKIE).map(Value::as_bytes).collect();
        assert_eq!(cookies, [&b"b"[..], b"c\xe9"]);
        assert!(!fields.contains_key(&ACCEPT) && fields.get(&HOST).is_some_and(|host| host == "a"));
        assert!(fields.get_all(&COOKIE).next_back().is_some_and(|cookie| cookie.to_str().is_err()));
        fields.remove(&COOKIE);
        assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), [b"host"]);
    }

    /// What is written of these lines, without the field `b`.
    fn written(lines: &str) -> String {
        let (mut out, fields) = (Vec::new(), read(lines.as_bytes()));
        fields.write(&mut out, |name, _| name != b"b");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lines_are_written_in_one_form_whatever_form_they_came_in() {
        assert_eq!(written("A: 1\r\nc: 2\r\n"), "a: 1\r\nc: 2\r\n");
        assert_eq!(written("b: 0\r\nA: 1\r\nB: 0\r\nC: 2\r\nd: 3\r\nb: 0\r\n"), "a: 1\r\nc: 2\r\nd: 3\r\n");
        let odd = "a:1\r\nc: 2\r\nd:\t3\r\ne: 4 \r\nf:  5\r\ng: 6\r\nh:\r\ni: \r\n";
        assert_eq!(written(odd), "a: 1\r\nc: 2\r\nd: 3\r\ne: 4\r\nf: 5\r\ng: 6\r\nh: \r\ni: \r\n");
    }
}
