//! The endpoints of the test's identity provider. What a real one would refuse is refused here, and noted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::keys::{OWN, base64url, sha256};
use super::kind::{Kind, object};
use super::lie::{Endpoint, Lie, apply};
use super::{Arrived, Asked, CLIENT, Grant, SECRET, Shared, State, token};

/// Addresses on one page of GitHub's list, unless the request says otherwise.
const PAGE: usize = 30;

/// What is wrong with a request.
struct Wrong {
    /// Of the answer.
    status: u16,
    /// The error code for the client.
    code: &'static str,
    /// For whoever reads the test.
    why: String,
}

fn wrong(status: u16, code: &'static str, why: impl Into<String>) -> Wrong {
    Wrong { status, code, why: why.into() }
}

/// An answer to be written.
struct Reply {
    status: u16,
    fields: String,
    body: String,
}

fn json_reply(status: u16, body: impl Into<Value>) -> Reply {
    Reply { status, fields: "Content-Type: application/json\r\n".to_owned(), body: body.into().to_string() }
}

/// Answers one request.
pub(super) fn answer(shared: &Shared, arrived: &Arrived, stream: &mut TcpStream) {
    let target = arrived.line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((endpoint, tenant)) = shared.kind.endpoint(path) else {
        shared.state().complaints.push(format!("there is no {path}"));
        return write(stream, &json_reply(404, json!({ "message": "Not Found" })));
    };
    let body = if arrived.line.starts_with("POST ") { arrived.body.as_slice() } else { b"" };
    let mut parameters = BTreeMap::new();
    let mut twice = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body)) {
        if parameters.insert(name.to_string(), value.into_owned()).is_some() {
            twice = Some(name.into_owned());
        }
    }
    let asked = Asked { endpoint, arrived: arrived.clone(), parameters };
    let mut state = shared.state();
    state.asked.push(asked.clone());
    let told = state.lies.iter().find_map(|lie| match lie {
        Lie::Answers(which, answer) if *which == endpoint => Some(answer.clone()),
        _ => None,
    });
    if let Some(told) = told {
        drop(state);
        return told.write(stream);
    }
    let outcome = match (twice, endpoint) {
        // RFC 6749 §3.1, §3.2
        (Some(name), _) => Err(wrong(400, "invalid_request", format!("{name} is there twice"))),
        (None, Endpoint::Discovery) => Ok(discovery(shared, &state, &tenant)),
        (None, Endpoint::Authorize) => authorize(shared, &mut state, &asked, tenant),
        (None, Endpoint::Token) => tokens(shared, &mut state, &asked),
        (None, Endpoint::Profile) => profile(shared, &state, &asked),
        (None, Endpoint::Emails) => emails(shared, &state, &asked),
        (None, Endpoint::Keys) => Ok(keys(shared, &state)),
        (None, Endpoint::EndSession) => end_session(&asked),
    };
    let reply = outcome.unwrap_or_else(|wrong| {
        state.complaints.push(format!("{endpoint:?}: {}", wrong.why));
        refusal(shared.kind, endpoint, &asked, &wrong)
    });
    drop(state);
    write(stream, &reply);
}

fn write(stream: &mut TcpStream, reply: &Reply) {
    let Reply { status, fields, body } = reply;
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
}

fn refusal(kind: Kind, endpoint: Endpoint, asked: &Asked, wrong: &Wrong) -> Reply {
    let body = json!({ "error": wrong.code, "error_description": wrong.why });
    if kind == Kind::GitHub && endpoint == Endpoint::Token {
        let code = match wrong.code {
            "invalid_client" => "incorrect_client_credentials",
            "invalid_grant" => "bad_verification_code",
            "redirect_uri_mismatch" => "redirect_uri_mismatch",
            other => other,
        };
        return negotiated(asked, object(json!({ "error": code, "error_description": wrong.why })));
    }
    // Only GitHub has a code of its own for that.
    let body = if wrong.code == "redirect_uri_mismatch" { json!({ "error": "invalid_grant" }) } else { body };
    json_reply(wrong.status, body)
}

