//! Whose account an identity opens: the rules of linking, which no provider's word alone can bend.
//!
//! An identity is (provider, subject). The address only leads to an account that is there if both sides of it
//! are proved: the provider's word on it counts here, and the account's owner showed to have the mailbox.
//! Whoever made an account under an address without ever proving it (`LK-1` to `LK-3`: to wait there for the
//! owner of the mailbox) loses it, with everything that opened it, to whom a provider proves to be the owner.

use crate::account::email::Email;
use crate::account::profile::{LONGEST_NAME, is_picture};
use crate::app::App;
use crate::error::Error;
use crate::flow::ending;
use crate::id::{SessionId, UserId};
use crate::oauth::Identity;
use crate::oauth::provider::Provider;
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use crate::store::Tx;
use crate::store::auth_log::Action;
use crate::store::identities::{self, Kept};
use crate::time::Now;
use crate::visitor::User;

/// What an identity leads to.
pub(super) enum Joined {
    /// This user.
    Owner {
        /// Who it is.
        user: User,
        /// What had to be done for it, for the log.
        actions: &'static [Action],
        /// The sessions that this ended.
        ended: Vec<TokenHash>,
    },
    /// Nobody, and whose account stood in the way.
    Refused(Refusal, Option<UserId>),
    /// Somebody else came in between: everything has to be looked at once more.
    Overtaken,
}

/// An identity that arrived.
pub(super) struct Arrival<'a> {
    /// The house.
    pub(super) app: &'a App,
    /// Who says so.
    pub(super) provider: &'a Provider,
    /// Who it is there.
    pub(super) identity: &'a Identity,
    /// When.
    pub(super) now: Now,
}

