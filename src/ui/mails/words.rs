//! The words of the mails: one typed TOML file for each language, embedded.

use std::time::Duration;

use serde::Deserialize;

use super::{Occasion, Reason, harmless};
use crate::ui::text::Language;

/// All words of one language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) facts: Facts,
    reasons: Reasons,
    pub(super) verify_email: MailText,
    pub(super) already_registered: MailText,
    pub(super) reset_password: MailText,
    pub(super) password_changed: MailText,
    pub(super) confirm_new_email: MailText,
    pub(super) email_changed: MailText,
    pub(super) security_code: MailText,
    pub(super) new_sign_in: MailText,
    pub(super) method_linked: MailText,
    pub(super) method_unlinked: MailText,
    pub(super) delete_account: MailText,
    pub(super) account_deleted: MailText,
}

/// The words of one mail. `{app}`, `{to}`, `{lifetime}`, `{method}` and `{new}` stand for what their names say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailText {
    pub(super) subject: String,
    pub(super) lead: String,
    /// What the link is called; empty where there is none.
    #[serde(default)]
    pub(super) action: String,
    pub(super) after: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    when: String,
    device: String,
    place: String,
    pub(super) reasons: String,
    pub(super) footer: String,
    minutes: String,
    hours: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasons {
    new_browser: String,
    known_network: String,
    new_place: String,
    after_failures: String,
    dormant: String,
    after_change: String,
    too_far: String,
}

impl Words {
    /// Reads the embedded file.
    ///
    /// # Panics
    /// If the file is not complete, which a test rules out.
    pub(super) fn load(language: Language) -> Self {
        let source = match language {
            Language::English => include_str!("en.toml"),
            Language::German => include_str!("de.toml"),
        };
        toml::from_str(source).expect("the embedded words are complete")
    }

    pub(super) fn reason(&self, reason: Reason) -> &str {
        match reason {
            Reason::NewBrowser => &self.reasons.new_browser,
            Reason::KnownNetwork => &self.reasons.known_network,
            Reason::NewPlace => &self.reasons.new_place,
            Reason::AfterFailures => &self.reasons.after_failures,
            Reason::Dormant => &self.reasons.dormant,
            Reason::AfterChange => &self.reasons.after_change,
            Reason::TooFar => &self.reasons.too_far,
        }
    }

    /// When and where, each with its label.
    pub(super) fn facts(&self, seen: Occasion<'_>) -> Vec<(&str, String)> {
        let mut facts = vec![(self.facts.when.as_str(), seen.at.minute())];
        for (label, value) in [(&self.facts.device, Some(seen.device)), (&self.facts.place, seen.place)] {
            let value = value.map(harmless).unwrap_or_default();
            if !value.is_empty() {
                facts.push((label.as_str(), value));
            }
        }
        facts
    }

    /// How long something works, in minutes up to two hours and then in hours, cut.
    pub(super) fn lifetime(&self, lifetime: Duration) -> String {
        let minutes = lifetime.as_secs() / 60;
        let (text, n) =
            if minutes < 120 { (&self.facts.minutes, minutes) } else { (&self.facts.hours, minutes / 60) };
        fill(text, &[("n", &n.to_string())])
    }
}

/// `text` with each `{name}` replaced by its value. Done in one pass: what a value holds is never replaced.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        filled.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = tail;
    }
    filled.push_str(rest);
    filled
}
