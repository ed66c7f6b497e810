//! The code of an unusual sign-in: GET shows, POST takes it, has another one sent, or gives the sign-in up.

use http::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::account::code::{Code, TRIES};
use crate::answer::{self, Answer, shapes};
use crate::app::App;
use crate::error::Error;
use crate::flow::entry::{self, SignedIn};
use crate::flow::pair::{self, Delivery};
use crate::flow::{
    callback_or_home, desk, form_again, log_entry, read_json, set_cookie, success, with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::id::PendingId;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::store::Tx;
use crate::store::auth_log::{Action, LogEntry};
use crate::ui::pages::Problem;
use crate::ui::pages::verify::VerifySignIn;
use crate::visitor::User;

/// What follows the page's address when another code was sent.
const SENT: &str = "sent";

/// The page. Who is signed in goes on, and who never began is led to where it begins.
pub(super) fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    if visit.visitor.session().is_some() {
        return Ok(answer::redirect(desk(app), StatusCode::FOUND, &callback_or_home(app, None)));
    }
    if visit.visitor.pending().is_none() {
        return Ok(ended(app, StatusCode::FOUND));
    }
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let view = app.ui.view(visit.language());
    let sent_again = query.find("notice") == Some(SENT);
    let html = VerifySignIn { view, problems: &[], sent_again }.render();
    Ok(answer::page(desk(app), StatusCode::OK, view, html))
}

/// On to the sign-in page, which is where a sign-in that is over begins anew.
fn ended(app: &App, status: StatusCode) -> Answer {
    let mut answer = answer::redirect(desk(app), status, &answer::sign_in_url(desk(app), None));
    set_cookie(answer.headers_mut(), entry::forget_pending(app));
    answer
}

/// What a program sends.
#[derive(Deserialize)]
struct CodeBody {
    code: Zeroizing<String>,
    #[serde(default)]
    delivery: Delivery,
    pending_token: Option<Zeroizing<String>>,
}

/// How a program without cookies says which sign-in it means; there may be no body.
#[derive(Default, Deserialize)]
struct WhichBody {
    pending_token: Option<Zeroizing<String>>,
}

impl WhichBody {
    fn read(visit: &Visit) -> Self {
        if is_form(&visit.headers) {
            Self::default()
        } else {
            serde_json::from_slice(&visit.body).unwrap_or_default()
        }
    }
}

/// The sign-in that is meant: the one of the browser's cookie, or of the token that a program was given.
async fn waiting(app: &App, visit: &Visit, token: Option<&str>) -> Result<Option<PendingId>, Error> {
    let Some(text) = token else { return Ok(visit.visitor.pending().cloned()) };
    match Token::parse(text.as_bytes()).filter(|token| app.pending_key.issued(token)) {
        Some(token) => Ok(app.store.pending_by_hash(token.hash(), visit.now).await?),
        None => Ok(None),
    }
}

/// Takes the code: a form leads on or is shown again, JSON hears of the session.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    if !is_form(&visit.headers) {
        let CodeBody { code, delivery, pending_token } = read_json(&visit)?;
        let token = pending_token.as_ref().map(|token| token.as_str());
        // Whoever began without cookies goes on without them.
        let delivery = if token.is_some() { Delivery::Bearer } else { delivery };
        let pending = waiting(app, &visit, token).await?.ok_or(Refusal::SignInEnded)?;
        let (signed_in, callback_url) = attempt(app, &visit, &pending, (&code, delivery)).await??;
        if delivery == Delivery::Bearer {
            let pair = pair::first(app, &visit, &signed_in.session).await?;
            let held = visit.visitor.pending().map(|_| entry::forget_pending(app));
            return Ok(with_cookies(pair, held.into_iter().collect()));
        }
        let url = callback_url.map(|url| callback_or_home(app, Some(&url)));
        let shape = shapes::signed_in(&signed_in.session, url);
        return Ok(with_cookies(answer::json(desk(app), StatusCode::OK, &shape), signed_in.cookies));
    }
    let Some(pending) = visit.visitor.pending() else { return Ok(not_pending(app, &visit)) };
    let form = Form::parse(&visit.body)?;
    let code = Zeroizing::new(form.get("code").to_owned());
    let problem = if code.trim().is_empty() {
        Problem::CodeMissing
    } else {
        match attempt(app, &visit, pending, (&code, Delivery::Cookie)).await? {
            Ok((signed_in, callback_url)) => {
                let to = callback_or_home(app, callback_url.as_deref());
                let answer = answer::redirect(desk(app), StatusCode::SEE_OTHER, &to);
                return Ok(with_cookies(answer, signed_in.cookies));
            }
            Err(Refusal::SignInEnded) => return Ok(ended(app, StatusCode::SEE_OTHER)),
            Err(refusal) => Problem::Refused(refusal),
        }
    };
    let (view, problems) = (app.ui.view(visit.language()), [problem]);
    let html = VerifySignIn { view, problems: &problems, sent_again: false }.render();
    Ok(form_again(app, view, &problems, html))
}

