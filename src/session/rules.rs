//! How long a session lives: pure arithmetic over its times.

use std::time::Duration;

use crate::config;
use crate::time::Now;
use crate::visitor::Session;

/// How long after signing in delicate changes are allowed without signing in again.
const FRESH: Duration = Duration::from_hours(24);

/// When a session opened at `opened` ends if it is not used after `now`.
///
/// A remembered session slides with use up to its absolute end; another one has a short life from the start.
pub fn expiry(limits: &config::Session, remember: bool, opened: Now, now: Now) -> Now {
    let end = opened.plus(limits.absolute);
    let idle_end = if remember { now.plus(limits.idle) } else { opened.plus(limits.short) };
    end.min(idle_end)
}

/// When such a session ends at the latest, however much it is used.
pub fn last_end(limits: &config::Session, remember: bool, opened: Now) -> Now {
    opened.plus(if remember { limits.absolute } else { limits.short.min(limits.absolute) })
}

/// Whether its use now should move the end of the session, which is written at most once per `renew_every`.
pub fn renewal_due(limits: &config::Session, session: &Session, now: Now) -> bool {
    session.remember
        && now.since(session.renewed) >= limits.renew_every
        && expiry(limits, true, session.opened, now) > session.expires
}

/// Whether the session was opened so recently that a delicate change may follow.
pub fn is_fresh(session: &Session, now: Now) -> bool {
    now.since(session.opened) < FRESH
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn limits() -> config::Session {
        config::Session {
            idle: DAY * 7,
            absolute: DAY * 30,
            renew_every: DAY,
            short: DAY,
            cache_entries: 1,
            cache_age: DAY,
            cookie: config::SessionCookie::Opaque,
            jwt_lifetime: DAY,
            clear_on_sign_out: config::clear::ClearSiteData::default(),
        }
    }

    #[test]
    fn lif_2_use_never_moves_the_absolute_end() {
        let opened = Now::from_millis(0);
        let late = opened.plus(DAY * 29);
        assert_eq!(expiry(&limits(), true, opened, late), opened.plus(DAY * 30));
    }

    #[test]
    fn a_session_that_is_not_remembered_lives_a_day_and_does_not_slide() {
        let opened = Now::from_millis(0);
        assert_eq!(expiry(&limits(), false, opened, opened.plus(DAY / 2)), opened.plus(DAY));
    }
}
