//! The way to a provider: a flow is kept, a cookie ties it to the browser, and the browser is sent away.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{
    allowed_callback, callback_if_ours, desk, leave, provider, read_json, to_account, with_cookies,
};
use crate::http::cookie::{self, CookieNames};
use crate::http::fields::Fields;
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::oauth::Start;
use crate::oauth::provider::Provider;
use crate::refusal::Refusal;
use crate::session::rules::is_fresh;
use crate::store::oauth_flows::{Aim, OauthFlow};
use crate::time::Now;
use crate::ui::pages::Notice;
use crate::ui::pages::leaving::Departure;

/// How long somebody may take at the provider.
const LIFE: Duration = Duration::from_mins(10);
/// Flows that one browser may have on their way; the oldest are forgotten.
const MOST_OF_A_BROWSER: usize = 5;
/// Longest `login_hint` that is passed on, in bytes.
const LONGEST_HINT: usize = 254;

/// What a flow is begun with.
struct Wish {
    aim: Aim,
    callback_url: Option<String>,
    error_callback_url: Option<String>,
    new_user_callback_url: Option<String>,
    redirect_uri: String,
    remember: bool,
    login_hint: Option<String>,
}

/// A flow that has begun: where to go, and the cookies that go with it.
struct Begun {
    url: String,
    cookies: Vec<HeaderValue>,
}

/// `GET sign-in/{provider}`: a person is sent away at once.
pub(super) async fn show(app: &App, visit: Visit) -> Result<Answer, Error> {
    let provider = provider::of_path(app, &visit)?;
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let place = |name: &str| callback_if_ours(app, query.find(name));
    let wish = Wish {
        aim: Aim::SignIn,
        callback_url: place("callback_url"),
        error_callback_url: place("error_callback_url"),
        new_user_callback_url: place("new_user_callback_url"),
        redirect_uri: callback_of(app, provider),
        remember: query.find("remember") != Some("false"),
        login_hint: query.find("login_hint").map(str::to_owned),
    };
    let target = wish.callback_url.clone();
    Ok(match begin(app, &visit, provider, wish).await {
        Ok(begun) => {
            with_cookies(answer::redirect(desk(app), StatusCode::SEE_OTHER, &begun.url), begun.cookies)
        }
        Err(error) => provider::stopped(app, &visit, error, target.as_deref()),
    })
}

/// The body of better-auth's `sign-in/social` and `link-social`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocialBody {
    provider: String,
    #[serde(rename = "callbackURL", alias = "callback_url")]
    callback_url: Option<String>,
    #[serde(rename = "errorCallbackURL")]
    error_callback_url: Option<String>,
    #[serde(rename = "newUserCallbackURL")]
    new_user_callback_url: Option<String>,
    disable_redirect: Option<bool>,
    remember_me: Option<bool>,
    login_hint: Option<String>,
    id_token: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct SocialShape {
    url: String,
    redirect: bool,
}

/// `POST sign-in/social`.
pub(super) async fn social(app: &App, visit: Visit) -> Result<Answer, Error> {
    let body = read_json(&visit)?;
    begin_social(app, &visit, body, Aim::SignIn).await
}

/// `POST link-social`; asks for a recent sign-in.
pub(super) async fn link(app: &App, visit: Visit) -> Result<Answer, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    app.limits.change(visit.now, &session.user.id)?;
    let aim = Aim::Link { user: session.user.id.clone(), session: session.id.clone() };
    let fresh = is_fresh(session, visit.now);
    if is_form(&visit.headers) {
        return if fresh {
            link_form(app, &visit, aim).await
        } else {
            to_account(app, Err(Refusal::SessionNotFresh))
        };
    }
    let body = read_json(&visit)?;
    if !fresh {
        return Err(Refusal::SessionNotFresh.into());
    }
    begin_social(app, &visit, body, aim).await
}

/// The form of the account page, to which the way leads back.
async fn link_form(app: &App, visit: &Visit, aim: Aim) -> Result<Answer, Error> {
    let form = Form::parse(&visit.body)?;
    let provider = provider::named(app, form.get("provider"))?;
    let account = format!("{}{}/account", app.config.public.origin, app.config.mount());
    let wish = Wish {
        aim,
        callback_url: Some(format!("{account}?notice={}", Notice::MethodLinked.key())),
        error_callback_url: None,
        new_user_callback_url: None,
        redirect_uri: callback_of(app, provider),
        remember: true,
        login_hint: None,
    };
    match begin(app, visit, provider, wish).await {
        Ok(Begun { url, cookies }) => {
            Ok(with_cookies(leave(app, visit, (provider.name(), Departure::Link), &url), cookies))
        }
        Err(Error::Refused(refusal)) => to_account(app, Err(refusal)),
        Err(fault) => Err(fault),
    }
}

async fn begin_social(app: &App, visit: &Visit, body: SocialBody, aim: Aim) -> Result<Answer, Error> {
    let provider = provider::named(app, &body.provider)?;
    if body.id_token.is_some() {
        return Err(Refusal::IdTokenNotSupported.into());
    }
    let wish = Wish {
        aim,
        callback_url: allowed_callback(app, body.callback_url.as_deref())?,
        error_callback_url: allowed_callback(app, body.error_callback_url.as_deref())?,
        new_user_callback_url: allowed_callback(app, body.new_user_callback_url.as_deref())?,
        redirect_uri: callback_of(app, provider),
        remember: body.remember_me.unwrap_or(true),
        login_hint: body.login_hint,
    };
    let Begun { url, cookies } = begin(app, visit, provider, wish).await?;
    let shape = SocialShape { url, redirect: !body.disable_redirect.unwrap_or(false) };
    Ok(with_cookies(answer::json(desk(app), StatusCode::OK, &shape), cookies))
}

