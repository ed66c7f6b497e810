//! The page of one's own account: what is known of it, the ways in, and the sessions.

use askama::Template;

use crate::config::provider::Kind;
use crate::refusal::Refusal;
use crate::time::Now;
use crate::ui::pages::{Notice, html};
use crate::ui::{Provider, STYLE, View};
use crate::visitor::{Session, User};

/// The account page.
#[derive(Template)]
#[template(path = "account.html", config = "src/ui/askama.toml")]
pub struct Account<'a> {
    /// Language and brand.
    pub view: View<'a>,
    /// Whose account it is.
    pub user: &'a User,
    /// What is shown after a recent sign-in only.
    pub access: Option<&'a Access<'a>>,
    /// What happened before.
    pub notice: Option<Notice>,
    /// What stood in the way of it.
    pub problem: Option<Refusal>,
    /// The time.
    pub now: Now,
}

/// How the account is entered, and where from.
pub struct Access<'a> {
    /// Whether there is a password.
    pub password: bool,
    /// The providers that lead to it.
    pub links: Vec<Link>,
    /// The sessions, newest first.
    pub sessions: Vec<Open<'a>>,
}

/// A provider's account that leads to this one.
pub struct Link {
    /// The id of the row, by which it is taken away.
    pub id: String,
    /// The id of the provider, which may no longer be configured.
    pub provider: String,
    /// Since when.
    pub since: Now,
}

/// A session.
pub struct Open<'a> {
    /// The session itself.
    pub session: &'a Session,
    /// The family of the browser.
    pub browser: Option<&'static str>,
    /// The family of its system.
    pub system: Option<&'static str>,
    /// Whether it is the one that is looking.
    pub own: bool,
}

impl Account<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        html(self)
    }

    /// A time in words, seen from now.
    fn ago(&self, at: Now) -> String {
        self.view.texts.account.ago(self.now.since(at).as_secs())
    }

    /// The providers that do not lead here yet.
    fn offers(&self, access: &Access<'_>) -> impl Iterator<Item = &Provider> {
        self.view
            .ui
            .providers
            .iter()
            .filter(|offer| !access.links.iter().any(|link| link.provider == offer.id))
    }

    /// The provider of a link, if it is still configured.
    fn provider(&self, link: &Link) -> Option<&Provider> {
        self.view.ui.providers.iter().find(|provider| provider.id == link.provider)
    }

    fn name<'l>(&'l self, link: &'l Link) -> &'l str {
        self.provider(link).map_or(&link.provider, |provider| &provider.name)
    }

    fn kind(&self, link: &Link) -> Kind {
        self.provider(link).map_or(Kind::Oidc, |provider| provider.kind)
    }

    /// Whether it is no way in, or not the only one.
    fn can_go(&self, access: &Access<'_>, link: &Link) -> bool {
        let mut others = access.links.iter().filter(|other| other.id != link.id);
        let gone = self.provider(link).is_none();
        gone || access.password || others.any(|other| self.provider(other).is_some())
    }

    /// What a session runs in.
    fn agent(&self, open: &Open<'_>) -> String {
        let texts = &self.view.texts.account;
        match (open.browser, open.system) {
            (Some(browser), Some(system)) => {
                texts.browser_on.replace("{browser}", browser).replace("{system}", system)
            }
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => texts.unknown_browser.clone(),
        }
    }
}
