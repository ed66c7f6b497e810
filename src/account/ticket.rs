//! Tickets: one-time secrets that travel by mail. How one is made, how long it is good, and which text can be
//! one.

use std::time::Duration;

use crate::secret::{Key, Token, TokenHash};
use crate::store::tickets::{TicketKind, TicketRow};
use crate::time::Now;
use crate::visitor::User;

/// How long a ticket is good. A link that gives an account away is good for an hour at most, any other for a
/// day (OWASP ASVS 6.5.5); the word that it was somebody else has to outlive what an intruder
/// does meanwhile, and so whoever reads the mailbox that it went to can have the account back there for a week.
pub const fn lifetime(kind: TicketKind) -> Duration {
    match kind {
        TicketKind::VerifyEmail => Duration::from_hours(24),
        TicketKind::ResetPassword | TicketKind::ChangeEmail | TicketKind::DeleteAccount => {
            Duration::from_hours(1)
        }
        TicketKind::NotMe => Duration::from_hours(7 * 24),
    }
}

/// A new ticket for `user` as it is now: the text for the link, and the row. `key` is that of
/// `Purpose::Ticket`.
pub fn issue(
    key: &Key,
    kind: TicketKind,
    user: &User,
    new_email: Option<&str>,
    now: Now,
) -> (String, TicketRow) {
    let token = key.issue();
    let row = TicketRow {
        token: token.hash(),
        kind,
        user: user.id.clone(),
        email: user.email.clone(),
        new_email: new_email.map(str::to_owned),
        issued: now,
        expires: now.plus(lifetime(kind)),
    };
    (token.reveal(), row)
}

/// The hash to look a ticket up by; `None` for a text that [`issue`] never made, so that the store is not
/// asked for invented ones.
pub fn parse(key: &Key, text: &str) -> Option<TokenHash> {
    let token = Token::parse(text.trim().as_bytes())?;
    key.issued(&token).then(|| token.hash())
}
