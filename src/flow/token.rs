//! Tokens for programs, and the public keys for whoever checks what we sign.

use http::StatusCode;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::flow::desk;
use crate::http::visit::Visit;
use crate::token::JWKS_AGE;

/// `GET jwks`.
pub(super) fn jwks(app: &App, visit: &Visit) -> Answer {
    let mut answer = answer::json(desk(app), StatusCode::OK, &app.tokens.ring().jwks(visit.now));
    answer::keep_for(answer.headers_mut(), JWKS_AGE);
    answer
}