#[derive(Serialize)]
struct UrlShape {
    #[serde(rename = "oAuthUrl")]
    url: String,
}

/// `GET get-oauth-url/{provider}`. A front end that wants to receive the provider's answer itself names its own
/// page as `redirect_uri`, which must be registered at the provider, and sends `code` and `state` on to
/// `signin/{provider}`.
pub(super) async fn url(app: &App, visit: Visit) -> Result<Answer, Error> {
    let provider = provider::of_path(app, &visit)?;
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let wish = Wish {
        aim: Aim::SignIn,
        callback_url: allowed_callback(app, query.find("callback_url"))?,
        error_callback_url: allowed_callback(app, query.find("error_callback_url"))?,
        new_user_callback_url: allowed_callback(app, query.find("new_user_callback_url"))?,
        redirect_uri: allowed_callback(app, query.find("redirect_uri"))?
            .unwrap_or_else(|| callback_of(app, provider)),
        remember: query.find("remember") != Some("false"),
        login_hint: query.find("login_hint").map(str::to_owned),
    };
    let Begun { url, cookies } = begin(app, &visit, provider, wish).await?;
    Ok(with_cookies(answer::json(desk(app), StatusCode::OK, &UrlShape { url }), cookies))
}

/// A provider, for who builds a sign-in page of their own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderShape<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'static str,
    start_url: String,
}

/// `GET providers`.
pub(super) fn list(app: &App) -> Answer {
    let base = format!("{}{}/sign-in", app.config.public.origin, app.config.mount());
    let shapes: Vec<ProviderShape<'_>> = app
        .providers
        .iter()
        .map(|provider| ProviderShape {
            id: provider.id(),
            name: provider.name(),
            kind: provider.kind().as_str(),
            start_url: format!("{base}/{}", provider.id()),
        })
        .collect();
    answer::json(desk(app), StatusCode::OK, &shapes)
}

/// Where a provider sends browsers back to, unless a front end wants them: its own address for each, so that
/// the answer of one is never taken for that of another (RFC 9700 §4.4.2).
fn callback_of(app: &App, provider: &Provider) -> String {
    format!("{}{}/callback/{}", app.config.public.origin, app.config.mount(), provider.id())
}

/// Begins a flow: nothing is kept unless there is somewhere to go.
async fn begin(app: &App, visit: &Visit, provider: &Provider, wish: Wish) -> Result<Begun, Error> {
    app.limits.provider(visit.now, visit.client)?;
    let (state, browser) = (app.flow_key.issue(), app.flow_key.issue());
    let verifier = Zeroizing::new(app.flow_key.issue().reveal());
    let nonce = app.flow_key.issue().reveal();
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let hint = |hint: &&str| hint.len() <= LONGEST_HINT && !hint.chars().any(char::is_control);
    let start = Start {
        state: &state.reveal(),
        challenge: &challenge,
        nonce: &nonce,
        redirect_uri: &wish.redirect_uri,
        login_hint: wish.login_hint.as_deref().filter(hint),
        prompt: None,
    };
    let url = provider
        .authorize_url(&start, visit.now)
        .await
        .map_err(|failure| provider::refusal(provider, visit, &failure))?;
    let state = state.hash();
    let flow = OauthFlow {
        state,
        provider: provider.id().to_owned(),
        aim: wish.aim,
        browser: browser.hash(),
        verifier: app.seal.seal(&provider::verifier_of(state), verifier.as_bytes()),
        nonce,
        redirect_uri: wish.redirect_uri,
        callback_url: wish.callback_url,
        error_callback_url: wish.error_callback_url,
        new_user_callback_url: wish.new_user_callback_url,
        remember: wish.remember,
        created: visit.now,
        expires: visit.now.plus(LIFE),
        used: None,
    };
    let mut tx = app.store.begin().await?;
    tx.oauth_flow_insert(&flow).await?;
    tx.commit().await?;
    let names = &app.sessions.cookies;
    let mut cookies: Vec<HeaderValue> =
        too_many(names, &visit.headers).into_iter().map(|name| names.clear(name)).collect();
    let value = format!("{}.{}", visit.now.millis(), browser.reveal());
    cookies.push(names.set(&names.of_flow(state), value, Some(LIFE)));
    Ok(Begun { url, cookies })
}

/// The cookies of flows that a browser has beside the newest few, so that one more has room.
fn too_many<'h>(names: &CookieNames, headers: &'h Fields) -> Vec<&'h str> {
    let began = |value: &[u8]| {
        let millis = std::str::from_utf8(value).ok()?.split_once('.')?.0;
        millis.parse().ok().map(Now::from_millis)
    };
    let mut flows: Vec<(Option<Now>, &str)> = cookie::beginning_with(headers, names.flow)
        .into_iter()
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        .map(|(name, value)| (began(value), name))
        .collect();
    flows.sort_unstable();
    flows.truncate((flows.len() + 1).saturating_sub(MOST_OF_A_BROWSER));
    flows.into_iter().map(|(_, name)| name).collect()
}
