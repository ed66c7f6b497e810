//! What the catcher keeps, shown to whoever develops: nothing of this exists with a mail server.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::desk;
use crate::gate::endpoint;
use crate::http::visit::{AnswerForm, Visit};
use crate::mail::Mailer;
use crate::mail::catcher::{Catcher, Caught};
use crate::refusal::Refusal;
use crate::time::Now;
use crate::ui::pages::dev_mail::{DevMail, DevMails, Line, Piece};

/// A mail as markup stands in a page of its own that may do nothing: not even our own forms and scripts would
/// work in it. Its styles stand in attributes.
const HARMLESS: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// How often is looked whether a mail is still on its way, at most.
const LOOKS: u32 = 50;
/// The pause between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

fn catcher(app: &App) -> Result<&Catcher, Refusal> {
    match app.mailer.as_deref() {
        Some(Mailer::Catcher(catcher)) => Ok(catcher),
        Some(Mailer::Smtp(_)) | None => Err(Refusal::NotFound),
    }
}

/// A mail as programs read it.
#[derive(Serialize)]
struct Shape<'a> {
    id: &'a str,
    at: Now,
    to: &'a str,
    subject: &'a str,
    text: &'a str,
    html: &'a str,
}

impl<'a> From<&'a Caught> for Shape<'a> {
    fn from(Caught { id, at, to, subject, text, html }: &'a Caught) -> Self {
        Self { id, at: *at, to, subject, text, html }
    }
}

/// Waits for mails that are decided on and not yet caught, so that who has just caused one finds it.
async fn settle(app: &App) -> Result<(), Error> {
    for _ in 0..LOOKS {
        if app.store.outbox_due(app.clock.now(), 1).await?.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(())
}

/// `GET dev/mail`: all of them, the latest first.
pub(super) async fn list(app: &App, visit: Visit) -> Result<Answer, Error> {
    let catcher = catcher(app)?;
    settle(app).await?;
    let mails = catcher.list();
    if visit.reply_to().form != AnswerForm::Page {
        let shapes: Vec<Shape<'_>> = mails.iter().map(|mail| mail.as_ref().into()).collect();
        return Ok(answer::json(desk(app), StatusCode::OK, &shapes));
    }
    let view = app.ui.view(visit.language());
    let lines: Vec<Line<'_>> = mails
        .iter()
        .map(|mail| Line { id: &mail.id, to: &mail.to, subject: &mail.subject, at: mail.at })
        .collect();
    let html = DevMails { view, mails: &lines }.render();
    Ok(answer::page(desk(app), StatusCode::OK, view, html))
}

/// `GET dev/mail/{id}`: one as text with its links, or with `?html` as markup.
pub(super) fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let id = endpoint::parameter(visit.path.raw());
    let mail: Arc<Caught> = catcher(app)?.find(id).ok_or(Refusal::NotFound)?;
    if visit.reply_to().form != AnswerForm::Page {
        return Ok(answer::json(desk(app), StatusCode::OK, &Shape::from(mail.as_ref())));
    }
    let view = app.ui.view(visit.language());
    if visit.path.query() == Some("html") {
        let mut answer = answer::page(desk(app), StatusCode::OK, view, mail.html.clone());
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(HARMLESS));
        return Ok(answer);
    }
    let line = Line { id: &mail.id, to: &mail.to, subject: &mail.subject, at: mail.at };
    let pieces = pieces(&mail.text, &app.config.public.origin);
    let html = DevMail { view, mail: line, pieces: &pieces }.render();
    Ok(answer::page(desk(app), StatusCode::OK, view, html))
}

/// A text cut where it holds an address of this site.
fn pieces<'t>(text: &'t str, origin: &str) -> Vec<Piece<'t>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let slash = format!("{origin}/");
    while let Some(at) = rest.find(&slash) {
        let (before, link) = rest.split_at(at);
        let end = link.find(char::is_whitespace).unwrap_or(link.len());
        let (link, after) = link.split_at(end);
        pieces.push(Piece::Words(before));
        // Without the origin it also works under another name of this machine.
        pieces.push(Piece::Link { path: &link[origin.len()..], text: link });
        rest = after;
    }
    pieces.push(Piece::Words(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_links_to_this_site_only() {
        let text = "a\nhttp://x.test/auth/y?t=1\nhttps://evil.test/ http://x.testing/ http://x.test/";
        let found: Vec<(&str, &str)> = pieces(text, "http://x.test")
            .into_iter()
            .map(|piece| match piece {
                Piece::Words(words) => ("", words),
                Piece::Link { path, text } => (path, text),
            })
            .collect();
        let expected = [
            ("", "a\n"),
            ("/auth/y?t=1", "http://x.test/auth/y?t=1"),
            ("", "\nhttps://evil.test/ http://x.testing/ "),
            ("/", "http://x.test/"),
            ("", ""),
        ];
        assert_eq!(found, expected);
    }
}
