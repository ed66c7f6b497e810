//! The fields of one request, where they came: places in the one buffer that holds its head.
//!
//! A request has a dozen fields and is asked for a few of them, so a list is cheaper than a map, and a place in the
//! buffer cheaper than a value of its own. Names are in lower case.

use std::fmt;
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};

/// All fields of a request, in their order.
#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    list: Vec<Place>,
}

/// Where one field is.
#[derive(Clone)]
pub struct Place {
    name: Range<u32>,
    value: Range<u32>,
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

impl Place {
    /// The place of two parts of `head`; `None` if they are not parts of it.
    pub fn of(head: &[u8], name: &[u8], value: &[u8]) -> Option<Self> {
        let range = |part: &[u8]| {
            let start = (part.as_ptr() as usize).checked_sub(head.as_ptr() as usize)?;
            let end = start.checked_add(part.len()).filter(|end| *end <= head.len())?;
            Some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
        };
        Some(Self { name: range(name)?, value: range(value)? })
    }
}

fn part<'h>(head: &'h [u8], range: &Range<u32>) -> &'h [u8] {
    head.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl Fields {
    /// The fields at these places of a head, and the rest of it.
    pub fn new(mut head: BytesMut, list: Vec<Place>) -> Self {
        for place in &list {
            if let Some(name) = head.get_mut(place.name.start as usize..place.name.end as usize) {
                name.make_ascii_lowercase();
            }
        }
        Self { head: head.freeze(), list }
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
    pub fn get(&self, name: &HeaderName) -> Option<Value<'_>> {
        let name = name.as_str().as_bytes();
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All fields of this name.
    pub fn get_all<'f, 'n>(
        &'f self,
        name: &'n HeaderName,
    ) -> impl DoubleEndedIterator<Item = Value<'f>> + use<'f, 'n> {
        let name = name.as_str().as_bytes();
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there is a field of this name.
    pub fn contains_key(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Takes all fields of this name out.
    pub fn remove(&mut self, name: &HeaderName) {
        let head = &self.head;
        self.list.retain(|place| part(head, &place.name) != name.as_str().as_bytes());
    }

    /// Names and values, in the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], Value<'_>)> {
        self.list.iter().map(|place| (part(&self.head, &place.name), Value(part(&self.head, &place.value))))
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let size = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let (mut head, mut list) = (BytesMut::with_capacity(size), Vec::with_capacity(map.len()));
        let put = |head: &mut BytesMut, bytes: &[u8]| {
            let start = head.len();
            head.put_slice(bytes);
            // A head is never as large as 4 GiB; if it were, the field would be empty.
            u32::try_from(start).unwrap_or_default()..u32::try_from(head.len()).unwrap_or_default()
        };
        for (name, value) in map {
            let name = put(&mut head, name.as_str().as_bytes());
            list.push(Place { name, value: put(&mut head, value.as_bytes()) });
        }
        Self { head: head.freeze(), list }
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

    fn fields() -> Fields {
        let head = BytesMut::from(&b"Host:a Cookie:b COOKIE:c\xe9"[..]);
        let bytes = head.clone();
        let place = |name: Range<usize>, value: Range<usize>| Place::of(&bytes, &bytes[name], &bytes[value]);
        let list = [place(0..4, 5..6), place(7..13, 14..15), place(16..22, 23..25)];
        Fields::new(head, list.into_iter().collect::<Option<_>>().expect("they are parts of it"))
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

    #[test]
    fn a_map_becomes_the_same_fields() {
        let mut map = HeaderMap::new();
        map.append(HOST, "a".parse().expect("a value"));
        map.append(COOKIE, "b".parse().expect("a value"));
        map.append(COOKIE, "c".parse().expect("a value"));
        let fields = Fields::from(&map);
        assert_eq!(fields.get_all(&COOKIE).map(Value::as_bytes).collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(fields.get(&HOST).map(Value::as_bytes), Some(&b"a"[..]));
    }

    #[test]
    fn what_is_not_part_of_the_head_has_no_place() {
        let head = b"Host:a".to_vec();
        let elsewhere = b"elsewhere".to_vec();
        assert!(Place::of(&head, &elsewhere, &head).is_none());
        assert!(Place::of(&head[..2], &head[3..], &head[..1]).is_none());
    }
}
