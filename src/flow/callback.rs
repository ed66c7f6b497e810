//! The way back from a provider, by a link, a form or a front end, and what the browser is told of how it ended.

use http::{HeaderValue, StatusCode};
use serde::Serialize;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::answer::shapes::{self, SessionShape, UserShape};
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::entry::{Entered, SignedIn, Waiting};
use crate::flow::pair::{self, Delivery};
use crate::flow::{
    callback_if_ours, callback_or_home, desk, provider, read_json, set_cookie, success, to_account,
    with_cookies,
};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::store::oauth_flows::{Aim, OauthFlow};
use crate::time::Now;

mod finish;
mod join;

use finish::{End, Given, Outcome, finish};

/// What a provider sends; the rest of its form is left behind.
const ANSWERS: [&str; 4] = ["code", "state", "iss", "error"];

/// `GET callback/{provider}`.
pub(super) async fn show(app: &App, visit: Visit) -> Result<Answer, Error> {
    let provider = provider::of_path(app, &visit)?;
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let secret = |name| query.find(name).map(|text| Zeroizing::new(text.to_owned()));
    let given = Given {
        state: secret("state"),
        code: secret("code"),
        error: query.find("error").map(str::to_owned),
        iss: query.find("iss").map(str::to_owned),
        delivery: Delivery::Cookie,
    };
    let Outcome { end, flow } = finish(app, &visit, provider, &given).await;
    let place = |of: fn(&OauthFlow) -> &Option<String>| flow.as_ref().and_then(|flow| of(flow).as_deref());
    let target = place(|flow| &flow.callback_url);
    let linking = flow.as_ref().is_some_and(|flow| matches!(flow.aim, Aim::Link { .. }));
    let mut answer = match end {
        Ok(End::Entered(entered, new)) => {
            let (to, cookies) = match entered {
                Entered::Pending(waiting) => (answer::verify_url(desk(app)), waiting.cookies),
                Entered::SignedIn(signed_in) => {
                    let welcome = place(|flow| &flow.new_user_callback_url).filter(|_| new);
                    (callback_or_home(app, welcome.or(target)), signed_in.cookies)
                }
            };
            with_cookies(answer::redirect(desk(app), StatusCode::SEE_OTHER, &to), cookies)
        }
        Ok(End::Linked | End::Already) => {
            answer::redirect(desk(app), StatusCode::SEE_OTHER, &callback_or_home(app, target))
        }
        Err(error) => match (&error, callback_if_ours(app, place(|flow| &flow.error_callback_url))) {
            (Error::Refused(refusal), Some(to)) => {
                let to = with_error(&to, *refusal);
                answer::because(answer::redirect(desk(app), StatusCode::SEE_OTHER, &to), *refusal)
            }
            // Who asked for it is signed in, and hears of it where it was asked for.
            (Error::Refused(refusal), None) if linking => to_account(app, Err(*refusal))?,
            _ => provider::stopped(app, &visit, error, target),
        },
    };
    if let Some(cookie) = forgotten(app, flow.as_ref()) {
        set_cookie(answer.headers_mut(), cookie);
    }
    Ok(answer)
}

/// `POST callback/{provider}`: a form that comes from another site carries no cookies, so the browser is asked
/// to come once more.
pub(super) fn form(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let provider = provider::of_path(app, visit)?;
    if !is_form(&visit.headers) {
        return Err(Refusal::UnsupportedMediaType.into());
    }
    let form = Form::parse(&visit.body)?;
    let answers = ANSWERS.iter().filter_map(|name| form.find(name).map(|value| (name, value)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(answers).finish();
    let (origin, mount) = (&app.config.public.origin, app.config.mount());
    let to = format!("{origin}{mount}/callback/{}?{query}", provider.id());
    Ok(answer::redirect(desk(app), StatusCode::SEE_OTHER, &to))
}

#[derive(Serialize)]
struct EnteredShape<'a> {
    user: UserShape<'a>,
    session: SessionShape<'a>,
    expires_at: Now,
    new_user: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
}

/// `POST signin/{provider}`.
pub(super) async fn code(app: &App, visit: Visit) -> Result<Answer, Error> {
    let provider = provider::of_path(app, &visit)?;
    let given: Given = read_json(&visit)?;
    let Outcome { end, flow } = finish(app, &visit, provider, &given).await;
    let mut answer = match end {
        Ok(End::Entered(entered, new_user)) => match entered {
            Entered::Pending(Waiting { cookies, token }) => {
                let shape = shapes::pending(desk(app), token.as_ref().map(|token| token.as_str()));
                with_cookies(answer::json(desk(app), StatusCode::OK, &shape), cookies)
            }
            Entered::SignedIn(signed_in) if given.delivery == Delivery::Bearer => {
                pair::first(app, &visit, &signed_in.session).await?
            }
            Entered::SignedIn(signed_in) => {
                let SignedIn { session, cookies } = *signed_in;
                let target = flow.as_ref().and_then(|flow| flow.callback_url.as_deref());
                let shape = EnteredShape {
                    user: (&session.user).into(),
                    session: (&session).into(),
                    expires_at: session.expires,
                    new_user,
                    callback_url: callback_if_ours(app, target),
                };
                with_cookies(answer::json(desk(app), StatusCode::OK, &shape), cookies)
            }
        },
        Ok(End::Linked) => success(app),
        Ok(End::Already) => return Err(Refusal::StateUsed.into()),
        Err(error) => return Err(error),
    };
    if let Some(cookie) = forgotten(app, flow.as_ref()) {
        set_cookie(answer.headers_mut(), cookie);
    }
    Ok(answer)
}

/// The `Set-Cookie` value that makes a browser forget a flow that leads nowhere any more.
fn forgotten(app: &App, flow: Option<&OauthFlow>) -> Option<HeaderValue> {
    let names = &app.sessions.cookies;
    flow.filter(|flow| flow.used.is_some()).map(|flow| names.clear(&names.of_flow(flow.state)))
}

/// A place of the app with the reason why it is gone to, in better-auth's words where it has some.
fn with_error(place: &str, refusal: Refusal) -> String {
    let code = match refusal {
        Refusal::LinkedElsewhere => "account_already_linked_to_different_user".to_owned(),
        Refusal::DifferentEmail => "email_does_not_match".to_owned(),
        refusal => refusal.code().to_ascii_lowercase(),
    };
    match Url::parse(place) {
        Ok(mut url) => {
            url.query_pairs_mut().append_pair("error", &code);
            url.into()
        }
        Err(_) => place.to_owned(),
    }
}
