//! Answers a proxy that asks what it may let through: the same judgement as of a request that comes to us, told in the
//! convention of the one who asks.

use http::header::{HOST, HeaderName, HeaderValue, UPGRADE, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use crate::answer::{self, Answer};
use crate::app::App;
use crate::error::Error;
use crate::flow::{self, desk};
use crate::gate::endpoint::Asker;
use crate::gate::route::Route;
use crate::gate::{self, Decision, Pass, Verdict};
use crate::http::fields::{Fields, Value};
use crate::http::path::Path;
use crate::http::visit::Visit;
use crate::proxy::headers;
use crate::proxy::reserved;
use crate::refusal::Refusal;

/// `Sec-Fetch-Mode` (Fetch Metadata).
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a question is about, as it goes with the answer to whoever writes it down.
#[derive(Clone)]
pub struct About {
    /// The method of the request that was asked about.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its route.
    pub route: Route,
    /// Whether it would be let through with an identity, or why not.
    pub allowed: Result<bool, Refusal>,
}

/// Answers one question. What is not a plain yes is a no: a question that is incomplete or could be understood in two
/// ways, a path that its readers would judge differently, a fault of ours.
pub(super) fn verify(app: &App, asker: Asker, visit: Visit) -> Answer {
    let reply_to = visit.reply_to();
    let original = match Asked::of(asker, &visit, app) {
        Ok(original) => original,
        Err(refusal) => return no(asker, answer::told(desk(app), &reply_to, refusal)),
    };
    let (method, path) = (original.method.clone(), original.path.raw().to_owned());
    let deceives = deceives(asker, &visit.headers, app);
    let original = original.visit(visit);
    let Decision { verdict, route } = gate::decide(&app.rules, &original);
    let (allowed, mut answer) = if deceives {
        let refusal = Refusal::Forbidden;
        (Err(refusal), no(asker, answer::told(desk(app), &reply_to, refusal)))
    } else {
        (allowed(&verdict), said(app, asker, &original, verdict))
    };
    answer.extensions_mut().insert(About { method, path, route, allowed });
    answer
}

fn allowed(verdict: &Verdict) -> Result<bool, Refusal> {
    match verdict {
        Verdict::Forward(pass) => Ok(pass.session().is_some()),
        refused => Err(refused.denial().unwrap_or(Refusal::Forbidden)),
    }
}

/// What is said of the request that the question is about.
fn said(app: &App, asker: Asker, original: &Visit, verdict: Verdict) -> Answer {
    let reply_to = original.reply_to();
    match verdict {
        Verdict::Forward(pass) => match yes(app, original, &pass) {
            Ok(yes) => yes,
            Err(error) => no(asker, answer::refuse(desk(app), &reply_to, error)),
        },
        Verdict::AskToSignIn => no(asker, flow::ask_to_sign_in(app, original.credential, &reply_to)),
        Verdict::AskForCode => no(asker, answer::ask_for_code(desk(app), &reply_to)),
        Verdict::Refuse(refusal) => no(asker, answer::told(desk(app), &reply_to, refusal)),
        // Ours to answer: the proxy is to send it here, not to the app.
        Verdict::Ours(_) => no(asker, answer::told(desk(app), &reply_to, Refusal::Forbidden)),
    }
}

/// The request that the question is about.
struct Asked {
    method: Method,
    path: Path,
}

impl Asked {
    /// Reads what the proxy says of it. A client's own words stand nowhere in it, if the proxy is set up as it should
    /// be: it writes these fields itself, or asks at a path that tells the same.
    fn of(asker: Asker, visit: &Visit, app: &App) -> Result<Self, Refusal> {
        let headers = &visit.headers;
        // Whose question is made of the request's own fields shows its `Host`; the others say it in a field of theirs.
        if matches!(asker, Asker::Nginx | Asker::Envoy)
            && !headers
                .get(&HOST)
                .and_then(|host| host.to_str().ok())
                .is_some_and(|host| app.config.public.is_host(host))
        {
            return Err(Refusal::Misdirected);
        }
        let (method, target) = match asker {
            Asker::Nginx => (
                Method::from_bytes(only(headers, "x-original-method")?),
                text(only(headers, "x-original-uri")?)?,
            ),
            Asker::Traefik | Asker::Caddy => {
                let host = text(only(headers, "x-forwarded-host")?)?;
                let https = match only(headers, "x-forwarded-proto")? {
                    b"https" | b"wss" => true,
                    b"http" | b"ws" => false,
                    _ => return Err(Refusal::MalformedTarget),
                };
                if https != app.config.public.https || !app.config.public.is_host(host) {
                    return Err(Refusal::Misdirected);
                }
                (
                    Method::from_bytes(only(headers, "x-forwarded-method")?),
                    text(only(headers, "x-forwarded-uri")?)?,
                )
            }
            Asker::Envoy => {
                let below = app.rules.endpoint_of(visit.path.target());
                let target = below.strip_prefix(Asker::ENVOY).ok_or(Refusal::MalformedTarget)?;
                (Ok(visit.method.clone()), target)
            }
        };
        let method = method.map_err(|_| Refusal::MalformedTarget)?;
        if method == Method::CONNECT || method == Method::TRACE {
            return Err(Refusal::MethodNotAllowed);
        }
        if target.len() > app.config.limits.target {
            return Err(Refusal::TargetTooLong);
        }
        // A fragment would be dropped without a word.
        let parsed = target.parse::<PathAndQuery>().ok().filter(|parsed| parsed.as_str() == target);
        let path = Path::parse(parsed.ok_or(Refusal::MalformedTarget)?)?;
        Ok(Self { method, path })
    }

    /// The request as it would be if it had come to us.
    fn visit(self, question: Visit) -> Visit {
        let handshake = question.upgrade.is_none() && begins_websocket(&question.headers);
        let upgrade = if handshake { Some(HeaderValue::from_static("websocket")) } else { question.upgrade };
        Visit { method: self.method, path: self.path, upgrade, ..question }
    }
}

/// Whether anything says that this is the handshake of a WebSocket. Not every proxy passes on `Upgrade`, and one by HTTP/2
/// has no key (RFC 8441 §5).
fn begins_websocket(headers: &Fields) -> bool {
    headers.iter().any(|(name, _)| name.starts_with(b"sec-websocket-"))
        || headers
            .get_all(&UPGRADE)
            .any(|offers| offers.as_bytes().to_ascii_lowercase().starts_with(b"websocket"))
        || headers.get(&SEC_FETCH_MODE).is_some_and(|mode| mode == "websocket")
}

/// The one field of this name. Two, of which the proxy wrote one and a client the other, are none.
fn only<'h>(headers: &'h Fields, name: &'static str) -> Result<&'h [u8], Refusal> {
    let name = HeaderName::from_static(name);
    let mut values = headers.get_all(&name).map(Value::as_bytes);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value),
        _ => Err(Refusal::MalformedTarget),
    }
}

