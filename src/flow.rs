//! What a person or program does under our mount prefixes: one file each, and the one match that leads there.

use std::time::Duration;

use http::header::{REFRESH, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use crate::answer::{self, Answer, Desk, shapes};
use crate::app::App;
use crate::error::Error;
use crate::gate::endpoint::{self, Endpoint};
use crate::http::visit::{Credential, ReplyTo, Visit, is_json};
use crate::id::UserId;
use crate::refusal::Refusal;
use crate::store::auth_log::{Action, LogEntry};
use crate::time::Moment;
use crate::ui::View;
use crate::ui::pages::leaving::{Departure, Leaving};
use crate::ui::pages::{Notice, Problem, SignedIn};

mod account;
mod accounts;
mod callback;
mod change_email;
mod confirm;
pub mod cookies;
mod delete_account;
mod dev_mail;
pub mod ending;
mod entry;
pub mod exchange;
pub mod forward_auth;
mod logout_token;
mod not_me;
mod pair;
mod password;
mod personal;
pub mod post;
mod provider;
mod reader;
mod recover;
mod sessions;
mod sign_in;
mod sign_out;
mod sign_up;
mod start;
mod ticket;
mod token;
mod typed;
mod verify_email;
mod verify_signin;
mod whoami;

/// Answers a request to one of our endpoints. Runs in the office.
///
/// Answers from which the existence of an account could be told leave when the floor is over, whatever was
/// found, or a whole multiple of it: on a busy machine, or with a hash that another program made costly, the work takes
/// longer. A refusal for lack of budget says nothing of an account and leaves at once.
pub async fn run(app: &App, endpoint: Endpoint, visit: Visit) -> Answer {
    let reply_to = visit.reply_to();
    let begun = endpoint.hides_existence().then(Moment::now);
    let answer = match dispatch(app, endpoint, visit).await {
        Ok(answer) => answer,
        Err(error) => answer::refuse(desk(app), &reply_to, error),
    };
    if let Some(begun) = begun
        && answer.status() != StatusCode::TOO_MANY_REQUESTS
    {
        tokio::time::sleep(to_the_next(app.config.password.answer_floor, begun.elapsed())).await;
    }
    answer
}

/// How long it is from `took` to the next whole multiple of `floor`; nothing if there is no floor.
fn to_the_next(floor: Duration, took: Duration) -> Duration {
    let whole = took.as_nanos().checked_div(floor.as_nanos()).map_or(0, |whole| whole + 1);
    floor.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX)).saturating_sub(took)
}

