//! The `Date` of answers, written once a second.

use std::cell::{Cell, RefCell};

use http::HeaderValue;

use crate::time::Now;

/// A `Date` field with its line end.
pub(super) type Line = [u8; 37];

/// The latest `Date`, as of the last tick: answers do not ask the clock.
pub(super) struct Date {
    second: Cell<i64>,
    line: Cell<Line>,
    value: RefCell<HeaderValue>,
}

impl Date {
    /// The field at this moment.
    pub(super) fn new(now: Now) -> Self {
        let date = Self {
            second: Cell::new(0),
            line: Cell::new(*b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
            value: RefCell::new(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")),
        };
        date.tick(now);
        date
    }

    /// Time has passed.
    pub(super) fn tick(&self, now: Now) {
        if now.seconds() != self.second.get() {
            let value = now.http_date();
            let line = format!("date: {value}\r\n");
            if let (Ok(line), Ok(value)) = (line.as_bytes().try_into(), value.try_into()) {
                self.second.set(now.seconds());
                self.line.set(line);
                self.value.replace(value);
            }
        }
    }

    /// The field (RFC 9110 §6.6.1).
    pub(super) fn line(&self) -> Line {
        self.line.get()
    }

    /// Its value alone.
    pub(super) fn value(&self) -> HeaderValue {
        self.value.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_anew_when_the_second_has_passed() {
        let date = Date::new(Now::from_millis(784_111_777_000));
        let first = date.line();
        assert_eq!(&first, b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        date.tick(Now::from_millis(784_111_777_999));
        assert_eq!(date.line(), first);
        date.tick(Now::from_millis(784_111_778_000));
        assert_eq!(&date.line(), b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
        assert_eq!(date.value(), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