impl Arrival<'_> {
    /// Finds the owner of an identity, or makes one.
    pub(super) async fn owner(&self, tx: &mut Tx) -> Result<Joined, Error> {
        let email = self.identity.email.as_deref().and_then(|email| Email::parse(email).ok());
        match tx.identity_user(self.provider.id(), &self.identity.subject).await? {
            Some(Some(user)) => return self.known(tx, user).await,
            // Never given to anybody else.
            Some(None) => return Ok(Joined::Refused(Refusal::AccountNotLinked, None)),
            None => {}
        }
        let Some(email) = email else { return Ok(Joined::Refused(Refusal::EmailNotFound, None)) };
        match tx.user_by_email(email.as_str()).await? {
            Some(user) if !self.identity.email_proved => {
                Ok(Joined::Refused(Refusal::AccountNotLinked, Some(user.id)))
            }
            Some(user) => self.proved_owner(tx, user).await,
            None if !self.app.config.sign_up.open => {
                Ok(Joined::Refused(Refusal::ProviderSignUpDisabled, None))
            }
            None => self.newcomer(tx, &email).await,
        }
    }

    /// The owner of an account comes again. The address stays as it is, whatever the provider says now; if it
    /// is the same one and was not proved before, it is now.
    async fn known(&self, tx: &mut Tx, mut user: User) -> Result<Joined, Error> {
        let first = proves(self.identity, &user);
        // Whoever takes the account over at this moment takes this identity from it: then it opens nothing.
        // The user comes before the account, as everywhere where both are held.
        if !tx.user_hold(&user.id).await?
            || !tx.identity_hold(self.provider.id(), &self.identity.subject, &user.id).await?
        {
            return Ok(Joined::Overtaken);
        }
        if self.provider.stores_tokens() {
            let kept = kept(self.app, self.provider, self.identity);
            tx.identity_set_tokens(self.provider.id(), &self.identity.subject, &kept, self.now).await?;
        }
        let ended = if first && tx.user_prove_email(&user.id, &user.email, self.now).await? {
            user.email_verified = true;
            ending::end_all(tx, &user.id, None).await?
        } else {
            Vec::new()
        };
        Ok(Joined::Owner { user, actions: &[], ended })
    }

    /// The owner of a mailbox meets an account with that address.
    async fn proved_owner(&self, tx: &mut Tx, found: User) -> Result<Joined, Error> {
        // From here on nobody else changes this user; what was read before may be outdated.
        tx.user_touch(&found.id, self.now).await?;
        let Some(mut user) = tx.user_by_email(&found.email).await? else { return Ok(Joined::Overtaken) };
        if user.id != found.id || user.email_verified != found.email_verified {
            return Ok(Joined::Overtaken);
        }
        let (actions, ended): (&[Action], _) = if user.email_verified {
            (&[Action::Link], Vec::new())
        } else {
            tx.accounts_delete_of_user(&user.id).await?;
            let ended = ending::end_all_and_distrust(tx, &user.id, self.now).await?;
            tx.user_prove_email(&user.id, &user.email, self.now).await?;
            (user.name, user.image) = (name_of(self.identity), image_of(self.identity));
            tx.user_set_profile(&user.id, &user.name, user.image.as_deref(), self.now).await?;
            user.email_verified = true;
            (&[Action::TakeOver, Action::Link], ended)
        };
        let added = self.add(tx, &user.id).await?;
        Ok(if added { Joined::Owner { user, actions, ended } } else { Joined::Overtaken })
    }

    /// Somebody is here for the first time.
    async fn newcomer(&self, tx: &mut Tx, email: &Email) -> Result<Joined, Error> {
        let user = User {
            id: UserId::random(),
            name: name_of(self.identity),
            email: email.as_str().to_owned(),
            email_verified: self.identity.email_proved,
            image: image_of(self.identity),
            created: self.now,
            updated: self.now,
        };
        let added = tx.user_insert(&user).await? && self.add(tx, &user.id).await?;
        let actions = &[Action::SignUp];
        Ok(if added { Joined::Owner { user, actions, ended: Vec::new() } } else { Joined::Overtaken })
    }

    /// Adds an identity to the ways in which a user signs in whose session `asking` asked for it, and returns
    /// the sessions that this ended; `None` if it was added before.
    pub(super) async fn linked(
        &self,
        tx: &mut Tx,
        (user, asking): (&User, &SessionId),
    ) -> Result<Result<Option<Vec<TokenHash>>, Refusal>, Error> {
        match tx.identity_user(self.provider.id(), &self.identity.subject).await? {
            Some(Some(owner)) if owner.id == user.id => return Ok(Ok(None)),
            Some(_) => return Ok(Err(Refusal::LinkedElsewhere)),
            None => {}
        }
        let email = self.identity.email.as_deref().and_then(|email| Email::parse(email).ok());
        // A word that opens no account adds none either: whoever rules over a provider that proves no address
        // could say any.
        let same = self.identity.email_proved && email.is_some_and(|email| email.as_str() == user.email);
        if !same && !self.app.config.accounts.link_different_emails {
            return Ok(Err(Refusal::DifferentEmail));
        }
        if !self.add(tx, &user.id).await? {
            return Ok(Err(Refusal::LinkedElsewhere));
        }
        // Whoever else is signed in may be the one who made the account under an address that is not theirs.
        let first =
            proves(self.identity, user) && tx.user_prove_email(&user.id, &user.email, self.now).await?;
        let ended = if first { ending::end_all(tx, &user.id, Some(asking)).await? } else { Vec::new() };
        Ok(Ok(Some(ended)))
    }

    /// Adds the identity to the ways in which a user signs in; false if it belongs to somebody already.
    async fn add(&self, tx: &mut Tx, user: &UserId) -> Result<bool, Error> {
        let kept = kept(self.app, self.provider, self.identity);
        let identity = identities::Identity {
            user,
            provider: self.provider.id(),
            issuer: &self.identity.issuer,
            subject: &self.identity.subject,
            kept: &kept,
        };
        Ok(tx.identity_insert(&identity, self.now).await?)
    }
}

/// Whether an identity proves for the first time that a user has the mailbox.
fn proves(identity: &Identity, user: &User) -> bool {
    let email = identity.email.as_deref().and_then(|email| Email::parse(email).ok());
    identity.email_proved && !user.email_verified && email.is_some_and(|email| email.as_str() == user.email)
}

/// What is kept of a provider's tokens: their text only if that was asked for, and never in clear.
fn kept(app: &App, provider: &Provider, identity: &Identity) -> Kept {
    let tokens = &identity.tokens;
    let scope = tokens
        .scope
        .as_deref()
        .map(|scope| scope.split([' ', ',']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","));
    if !provider.stores_tokens() {
        return Kept { scope, ..Kept::default() };
    }
    let seal = |column: &str, token: &str| {
        app.seal.seal(&format!("account.{column} {} {}", provider.id(), identity.subject), token.as_bytes())
    };
    Kept {
        access: Some(seal("accessToken", &tokens.access)),
        refresh: tokens.refresh.as_ref().map(|token| seal("refreshToken", token)),
        id: identity.id_token.as_ref().map(|token| seal("idToken", token)),
        access_expires: tokens.access_expires,
        scope,
    }
}

/// One line of text that fits: PostgreSQL takes no NUL, and mails and logs no line ends.
fn name_of(identity: &Identity) -> String {
    let name = identity.name.as_deref().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    name.trim().to_owned()
}

fn image_of(identity: &Identity) -> Option<String> {
    identity.image.clone().filter(|image| is_picture(image))
}
