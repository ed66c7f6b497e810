//! The `Date` of answers, written once a second.

use crate::time::Now;

/// A `Date` field with its line end.
pub(super) type Line = [u8; 37];

/// The latest `Date`.
pub(in crate::server) struct Date {
    second: i64,
    line: Line,
}

impl Default for Date {
    fn default() -> Self {
        Self { second: 0, line: *b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" }
    }
}

impl Date {
    /// The field at this moment (RFC 9110 §6.6.1).
    pub(super) fn line(&mut self, now: Now) -> Line {
        if now.seconds() != self.second {
            let line = format!("date: {}\r\n", now.http_date());
            if let Ok(line) = line.as_bytes().try_into() {
                (self.second, self.line) = (now.seconds(), line);
            }
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_anew_when_the_second_has_passed() {
        let mut date = Date::default();
        let first = date.line(Now::from_millis(784_111_777_000));
        assert_eq!(&first, b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(date.line(Now::from_millis(784_111_777_999)), first);
        assert_eq!(&date.line(Now::from_millis(784_111_778_000)), b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
    }
}
