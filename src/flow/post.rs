//! Putting a mail into the outbox, in the transaction of the flow that has reason for it.
//!
//! Nothing is sent here and nothing is waited for: whether there is a mail, and whether it is one too many,
//! shows in no answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::account::email::mailbox;
use crate::app::App;
use crate::error::{Error, Fault};
use crate::id::RowId;
use crate::mail::{self, Message};
use crate::store::Tx;
use crate::store::outbox::{Counts, OutboxRow};
use crate::time::Now;
use crate::ui::mails::Mail;
use crate::ui::text::Language;

/// Over what time mails are counted.
const WINDOW: Duration = Duration::from_hours(1);

/// Whom a mail goes to.
#[derive(Clone, Copy)]
pub struct To<'a> {
    /// One address in its canonical form.
    pub address: &'a str,
    /// What its reader reads.
    pub language: Language,
}

/// Writes `mail` to somebody once `tx` is committed; false if it does not. Does nothing if mail is not
/// configured, or if there were too many mails to that address or in all: those are left out and logged. Mails
/// that anyone can ask for leave the second half of both caps to those whose cause is somebody who proved
/// something.
pub async fn post(
    app: &App,
    tx: &mut Tx,
    To { address, language }: To<'_>,
    mail: &Mail<'_>,
    now: Now,
) -> Result<bool, Error> {
    let Some(config) = &app.config.mail else { return Ok(false) };
    let share = if mail.anyone_can_ask() { 2 } else { 1 };
    let caps = Counts { to_recipient: config.per_recipient / share, in_all: config.in_all / share };
    let recipient = URL_SAFE_NO_PAD.encode(&app.recipient_key.mac(mailbox(address).as_bytes())[..16]);
    let since = now.minus(WINDOW);
    let counts = tx.outbox_count(&recipient, since, caps).await?;
    if counts.to_recipient >= caps.to_recipient || counts.in_all >= caps.in_all {
        let whose = if counts.in_all >= caps.in_all { "mail.in_all" } else { "mail.per_recipient" };
        tracing::warn!(recipient, "a mail is left out: `{whose}` is reached");
        return Ok(false);
    }
    let letter = app.mails.write(mail, address, language);
    let id = RowId::random();
    let message = Message {
        id: id.as_str().to_owned(),
        at: now.millis(),
        to: address.to_owned(),
        subject: letter.subject,
        text: letter.text,
        html: letter.html,
    };
    let clear = serde_json::to_vec(&message).map_err(|error| Fault::new("writing a mail", error))?;
    let clear = Zeroizing::new(clear);
    let life = mail.lifetime().unwrap_or(config.give_up_after).min(config.give_up_after);
    let row = OutboxRow {
        body: app.seal.seal(&mail::sealed_for(&id), &clear),
        id,
        recipient,
        created: now,
        give_up: now.plus(life),
    };
    tx.outbox_insert(&row).await?;
    Ok(true)
}

/// The absolute address of one of our pages, made of the public origin and of nothing that a request says:
/// `link(app, "verify-email?token=…")`.
pub fn link(app: &App, page: &str) -> String {
    format!("{}{}/{page}", app.config.public.origin, app.config.mount())
}
