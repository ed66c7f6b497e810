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

/// Finds the owner of an identity, or makes one.
pub(super) async fn owner(
    app: &App,
    tx: &mut Tx,
    provider: &Provider,
    identity: &Identity,
    now: Now,
) -> Result<Joined, Error> {
    let email = identity.email.as_deref().and_then(|email| Email::parse(email).ok());
    match tx.identity_user(provider.id(), &identity.subject).await? {
        Some(Some(user)) => return known(app, tx, provider, identity, user, now).await,
        // Never given to anybody else.
        Some(None) => return Ok(Joined::Refused(Refusal::AccountNotLinked, None)),
        None => {}
    }
    let Some(email) = email else { return Ok(Joined::Refused(Refusal::EmailNotFound, None)) };
    match tx.user_by_email(email.as_str()).await? {
        Some(user) if !identity.email_proved => Ok(Joined::Refused(Refusal::AccountNotLinked, Some(user.id))),
        Some(user) => proved_owner(app, tx, provider, identity, user, now).await,
        None if !app.config.sign_up.open => Ok(Joined::Refused(Refusal::ProviderSignUpDisabled, None)),
        None => new(app, tx, provider, identity, &email, now).await,
    }
}

/// The owner of an account comes again. The address stays as it is, whatever the provider says now; if it is
/// the same one and was not proved before, it is now.
async fn known(
    app: &App,
    tx: &mut Tx,
    provider: &Provider,
    identity: &Identity,
    mut user: User,
    now: Now,
) -> Result<Joined, Error> {
    let first = proves(identity, &user);
    // Whoever takes the account over at this moment takes this identity from it: then it opens nothing. The
    // user comes before the account, as everywhere where both are held.
    if first {
        tx.user_touch(&user.id, now).await?;
    }
    if !tx.identity_hold(provider.id(), &identity.subject, &user.id).await? {
        return Ok(Joined::Overtaken);
    }
    if provider.stores_tokens() {
        let kept = kept(app, provider, identity);
        tx.identity_set_tokens(provider.id(), &identity.subject, &kept, now).await?;
    }
    let ended = if first && tx.user_prove_email(&user.id, &user.email, now).await? {
        user.email_verified = true;
        ending::end_all(tx, &user.id, None).await?
    } else {
        Vec::new()
    };
    Ok(Joined::Owner { user, actions: &[], ended })
}

/// The owner of a mailbox meets an account with that address.
async fn proved_owner(
    app: &App,
    tx: &mut Tx,
    provider: &Provider,
    identity: &Identity,
    found: User,
    now: Now,
) -> Result<Joined, Error> {
    // From here on nobody else changes this user; what was read before may be outdated.
    tx.user_touch(&found.id, now).await?;
    let Some(mut user) = tx.user_by_email(&found.email).await? else { return Ok(Joined::Overtaken) };
    if user.id != found.id || user.email_verified != found.email_verified {
        return Ok(Joined::Overtaken);
    }
    let (actions, ended): (&[Action], _) = if user.email_verified {
        (&[Action::Link], Vec::new())
    } else {
        tx.accounts_delete_of_user(&user.id).await?;
        tx.pendings_delete_of_user(&user.id).await?;
        tx.devices_revoke_of_user(&user.id, now).await?;
        let ended = ending::end_all(tx, &user.id, None).await?;
        tx.user_prove_email(&user.id, &user.email, now).await?;
        (user.name, user.image) = (name_of(identity), image_of(identity));
        tx.user_set_profile(&user.id, &user.name, user.image.as_deref(), now).await?;
        user.email_verified = true;
        (&[Action::TakeOver, Action::Link], ended)
    };
    let added = add(app, tx, provider, identity, &user.id, now).await?;
    Ok(if added { Joined::Owner { user, actions, ended } } else { Joined::Overtaken })
}

/// Somebody is here for the first time.
async fn new(
    app: &App,
    tx: &mut Tx,
    provider: &Provider,
    identity: &Identity,
    email: &Email,
    now: Now,
) -> Result<Joined, Error> {
    let user = User {
        id: UserId::random(),
        name: name_of(identity),
        email: email.as_str().to_owned(),
        email_verified: identity.email_proved,
        image: image_of(identity),
        created: now,
        updated: now,
    };
    let added = tx.user_insert(&user).await? && add(app, tx, provider, identity, &user.id, now).await?;
    Ok(match added {
        true => Joined::Owner { user, actions: &[Action::SignUp], ended: Vec::new() },
        false => Joined::Overtaken,
    })
}

/// Adds an identity to the ways in which a user signs in whose session `asking` asked for it, and returns the sessions that this ended; `None`
/// if it was added before.
pub(super) async fn linked(
    app: &App,
    tx: &mut Tx,
    provider: &Provider,
    identity: &Identity,
    (user, asking): (&User, &SessionId),
    now: Now,
) -> Result<Result<Option<Vec<TokenHash>>, Refusal>, Error> {
    match tx.identity_user(provider.id(), &identity.subject).await? {
        Some(Some(owner)) if owner.id == user.id => return Ok(Ok(None)),
        Some(_) => return Ok(Err(Refusal::LinkedElsewhere)),
        None => {}
    }
    let email = identity.email.as_deref().and_then(|email| Email::parse(email).ok());
    let same = email.is_some_and(|email| email.as_str() == user.email);
    if !same && !app.config.accounts.link_different_emails {
        return Ok(Err(Refusal::DifferentEmail));
    }
    if !add(app, tx, provider, identity, &user.id, now).await? {
        return Ok(Err(Refusal::LinkedElsewhere));
    }
    // Whoever else is signed in may be the one who made the account under an address that is not theirs.
    let first = proves(identity, user) && tx.user_prove_email(&user.id, &user.email, now).await?;
    let ended = match first {
        true => ending::end_all(tx, &user.id, Some(asking)).await?,
        false => Vec::new(),
    };
    Ok(Ok(Some(ended)))
}

/// Whether an identity proves for the first time that a user has the mailbox.
fn proves(identity: &Identity, user: &User) -> bool {
    let email = identity.email.as_deref().and_then(|email| Email::parse(email).ok());
    identity.email_proved && !user.email_verified && email.is_some_and(|email| email.as_str() == user.email)
}

async fn add(
    app: &App,
    tx: &mut Tx,
    provider: &Provider,
    identity: &Identity,
    user: &UserId,
    now: Now,
) -> Result<bool, Error> {
    let kept = kept(app, provider, identity);
    let identity = identities::Identity {
        user,
        provider: provider.id(),
        issuer: &identity.issuer,
        subject: &identity.subject,
        kept: &kept,
    };
    Ok(tx.identity_insert(&identity, now).await?)
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
