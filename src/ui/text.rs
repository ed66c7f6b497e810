//! The words on the pages: one typed TOML file for each language, embedded, and the choice between them.

use std::collections::HashMap;

use serde::Deserialize;

mod account;

use crate::refusal::Refusal;

pub(super) mod mailed;

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English, also for everyone whose language we do not have.
    English,
    /// German.
    German,
}

/// How many ranges of an `Accept-Language` are looked at.
const RANGES: usize = 16;

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// The language tag for `lang` and `Content-Language` (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// From its tag; `None` for a language that we do not have.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The language that an `Accept-Language` prefers (RFC 9110 §12.5.4); the first of equals.
    pub fn preferred(accept_language: Option<&str>) -> Self {
        Self::asked_for(accept_language).unwrap_or(Self::English)
    }

    /// The same, if it names one that we have: `*`, which programs send, names none.
    pub fn asked_for(accept_language: Option<&str>) -> Option<Self> {
        let mut best = (None, 0);
        for range in accept_language.unwrap_or_default().split(',').take(RANGES) {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, ""));
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let Some(language) = Self::ALL.into_iter().find(|l| primary.eq_ignore_ascii_case(l.tag())) else {
                continue;
            };
            let weight = weight(parameter);
            if weight > best.1 {
                best = (Some(language), weight);
            }
        }
        best.0
    }

    const fn source(self) -> &'static str {
        match self {
            Self::English => include_str!("text/en.toml"),
            Self::German => include_str!("text/de.toml"),
        }
    }
}

/// Thousandths of a `q=` parameter (RFC 9110 §12.4.2); none is 1, and what does not parse is 0.
fn weight(parameter: &str) -> u32 {
    let parameter = parameter.trim();
    if parameter.is_empty() {
        return 1000;
    }
    let Some(value) = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")) else {
        return 0;
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    match (whole, fraction.len()) {
        ("0" | "1", 0..=3) if fraction.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{whole}{fraction:0<3}").parse::<u32>().map_or(0, |weight| weight.min(1000))
        }
        _ => 0,
    }
}

