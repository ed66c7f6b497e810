//! The pages of the catcher: which mails there are, and one of them.

use askama::Template;

use super::html;
use crate::time::Now;
use crate::ui::{STYLE, View};

/// A mail in a list.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Names it in the address of its page.
    pub id: &'a str,
    /// Whom it was for.
    pub to: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// When it was decided on.
    pub at: Now,
}

/// A part of a mail's text.
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    /// Nothing special.
    Words(&'a str),
    /// A link to a place on this site.
    Link {
        /// Path and query.
        path: &'a str,
        /// As it stands in the mail.
        text: &'a str,
    },
}

/// All mails that are kept.
#[derive(Template)]
#[template(path = "dev_mails.html", config = "src/ui/askama.toml")]
pub struct DevMails<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// The latest first.
    pub mails: &'a [Line<'a>],
}

/// One mail.
#[derive(Template)]
#[template(path = "dev_mail.html", config = "src/ui/askama.toml")]
pub struct DevMail<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// Which one.
    pub mail: Line<'a>,
    /// Its text.
    pub pieces: &'a [Piece<'a>],
}

impl DevMails<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }
}

impl DevMail<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }
}