/// GitHub's token endpoint: `200` always, and a form unless JSON is asked for.
fn negotiated(asked: &Asked, members: Map<String, Value>) -> Reply {
    if asked.arrived.header("accept").is_some_and(|accept| accept.contains("application/json")) {
        return json_reply(200, members);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = members.iter().map(|(name, value)| (name, text(value)));
    Reply {
        status: 200,
        fields: "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n".to_owned(),
        body: form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish(),
    }
}

/// The discovery document (OpenID Connect Discovery §3).
fn discovery(shared: &Shared, state: &State, tenant: &str) -> Reply {
    let origin = shared.origin();
    let url = |endpoint| {
        shared.kind.path(endpoint).map(|path| format!("{origin}{}", path.replace("{tenant}", tenant)))
    };
    // For more than one tenant, Entra says this literally.
    let named = if tenant.contains('-') || shared.kind != Kind::Entra { tenant } else { "{tenantid}" };
    let mut document = object(json!({
        "issuer": shared.kind.issuer(&origin, named),
        "authorization_endpoint": url(Endpoint::Authorize),
        "token_endpoint": url(Endpoint::Token),
        "userinfo_endpoint": url(Endpoint::Profile),
        "jwks_uri": url(Endpoint::Keys),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": ["openid", "email", "profile"],
        "code_challenge_methods_supported": ["S256"],
    }));
    if shared.kind.names_itself() {
        document.insert("authorization_response_iss_parameter_supported".to_owned(), json!(true));
    }
    if let Some(end) = url(Endpoint::EndSession) {
        document.insert("end_session_endpoint".to_owned(), json!(end));
        document.insert("backchannel_logout_supported".to_owned(), json!(true));
        document.insert("backchannel_logout_session_supported".to_owned(), json!(true));
    }
    apply(&state.lies, &mut document, |lie| match lie {
        Lie::Discovery(name, value) => Some((*name, Some(value.clone()))),
        Lie::NoDiscovery(name) => Some((*name, None)),
        _ => None,
    });
    json_reply(200, document)
}

/// The public keys (RFC 7517 §5); Entra says of each whose it is.
fn keys(shared: &Shared, state: &State) -> Reply {
    let mut keys = OWN.published(|alg| state.kid(alg));
    if shared.kind == Kind::Entra {
        let issuer = shared.kind.issuer(&shared.origin(), "{tenantid}");
        for key in &mut keys {
            key["issuer"] = json!(issuer);
        }
    }
    json_reply(200, json!({ "keys": keys }))
}

/// The person is signed in and agrees (RFC 6749 §4.1.1, §4.1.2).
fn authorize(shared: &Shared, state: &mut State, asked: &Asked, tenant: String) -> Result<Reply, Wrong> {
    let get = |name: &str| asked.parameters.get(name).map_or("", String::as_str);
    let bad = |why: String| wrong(400, "invalid_request", why);
    if get("client_id") != CLIENT {
        return Err(bad(format!("nobody knows the client {:?}", get("client_id"))));
    }
    let redirect_uri = get("redirect_uri").to_owned();
    let known = state.registered.is_empty() || state.registered.contains(&redirect_uri);
    let mut back = match Url::parse(&redirect_uri) {
        Ok(url) if known && url.fragment().is_none() => url,
        _ => return Err(bad(format!("{redirect_uri:?} is not registered"))),
    };
    if get("response_type") != "code" {
        return Err(bad(format!("the response type is {:?}", get("response_type"))));
    }
    if get("code_challenge_method") != "S256" || get("code_challenge").len() != 43 {
        return Err(bad("there is no S256 challenge (RFC 7636 §4.3)".to_owned()));
    }
    // 128 bits in base64url
    if get("state").len() < 22 {
        return Err(bad(format!("the state {:?} can be guessed", get("state"))));
    }
    let openid = get("scope").split(' ').any(|scope| scope == "openid");
    if shared.kind.has_id_tokens() && (!openid || get("nonce").len() < 22) {
        return Err(bad(format!("no OpenID request: scope {:?}, nonce {:?}", get("scope"), get("nonce"))));
    }
    let denied = state.lies.iter().find_map(|lie| match lie {
        Lie::Denies(error, description) => Some((*error, *description)),
        _ => None,
    });
    let mut answer: Vec<(String, String)> = Vec::new();
    if let Some((error, description)) = denied {
        answer.push(("error".to_owned(), error.to_owned()));
        answer.push(("error_description".to_owned(), description.to_owned()));
    } else {
        let (code, sid) = (state.fresh("code"), state.fresh("sid"));
        state.sids.push(sid.clone());
        let grant = Grant {
            persona: state.persona.clone(),
            redirect_uri,
            challenge: get("code_challenge").to_owned(),
            nonce: asked.parameters.get("nonce").cloned(),
            scope: get("scope").to_owned(),
            sid,
            tenant,
        };
        state.codes.insert(code.clone(), grant);
        answer.push(("code".to_owned(), code));
    }
    answer.push(("state".to_owned(), get("state").to_owned()));
    if shared.kind.names_itself() {
        answer.push(("iss".to_owned(), shared.kind.issuer(&shared.origin(), "")));
    }
    for lie in &state.lies {
        match lie {
            Lie::Callback(name, value) => {
                answer.retain(|(known, _)| known != name);
                answer.push(((*name).to_owned(), value.clone()));
            }
            Lie::CallbackAlso(name, value) => answer.push(((*name).to_owned(), value.clone())),
            Lie::NoCallback(name) => answer.retain(|(known, _)| known != name),
            _ => {}
        }
    }
    back.query_pairs_mut().extend_pairs(answer);
    Ok(Reply { status: 302, fields: format!("Location: {back}\r\n"), body: String::new() })
}

/// Codes for tokens (RFC 6749 §4.1.3, RFC 7636 §4.5).
fn tokens(shared: &Shared, state: &mut State, asked: &Asked) -> Result<Reply, Wrong> {
    let get = |name: &str| asked.parameters.get(name).map_or("", String::as_str);
    let bad = |why: &str| wrong(400, "invalid_request", why);
    let kind = asked.arrived.header("content-type").unwrap_or_default();
    if !asked.arrived.line.starts_with("POST ") || !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(bad("no form was posted"));
    }
    if asked.arrived.line.contains('?') {
        return Err(bad("parameters are in the URL, where logs see them"));
    }
    authenticate(asked)?;
    if get("grant_type") != "authorization_code" {
        return Err(wrong(400, "unsupported_grant_type", get("grant_type")));
    }
    // Whatever is wrong with it: a code is good for one attempt.
    let Some(grant) = state.codes.remove(get("code")) else {
        return Err(wrong(400, "invalid_grant", "the code is unknown or was used"));
    };
    if get("redirect_uri") != grant.redirect_uri {
        return Err(wrong(400, "redirect_uri_mismatch", "the redirect URI is another one"));
    }
    let verifier = get("code_verifier");
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return Err(bad("the verifier is no verifier (RFC 7636 §4.1)"));
    }
    if base64url(sha256(verifier.as_bytes())) != grant.challenge {
        return Err(wrong(400, "invalid_grant", "the verifier does not fit the challenge"));
    }
    let access = state.fresh("access");
    state.access.insert(access.clone(), grant.clone());
    let scope = if shared.kind == Kind::GitHub { grant.scope.replace(' ', ",") } else { grant.scope.clone() };
    let bearer = if shared.kind == Kind::GitHub { "bearer" } else { "Bearer" };
    let mut answer = object(json!({ "access_token": access, "token_type": bearer, "scope": scope }));
    if shared.kind != Kind::GitHub {
        answer.insert("expires_in".to_owned(), json!(3600));
        answer.insert("refresh_token".to_owned(), json!(state.fresh("refresh")));
    }
    if shared.kind.has_id_tokens() {
        answer.insert("id_token".to_owned(), json!(token::id_token(shared, state, &grant, &access)));
    }
    apply(&state.lies, &mut answer, |lie| match lie {
        Lie::Token(name, value) => Some((*name, Some(value.clone()))),
        Lie::NoToken(name) => Some((*name, None)),
        _ => None,
    });
    Ok(if shared.kind == Kind::GitHub { negotiated(asked, answer) } else { json_reply(200, answer) })
}

