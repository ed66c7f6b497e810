//! The mails about a sign-in: the code that it takes, or a word that it came about.

use crate::account::agent;
use crate::account::code::{self, Code};
use crate::account::place::Place;
use crate::account::ticket;
use crate::account::unusual::{Rule, Sighting};
use crate::app::App;
use crate::error::Error;
use crate::flow::post::{self, To};
use crate::flow::reader;
use crate::http::visit::Visit;
use crate::store::Tx;
use crate::store::pending::PendingRow;
use crate::store::tickets::{TicketKind, TicketRow};
use crate::time::Now;
use crate::ui::mails::{Mail, Occasion, Reason};
use crate::visitor::User;

/// Mails the code of a pending sign-in.
pub(super) async fn code(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    pending: &PendingRow,
    code: &Code,
) -> Result<(), Error> {
    let rules: Vec<Rule> = pending.rules.split(' ').filter_map(Rule::parse).collect();
    let device = agent::family(pending.agent.as_deref(), None);
    let place = pending.address.as_deref().and_then(|address| address.parse().ok());
    let place = place.map(|address| coarse(&app.geo.place(address)));
    let (link, ticket) = not_me(app, tx, &pending.user, visit.now).await?;
    let mail = Mail::SecurityCode {
        code: &code.grouped(),
        lifetime: code::LIFE,
        occasion: Occasion { at: pending.created, device: &device, place: place.as_deref() },
        reasons: &reasons(&rules),
        link: &link,
    };
    send(app, visit, tx, &pending.user, (&mail, ticket.as_ref())).await
}

/// Tells a user of a sign-in that came about.
pub(super) async fn notice(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    (here, rules): (&Sighting, &[Rule]),
) -> Result<(), Error> {
    let place = coarse(&here.place);
    let (link, ticket) = not_me(app, tx, user, visit.now).await?;
    let mail = Mail::NewSignIn {
        occasion: Occasion { at: here.at, device: &here.agent, place: Some(&place) },
        reasons: &reasons(rules),
        link: &link,
    };
    send(app, visit, tx, user, (&mail, ticket.as_ref())).await
}

/// The link for a user who did not sign in, and the ticket behind it. While one is good that went to an earlier address,
/// there is none: whoever changed the address could void it so. A new password ends all as well, but for the address.
async fn not_me(app: &App, tx: &mut Tx, user: &User, now: Now) -> Result<(String, Option<TicketRow>), Error> {
    if tx.not_me_stands(&user.id, &user.email, now).await? {
        return Ok((post::link(app, "forgot-password"), None));
    }
    let (token, row) = ticket::issue(&app.ticket_key, TicketKind::NotMe, user, None, now);
    Ok((post::link(app, &format!("not-me?token={token}")), Some(row)))
}

/// Mails it. RL-9: a link that does not leave voids none that did.
async fn send(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    user: &User,
    (mail, ticket): (&Mail<'_>, Option<&TicketRow>),
) -> Result<(), Error> {
    let to = To { address: &user.email, language: reader::language(tx, &user.id, visit).await? };
    if post::post(app, tx, to, mail, visit.now).await?
        && let Some(ticket) = ticket
    {
        tx.ticket_insert(ticket).await?;
    }
    Ok(())
}

/// Country and network, as far as they are known.
fn coarse(place: &Place) -> String {
    match &place.country {
        Some(country) => format!("{country}, {}", place.network),
        None => place.network.clone(),
    }
}

/// What is said of the rules that fired.
fn reasons(rules: &[Rule]) -> Vec<Reason> {
    let reason = |rule: &Rule| match rule {
        Rule::FirstSignIn | Rule::StrongProof | Rule::KnownBrowser | Rule::Provider => None,
        Rule::KnownNetwork => Some(Reason::KnownNetwork),
        Rule::NewBrowser => Some(Reason::NewBrowser),
        Rule::NewCountry => Some(Reason::NewPlace),
        Rule::AfterGuesses => Some(Reason::AfterFailures),
        Rule::Dormant => Some(Reason::Dormant),
        Rule::AfterChange => Some(Reason::AfterChange),
        Rule::Journey => Some(Reason::TooFar),
    };
    rules.iter().filter_map(reason).collect()
}
