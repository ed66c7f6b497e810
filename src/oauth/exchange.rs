//! A code becomes tokens (RFC 6749 §4.1.3).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::failure::{ErrorCode, Failure, Outage, Step};
use super::http::{Ask, Client};
use super::metadata::Metadata;
use super::object::Object;
use super::{Secrets, Tokens};
use crate::config::provider::{ClientAuth, Provider as Configured};
use crate::time::Now;

/// Largest answer with tokens, in bytes.
const LARGEST: usize = 256 * 1024;
/// Longest lifetime that is believed, in seconds.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

/// What the token endpoint gave.
pub(super) struct Granted {
    /// What can be asked with.
    pub(super) tokens: Tokens,
    /// The ID token, which nobody has looked at yet.
    pub(super) id_token: Option<Zeroizing<String>>,
}

/// Exchanges `code`, once.
pub(super) async fn exchange(
    client: &Client,
    provider: &Configured,
    metadata: &Metadata,
    (code, secrets): (&str, &Secrets<'_>),
    now: Now,
) -> Result<Granted, Failure> {
    let (form, authorization) = request(provider, metadata, code, secrets);
    let ask = Ask {
        step: Step::Token,
        url: &metadata.token,
        authorization: authorization.as_ref().map(|text| text.as_str()),
        form: Some(&form),
        most: LARGEST,
    };
    let unavailable = |outage| Failure::Unavailable(Step::Token, outage);
    let answer = client.ask(ask).await.map_err(unavailable)?;
    match Object::parse(&answer.body) {
        // GitHub reports errors with status 200.
        Some(members) if answer.status.is_success() || members.get("error").is_some() => {
            granted(&members, now)
        }
        None if answer.status.is_success() => Err(unavailable(Outage::NotJson)),
        Some(_) | None => Err(unavailable(Outage::Status(answer.status.as_u16()))),
    }
}

/// The form and the `Authorization` value.
fn request(
    provider: &Configured,
    metadata: &Metadata,
    code: &str,
    secrets: &Secrets<'_>,
) -> (Zeroizing<String>, Option<Zeroizing<String>>) {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", secrets.redirect_uri)
        .append_pair("code_verifier", secrets.verifier);
    let by = provider.client_auth.unwrap_or(metadata.client_auth);
    let authorization = match (&provider.client_secret, by) {
        (Some(secret), ClientAuth::Basic) => {
            // Both are encoded as in a form first (RFC 6749 §2.3.1).
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let both = Zeroizing::new(format!("{}:{}", encoded(&provider.client_id), encoded(secret)));
            Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes()))))
        }
        (Some(secret), ClientAuth::Post) => {
            form.append_pair("client_id", &provider.client_id).append_pair("client_secret", secret);
            None
        }
        (None, ClientAuth::Basic | ClientAuth::Post) => {
            form.append_pair("client_id", &provider.client_id);
            None
        }
    };
    (Zeroizing::new(form.finish()), authorization)
}

fn granted(members: &Object, now: Now) -> Result<Granted, Failure> {
    if members.get("error").is_some() {
        let code = members.text("error").ok().flatten().unwrap_or_default();
        return Err(Failure::Rejected(Step::Token, ErrorCode::new(code)));
    }
    // RFC 6749 §7.1: who does not know a type must not use the token.
    if !members.text("token_type")?.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(Failure::InvalidAnswer("the access token is of another type than Bearer"));
    }
    let secret = |name| -> Result<Option<Zeroizing<String>>, Failure> {
        let text = members.text(name)?.filter(|text| !text.is_empty());
        Ok(text.map(|text| Zeroizing::new(text.to_owned())))
    };
    let access = secret("access_token")?.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
    let lifetime = members.get("expires_in").and_then(serde_json::Value::as_u64);
    Ok(Granted {
        tokens: Tokens {
            access: access.ok_or(Failure::InvalidAnswer("there is no access token"))?,
            access_expires: lifetime
                .filter(|seconds| *seconds <= LONGEST)
                .map(|seconds| now.plus(Duration::from_secs(seconds))),
            refresh: secret("refresh_token")?,
            scope: members.text("scope")?.map(str::to_owned),
        },
        id_token: secret("id_token")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Granted, Failure> {
        granted(&Object::parse(text.as_bytes()).expect("an object"), Now::from_millis(0))
    }

    #[test]
    fn oa_8_an_error_is_one_whatever_else_the_answer_holds() {
        let failure = read(r#"{"error":"bad_verification_code","access_token":"x","token_type":"bearer"}"#);
        let code = ErrorCode::new("bad_verification_code");
        assert_eq!(failure.err(), Some(Failure::Rejected(Step::Token, code)));
        let failure = read(r#"{"error":"<script>"}"#).err().expect("refused");
        assert!(!failure.to_string().contains('<'), "{failure}");
    }

    #[test]
    fn only_a_bearer_token_that_can_stand_in_a_header_is_taken() {
        let granted = read(r#"{"access_token":"x","token_type":"BEARER","expires_in":60,"scope":"a b"}"#);
        let Ok(Granted { tokens, .. }) = granted else { panic!("not granted") };
        assert_eq!((tokens.access.as_str(), tokens.scope.as_deref()), ("x", Some("a b")));
        assert_eq!(tokens.access_expires, Some(Now::from_millis(60_000)));
        for bad in [
            r#"{"access_token":"x"}"#,
            r#"{"access_token":"x","token_type":"mac"}"#,
            r#"{"token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"x\r\ny","token_type":"bearer"}"#,
            r#"{"access_token":5,"token_type":"bearer"}"#,
            r#"{"access_token":"x","token_type":"bearer","id_token":{}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
