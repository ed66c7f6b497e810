//! Values as people write them in the file: durations (`30s`), sizes (`32KiB`), one name or several.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// A duration such as `"7d"`, `"1h30m"` or `"250ms"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// A number of bytes: an integer, or text such as `"32KiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// One name, or a list of them.
#[derive(PartialEq, Eq)]
pub(super) struct Names(pub(super) Vec<String>);

const MILLISECOND: u64 = 1;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Largest first, which is also the order of display.
const TIMES: [(&str, u64); 5] = [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", MILLISECOND)];
const SIZES: [(&str, u64); 4] = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

impl Span {
    pub(crate) const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    pub(crate) const fn seconds(n: u64) -> Self {
        Self::millis(n * SECOND)
    }

    pub(crate) const fn minutes(n: u64) -> Self {
        Self::millis(n * MINUTE)
    }

    pub(crate) const fn days(n: u64) -> Self {
        Self::millis(n * DAY)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut millis = 0_u64;
        while !rest.is_empty() || text.is_empty() {
            let (number, after) = leading_number(rest)?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let (_, worth) = TIMES.iter().find(|(name, _)| *name == unit)?;
            millis = millis.checked_add(number.checked_mul(*worth)?)?;
            rest = after;
        }
        Some(Self::millis(millis))
    }
}

impl Size {
    pub(crate) const fn kib(n: u64) -> Self {
        Self(n * KIB)
    }

    pub(crate) const fn mib(n: u64) -> Self {
        Self(n * MIB)
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = leading_number(text)?;
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let worth = if unit.is_empty() { 1 } else { SIZES.iter().find(|(name, _)| *name == unit)?.1 };
        number.checked_mul(worth).map(Self)
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_largest_unit(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIMES, "0s", f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_largest_unit(self.0, &SIZES, "0", f)
    }
}

fn in_largest_unit(value: u64, units: &[(&str, u64)], zero: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, worth)| value != 0 && value.is_multiple_of(*worth)) {
        Some((name, worth)) => write!(f, "{}{name}", value / worth),
        None => f.write_str(zero),
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\", \"250ms\" or \"7d\" (units ms, s, m, h, d)")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        from.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"32KiB\", \"10MiB\" or a whole number of bytes")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        from.deserialize_any(Bytes)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a header name or a list of them")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        from.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written_and_say_the_same() {
        for (text, millis) in [
            ("7d", 604_800_000),
            ("30s", 30_000),
            ("250ms", 250),
            ("5m", 300_000),
            ("90m", 5_400_000),
            ("0s", 0),
        ] {
            let span = Span::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(span.0.as_millis(), millis, "{text}");
            assert_eq!(span.to_string(), text);
        }
        assert_eq!(Span::parse("1h30m").map(|s| s.to_string()), Some("90m".to_owned()));
    }

    #[test]
    fn sizes_read_as_written_and_say_the_same() {
        for (text, bytes) in
            [("32KiB", 32_768), ("10MiB", 10_485_760), ("1GiB", 1_073_741_824), ("5B", 5), ("0", 0)]
        {
            let size = Size::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((size.0, size.to_string()), (bytes, text.to_owned()));
        }
        assert_eq!(Size::parse("10485760").map(|s| s.0), Some(10_485_760));
    }

    #[test]
    fn what_is_no_duration_or_size_is_refused() {
        for bad in
            ["", "s", "5", "5 s", "-5s", "5y", "5s5", "99999999999999999999s", "9999999999999999d", "é"]
        {
            assert!(Span::parse(bad).is_none(), "{bad:?}");
        }
        for bad in ["", "KiB", "5kb", "-5", "1.5MiB", "99999999999999999999", "99999999999999999GiB"] {
            assert!(Size::parse(bad).is_none(), "{bad:?}");
        }
    }
}