/// All texts of one language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    pub(super) common: Common,
    pub(super) sign_in: SignIn,
    pub(super) sign_up: SignUp,
    pub(super) sign_out: SignOut,
    pub(super) signed_in: SignedIn,
    pub(super) leaving: Leaving,
    pub(super) account: account::Account,
    pub(super) forgot_password: mailed::ForgotPassword,
    pub(super) reset_password: mailed::ResetPassword,
    pub(super) verify_email: mailed::VerifyEmail,
    pub(super) change_email: mailed::Step,
    pub(super) delete_account: mailed::Step,
    pub(super) dev_mail: DevMail,
    pub(super) notices: Notices,
    pub(super) verify_signin: VerifySignIn,
    pub(super) not_me: NotMe,
    pub(super) problems: Problems,
    refusals: HashMap<String, RefusalText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    pub(super) problem: String,
    pub(super) check: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) password: String,
    pub(super) signed_in_as: String,
    pub(super) home: String,
    pub(super) retry: String,
    pub(super) error: String,
    pub(super) request_id: String,
    pub(super) continue_with: String,
    pub(super) continue_with_one: String,
    pub(super) or: String,
    one_second: String,
    seconds: String,
    minutes: String,
    hours: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) remember: String,
    pub(super) forgot: String,
    pub(super) submit: String,
    pub(super) send_again: String,
    pub(super) sign_up_ask: String,
    pub(super) sign_up_link: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignUp {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) password_help: String,
    pub(super) submit: String,
    pub(super) sign_in_ask: String,
    pub(super) sign_in_link: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignOut {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) submit: String,
    pub(super) stay: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedIn {
    pub(super) title: String,
    pub(super) go_on: String,
    pub(super) other: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaving {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) go_on: String,
    pub(super) link_title: String,
    pub(super) link_lead: String,
    pub(super) stay: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DevMail {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) empty: String,
    pub(super) again: String,
    pub(super) html: String,
    pub(super) back: String,
    pub(super) look: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notices {
    pub(super) signed_out: String,
    pub(super) signed_up: String,
    pub(super) name_saved: String,
    pub(super) password_changed: String,
    pub(super) new_email_sent: String,
    pub(super) verification_sent: String,
    pub(super) method_linked: String,
    pub(super) method_unlinked: String,
    pub(super) session_ended: String,
    pub(super) sessions_ended: String,
    pub(super) mail_sent: String,
    pub(super) reset_sent: String,
    pub(super) password_reset: String,
    pub(super) email_verified: String,
    pub(super) email_changed: String,
    pub(super) deletion_sent: String,
    pub(super) account_deleted: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Problems {
    pub(super) name_missing: String,
    pub(super) name_too_long: String,
    pub(super) email_missing: String,
    pub(super) password_missing: String,
    pub(super) code_missing: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifySignIn {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) code: String,
    pub(super) code_help: String,
    pub(super) submit: String,
    pub(super) resend: String,
    pub(super) sent_again: String,
    pub(super) cancel: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotMe {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) submit: String,
    pub(super) stay: String,
    pub(super) done_title: String,
    pub(super) done: String,
    pub(super) closed: String,
}

/// What a refusal is called, and what it means for whoever meets it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusalText {
    pub(super) headline: String,
    pub(super) sentence: String,
}

impl Texts {
    /// Reads the embedded file.
    ///
    /// # Panics
    /// If the file is not complete, which a test rules out.
    pub(super) fn load(language: Language) -> Self {
        let texts: Self = toml::from_str(language.source()).expect("the embedded texts are complete");
        for &refusal in Refusal::ALL {
            assert!(texts.refusals.contains_key(refusal.key()), "no text for {}", refusal.key());
        }
        texts
    }

    /// The text of one refusal.
    pub(super) fn refusal(&self, refusal: Refusal) -> &RefusalText {
        &self.refusals[refusal.key()]
    }

    /// A wait in words, rounded up: `45 seconds`, `2 minutes`.
    pub(super) fn wait(&self, seconds: u32) -> String {
        let (text, n) = match seconds {
            0..=1 => (&self.common.one_second, 1),
            2..=90 => (&self.common.seconds, seconds),
            91..=7200 => (&self.common.minutes, seconds.div_ceil(60)),
            _ => (&self.common.hours, seconds.div_ceil(3600)),
        };
        text.replace("{n}", &n.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_text_for_every_refusal_and_for_nothing_else() {
        for language in Language::ALL {
            let texts = Texts::load(language);
            for &refusal in Refusal::ALL {
                let text = texts.refusal(refusal);
                assert!(!text.headline.is_empty() && !text.headline.contains('{'), "{refusal:?}");
                assert!(text.sentence.ends_with('.'), "{refusal:?} in {language:?}");
            }
            assert_eq!(texts.refusals.len(), Refusal::ALL.len(), "{language:?} has texts for unknown codes");
        }
    }

    #[test]
    fn the_languages_differ_in_every_refusal() {
        let (english, german) = (Texts::load(Language::English), Texts::load(Language::German));
        for &refusal in Refusal::ALL {
            assert_ne!(english.refusal(refusal).sentence, german.refusal(refusal).sentence, "{refusal:?}");
        }
    }

    #[test]
    fn the_highest_weight_wins_and_the_first_of_equals() {
        use Language::{English, German};
        for (accept, expected) in [
            ("de", German),
            ("DE-at", German),
            ("en-GB, de;q=0.9", English),
            ("en;q=0.8, de;q=0.9", German),
            ("de;q=0.5, en;q=0.50", German),
            ("fr, de;q=0.1", German),
            ("de;q=0", English),
            ("de;q=0.0001, en;q=0.1", English),
            ("de;q=7", English),
            ("de;q=", English),
            ("den", English),
            ("*", English),
            ("", English),
            (" de ; q=1.000 ,en", German),
        ] {
            assert_eq!(Language::preferred(Some(accept)), expected, "{accept:?}");
        }
        assert_eq!(Language::preferred(None), English);
        assert_eq!(Language::preferred(Some(&format!("{}de", "fr,".repeat(1000)))), English);
    }

    #[test]
    fn a_wait_is_rounded_up_to_the_unit_that_reads_best() {
        let texts = Texts::load(Language::English);
        let words: Vec<_> = [0, 1, 2, 90, 91, 121, 7200, 7201].map(|seconds| texts.wait(seconds)).into();
        let expected = [
            "1 second",
            "1 second",
            "2 seconds",
            "90 seconds",
            "2 minutes",
            "3 minutes",
            "120 minutes",
            "3 hours",
        ];
        assert_eq!(words, expected);
    }
}
