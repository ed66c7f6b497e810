//! The words of the account page.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::ui) struct Account {
    pub(in crate::ui) title: String,
    pub(in crate::ui) profile: String,
    pub(in crate::ui) save: String,
    pub(in crate::ui) verified: String,
    pub(in crate::ui) unverified: String,
    pub(in crate::ui) verify: String,
    pub(in crate::ui) change_email: String,
    pub(in crate::ui) new_email: String,
    pub(in crate::ui) new_email_help: String,
    pub(in crate::ui) change_email_submit: String,
    pub(in crate::ui) confirm: String,
    pub(in crate::ui) confirm_lead: String,
    pub(in crate::ui) confirm_submit: String,
    pub(in crate::ui) ways: String,
    pub(in crate::ui) password_set: String,
    pub(in crate::ui) password_none: String,
    pub(in crate::ui) password_by_mail: String,
    pub(in crate::ui) change_password: String,
    pub(in crate::ui) current_password: String,
    pub(in crate::ui) new_password: String,
    pub(in crate::ui) end_others: String,
    pub(in crate::ui) connected: String,
    pub(in crate::ui) not_connected: String,
    pub(in crate::ui) connect: String,
    pub(in crate::ui) disconnect: String,
    pub(in crate::ui) only_way: String,
    pub(in crate::ui) sessions: String,
    pub(in crate::ui) this_browser: String,
    pub(in crate::ui) browser_on: String,
    pub(in crate::ui) unknown_browser: String,
    pub(in crate::ui) signed_in: String,
    pub(in crate::ui) end: String,
    pub(in crate::ui) delete: String,
    pub(in crate::ui) delete_ask: String,
    pub(in crate::ui) delete_lead: String,
    pub(in crate::ui) delete_submit: String,
    pub(in crate::ui) delete_by_mail: String,
    now: String,
    minutes: String,
    hours: String,
    days: String,
}

impl Account {
    /// A time that lies so many seconds back, in words.
    pub(in crate::ui) fn ago(&self, seconds: u64) -> String {
        let (text, n) = match seconds {
            0..=119 => (&self.now, 0),
            120..=7199 => (&self.minutes, seconds / 60),
            7200..=172_799 => (&self.hours, seconds / 3600),
            _ => (&self.days, seconds / 86_400),
        };
        text.replace("{n}", &n.to_string())
    }
}

#[cfg(test)]
mod tests {
    use crate::ui::text::{Language, Texts};

    #[test]
    fn a_time_that_has_passed_is_told_in_the_unit_that_reads_best() {
        let texts = Texts::load(Language::English).account;
        let words = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(|seconds| texts.ago(seconds));
        let expected = [
            "just now",
            "just now",
            "2 minutes ago",
            "119 minutes ago",
            "2 hours ago",
            "47 hours ago",
            "2 days ago",
        ];
        assert_eq!(words, expected);
    }
}
