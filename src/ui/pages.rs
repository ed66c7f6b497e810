//! Every page as a struct that holds what the page shows; the markup beside it is checked by the compiler.

use askama::Template;

use crate::config::provider::Kind;
use crate::refusal::Refusal;
use crate::ui::{Provider, STYLE, View};

pub mod account;
pub mod dev_mail;
pub mod leaving;
pub mod mailed;
mod notice;
mod problem;
pub mod refused;
pub mod verify;

pub use notice::Notice;
use problem::Field;
pub use problem::Problem;

/// The sign-in form.
#[derive(Template)]
#[template(path = "sign_in.html", config = "src/ui/askama.toml")]
pub struct SignIn<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// What stands in the field already.
    pub email: &'a str,
    /// Whether "keep me signed in" is ticked.
    pub remember: bool,
    /// Where to go afterwards; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
    /// What was wrong with the last try.
    pub problems: &'a [Problem],
    /// What happened before.
    pub notice: Option<Notice>,
}

/// The sign-up form.
#[derive(Template)]
#[template(path = "sign_up.html", config = "src/ui/askama.toml")]
pub struct SignUp<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// What stands in the field already.
    pub name: &'a str,
    /// What stands in the field already.
    pub email: &'a str,
    /// Where to go afterwards; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
    /// What was wrong with the last try.
    pub problems: &'a [Problem],
}

/// Asks whether to sign out; a GET never does it.
#[derive(Template)]
#[template(path = "sign_out.html", config = "src/ui/askama.toml")]
pub struct SignOut<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// Who is signed in: the display name, or the address.
    pub who: &'a str,
    /// Where to go afterwards, or back to; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
}

/// Shown in place of sign-in and sign-up to a visitor who is signed in.
#[derive(Template)]
#[template(path = "signed_in.html", config = "src/ui/askama.toml")]
pub struct SignedIn<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// Who is signed in: the display name, or the address.
    pub who: &'a str,
    /// Where to go on to; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
}

macro_rules! rendered {
    ($($page:ident)*) => { $(
        impl $page<'_> {
            /// The page as HTML.
            pub fn render(&self) -> String {
                html(self)
            }
        }
    )* };
}

rendered!(SignIn SignUp SignOut SignedIn);

impl SignIn<'_> {
    /// Whether the address has to be proved first: the page offers to send the mail again.
    fn unverified(&self) -> bool {
        self.problems.contains(&Problem::Refused(Refusal::EmailNotVerified))
    }
}

fn html(page: &impl Template) -> String {
    page.render().expect("writing to a string does not fail")
}

/// What the markup asks for.
impl<'a> View<'a> {
    /// The letter on the tile beside the name.
    fn initial(self) -> String {
        self.ui
            .name
            .chars()
            .find(|c| c.is_alphanumeric())
            .map(|c| c.to_uppercase().collect())
            .unwrap_or_default()
    }

    /// The address of one of our pages, with where to go afterwards.
    fn link(self, page: &str, callback_url: Option<&str>) -> String {
        let mut link = format!("{}/{page}", self.ui.mount);
        if let Some(callback_url) = callback_url {
            link.push_str("?callback_url=");
            link.extend(url::form_urlencoded::byte_serialize(callback_url.as_bytes()));
        }
        link
    }

    /// Where the sign-in through a provider begins.
    fn way(self, provider: &Provider, callback_url: Option<&str>) -> String {
        self.link(&format!("sign-in/{}", provider.id), callback_url)
    }

    fn continue_with(self, provider: &Provider) -> String {
        Self::with_name(&self.texts.common.continue_with, &provider.name)
    }

    /// The sign-in page for who is signed in and has to prove it once more.
    fn again(self, callback_url: Option<&str>) -> String {
        let link = self.link("sign-in", callback_url);
        format!("{link}{}again=1", if callback_url.is_some() { '&' } else { '?' })
    }

    /// `callback_url` as a link; the start page in place of none and of what a browser might run.
    fn onward(callback_url: Option<&'a str>) -> &'a str {
        let http = |to: &&str| ["/", "https://", "http://"].iter().any(|start| to.starts_with(start));
        callback_url.filter(http).unwrap_or("/")
    }

    /// A text about a provider.
    fn with_name(text: &str, name: &str) -> String {
        text.replace("{name}", name)
    }

    fn headline(self, refusal: Refusal) -> &'a str {
        &self.texts.refusal(refusal).headline
    }

    fn sentence(self, refusal: Refusal) -> String {
        let text = &self.texts.refusal(refusal).sentence;
        match refusal {
            Refusal::TooManyRequests(seconds) => text.replace("{wait}", &self.texts.wait(seconds)),
            Refusal::PasswordTooShort => self.with_min(text),
            _ => text.clone(),
        }
    }

    fn with_min(self, text: &str) -> String {
        text.replace("{min}", &self.ui.min_length.to_string())
    }

    fn notice(self, notice: Notice) -> &'a str {
        let texts = &self.texts.notices;
        match notice {
            Notice::SignedOut => &texts.signed_out,
            Notice::SignedUp => &texts.signed_up,
            Notice::NameSaved => &texts.name_saved,
            Notice::PasswordChanged => &texts.password_changed,
            Notice::NewEmailSent => &texts.new_email_sent,
            Notice::VerificationSent => &texts.verification_sent,
            Notice::MethodLinked => &texts.method_linked,
            Notice::MethodUnlinked => &texts.method_unlinked,
            Notice::SessionEnded => &texts.session_ended,
            Notice::SessionsEnded => &texts.sessions_ended,
            Notice::MailSent => &texts.mail_sent,
            Notice::ResetSent => &texts.reset_sent,
            Notice::PasswordReset => &texts.password_reset,
            Notice::EmailVerified => &texts.email_verified,
            Notice::EmailChanged => &texts.email_changed,
            Notice::DeletionSent => &texts.deletion_sent,
            Notice::AccountDeleted => &texts.account_deleted,
        }
    }

    fn problem(self, problem: Problem) -> String {
        let texts = &self.texts.problems;
        match problem {
            Problem::NameMissing => texts.name_missing.clone(),
            Problem::NameTooLong => texts.name_too_long.clone(),
            Problem::EmailMissing => texts.email_missing.clone(),
            Problem::PasswordMissing => texts.password_missing.clone(),
            Problem::CodeMissing => texts.code_missing.clone(),
            Problem::Refused(refusal) => self.sentence(refusal),
        }
    }

    /// The message that stands at `field`.
    fn problem_at(self, problems: &[Problem], field: Field) -> Option<String> {
        problems.iter().find(|problem| problem.field() == Some(field)).map(|problem| self.problem(*problem))
    }

    /// The ids of what is said about `field`: its message, else the summary, and its help.
    fn described_by(self, problems: &[Problem], field: Field, help: bool) -> Option<String> {
        let said = match (self.problem_at(problems, field), field.marked(problems)) {
            (Some(_), _) => format!("{}-error", field.id()),
            (None, true) => "problems".to_owned(),
            (None, false) => String::new(),
        };
        let help = if help { format!("{}-help", field.id()) } else { String::new() };
        let ids = format!("{said} {help}");
        Some(ids.trim().to_owned()).filter(|ids| !ids.is_empty())
    }
}
