//! One JSON object, of which a name means one thing and a value has the type that was asked for.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::failure::Failure;

/// The members of an object, each name once.
pub(super) struct Object(Map<String, Value>);

/// What is said of a value of another type than it has to have.
const WRONG_TYPE: Failure = Failure::InvalidAnswer("a value has the wrong type");

impl Object {
    /// Reads one object and nothing behind it; `None` also if a name is there twice, which two readers would
    /// read in two ways (RFC 8259 §4).
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The object inside of a list.
    pub(super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    /// The value as it stands; `null` is none.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether there is a member of this name, whatever it says.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text that may be missing.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        self.get(name).map(|value| value.as_str().ok_or(WRONG_TYPE)).transpose()
    }

    /// A number of seconds that may be missing: a whole one, before the year 10000.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<i64>, Failure> {
        const LAST: i64 = 253_402_300_799;
        self.get(name)
            .map(|value| value.as_i64().filter(|at| (0..=LAST).contains(at)).ok_or(WRONG_TYPE))
            .transpose()
    }

    /// `true`, or the text `"true"`, which some providers write; everything else is no.
    pub(super) fn says_yes(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(yes)) => *yes,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name is there twice"));
                    }
                }
                Ok(Object(map))
            }
        }
        from.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readers_would_read_in_two_ways_is_refused() {
        for bad in ["", "[]", "1", "{\"a\":1,\"a\":2}", "{} {}", "{\"a\":1", "{\"\\u0061\":1,\"a\":2}"] {
            assert!(Object::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_not_taken_for_a_missing_one() {
        let object = Object::parse(br#"{"t":"x","n":5,"f":5.5,"big":1e300,"minus":-1,"s":"5","z":null}"#)
            .expect("an object");
        assert_eq!(object.text("t"), Ok(Some("x")));
        assert_eq!((object.text("z"), object.text("nothing")), (Ok(None), Ok(None)));
        assert_eq!(object.text("n"), Err(WRONG_TYPE));
        assert_eq!(object.seconds("n"), Ok(Some(5)));
        for name in ["f", "big", "minus", "s", "t"] {
            assert_eq!(object.seconds(name), Err(WRONG_TYPE), "{name}");
        }
    }
}
