//! The demo's identity provider: OpenID Connect with real keys, and a page on which one chooses who to be.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use askama::Template as _;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use url::{Url, form_urlencoded};

use self::grants::{Grant, Grants};
use self::keys::Keys;
use super::listen::{self, Reply, file, json, problem, reply};
use crate::secret;
use crate::time::{Clock, Now};

mod grants;
mod keys;

/// Its id in URLs of the site.
pub const ID: &str = "demo";
/// What the site is called here.
const CLIENT: &str = "sidegate";
/// Largest body that is read, in bytes.
const LARGEST_BODY: usize = 16 * 1024;
/// Lifetime of an ID token in seconds.
const ID_TOKEN: i64 = 300;

/// Somebody whom one can be.
struct Person {
    subject: &'static str,
    name: &'static str,
    email: &'static str,
}

impl Person {
    fn initials(&self) -> String {
        self.name.split(' ').filter_map(|word| word.chars().next()).collect()
    }
}

static PEOPLE: [Person; 3] = [
    Person { subject: "grace", name: "Grace Hopper", email: "grace@example.com" },
    Person { subject: "katherine", name: "Katherine Johnson", email: "katherine@example.com" },
    Person { subject: "alan", name: "Alan Turing", email: "alan@example.com" },
];

#[derive(askama::Template)]
#[template(path = "provider.html", config = "src/demo/askama.toml")]
struct Page<'a> {
    problem: Option<&'a str>,
    site: &'a str,
    query: &'a str,
    people: &'static [Person],
}

/// The provider on its port, not yet answering: it has to be known before the site is.
pub struct Bound {
    listener: TcpListener,
    issuer: String,
    secret: String,
}

impl Bound {
    /// Takes a loopback port of the system's choice.
    ///
    /// # Errors
    /// If there is none.
    pub async fn take() -> io::Result<Self> {
        let (listener, address) = listen::bind().await?;
        let secret = URL_SAFE_NO_PAD.encode(secret::random::<32>());
        Ok(Self { listener, issuer: format!("http://{address}"), secret })
    }

    /// What its tokens call it, which is also where it is.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `[[providers]]` table with which a site knows it.
    pub fn toml(&self) -> String {
        let Self { issuer, secret, .. } = self;
        format!(
            "[[providers]]\nkind = \"oidc\"\nid = \"{ID}\"\nname = \"Demo provider\"\nissuer = \"{issuer}\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{secret}\"\n\
             # Whoever runs a provider can be anybody there; this one is ours.\ntrust_email = true\n"
        )
    }

    /// Answers, for as long as the runtime of `office` lives, and sends people back to `redirect_uri` only.
    ///
    /// # Errors
    /// If no key can be made or `redirect_uri` is not a URL.
    pub fn start(self, office: &Handle, redirect_uri: &str, clock: Clock) -> io::Result<()> {
        let provider = Arc::new(Provider {
            issuer: self.issuer,
            secret: self.secret,
            redirect_uri: Url::parse(redirect_uri).map_err(io::Error::other)?,
            clock,
            keys: Keys::generate().map_err(io::Error::other)?,
            grants: Mutex::default(),
        });
        office.spawn(listen::accept(office.clone(), self.listener, move |request| {
            let provider = Arc::clone(&provider);
            async move { provider.answer(request).await }
        }));
        Ok(())
    }
}

struct Provider {
    issuer: String,
    secret: String,
    redirect_uri: Url,
    clock: Clock,
    keys: Keys,
    grants: Mutex<Grants>,
}

