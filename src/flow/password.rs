//! Changing the password: with the one that counts until then, soon after signing in.

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::agent;
use crate::answer::shapes::UserShape;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{
    confirm, cookies, desk, ending, entry, log_entry, post, read_json, ticket, to_account, with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Credential, Visit, is_form};
use crate::refusal::Refusal;
use crate::session::rules::is_fresh;
use crate::store::auth_log::Action;
use crate::ui::mails::Mail;
use crate::ui::pages::Notice;
use crate::visitor::{Session, User};

/// What the visitor sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    current_password: Zeroizing<String>,
    new_password: Zeroizing<String>,
    #[serde(default)]
    revoke_other_sessions: Option<bool>,
}

#[derive(Serialize)]
struct Changed<'a> {
    /// The session's public handle if the others were ended, as better-auth's clients expect.
    token: Option<&'a str>,
    user: UserShape<'a>,
}

/// What has changed: the user as stored, and the cookies of the session that stays.
struct Done {
    user: User,
    cookies: Vec<HeaderValue>,
}

/// `POST change-password`: the form of the account page, or a program.
pub(super) async fn change(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    let form = is_form(&visit.headers);
    let change = if form {
        let form = Form::parse(&visit.body)?;
        Change {
            current_password: Zeroizing::new(form.get("currentPassword").to_owned()),
            new_password: Zeroizing::new(form.get("newPassword").to_owned()),
            revoke_other_sessions: Some(form.find("revokeOtherSessions").is_some()),
        }
    } else {
        read_json(&visit)?
    };
    let done = attempt(app, &visit, session, &change).await?;
    let (answer, cookies) = match (done, form) {
        (Ok(Done { cookies, .. }), true) => (to_account(app, Ok(Notice::PasswordChanged))?, cookies),
        (Err(refusal), true) => return to_account(app, Err(refusal)),
        (done, false) => {
            let Done { user, cookies } = done?;
            let token = change.revoke_other_sessions.unwrap_or(false).then_some(session.id.as_str());
            let shape = Changed { token, user: (&user).into() };
            (answer::json(desk(app), StatusCode::OK, &shape), cookies)
        }
    };
    Ok(with_cookies(answer, cookies))
}

async fn attempt(
    app: &App,
    visit: &Visit,
    session: &Session,
    change: &Change,
) -> Result<Result<Done, Refusal>, Error> {
    if !is_fresh(session, visit.now) {
        return Ok(Err(Refusal::SessionNotFresh));
    }
    let user = &session.user;
    if let Err(refusal) = app.limits.change(visit.now, &user.id) {
        return Ok(Err(refusal));
    }
    let context = [user.email.as_str(), user.name.as_str(), app.config.public.name.as_str()];
    if let Err(refusal) = app.passwords.policy(&change.new_password, &context) {
        return Ok(Err(refusal));
    }
    let action = Action::PasswordChange;
    let (user, known) =
        match confirm::password(app, visit, action, &user.id, &change.current_password).await? {
            Ok(confirmed) => confirmed,
            Err(refusal) => return Ok(Err(refusal)),
        };
    let hash = app.passwords.hash(&change.new_password).await?;
    let mut tx = app.store.begin().await?;
    tx.user_hold(&user.id).await?;
    if !tx.account_replace_password(&user.id, &known, &hash, visit.now).await? {
        return Ok(Err(Refusal::InvalidPassword));
    }
    let mut ended = if change.revoke_other_sessions.unwrap_or(false) {
        // Who knew the earlier password from another browser is no better off than a stranger.
        let here = entry::shown(app, visit).secret.map(|secret| secret.hash());
        tx.devices_revoke_of_user(&user.id, here, visit.now).await?;
        ending::end_all(&mut tx, &user.id, Some(&session.id)).await?
    } else {
        // What was begun with the earlier password does not go on after it.
        tx.tickets_withdraw(&user.id).await?;
        tx.pendings_delete_of_user(&user.id).await?;
        Vec::new()
    };
    // SES-2: what the browser sent opens nothing any more. A program that holds the token itself keeps it.
    let mut cookies = Vec::new();
    if visit.credential == Credential::Cookie {
        let Some(replaced) = cookies::replaced(app, &mut tx, (session, &user), visit.now).await? else {
            return Ok(Err(Refusal::SignInRequired));
        };
        cookies = replaced;
        ended.push(session.token);
    }
    tx.auth_log_insert(&log_entry(visit, action, Some(&user.id), None)).await?;
    let again = post::link(app, "forgot-password");
    let device = agent::family(visit.agent(), None);
    let changed = Mail::PasswordChanged { occasion: ticket::occasion(visit, &device), link: &again };
    ticket::tell(app, visit, &mut tx, &user, &changed).await?;
    app.sessions.commit_ended(tx, &ended).await?;
    Ok(Ok(Done { user, cookies }))
}
