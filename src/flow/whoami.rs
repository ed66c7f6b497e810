//! Who is asking, told to programs.

use http::StatusCode;
use serde::Serialize;

use crate::answer::shapes::{SessionShape, UserShape};
use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::desk;
use crate::http::visit::Visit;
use crate::refusal::Refusal;
use crate::visitor::Session;

#[derive(Serialize)]
struct Whoami<'a> {
    session: SessionShape<'a>,
    user: UserShape<'a>,
}

impl<'a> From<&'a Session> for Whoami<'a> {
    fn from(session: &'a Session) -> Self {
        Self { session: session.into(), user: (&session.user).into() }
    }
}

/// `GET get-session`: `null` for strangers, as better-auth's client expects.
pub(super) fn get_session(app: &App, visit: &Visit) -> Answer {
    let whoami: Option<Whoami<'_>> = visit.visitor.session().map(|session| session.as_ref().into());
    answer::json(desk(app), StatusCode::OK, &whoami)
}

/// `GET me`: 401 for strangers.
pub(super) fn me(app: &App, visit: &Visit) -> Result<Answer, Error> {
    let session = visit.visitor.session().ok_or(Refusal::SignInRequired)?;
    Ok(answer::json(desk(app), StatusCode::OK, &Whoami::from(session.as_ref())))
}

#[derive(Serialize)]
struct Here {
    ok: bool,
}

/// `GET ok`: we are here.
pub(super) fn ok(app: &App) -> Answer {
    answer::json(desk(app), StatusCode::OK, &Here { ok: true })
}