fn text(value: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(value).map_err(|_| Refusal::MalformedTarget)
}

/// Whether the client names an identity, or another request than the one that is asked about, in whatever spelling. It is
/// the proxy that carries the request on, and not every proxy takes out what the answer does not replace.
fn deceives(asker: Asker, headers: &Fields, app: &App) -> bool {
    // The question itself, of which there was one.
    let asks =
        |name: &[u8]| asker == Asker::Nginx && matches!(name, b"x-original-method" | b"x-original-uri");
    headers.iter().any(|(name, _)| {
        app.identity_names.contains(name) || (reserved::names_another_request(name) && !asks(name))
    })
}

/// It may pass, and this is what the app is to be told.
fn yes(app: &App, visit: &Visit, pass: &Pass) -> Result<Answer, Error> {
    let mut answer = answer::empty(desk(app), StatusCode::OK);
    if let Some(session) = pass.session() {
        app.tokens.assert(session, visit.now)?;
        for (name, value) in headers::identity(&app.config.identity, session) {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

/// It may not, said so that this proxy understands it.
fn no(asker: Asker, mut answer: Answer) -> Answer {
    let status = answer.status();
    let understood = match asker {
        // Everything but 401 and 403 is an error to it. Whom to lead where stands in `Location`.
        Asker::Nginx if status.is_redirection() || status == StatusCode::UNAUTHORIZED => {
            let challenge = HeaderValue::from_static("Bearer");
            answer.headers_mut().entry(WWW_AUTHENTICATE).or_insert(challenge);
            StatusCode::UNAUTHORIZED
        }
        Asker::Nginx => StatusCode::FORBIDDEN,
        // It can be told to let through whatever the one who is asked fails at.
        Asker::Envoy if status.is_server_error() => StatusCode::FORBIDDEN,
        Asker::Traefik | Asker::Caddy | Asker::Envoy => status,
    };
    let yes = understood.is_success() || understood.is_informational();
    *answer.status_mut() = if yes { StatusCode::FORBIDDEN } else { understood };
    answer
}
