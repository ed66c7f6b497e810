//! Signing out: GET asks, POST does. The session is ended in the store before the cookie is taken back, and
//! before the provider that it came from is asked to sign the person out as well.

use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{callback_if_ours, desk, entry, leave, log_entry, provider, set_cookie};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::oauth::EndSession;
use crate::store::auth_log::Action;
use crate::store::session_providers::ProviderSession;
use crate::ui::pages::leaving::Departure;
use crate::ui::pages::{self, Notice};

/// `Clear-Site-Data` (Clear Site Data §3.1).
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

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

/// The body of better-auth's sign-out; there may be none.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wish {
    disable_redirect: bool,
}

#[derive(Serialize)]
struct Done {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<bool>,
}

/// Ends the session: a form leads on to the provider or the sign-in page, JSON is told of success and where a
/// provider wants to be visited.
pub(super) async fn submit(app: &App, visit: Visit) -> Result<Answer, Error> {
    let form = is_form(&visit.headers);
    let target = if form { Form::parse(&visit.body)?.find("callback_url").map(str::to_owned) } else { None };
    let mut came_by = None;
    if let Some(session) = visit.visitor.session() {
        let mut tx = app.store.begin().await?;
        came_by = tx.session_provider(&session.id).await?;
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
    let leaving = match &came_by {
        Some(by) => end_at_provider(app, &visit, by).await,
        None => None,
    };
    let mut answer = if form && let Some((to, name)) = &leaving {
        leave(app, &visit, (name, Departure::SignOut), to)
    } else if form {
        let to = callback_if_ours(app, target.as_deref()).unwrap_or_else(|| {
            format!("{}?notice={}", answer::sign_in_url(desk(app), None), Notice::SignedOut.key())
        });
        answer::redirect(desk(app), StatusCode::SEE_OTHER, &to)
    } else {
        let wish: Wish = serde_json::from_slice(&visit.body).unwrap_or_default();
        let redirect = leaving.is_some().then_some(!wish.disable_redirect);
        let url = leaving.map(|(url, _)| url);
        answer::json(desk(app), StatusCode::OK, &Done { success: true, url, redirect })
    };
    app.sessions.forget_cookies().for_each(|cookie| set_cookie(answer.headers_mut(), cookie));
    if let Some(what) = app.config.session.clear_on_sign_out.header()
        && let Ok(what) = HeaderValue::from_str(&what)
    {
        answer.headers_mut().insert(CLEAR_SITE_DATA, what);
    }
    if pending.is_some() {
        set_cookie(answer.headers_mut(), entry::forget_pending(app));
    }
    Ok(answer)
}

/// Where a person signs out at the provider too, and its name (OpenID Connect RP-Initiated Logout 1.0 §2). It
/// sends the browser back to our sign-in page, with a `state` by which that page knows who sent it.
async fn end_at_provider(app: &App, visit: &Visit, by: &ProviderSession) -> Option<(String, String)> {
    let provider = app.providers.find(&by.provider)?;
    let purpose = provider::id_token_of(&by.provider, &by.subject);
    let id_token = by.id_token.as_deref().and_then(|sealed| app.seal.open(&purpose, sealed));
    let end = EndSession {
        id_token: id_token.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()),
        return_to: &answer::sign_in_url(desk(app), None),
        state: &app.flow_key.issue().reveal(),
    };
    let url = provider.end_session_url(&end, visit.now).await?;
    Some((url, provider.name().to_owned()))
}