/// What a form is answered with whose sender owes no code.
fn not_pending(app: &App, visit: &Visit) -> Answer {
    if visit.visitor.session().is_some() {
        return answer::redirect(desk(app), StatusCode::SEE_OTHER, &callback_or_home(app, None));
    }
    ended(app, StatusCode::SEE_OTHER)
}

/// Compares the code; every comparison is counted before it is made. Right, it makes the sign-in come about,
/// once.
async fn attempt(
    app: &App,
    visit: &Visit,
    id: &PendingId,
    (typed, delivery): (&str, Delivery),
) -> Result<Result<(SignedIn, Option<String>), Refusal>, Error> {
    // What cannot be a code is a slip, and no guess.
    let Some(code) = Code::parse(typed) else { return Ok(Err(Refusal::CodeWrong)) };
    // RL-10: a code that is spent may be sent for ever, and each time it is logged.
    if let Err(refusal) = app.limits.ticket(visit.now, visit.client) {
        return Ok(Err(refusal));
    }
    let mut tx = app.store.begin().await?;
    let Some(found) = tx.pending_by_id(id, visit.now).await? else { return Ok(Err(Refusal::SignInEnded)) };
    tx.user_hold(&found.user.id).await?;
    let counted = tx.pending_try(id, visit.now, TRIES).await?;
    let Some(pending) = tx.pending_by_id(id, visit.now).await? else { return Ok(Err(Refusal::SignInEnded)) };
    if !counted {
        let spent = pending.tries >= TRIES;
        let refusal = if spent { Refusal::CodeSpent } else { Refusal::CodeExpired };
        return wrong(visit, tx, &pending.user, refusal).await;
    }
    if app.limits.code_try(visit.now, &pending.user.id).is_err() {
        tx.pending_void_code(id, visit.now).await?;
        return wrong(visit, tx, &pending.user, Refusal::CodeSpent).await;
    }
    if !code.is_right(&app.code_key, id, &pending.code) {
        let spent = pending.tries >= TRIES;
        let refusal = if spent { Refusal::CodeSpent } else { Refusal::CodeWrong };
        return wrong(visit, tx, &pending.user, refusal).await;
    }
    app.limits.give_back_code_try(&pending.user.id);
    if !tx.pending_delete(id).await? {
        return Ok(Err(Refusal::SignInEnded));
    }
    let signed_in = entry::verified(app, visit, tx, &pending, delivery).await?;
    Ok(Ok((signed_in, pending.callback_url)))
}

/// Logs a code that was refused, and makes it last that it was counted.
async fn wrong<T>(
    visit: &Visit,
    mut tx: Tx,
    user: &User,
    refusal: Refusal,
) -> Result<Result<T, Refusal>, Error> {
    let entry = log_entry(visit, Action::SignIn, Some(&user.id), Some(refusal.code()));
    tx.auth_log_insert(&LogEntry { way: Some("code".to_owned()), ..entry }).await?;
    tx.commit().await?;
    Ok(Err(refusal))
}

/// Sends another code; the earlier one is void.
pub(super) async fn resend(app: &App, visit: Visit) -> Result<Answer, Error> {
    let form = is_form(&visit.headers);
    let which = WhichBody::read(&visit);
    let token = which.pending_token.as_ref().map(|token| token.as_str());
    let Some(id) = &waiting(app, &visit, token).await? else {
        return if form { Ok(not_pending(app, &visit)) } else { Err(Refusal::SignInEnded.into()) };
    };
    let mut tx = app.store.begin().await?;
    let Some(pending) = tx.pending_by_id(id, visit.now).await? else {
        return Err(Refusal::SignInEnded.into());
    };
    app.limits.code(visit.now, &pending.user.id)?;
    // Before the sign-in and the ticket: whoever ends everything takes them in another order.
    tx.user_hold(&pending.user.id).await?;
    if !entry::send_again(app, &visit, &mut tx, &pending).await? {
        return Err(Refusal::SignInEnded.into());
    }
    let entry = log_entry(&visit, Action::SignIn, Some(&pending.user.id), Some(Refusal::CodeRequired.code()));
    tx.auth_log_insert(&LogEntry { detail: Some(pending.rules), way: Some("code".to_owned()), ..entry })
        .await?;
    tx.commit().await?;
    if form {
        let to = format!("{}?notice={SENT}", answer::verify_url(desk(app)));
        return Ok(answer::redirect(desk(app), StatusCode::SEE_OTHER, &to));
    }
    Ok(success(app))
}

/// Gives the sign-in up.
pub(super) async fn cancel(app: &App, visit: Visit) -> Result<Answer, Error> {
    let which = WhichBody::read(&visit);
    let token = which.pending_token.as_ref().map(|token| token.as_str());
    if let Some(id) = waiting(app, &visit, token).await? {
        let mut tx = app.store.begin().await?;
        tx.pending_delete(&id).await?;
        tx.commit().await?;
    }
    if is_form(&visit.headers) {
        return Ok(ended(app, StatusCode::SEE_OTHER));
    }
    let mut answer = success(app);
    if token.is_none() {
        set_cookie(answer.headers_mut(), entry::forget_pending(app));
    }
    Ok(answer)
}