/// By one method, and one only (RFC 6749 §2.3, §2.3.1).
fn authenticate(asked: &Asked) -> Result<(), Wrong> {
    let in_body = asked
        .parameters
        .get("client_secret")
        .map(|secret| (asked.parameters.get("client_id").cloned().unwrap_or_default(), secret.clone()));
    let in_header = asked.arrived.header("authorization").map(|value| {
        let text = value.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok());
        let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
        let part = |text: &str| {
            let pair = format!("x={text}");
            let value = form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
            value.unwrap_or_default()
        };
        text.split_once(':').map(|(id, secret)| (part(id), part(secret))).unwrap_or_default()
    });
    let given = match (in_body, in_header) {
        (Some(_), Some(_)) => return Err(wrong(400, "invalid_request", "the client gave its secret twice")),
        (None, None) => return Err(wrong(401, "invalid_client", "the client gave no secret")),
        (Some(given), None) | (None, Some(given)) => given,
    };
    if given == (CLIENT.to_owned(), SECRET.to_owned()) {
        return Ok(());
    }
    Err(wrong(401, "invalid_client", format!("these are not the client's credentials: {given:?}")))
}

/// Whoever holds the access token of this request (RFC 6750 §2.1).
fn bearer<'s>(shared: &Shared, state: &'s State, asked: &Asked) -> Result<&'s Grant, Wrong> {
    if shared.kind == Kind::GitHub && asked.arrived.header("user-agent").is_none_or(str::is_empty) {
        return Err(wrong(403, "forbidden", "Request forbidden by administrative rules: no User-Agent"));
    }
    let value = asked.arrived.header("authorization").unwrap_or_default();
    let token = value.strip_prefix("Bearer ").unwrap_or_default();
    state.access.get(token).ok_or_else(|| wrong(401, "invalid_token", format!("nobody has {value:?}")))
}

