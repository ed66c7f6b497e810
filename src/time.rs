//! Time as a value: [`Now`] for the calendar, [`Clock`] as the only reader of the wall clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The text form of better-auth's tables on SQLite and of every JSON body:
/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, which also sorts as text.
const ISO: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The form of times in fields of HTTP.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(i64);

impl Now {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// From whole seconds since the epoch, as tokens count (RFC 7519 §2).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }

    /// This moment and `duration` less.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The text form: `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub fn iso(self) -> String {
        self.date_time().format(ISO).unwrap_or_default()
    }

    /// The form of `Date` and other fields of HTTP (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn http_date(self) -> String {
        self.date_time().format(HTTP_DATE).unwrap_or_default()
    }

    /// For people, to the minute: `2026-01-02 03:04 UTC`.
    pub fn minute(self) -> String {
        let iso = self.iso();
        format!("{} {} UTC", iso.get(..10).unwrap_or_default(), iso.get(11..16).unwrap_or_default())
    }

    /// From the text form; `None` for every other spelling, because only this one sorts as text.
    pub fn from_iso(text: &str) -> Option<Self> {
        PrimitiveDateTime::parse(text, ISO).ok().map(|at| Self::from_date_time(at.assume_utc()))
    }

    /// The calendar form, as PostgreSQL binds it.
    pub fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// From the calendar form, cut to milliseconds.
    pub fn from_date_time(at: OffsetDateTime) -> Self {
        Self(i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
    }
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso())
    }
}

impl serde::Serialize for Now {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.iso())
    }
}

/// Where the time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands until it is moved.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at`.
    pub fn fixed(at: Now) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.0)))
    }

    /// The moment this clock shows.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    pub fn now(&self) -> Now {
        match self {
            Self::System => {
                let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Now(whole_millis(elapsed))
            }
            Self::Fixed(at) => Now(at.load(Ordering::Acquire)),
        }
    }

    /// Moves a fixed clock forward; the machine's clock does not move for us.
    pub fn advance(&self, by: Duration) {
        if let Self::Fixed(at) = self {
            at.fetch_add(whole_millis(by), Ordering::AcqRel);
        }
    }
}

/// A moment of this process, to measure how long something takes: it never goes back, and is no time of day.
#[derive(Clone, Copy)]
pub struct Moment(Instant);

impl Moment {
    /// This moment.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the clock that only goes forward")]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_duration_since(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_form_is_read_back() {
        let at = Now::from_millis(1_700_000_000_007);
        assert_eq!(Now::from_iso(&at.iso()), Some(at));
        for other in ["", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20.007", "2023-11-14T22:13:20.007+00:00"]
        {
            assert_eq!(Now::from_iso(other), None, "{other}");
        }
    }

    #[test]
    fn the_text_form_has_three_digits_and_a_z() {
        assert_eq!(Now::from_millis(0).iso(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Now::from_millis(1_700_000_000_007).iso(), "2023-11-14T22:13:20.007Z");
    }
}