/// The answer to who has to sign in, which takes back a cookie that was good for nothing.
pub fn ask_to_sign_in(app: &App, credential: Credential, reply_to: &ReplyTo) -> Answer {
    let mut answer = answer::ask_to_sign_in(desk(app), reply_to);
    if credential == Credential::Cookie {
        for cookie in app.sessions.forget_cookies() {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    answer
}

async fn dispatch(app: &App, endpoint: Endpoint, visit: Visit) -> Result<Answer, Error> {
    match endpoint {
        Endpoint::SignInPage => sign_in::show(app, &visit),
        Endpoint::SignIn => sign_in::submit(app, visit).await,
        Endpoint::SignInEmail => sign_in::email(app, visit).await,
        Endpoint::Login => sign_in::login(app, visit).await,
        Endpoint::SignUpPage => sign_up::show(app, &visit),
        Endpoint::SignUp => sign_up::submit(app, visit).await,
        Endpoint::SignUpEmail => sign_up::email(app, visit).await,
        Endpoint::SignOutPage => sign_out::show(app, &visit),
        Endpoint::SignOut => sign_out::submit(app, visit).await,
        Endpoint::GetSession => Ok(whoami::get_session(app, &visit)),
        Endpoint::Me => whoami::me(app, &visit),
        Endpoint::ListSessions => sessions::list(app, visit).await,
        Endpoint::RevokeSession => sessions::revoke_one(app, visit).await,
        Endpoint::RevokeSessions => sessions::revoke_all(app, visit).await,
        Endpoint::RevokeOtherSessions => sessions::revoke_others(app, visit).await,
        Endpoint::Ok => Ok(whoami::ok(app)),
        Endpoint::VerifySignInPage => verify_signin::show(app, &visit),
        Endpoint::VerifySignIn => verify_signin::submit(app, visit).await,
        Endpoint::ResendCode => verify_signin::resend(app, visit).await,
        Endpoint::CancelSignIn => verify_signin::cancel(app, visit).await,
        Endpoint::NotMePage => not_me::show(app, &visit).await,
        Endpoint::NotMe => not_me::submit(app, visit).await,
        Endpoint::StartAtProvider => start::show(app, visit).await,
        Endpoint::SignInSocial => start::social(app, visit).await,
        Endpoint::OauthUrl => start::url(app, visit).await,
        Endpoint::Callback => callback::show(app, visit).await,
        Endpoint::CallbackForm => callback::form(app, &visit),
        Endpoint::SignInWithCode if endpoint::parameter(visit.path.raw()) == "credential" => {
            sign_in::login(app, visit).await
        }
        Endpoint::SignInWithCode => callback::code(app, visit).await,
        Endpoint::LinkSocial => start::link(app, visit).await,
        Endpoint::ListAccounts => accounts::list(app, visit).await,
        Endpoint::UnlinkAccount => accounts::unlink(app, visit).await,
        Endpoint::Providers => Ok(start::list(app)),
        Endpoint::BackChannelLogout => logout_token::submit(app, visit).await,
        Endpoint::AccountPage => account::show(app, &visit).await,
        Endpoint::UpdateUser => account::update_user(app, visit).await,
        Endpoint::VerifyEmailPage => verify_email::show(app, &visit).await,
        Endpoint::VerifyEmail => verify_email::submit(app, visit).await,
        Endpoint::SendVerificationEmail => verify_email::send(app, visit).await,
        Endpoint::ForgotPasswordPage => recover::show_request(app, &visit),
        Endpoint::RequestPasswordReset => recover::request(app, visit).await,
        Endpoint::ResetPasswordPage => recover::show(app, &visit).await,
        Endpoint::ResetPassword => recover::submit(app, visit).await,
        Endpoint::ChangePassword => password::change(app, visit).await,
        Endpoint::ChangeEmailPage => change_email::show(app, &visit).await,
        Endpoint::ChangeEmail => change_email::submit(app, visit).await,
        Endpoint::DeleteUserPage => delete_account::show(app, &visit).await,
        Endpoint::DeleteUser => delete_account::submit(app, visit).await,
        Endpoint::DevMails => dev_mail::list(app, visit).await,
        Endpoint::DevMail => dev_mail::show(app, &visit),
        Endpoint::Jwks => Ok(token::jwks(app, &visit)),
        Endpoint::Verify(asker) => Ok(forward_auth::verify(app, asker, visit)),
        Endpoint::Refresh => token::refresh(app, visit).await,
        Endpoint::Revoke => token::revoke(app, visit).await,
        Endpoint::CreatePersonalToken => personal::create(app, visit).await,
        Endpoint::PersonalTokens => personal::list(app, visit).await,
        Endpoint::RevokePersonalToken => personal::revoke(app, visit).await,
    }
}

/// What answers are built with.
pub fn desk(app: &App) -> Desk<'_> {
    Desk { ui: &app.ui, config: &app.config }
}

/// Reads a JSON body: of the declared type, well formed, with the fields that are asked for.
fn read_json<T: DeserializeOwned>(visit: &Visit) -> Result<T, Refusal> {
    if !is_json(&visit.headers) {
        return Err(Refusal::UnsupportedMediaType);
    }
    serde_json::from_slice(&visit.body)
        .map_err(|error| if error.is_data() { Refusal::Validation } else { Refusal::BadBody })
}

/// What a program is told when all that it asked for was done, where there is nothing else to tell.
fn success(app: &App) -> Answer {
    answer::json(desk(app), StatusCode::OK, &shapes::Done { status: true })
}

/// The absolute URL for a `callback_url` field: empty means none, and one that leads off the site is refused.
fn allowed_callback(app: &App, target: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(None) };
    desk(app).place(target).map(Some).ok_or(Refusal::InvalidCallbackUrl)
}

/// Like [`allowed_callback()`], for pages: what leads off the site is dropped.
fn callback_if_ours(app: &App, target: Option<&str>) -> Option<String> {
    allowed_callback(app, target).ok().flatten()
}

/// Like [`callback_if_ours`], with the start page in place of nothing.
fn callback_or_home(app: &App, target: Option<&str>) -> String {
    callback_if_ours(app, target).unwrap_or_else(|| format!("{}/", app.config.public.origin))
}

