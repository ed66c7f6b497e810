//! The page between a form of ours and a provider: no form may end on another site (`form-action`), so the page
//! itself leads there.

use askama::Template;

use crate::ui::pages::html;
use crate::ui::{STYLE, View};

/// Leads on to a provider.
#[derive(Template)]
#[template(path = "leaving.html", config = "src/ui/askama.toml")]
pub struct Leaving<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// The provider's name.
    pub provider: &'a str,
    /// Where it is waiting.
    pub to: &'a str,
    /// What for.
    pub why: Departure,
}

/// Why somebody goes to a provider from a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// To sign out there too.
    SignOut,
    /// To add it to the ways to sign in.
    Link,
}

impl Leaving<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }
}
