//! The client of identity providers, asked directly: each kind as its documentation says it, each lie refused, and
//! how often a provider is asked that is down or changes its keys.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sidegate::config::{self, Config, Flags, NewSecret, Sources};
use sidegate::oauth::failure::{Failure, Outage, Step};
use sidegate::oauth::provider::Provider as Client;
use sidegate::oauth::{EndSession, Identity, Providers, Reply, Secrets, Start};
use sidegate::time::Now;
use url::Url;

use crate::support::database::START;
use crate::support::provider::{Answer, Endpoint, Kind, Lie, Persona, Provider, TENANT};

const REDIRECT: &str = "http://127.0.0.1:8080/auth/callback/test";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Its SHA-256 (RFC 7636, appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const STATE: &str = "a-state-of-more-than-128-bits";
const NONCE: &str = "a-nonce-of-more-than-128-bits";

/// The configuration of a site that knows these providers.
fn configured(toml: &str) -> Config {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("sidegate.toml");
    std::fs::write(&file, toml).expect("written");
    let sources = Sources {
        file: Some(file),
        env: Vec::new(),
        flags: Flags { upstream: Some("http://127.0.0.1:3000".to_owned()), ..Flags::default() },
        new_secret: NewSecret::Leave,
    };
    config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A site's side of one provider, on a runtime of its own.
struct Asking {
    providers: Providers,
    runtime: tokio::runtime::Runtime,
    now: Now,
}

impl Asking {
    fn new(provider: &Provider, lines: &str) -> Self {
        let config = configured(&provider.toml("test", lines));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { providers: Providers::new(&config.providers, &Arc::default()), runtime, now: START }
    }

    fn client(&self) -> &Client {
        self.providers.find("test").expect("configured")
    }

    /// Only the calls move the clock, so that it says what it is called with.
    fn later(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    fn start(&self, prompt: Option<&str>) -> Result<Url, Failure> {
        let start = Start {
            state: STATE,
            challenge: CHALLENGE,
            nonce: NONCE,
            redirect_uri: REDIRECT,
            login_hint: None,
            prompt,
        };
        let url = self.runtime.block_on(self.client().authorize_url(&start, self.now))?;
        Ok(Url::parse(&url).expect("a URL"))
    }

    /// The whole way through the provider.
    fn sign_in(&self, provider: &Provider) -> Result<Identity, Failure> {
        let callback = provider.authorize(self.start(None)?.as_str());
        let callback = Url::parse(&callback).expect("a URL");
        let find = |name: &str| {
            callback.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
        };
        let (code, error, iss) = (find("code"), find("error"), find("iss"));
        let reply = Reply { code: code.as_deref(), error: error.as_deref(), iss: iss.as_deref() };
        let secrets = Secrets { verifier: VERIFIER, nonce: NONCE, redirect_uri: REDIRECT, begun: self.now };
        self.runtime.block_on(self.client().identify(&reply, &secrets, self.now))
    }

    /// What is wrong with signing in.
    fn refused(&self, provider: &Provider) -> Failure {
        match self.sign_in(provider) {
            Ok(identity) => panic!("is taken for {}", identity.subject),
            Err(failure) => failure,
        }
    }
}

/// A provider of a kind, visited by somebody with this name there, and the site's side of it.
fn met(kind: Kind, subject: &str, email: &str, lines: &str) -> (Provider, Asking) {
    let provider = Provider::playing(kind);
    provider.is_visited_by(Persona::new(subject, email).called("Ada"));
    let asking = Asking::new(&provider, lines);
    (provider, asking)
}

/// Lines that a kind needs besides.
fn needed(kind: Kind) -> String {
    match kind {
        Kind::Entra => format!("tenant = \"{TENANT}\""),
        Kind::Oidc | Kind::GitHub | Kind::Google | Kind::GitLab | Kind::Discord => String::new(),
    }
}

const KINDS: [Kind; 6] = [Kind::Oidc, Kind::GitHub, Kind::Google, Kind::GitLab, Kind::Discord, Kind::Entra];

#[test]
fn every_kind_says_who_somebody_is() {
    for kind in KINDS {
        let (provider, asking) = met(kind, "80351110224678912", "ada@gmail.com", &needed(kind));
        let identity = asking.sign_in(&provider).unwrap_or_else(|failure| panic!("{kind:?}: {failure}"));
        let subject = match kind {
            Kind::Entra => format!("{TENANT}.80351110224678912"),
            _ => "80351110224678912".to_owned(),
        };
        assert_eq!(identity.subject, subject, "{kind:?}");
        assert_eq!(identity.email.as_deref(), Some("ada@gmail.com"), "{kind:?}");
        assert_eq!(identity.name.as_deref(), Some("Ada"), "{kind:?}");
        assert_eq!(identity.issuer, provider.issuer(), "{kind:?}");
        // Of the others, one of one's own is spoken with here.
        let proved = matches!(kind, Kind::Google | Kind::Discord | Kind::Entra);
        assert_eq!(identity.email_proved, proved, "{kind:?}");
        assert!(provider.complaints().is_empty(), "{kind:?}: {:?}", provider.complaints());
    }
}

#[test]
fn lk_5_an_unverified_address_is_never_proved() {
    for kind in KINDS {
        let lines = match kind {
            Kind::Entra => "tenant = \"organizations\"",
            _ => "trust_email = true",
        };
        let (provider, asking) = met(kind, "80351110224678912", "ada@gmail.com", lines);
        assert!(asking.sign_in(&provider).expect("signed in").email_proved, "{kind:?}");
        provider.is_visited_by(Persona::new("80351110224678912", "ada@gmail.com").unverified());
        assert!(!asking.sign_in(&provider).expect("signed in").email_proved, "{kind:?}");
    }
}

#[test]
fn oa_2_challenge_nonce_and_state_are_always_sent() {
    for kind in KINDS {
        let (_provider, asking) = met(kind, "1", "ada@gmail.com", &needed(kind));
        let url = asking.start(Some("select_account")).expect("a URL");
        let find = |name: &str| {
            let mut found = url.query_pairs().filter(|(known, _)| known == name);
            let value = found.next().map(|(_, value)| value.into_owned());
            assert!(found.next().is_none(), "{name} is there twice");
            value
        };
        assert_eq!(find("response_type").as_deref(), Some("code"), "{kind:?}");
        assert_eq!(find("state").as_deref(), Some(STATE), "{kind:?}");
        assert_eq!(find("code_challenge").as_deref(), Some(CHALLENGE), "{kind:?}");
        assert_eq!(find("code_challenge_method").as_deref(), Some("S256"), "{kind:?}");
        assert_eq!(find("redirect_uri").as_deref(), Some(REDIRECT), "{kind:?}");
        assert_eq!(find("prompt").as_deref(), Some("select_account"), "{kind:?}");
        let with_id_token = !matches!(kind, Kind::GitHub | Kind::Discord);
        assert_eq!(find("nonce").is_some(), with_id_token, "{kind:?}");
    }
}

#[test]
fn a_lie_about_the_person_signs_nobody_in() {
    let wrong_email = Lie::Claim("email", json!(["ada@gmail.com"]));
    for (kind, lie) in [
        (Kind::Oidc, Lie::ForeignKey),
        (Kind::Oidc, Lie::Tampered),
        (Kind::Oidc, wrong_email),
        (Kind::Oidc, Lie::Claim("nonce", json!("another"))),
        (Kind::Oidc, Lie::Claim("iss", json!("https://evil.example"))),
        (Kind::Oidc, Lie::NoToken("id_token")),
        (Kind::Oidc, Lie::NoToken("access_token")),
        (Kind::Oidc, Lie::Token("token_type", json!("mac"))),
        (Kind::Google, Lie::Claim("aud", json!("another"))),
        (Kind::GitLab, Lie::Profile("sub", json!("8"))),
        (Kind::GitLab, Lie::Profile("state", json!("blocked"))),
        (Kind::GitHub, Lie::Profile("id", json!("7"))),
        (Kind::GitHub, Lie::Token("error", json!("bad_verification_code"))),
        (Kind::Discord, Lie::Profile("id", json!(7))),
        (Kind::Entra, Lie::Claim("tid", json!("9188040d-6c67-4c5b-b112-36a304b66dad"))),
        (Kind::Entra, Lie::NoClaim("oid")),
    ] {
        let (provider, asking) = met(kind, "7", "ada@gmail.com", &needed(kind));
        provider.lies(lie.clone());
        assert!(asking.sign_in(&provider).is_err(), "{kind:?} {lie:?}");
    }
}

#[test]
fn oidc_7_an_answer_of_another_issuer_is_refused_also_when_it_is_an_error() {
    for kind in KINDS {
        let (provider, asking) = met(kind, "7", "ada@gmail.com", &needed(kind));
        provider.lies(Lie::Callback("iss", "https://evil.example".to_owned()));
        assert_eq!(asking.refused(&provider), Failure::IssuerMismatch, "{kind:?}");
        provider.lies(Lie::Denies("access_denied", "no"));
        assert_eq!(asking.refused(&provider), Failure::IssuerMismatch, "{kind:?}");
        provider.repents();
        provider.lies(Lie::Denies("access_denied", "no"));
        assert_eq!(asking.refused(&provider), Failure::Denied, "{kind:?}");
    }
    let (provider, asking) = met(Kind::Oidc, "7", "ada@gmail.com", "");
    provider.lies(Lie::NoCallback("iss"));
    assert_eq!(asking.refused(&provider), Failure::IssuerMismatch, "it promises to name itself");
}

#[test]
fn a_provider_that_is_down_is_not_asked_again_at_once() {
    let (provider, mut asking) = met(Kind::Oidc, "7", "ada@gmail.com", "");
    provider.lies(Lie::Answers(Endpoint::Discovery, Answer::With(503, "text/plain", String::new())));
    let down = Failure::Unavailable(Step::Discovery, Outage::Status(503));
    let resting = Failure::Unavailable(Step::Discovery, Outage::BackOff);
    assert_eq!(asking.start(None), Err(down));
    assert_eq!(asking.start(None), Err(resting.clone()));
    provider.repents();
    assert_eq!(asking.start(None), Err(resting));
    asking.later(Duration::from_secs(3));
    assert!(asking.start(None).is_ok());
    provider.lies(Lie::Answers(Endpoint::Discovery, Answer::Hangup));
    asking.later(Duration::from_hours(2));
    assert!(asking.start(None).is_ok(), "what was published two hours ago is used");
    assert_eq!(provider.asked(Endpoint::Discovery).len(), 3);
}

#[test]
fn oidc_2_keys_that_nobody_knows_are_looked_for_once_in_a_while() {
    let (provider, mut asking) = met(Kind::Oidc, "7", "ada@gmail.com", "");
    assert!(asking.sign_in(&provider).is_ok());
    assert_eq!(provider.asked(Endpoint::Keys).len(), 1);
    provider.lies(Lie::UnknownKey);
    asking.later(Duration::from_secs(11));
    for _ in 0..5 {
        assert!(asking.sign_in(&provider).is_err());
    }
    assert_eq!(provider.asked(Endpoint::Keys).len(), 2);
    provider.repents();
    provider.rotates_keys();
    asking.later(Duration::from_secs(11));
    assert!(asking.sign_in(&provider).is_ok(), "new keys are found when they are first used");
    assert_eq!(provider.asked(Endpoint::Keys).len(), 3);
}

#[test]
fn lo_3_a_logout_token_names_the_session_and_is_no_id_token() {
    let (provider, asking) = met(Kind::Oidc, "7", "ada@gmail.com", "");
    let identity = asking.sign_in(&provider).expect("signed in");
    let read = |token: &str| asking.runtime.block_on(asking.client().logout_token(token, asking.now));
    let sid = provider.sid();
    let token = read(&provider.logout_token(Some("7"), Some(&sid), &[])).expect("a logout token");
    assert_eq!((token.subject, token.sid), (Some(identity.subject), Some(sid)));
    assert_eq!(token.issuer, identity.issuer);
    assert!(read(&provider.id_token(&Persona::ada(), None, &[])).is_err());
    let nonce = Lie::Claim("nonce", json!("x"));
    assert!(read(&provider.logout_token(Some("7"), None, &[nonce])).is_err());
}

#[test]
fn lo_2_signing_out_at_the_provider_names_the_token_and_the_way_back() {
    let end = EndSession { id_token: Some("token"), return_to: "http://127.0.0.1:8080/", state: "s" };
    for kind in KINDS {
        let (_provider, asking) = met(kind, "7", "ada@gmail.com", &needed(kind));
        let url = asking.runtime.block_on(asking.client().end_session_url(&end, asking.now));
        assert_eq!(url.is_some(), matches!(kind, Kind::Oidc | Kind::Entra), "{kind:?}");
        let Some(url) = url else { continue };
        for part in ["id_token_hint=token", "client_id=sidegate", "post_logout_redirect_uri=", "state=s"] {
            assert!(url.contains(part), "{url}");
        }
    }
}

#[test]
fn no_failure_shows_what_the_provider_wrote() {
    let (provider, asking) = met(Kind::GitHub, "7", "ada@gmail.com", "");
    provider.lies(Lie::Denies("<script>alert(1)</script>", "x"));
    let said = asking.refused(&provider).to_string();
    assert_eq!(said, "authorization: refused with unreadable");
}