/// The sign-in page, with what happened before.
fn to_sign_in(app: &App, callback_url: Option<&str>, notice: Notice) -> Answer {
    let mut url = answer::sign_in_url(desk(app), callback_url);
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str("notice=");
    url.push_str(notice.key());
    answer::redirect(desk(app), StatusCode::SEE_OTHER, &url)
}

/// What sign-in and sign-up show in place of their form to who is signed in already, or about to be.
fn signed_in_already(app: &App, visit: &Visit, callback_url: Option<&str>) -> Option<Answer> {
    if visit.visitor.pending().is_some() {
        return Some(answer::ask_for_code(desk(app), &visit.reply_to()));
    }
    let session = visit.visitor.session()?;
    let view = app.ui.view(visit.language());
    let go_on = callback_or_home(app, callback_url);
    let html = SignedIn { view, who: &session.user.email, callback_url: Some(&go_on) }.render();
    Some(answer::page(desk(app), StatusCode::OK, view, html))
}

/// The page of a form once more, rendered with these problems.
fn form_again(app: &App, view: View<'_>, problems: &[Problem], html: String) -> Answer {
    let refusals = || {
        problems.iter().filter_map(|problem| match problem {
            Problem::Refused(refusal) => Some(*refusal),
            Problem::NameMissing
            | Problem::NameTooLong
            | Problem::EmailMissing
            | Problem::PasswordMissing
            | Problem::CodeMissing => None,
        })
    };
    let retry = refusals().find_map(|refusal| refusal.retry_after().map(|wait| (refusal.status(), wait)));
    let status = retry.map_or(StatusCode::UNPROCESSABLE_ENTITY, |(status, _)| status);
    let mut answer = answer::page(desk(app), status, view, html);
    if let Some((_, wait)) = retry {
        answer.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
    }
    // What the form shows first is why.
    match refusals().next() {
        Some(refusal) => answer::because(answer, refusal),
        None => answer,
    }
}

/// What follows a form of the account page: that page, with what came of it.
///
/// # Errors
/// A refusal that says how long to wait is a page of its own.
fn to_account(app: &App, outcome: Result<Notice, Refusal>) -> Result<Answer, Error> {
    let account = format!("{}{}/account", app.config.public.origin, app.config.mount());
    let to = |query: &str| answer::redirect(desk(app), StatusCode::SEE_OTHER, &format!("{account}?{query}"));
    match outcome {
        Ok(notice) => Ok(to(&format!("notice={}", notice.key()))),
        Err(refusal) if refusal.retry_after().is_some() => Err(refusal.into()),
        Err(refusal) => Ok(answer::because(to(&format!("problem={}", refusal.code())), refusal)),
    }
}

/// A page that leads on to a provider by itself: the policy of our pages lets no form end on another site,
/// however many redirects lead there.
fn leave(app: &App, visit: &Visit, (provider, why): (&str, Departure), to: &str) -> Answer {
    let view = app.ui.view(visit.language());
    let html = Leaving { view, provider, to, why }.render();
    let mut answer = answer::page(desk(app), StatusCode::OK, view, html);
    if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={to}")) {
        answer.headers_mut().insert(REFRESH, refresh);
    }
    answer
}

/// The line of the log for what this visit did, or for what it tried if `error` stood in the way.
fn log_entry(visit: &Visit, action: Action, user: Option<&UserId>, error: Option<&'static str>) -> LogEntry {
    LogEntry {
        user: user.cloned(),
        action,
        at: visit.now,
        success: error.is_none(),
        error,
        address: Some(visit.client.to_string()),
        agent: visit.agent().map(str::to_owned),
        detail: None,
        way: None,
    }
}

/// The answer with these `Set-Cookie` lines.
fn with_cookies(mut answer: Answer, cookies: Vec<HeaderValue>) -> Answer {
    for cookie in cookies {
        set_cookie(answer.headers_mut(), cookie);
    }
    answer
}

/// Adds a `Set-Cookie` line.
fn set_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    headers.append(SET_COOKIE, cookie);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn en_2_an_answer_leaves_at_a_multiple_of_the_floor_however_long_the_work_took() {
        let millis = Duration::from_millis;
        for (floor, took, waits) in
            [(250, 0, 250), (250, 249, 1), (250, 250, 250), (250, 610, 140), (0, 5, 0)]
        {
            assert_eq!(to_the_next(millis(floor), millis(took)), millis(waits), "{floor}, {took}");
        }
    }
}
