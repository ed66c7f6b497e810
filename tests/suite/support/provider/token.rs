//! What the test's identity provider signs: ID tokens and logout tokens, with the defects it was told.

use serde_json::{Map, Value, json};

use super::keys::{self, Alg, base64url, sha256};
use super::kind::object;
use super::lie::{Lie, apply};
use super::{CLIENT, Grant, Kind, Persona, SECRET, Shared, State};

/// Lifetime of an ID token in seconds.
const ID_TOKEN: i64 = 3600;
/// Lifetime of a logout token in seconds.
const LOGOUT_TOKEN: i64 = 120;

/// The ID token that goes with an access token.
pub(super) fn id_token(shared: &Shared, state: &mut State, grant: &Grant, access: &str) -> String {
    let mut claims = common(shared, state, &grant.persona, &grant.tenant);
    if let Some(nonce) = &grant.nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    // The left half of the hash (OpenID Connect Core §3.1.3.6); not under EdDSA, whose hash is another.
    if state.alg != Alg::EdDsa {
        claims.insert("at_hash".to_owned(), json!(base64url(&sha256(access.as_bytes())[..16])));
    }
    claims.insert("sid".to_owned(), json!(grant.sid));
    let lies = state.lies.clone();
    signed(state, &json!({ "typ": "JWT" }), claims, &lies)
}

/// An ID token for somebody who did not come here.
pub(super) fn stray_id_token(
    shared: &Shared,
    persona: &Persona,
    nonce: Option<&str>,
    lies: &[Lie],
) -> String {
    let mut state = shared.state();
    let mut claims = common(shared, &state, persona, super::TENANT);
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    signed(&mut state, &json!({ "typ": "JWT" }), claims, lies)
}

fn common(shared: &Shared, state: &State, persona: &Persona, tenant: &str) -> Map<String, Value> {
    let now = state.now();
    // `common`, `organizations` and `consumers` are no tenants; the person's own is.
    let tenant = if tenant.contains('-') { tenant } else { super::TENANT };
    let mut claims = object(json!({
        "iss": shared.kind.issuer(&shared.origin(), tenant),
        "aud": CLIENT,
        "exp": now + ID_TOKEN,
        "iat": now,
    }));
    if shared.kind == Kind::Google {
        claims.insert("azp".to_owned(), json!(CLIENT));
    }
    claims.extend(shared.kind.claims(persona));
    claims
}

/// A logout token (OpenID Connect Back-Channel Logout §2.4).
pub(super) fn logout_token(
    shared: &Shared,
    subject: Option<&str>,
    sid: Option<&str>,
    lies: &[Lie],
) -> String {
    let mut state = shared.state();
    let now = state.now();
    let mut claims = object(json!({
        "iss": shared.kind.issuer(&shared.origin(), super::TENANT),
        "aud": CLIENT,
        "iat": now,
        "exp": now + LOGOUT_TOKEN,
        "jti": state.fresh("jti"),
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    }));
    for (name, value) in [("sub", subject), ("sid", sid)] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    signed(&mut state, &json!({ "typ": "logout+jwt" }), claims, lies)
}

/// Signs the claims as the lies would have it.
fn signed(state: &mut State, header: &Value, mut claims: Map<String, Value>, lies: &[Lie]) -> String {
    let mut alg = state.alg;
    let mut keys = &keys::OWN;
    let (mut unknown, mut tampered) = (false, false);
    for lie in lies {
        match lie {
            Lie::Alg(other) => alg = *other,
            Lie::ForeignKey => keys = &keys::FOREIGN,
            Lie::UnknownKey => unknown = true,
            Lie::Tampered => tampered = true,
            Lie::Text(text) => return text.clone(),
            _ => {}
        }
    }
    apply(lies, &mut claims, |lie| match lie {
        Lie::Claim(name, value) => Some((*name, Some(value.clone()))),
        Lie::NoClaim(name) => Some((*name, None)),
        _ => None,
    });
    let mut header = object(header.clone());
    header.insert("alg".to_owned(), json!(alg.name()));
    header.insert("kid".to_owned(), json!(if unknown { state.fresh("key") } else { state.kid(alg) }));
    apply(lies, &mut header, |lie| match lie {
        Lie::Header(name, value) => Some((*name, Some(value.clone()))),
        Lie::NoHeader(name) => Some((*name, None)),
        _ => None,
    });
    let mut payload = Value::from(claims.clone()).to_string();
    for lie in lies {
        if let Lie::Repeats(name, value) = lie {
            payload = format!("{{\"{name}\":{value},{}", &payload[1..]);
        }
    }
    let token = keys.sign(alg, SECRET, &Value::from(header).to_string(), &payload);
    if !tampered {
        return token;
    }
    let parts: Vec<&str> = token.split('.').collect();
    claims.insert("sub".to_owned(), json!("somebody-else"));
    format!("{}.{}.{}", parts[0], base64url(Value::from(claims).to_string()), parts[2])
}
