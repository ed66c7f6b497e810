//! The pages of an unusual sign-in: the one that takes its code, and the one for whom it was not.

use askama::Template;

use crate::ui::pages::{Field, Problem, html};
use crate::ui::{STYLE, View};

/// Takes the code. Shows nothing of the account: who sees this page has not signed in.
#[derive(Template)]
#[template(path = "verify_signin.html", config = "src/ui/askama.toml")]
pub struct VerifySignIn<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// What was wrong with the last try.
    pub problems: &'a [Problem],
    /// Whether another code was just sent.
    pub sent_again: bool,
}

/// Asks whether somebody else signed in; a GET never does anything.
#[derive(Template)]
#[template(path = "not_me.html", config = "src/ui/askama.toml")]
pub struct NotMe<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// How far it is.
    pub step: NotMeStep<'a>,
}

/// How far it is with a sign-in that the user disowns.
#[derive(Clone, Copy)]
pub enum NotMeStep<'a> {
    /// Asked whether it is so; with the ticket that came with the mail.
    Asked(&'a str),
    /// The account is secured, and a mail leads to a new password.
    Secured,
    /// The account is secured and open to nobody: its address is somebody else's by now.
    Closed,
}

impl VerifySignIn<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }
}

impl NotMe<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }
}
