//! One-time links: on their way by mail, and what they are good for when they come back.

use url::form_urlencoded;

use crate::account::ticket;
use crate::app::App;
use crate::error::Error;
use crate::flow::post::{self, To};
use crate::flow::reader;
use crate::http::visit::Visit;
use crate::refusal::Refusal;
use crate::secret::TokenHash;
use crate::store::Tx;
use crate::store::tickets::{Ticket, TicketKind};
use crate::ui::mails::{Mail, Occasion};
use crate::visitor::User;

/// What a link is for, with what its mail needs besides.
#[derive(Clone, Copy)]
pub(super) enum Link<'a> {
    /// Prove the address.
    VerifyEmail {
        /// Where to go afterwards.
        callback_url: Option<&'a str>,
    },
    /// Set a new password.
    ResetPassword {
        /// Where to go afterwards.
        callback_url: Option<&'a str>,
    },
    /// Have this address from now on.
    ChangeEmail(&'a str),
    /// Delete the account.
    DeleteAccount,
}

/// Issues a ticket for `user` and mails its link, both in the flow's own transaction.
pub(super) async fn send(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    what: Link<'_>,
) -> Result<(), Error> {
    let (kind, page, new_email, callback_url) = match what {
        Link::VerifyEmail { callback_url } => (TicketKind::VerifyEmail, "verify-email", None, callback_url),
        Link::ResetPassword { callback_url } => {
            (TicketKind::ResetPassword, "reset-password", None, callback_url)
        }
        Link::ChangeEmail(new) => (TicketKind::ChangeEmail, "change-email", Some(new), None),
        Link::DeleteAccount => (TicketKind::DeleteAccount, "delete-user", None, None),
    };
    let (token, row) = ticket::issue(&app.ticket_key, kind, user, new_email, visit.now);
    let mut target = format!("{page}?token={token}");
    if let Some(place) = callback_url.and_then(|url| url.strip_prefix(app.config.public.origin.as_str())) {
        target.push_str("&callback_url=");
        target.extend(form_urlencoded::byte_serialize(place.as_bytes()));
    }
    let link = post::link(app, &target);
    let (link, lifetime) = (link.as_str(), ticket::lifetime(kind));
    let mail = match what {
        Link::VerifyEmail { .. } => Mail::VerifyEmail { link, lifetime },
        Link::ResetPassword { .. } => Mail::ResetPassword { link, lifetime },
        Link::ChangeEmail(_) => Mail::ConfirmNewEmail { link, lifetime },
        Link::DeleteAccount => Mail::DeleteAccount { link, lifetime },
    };
    let language = reader::language(tx, &user.id, visit).await?;
    let to = To { address: new_email.unwrap_or(&user.email), language };
    // RL-9: a link that does not leave voids none that did.
    if post::post(app, tx, to, &mail, visit.now).await? {
        tx.ticket_insert(&row).await?;
    }
    Ok(())
}

/// What a token is good for now; nothing is spent.
///
/// # Errors
/// `InvalidTicket` for every token that is not good.
pub(super) async fn look(
    app: &App,
    visit: &Visit,
    kind: TicketKind,
    token: &str,
) -> Result<(TokenHash, Ticket), Error> {
    let hash = ticket::parse(&app.ticket_key, token).ok_or(Refusal::InvalidTicket)?;
    let ticket = app.store.ticket_by_hash(hash, kind, visit.now).await?;
    Ok((hash, ticket.ok_or(Refusal::InvalidTicket)?))
}

/// Mails `user` that something was done to the account.
pub(super) async fn tell(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    mail: &Mail<'_>,
) -> Result<(), Error> {
    let language = reader::language(tx, &user.id, visit).await?;
    let to = To { address: &user.email, language };
    post::post(app, tx, to, mail, visit.now).await?;
    Ok(())
}

/// When and with which browser (`agent::family`) this visit was.
pub(super) fn occasion<'d>(visit: &Visit, device: &'d str) -> Occasion<'d> {
    Occasion { at: visit.now, device, place: None }
}