/// Parameters of a query or a form, each once (RFC 6749 §3.1).
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(text: &[u8]) -> Option<Self> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text).into_owned().collect();
        let twice =
            |at: usize, name: &String| pairs[..at].iter().any(|(known, _): &(String, String)| known == name);
        let sound = !pairs.iter().enumerate().any(|(at, (name, _))| twice(at, name));
        sound.then_some(Self(pairs))
    }

    /// The value, or nothing.
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl Provider {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "too long");
        };
        let (body, now) = (body.to_bytes(), self.clock.now());
        let query = parts.uri.query().unwrap_or_default();
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/.well-known/openid-configuration") => json(StatusCode::OK, &self.metadata()),
            (&Method::GET, "/authorize") => self.choose(query),
            (&Method::POST, "/authorize") => self.chosen(query, &body, now),
            (&Method::POST, "/token") => self.tokens(&parts.headers, &body, now),
            (&Method::GET | &Method::POST, "/userinfo") => self.userinfo(&parts.headers, now),
            (&Method::GET, "/jwks") => json(StatusCode::OK, &self.keys.published()),
            (&Method::GET, "/end_session") => self.end_session(query),
            (&Method::GET, "/provider.css") => file("text/css; charset=utf-8", include_str!("provider.css")),
            _ => problem(StatusCode::NOT_FOUND, "not found"),
        }
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// OpenID Connect Discovery §3.
    fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "jwks_uri": format!("{issuer}/jwks"),
            "end_session_endpoint": format!("{issuer}/end_session"),
            "scopes_supported": ["openid", "email", "profile"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// What is asked, or what to say to somebody who cannot be sent back with it.
    fn asked(&self, query: &str) -> Result<Parameters, &'static str> {
        let asked = Parameters::parse(query.as_bytes()).ok_or("The request says something twice.")?;
        if asked.get("client_id") != CLIENT || asked.get("redirect_uri") != self.redirect_uri.as_str() {
            return Err(
                "The request is from a site that is not registered here. Begin again at the demo's app.",
            );
        }
        // The demonstration is of the safe way only.
        let challenged =
            asked.get("code_challenge_method") == "S256" && asked.get("code_challenge").len() == 43;
        if asked.get("response_type") != "code" || !challenged {
            return Err("The request is not one for a code, or has no PKCE challenge.");
        }
        Ok(asked)
    }

    /// The page on which one chooses.
    fn choose(&self, query: &str) -> Reply {
        let site = self.redirect_uri.origin().ascii_serialization();
        let problem = match self.asked(query) {
            // Nobody is ever signed in here (OpenID Connect Core §3.1.2.6).
            Ok(asked) if asked.get("prompt") == "none" => {
                return self.send_back(&asked, &[("error", "login_required")]);
            }
            Ok(_) => None,
            Err(problem) => Some(problem),
        };
        let status = if problem.is_none() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        match (Page { problem, site: &site, query, people: &PEOPLE }).render() {
            Ok(html) => {
                let mut reply = file("text/html; charset=utf-8", html);
                *reply.status_mut() = status;
                // Browsers apply `form-action` to where the answer to the form leads as well.
                let policy = format!(
                    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {site}; \
                     frame-ancestors 'none'; base-uri 'none'"
                );
                if let Ok(policy) = HeaderValue::try_from(policy) {
                    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
                }
                reply
            }
            Err(_) => problem_of_ours(),
        }
    }

    /// Back to the site, with a code for the person that was chosen.
    fn chosen(&self, query: &str, body: &[u8], now: Now) -> Reply {
        let Ok(asked) = self.asked(query) else { return self.choose(query) };
        let chosen = Parameters::parse(body).unwrap_or(Parameters(Vec::new()));
        let Some(person) = PEOPLE.iter().find(|person| person.subject == chosen.get("person")) else {
            return self.send_back(&asked, &[("error", "access_denied")]);
        };
        let grant = Grant {
            person,
            challenge: asked.get("code_challenge").to_owned(),
            nonce: Some(asked.get("nonce").to_owned()).filter(|nonce| !nonce.is_empty()),
        };
        let code = self.grants().code(grant, now);
        self.send_back(&asked, &[("code", &code)])
    }

    /// With `state`, and saying who we are (RFC 9207).
    fn send_back(&self, asked: &Parameters, what: &[(&str, &str)]) -> Reply {
        let mut url = self.redirect_uri.clone();
        url.query_pairs_mut().extend_pairs(what).append_pair("state", asked.get("state"));
        url.query_pairs_mut().append_pair("iss", &self.issuer);
        redirect(&url)
    }

    /// A code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.6).
    fn tokens(&self, headers: &HeaderMap, body: &[u8], now: Now) -> Reply {
        let refused = |status, error: &str| json(status, &json!({ "error": error }));
        let Some(asked) = Parameters::parse(body) else {
            return refused(StatusCode::BAD_REQUEST, "invalid_request");
        };
        if !self.is_client(headers, &asked) {
            return refused(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        if asked.get("grant_type") != "authorization_code" {
            return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type");
        }
        let challenge = base64url_sha256(asked.get("code_verifier"));
        let mut grants = self.grants();
        let grant = grants.redeem(asked.get("code"), now).filter(|grant| {
            grant.challenge == challenge && asked.get("redirect_uri") == self.redirect_uri.as_str()
        });
        let Some(grant) = grant else { return refused(StatusCode::BAD_REQUEST, "invalid_grant") };
        let seconds = now.millis().div_euclid(1000);
        let mut claims = json!({
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": seconds,
            "exp": seconds + ID_TOKEN,
        });
        if let Some(nonce) = &grant.nonce {
            claims["nonce"] = json!(nonce);
        }
        describe(grant.person, &mut claims);
        let Some(id_token) = self.keys.sign(&claims) else { return problem_of_ours() };
        let access = grants.access(grant, now);
        let tokens = json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": ID_TOKEN,
            "scope": "openid email profile",
            "id_token": id_token,
        });
        json(StatusCode::OK, &tokens)
    }

    /// By header or body (RFC 6749 §2.3.1). Our client's id and secret look the same when they are encoded.
    fn is_client(&self, headers: &HeaderMap, asked: &Parameters) -> bool {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = match header.map(|value| value.strip_prefix("Basic ").unwrap_or_default()) {
            Some(basic) => STANDARD.decode(basic).unwrap_or_default(),
            None => format!("{}:{}", asked.get("client_id"), asked.get("client_secret")).into_bytes(),
        };
        secret::equal(&given, format!("{CLIENT}:{}", self.secret).as_bytes())
    }

    /// OpenID Connect Core §5.3.
    fn userinfo(&self, headers: &HeaderMap, now: Now) -> Reply {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        match self.grants().holder(token, now) {
            Some(person) => {
                let mut claims = json!({});
                describe(person, &mut claims);
                json(StatusCode::OK, &claims)
            }
            None => json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" })),
        }
    }

    /// Nobody is signed in here, so there is only the way back (OpenID Connect RP-Initiated Logout §2, §3),
    /// which leads to our one site and nowhere else.
    fn end_session(&self, query: &str) -> Reply {
        let asked = Parameters::parse(query.as_bytes()).unwrap_or(Parameters(Vec::new()));
        let back = Url::parse(asked.get("post_logout_redirect_uri"));
        match back.ok().filter(|url| url.origin() == self.redirect_uri.origin()) {
            Some(mut url) => {
                if !asked.get("state").is_empty() {
                    url.query_pairs_mut().append_pair("state", asked.get("state"));
                }
                redirect(&url)
            }
            None => reply(StatusCode::OK, "text/plain; charset=utf-8", "You are signed out here.".into()),
        }
    }
}

/// The claims that describe somebody (OpenID Connect Core §5.1).
fn describe(person: &Person, claims: &mut Value) {
    claims["sub"] = json!(person.subject);
    claims["name"] = json!(person.name);
    claims["email"] = json!(person.email);
    claims["email_verified"] = json!(true);
}

fn base64url_sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn redirect(to: &Url) -> Reply {
    let mut reply = reply(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "".into());
    if let Ok(to) = HeaderValue::try_from(to.as_str()) {
        reply.headers_mut().insert(LOCATION, to);
    }
    reply
}

fn problem_of_ours() -> Reply {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the demo's provider cannot answer this")
}
