//! One provider: where it is, what it is asked, in which order.

use super::failure::{Failure, Outage, Step};
use super::{EndSession, Identity, LogoutToken, Reply, Secrets, Start};
use crate::config::provider::{Kind, Provider as Configured};
use crate::time::Now;

/// An identity provider that people can sign in at.
pub struct Provider {
    config: Configured,
}

impl Provider {
    pub(super) fn new(config: &Configured) -> Self {
        Self { config: config.clone() }
    }

    /// Its name in URLs and in `account.providerId`.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Its name on the button.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What kind of provider it is.
    pub fn kind(&self) -> Kind {
        self.config.kind
    }

    /// Whether its tokens are to be kept.
    pub fn stores_tokens(&self) -> bool {
        self.config.store_tokens
    }

    /// Where the browser goes to ask the person for consent.
    ///
    /// # Errors
    /// A [`Failure`] if the provider's metadata cannot be had.
    pub async fn authorize_url(&self, _start: &Start<'_>, _now: Now) -> Result<String, Failure> {
        Err(Failure::Unavailable(Step::Discovery, Outage::BackOff))
    }

    /// Who the person is that the provider sent back.
    ///
    /// # Errors
    /// A [`Failure`] unless every check passes.
    pub async fn identify(
        &self,
        _reply: &Reply<'_>,
        _secrets: &Secrets<'_>,
        _now: Now,
    ) -> Result<Identity, Failure> {
        Err(Failure::Unavailable(Step::Discovery, Outage::BackOff))
    }

    /// Reads the `logout_token` that the provider posted to us. That it comes for the first time is for the
    /// caller to see, by its `jti`.
    ///
    /// # Errors
    /// A [`Failure`] unless every check passes (OpenID Connect Back-Channel Logout §2.6).
    pub async fn logout_token(&self, _token: &str, _now: Now) -> Result<LogoutToken, Failure> {
        Err(Failure::Unavailable(Step::Discovery, Outage::BackOff))
    }

    /// Where the browser goes to sign out at the provider as well; `None` if it has no such place or cannot
    /// be asked.
    pub async fn end_session_url(&self, _end: &EndSession<'_>, _now: Now) -> Option<String> {
        None
    }
}
