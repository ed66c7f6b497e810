//! Signing out: GET asks, POST does. The session is ended in the store before the cookie is taken back.

use http::StatusCode;
use serde::Serialize;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{callback_if_ours, desk, entry, log_entry, set_cookie};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::store::auth_log::Action;
use crate::ui::pages::{self, Notice};

/// The page that asks; strangers have nothing to sign out of and are shown the sign-in page.
pub(super) fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let callback_url = query.find("callback_url");
    let Some(session) = visit.visitor.session() else {
        return Ok(answer::redirect(
            desk(app),
            StatusCode::FOUND,
            &answer::sign_in_url(desk(app), callback_url),
        ));
    };
    let view = app.ui.view(visit.language());
    let callback_url = callback_if_ours(app, callback_url);
    let html = pages::SignOut { view, who: &session.user.email, callback_url: callback_url.as_deref() };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

#[derive(Serialize)]
struct Success {
    success: bool,
}

/// Ends the session: a form leads on to the sign-in page, JSON is told of success.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    let form = is_form(&visit.headers);
    let target = if form { Form::parse(&visit.body)?.find("callback_url").map(str::to_owned) } else { None };
    if let Some(session) = visit.visitor.session() {
        let mut tx = app.store.begin().await?;
        if tx.session_delete(session.token).await? {
            let entry = log_entry(&visit, Action::SignOut, Some(&session.user.id), None);
            tx.auth_log_insert(&entry).await?;
        }
        app.sessions.commit_ended(tx, &[session.token]).await?;
    }
    let pending = visit.visitor.pending();
    if let Some(pending) = pending {
        let mut tx = app.store.begin().await?;
        tx.pending_delete(pending).await?;
        tx.commit().await?;
    }
    let mut answer = if form {
        let to = callback_if_ours(app, target.as_deref()).unwrap_or_else(|| {
            format!("{}?notice={}", answer::sign_in_url(desk(app), None), Notice::SignedOut.key())
        });
        answer::redirect(desk(app), StatusCode::SEE_OTHER, &to)
    } else {
        answer::json(desk(app), StatusCode::OK, &Success { success: true })
    };
    set_cookie(answer.headers_mut(), app.sessions.forget_cookie());
    if pending.is_some() {
        set_cookie(answer.headers_mut(), entry::forget_pending(app));
    }
    Ok(answer)
}
