//! Fields as HTTP's own types have them, where a library takes or gives these.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::http::fields::Fields;

impl Fields {
    /// Names and values, in the order in which they came, without what is no field to HTTP. Values share the head.
    pub fn typed(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.iter().filter_map(|(name, value)| {
            Some((typed_name(name)?, HeaderValue::from_maybe_shared(self.keep(value)).ok()?))
        })
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect()
    }
}

impl From<&Fields> for HeaderMap {
    /// Leaves out what is no field to HTTP.
    fn from(fields: &Fields) -> Self {
        let mut map = Self::with_capacity(fields.list.len() + 4);
        for (name, value) in fields.typed() {
            map.append(name, value);
        }
        map
    }
}

/// A name in lower case. Those that most answers have are found without the search that others take.
fn typed_name(name: &[u8]) -> Option<HeaderName> {
    Some(match name {
        b"date" => header::DATE,
        b"etag" => header::ETAG,
        b"vary" => header::VARY,
        b"server" => header::SERVER,
        b"location" => header::LOCATION,
        b"set-cookie" => header::SET_COOKIE,
        b"content-type" => header::CONTENT_TYPE,
        b"accept-ranges" => header::ACCEPT_RANGES,
        b"cache-control" => header::CACHE_CONTROL,
        b"last-modified" => header::LAST_MODIFIED,
        b"content-length" => header::CONTENT_LENGTH,
        b"content-encoding" => header::CONTENT_ENCODING,
        _ => return HeaderName::from_bytes(name).ok(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use http::header::{COOKIE, HOST};

    use super::*;
    use crate::http::fields::Value;

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
    fn all_names_are_those_that_came() {
        let names = "date etag vary server location set-cookie content-type accept-ranges cache-control \
                     last-modified content-length content-encoding x-other link";
        let names: Vec<&str> = names.split(' ').collect();
        let mut head = BytesMut::new();
        let fields = Fields::gather(&mut head, names.iter().map(|name| (name.as_bytes(), &b"v"[..])));
        assert!(head.is_empty());
        let typed: Vec<_> = fields.typed().collect();
        assert!(typed.iter().all(|(_, value)| value == "v"));
        assert_eq!(typed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        let none = Fields::gather(&mut head, [(&b"a b"[..], &b"v"[..]), (b"c", b"\n")]);
        assert!(none.typed().next().is_none());
    }
}