fn profile(shared: &Shared, state: &State, asked: &Asked) -> Result<Reply, Wrong> {
    let grant = bearer(shared, state, asked)?;
    let mut profile = shared.kind.profile(&grant.persona);
    // Discord tells addresses only to those who asked for them.
    if shared.kind == Kind::Discord && !grant.scope.split(' ').any(|scope| scope == "email") {
        profile.remove("email");
    }
    apply(&state.lies, &mut profile, |lie| match lie {
        Lie::Profile(name, value) => Some((*name, Some(value.clone()))),
        Lie::NoProfile(name) => Some((*name, None)),
        _ => None,
    });
    Ok(json_reply(200, profile))
}

/// GitHub's addresses, a page at a time.
fn emails(shared: &Shared, state: &State, asked: &Asked) -> Result<Reply, Wrong> {
    let grant = bearer(shared, state, asked)?;
    if !grant.scope.split(' ').any(|scope| scope == "user:email" || scope == "user") {
        return Err(wrong(404, "not_found", "the scope user:email is missing"));
    }
    let number = |name: &str| asked.parameters.get(name).and_then(|value| value.parse::<usize>().ok());
    let (page, size) = (number("page").unwrap_or(1).max(1), number("per_page").unwrap_or(PAGE).clamp(1, 100));
    let all = Kind::emails(&grant.persona);
    let shown: Vec<Value> = all.iter().skip((page - 1) * size).take(size).cloned().collect();
    let mut reply = json_reply(200, shown);
    if page * size < all.len() {
        let url = format!("{}/api/v3/user/emails?per_page={size}&page={}", shared.origin(), page + 1);
        let _ = write!(reply.fields, "Link: <{url}>; rel=\"next\"\r\n");
    }
    Ok(reply)
}

/// The person's session here ends (OpenID Connect RP-Initiated Logout §2, §3).
fn end_session(asked: &Asked) -> Result<Reply, Wrong> {
    let get = |name: &str| asked.parameters.get(name).map_or("", String::as_str);
    let hinted = get("id_token_hint").split('.').count() == 3;
    if !hinted && get("client_id") != CLIENT {
        return Err(wrong(400, "invalid_request", "who asks? no id_token_hint, no client_id"));
    }
    let back = get("post_logout_redirect_uri");
    let Ok(mut url) = Url::parse(back) else {
        return Ok(Reply {
            status: 200,
            fields: "Content-Type: text/plain\r\n".to_owned(),
            body: "Bye".to_owned(),
        });
    };
    if let Some(state) = asked.parameters.get("state") {
        url.query_pairs_mut().append_pair("state", state);
    }
    Ok(Reply { status: 302, fields: format!("Location: {url}\r\n"), body: String::new() })
}
