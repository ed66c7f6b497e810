//! One's own account: the page that shows it, and the change of name and picture.

use http::StatusCode;
use serde::{Deserialize, Deserializer};

use crate::account::agent;
use crate::account::profile::{is_name, is_picture};
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{desk, log_entry, read_json, success, to_account};
use crate::http::form::Form;
use crate::http::visit::{Visit, is_form};
use crate::refusal::Refusal;
use crate::session::rules::is_fresh;
use crate::store::auth_log::Action;
use crate::store::identities;
use crate::ui::pages::Notice;
use crate::ui::pages::account::{Access, Account, Link, Open};
use crate::visitor::Session;

/// The page. How the account is entered is shown after a recent sign-in only.
pub(super) async fn show(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let Some(session) = visit.visitor.session() else {
        return Ok(answer::ask_to_sign_in(desk(app), &visit.reply_to()));
    };
    let query = Form::parse(visit.path.query().unwrap_or_default().as_bytes())?;
    let view = app.ui.view(visit.language());
    let sessions;
    let access = if is_fresh(session, visit.now) {
        sessions = app.sessions.of_user(&session.user.id, visit.now).await?;
        Some(access(app, session, &sessions).await?)
    } else {
        None
    };
    let html = Account {
        view,
        user: &session.user,
        access: access.as_ref(),
        notice: query.find("notice").and_then(Notice::parse),
        problem: query.find("problem").and_then(Refusal::parse),
        now: visit.now,
    };
    Ok(answer::page(desk(app), StatusCode::OK, view, html.render()))
}

/// How the account is entered, and from where that was done.
async fn access<'s>(app: &App, own: &Session, sessions: &'s [Session]) -> Result<Access<'s>, Error> {
    let accounts = app.store.accounts_of_user(&own.user.id).await?;
    let open = |session: &'s Session| {
        let (browser, system) = agent::parts(session.agent.as_deref(), None);
        Open { session, browser, system, own: session.id == own.id }
    };
    Ok(Access {
        password: accounts.iter().any(|account| account.password),
        links: accounts.into_iter().filter(|account| account.provider != "credential").map(link).collect(),
        sessions: sessions.iter().map(open).collect(),
    })
}

fn link(account: identities::Account) -> Link {
    Link { id: account.id.as_str().to_owned(), provider: account.provider, since: account.created }
}

/// What a user may change of themselves; what is not there stays as it is.
#[derive(Deserialize)]
struct Wish {
    name: Option<String>,
    #[serde(default)]
    image: Image,
    /// Not changed here.
    email: Option<serde_json::Value>,
}

/// What becomes of the picture.
#[derive(Default)]
enum Image {
    /// It stays.
    #[default]
    Same,
    /// There is this one from now on; `null` and an empty text are none.
    Other(Option<String>),
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let image: Option<String> = Option::deserialize(deserializer)?;
        Ok(Self::Other(image.filter(|image| !image.is_empty())))
    }
}

/// `POST update-user`: JSON is told of success, the form leads back to the account page.
pub(super) async fn update_user(app: &App, visit: Visit) -> Result<Answer, Error> {
    if is_form(&visit.headers) {
        let form = Form::parse(&visit.body)?;
        let wish = Wish { name: Some(form.get("name").to_owned()), image: Image::Same, email: None };
        let outcome = attempt(app, &visit, wish).await?;
        return to_account(app, outcome.map(|()| Notice::NameSaved));
    }
    attempt(app, &visit, read_json(&visit)?).await??;
    Ok(success(app))
}

/// Changes what is wished, all of it or nothing.
async fn attempt(app: &App, visit: &Visit, wish: Wish) -> Result<Result<(), Refusal>, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    if wish.email.is_some() {
        return Ok(Err(Refusal::EmailNotHere));
    }
    let name = wish.name.as_deref().map(str::trim);
    let sound = name.is_none_or(|name| !name.is_empty() && is_name(name))
        && match &wish.image {
            Image::Same => name.is_some(),
            Image::Other(image) => image.as_deref().is_none_or(is_picture),
        };
    if !sound {
        return Ok(Err(Refusal::Validation));
    }
    let user = &session.user.id;
    if let Err(refusal) = app.limits.change(visit.now, user) {
        return Ok(Err(refusal));
    }
    let mut tx = app.store.begin().await?;
    if let Some(name) = name {
        tx.user_set_name(user, name, visit.now).await?;
    }
    if let Image::Other(image) = &wish.image {
        tx.user_set_image(user, image.as_deref(), visit.now).await?;
    }
    tx.auth_log_insert(&log_entry(visit, Action::Update, Some(user), None)).await?;
    tx.commit().await?;
    app.sessions.user_changed(user, visit.now).await;
    Ok(Ok(()))
}
