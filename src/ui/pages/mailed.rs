//! The pages to which links in mails lead, and the one that asks for such a mail. A link shows; only the button
//! of its page does something.

use askama::Template;

use super::{Field, Problem, html};
use crate::ui::{STYLE, View};

/// Asks for the address of an account whose password is forgotten.
#[derive(Template)]
#[template(path = "forgot_password.html", config = "src/ui/askama.toml")]
pub struct ForgotPassword<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// What stands in the field already.
    pub email: &'a str,
    /// Where to go afterwards; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
    /// What was wrong with the last try.
    pub problems: &'a [Problem],
}

/// Takes a new password.
#[derive(Template)]
#[template(path = "reset_password.html", config = "src/ui/askama.toml")]
pub struct ResetPassword<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// Whose password it is.
    pub email: &'a str,
    /// What the link carried.
    pub token: &'a str,
    /// Where to go afterwards; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
    /// What was wrong with the last try.
    pub problems: &'a [Problem],
}

/// Asks to confirm an address: by a button in a browser that is signed in, elsewhere with the password.
#[derive(Template)]
#[template(path = "verify_email.html", config = "src/ui/askama.toml")]
pub struct VerifyEmail<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// The address.
    pub email: &'a str,
    /// What the link carried.
    pub token: &'a str,
    /// Where to go afterwards; checked by the caller to be ours.
    pub callback_url: Option<&'a str>,
    /// Whether the password is asked for.
    pub password: bool,
    /// What was wrong with the last try.
    pub problems: &'a [Problem],
}

/// Asks a last time.
#[derive(Template)]
#[template(path = "confirm.html", config = "src/ui/askama.toml")]
pub struct Confirm<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// What is to be confirmed.
    pub step: Step<'a>,
    /// What the link carried.
    pub token: &'a str,
}

/// What is confirmed by a button alone, in a browser that is signed in.
#[derive(Clone, Copy)]
pub enum Step<'a> {
    /// The account has this address from now on.
    ChangeEmail(&'a str),
    /// The account of this address is deleted.
    DeleteAccount(&'a str),
}

impl<'a> Step<'a> {
    /// The endpoint below the mount prefix.
    const fn action(self) -> &'static str {
        match self {
            Self::ChangeEmail(_) => "change-email",
            Self::DeleteAccount(_) => "delete-user",
        }
    }

    const fn email(self) -> &'a str {
        match self {
            Self::ChangeEmail(email) | Self::DeleteAccount(email) => email,
        }
    }

    const fn is_final(self) -> bool {
        matches!(self, Self::DeleteAccount(_))
    }
}

impl<'a> Confirm<'a> {
    fn texts(&self) -> &'a crate::ui::text::mailed::Step {
        match self.step {
            Step::ChangeEmail(_) => &self.view.texts.change_email,
            Step::DeleteAccount(_) => &self.view.texts.delete_account,
        }
    }
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

rendered!(ForgotPassword ResetPassword VerifyEmail Confirm);
