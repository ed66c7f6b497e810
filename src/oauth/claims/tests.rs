//! Tokens signed with real keys, each wrong in one way (OpenID Connect Core §3.1.3.7, RFC 8725).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::json;

use super::*;
use crate::config::provider::{Claims, Reach, Tenant};
use crate::oauth::jws::{Unsigned, Unverified};
use crate::oauth::keys::Keys;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://id.example";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// The keys of a provider.
struct Signer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Signer {
    fn new() -> Self {
        let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let rsa: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().expect("a key as DER");
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            ed: Ed25519KeyPair::generate().expect("a key"),
            rsa: RsaKeyPair::from_pkcs8(rsa.as_ref()).expect("a key"),
        }
    }

    fn set(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.ec.public_key().as_ref();
        let (n, e) = rsa_numbers(self.rsa.public_key().as_ref());
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "x": text(&point[1..33]), "y": text(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": text(self.ed.public_key().as_ref()) },
            { "kty": "RSA", "kid": "rsa", "use": "sig", "n": text(n), "e": text(e) },
            { "kty": "RSA", "kid": "enc", "use": "enc", "n": text(n), "e": text(e) },
            { "kty": "RSA", "kid": "pss", "alg": "PS256", "n": text(n), "e": text(e) },
            { "kty": "oct", "kid": "oct", "k": text(&[7; 32]) },
        ] })
    }

    fn keys(&self) -> Keys {
        keys(self.set())
    }

    fn sign(&self, header: &Value, claims: &str) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let message = format!("{}.{}", text(header.to_string().as_bytes()), text(claims.as_bytes()));
        let bytes = message.as_bytes();
        let random = SystemRandom::new();
        let rsa = |how| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(how, &random, bytes, &mut signature).expect("signed");
            signature
        };
        let signature = match header["alg"].as_str() {
            Some("ES256") => self.ec.sign(&random, bytes).expect("signed").as_ref().to_vec(),
            Some("EdDSA") => self.ed.sign(bytes).as_ref().to_vec(),
            Some("RS256") => rsa(&RSA_PKCS1_SHA256),
            Some("PS256") => rsa(&RSA_PSS_SHA256),
            Some("HS256") => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
                aws_lc_rs::hmac::sign(&key, bytes).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{message}.{}", text(&signature))
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 §A.1.1) of 2048 bits.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    // SEQUENCE and INTEGER with two bytes of length each, a zero for the sign, INTEGER with one.
    (&der[9..265], &der[267..])
}

fn keys(set: Value) -> Keys {
    Keys::parse(&Object::of(set).expect("an object")).expect("a key set")
}

fn provider(kind: Kind) -> Configured {
    Configured {
        kind,
        id: "corp".to_owned(),
        name: "Corp".to_owned(),
        client_id: "sidegate".to_owned(),
        client_secret: None,
        client_auth: None,
        scopes: Vec::new(),
        base_url: None,
        issuer: Some(ISSUER.to_owned()),
        formerly: None,
        tenant: Tenant::Common,
        allowed_tenants: Vec::new(),
        trust_email: false,
        allowed_domains: Vec::new(),
        hosted_domain: None,
        claims: Claims {
            email: "email".to_owned(),
            email_verified: None,
            name: "name".to_owned(),
            image: "picture".to_owned(),
        },
        prompt: None,
        store_tokens: false,
        reach: Reach::Internet,
        ca_file: None,
        authorities: Vec::new(),
    }
}

/// The claims of a good ID token.
fn good() -> Value {
    json!({
        "iss": ISSUER, "sub": "ada", "aud": "sidegate", "nonce": "n-1", "iat": NOW - 1, "exp": NOW + 300,
        "at_hash": half_hash(Algorithm::ES256, "at-1"),
    })
}

/// The claims of a good logout token.
fn good_logout() -> Value {
    json!({
        "iss": ISSUER, "sub": "ada", "sid": "s-1", "aud": "sidegate", "iat": NOW, "exp": NOW + 120,
        "jti": "j-1", "events": { LOGOUT: {} },
    })
}

fn verified(token: &str, keys: &Keys) -> Result<Signed, Failure> {
    Unverified::parse(token)?.verify(keys).map_err(|unsigned| match unsigned {
        Unsigned::UnknownKey => Failure::InvalidAnswer("unknown key"),
        Unsigned::Bad(failure) => failure,
    })
}

fn one() -> Issuer {
    Issuer::One(ISSUER.to_owned())
}

fn now() -> Now {
    Now::from_millis(NOW * 1000)
}

fn read(signer: &Signer, header: &Value, claims: &str) -> Result<Named, Failure> {
    let token = verified(&signer.sign(header, claims), &signer.keys())?;
    let expected = Expected { nonce: "n-1", access_token: "at-1", begun: now(), now: now() };
    id_token(&token, &provider(Kind::Oidc), &one(), &expected)
}

fn with(mut claims: Value, change: &[(&str, Value)]) -> String {
    for (name, value) in change {
        match value {
            Value::String(text) if text == "-" => {
                claims.as_object_mut().expect("an object").remove(*name);
            }
            value => claims[*name] = value.clone(),
        }
    }
    claims.to_string()
}

#[test]
fn good_tokens_of_every_algorithm_are_taken() {
    let signer = Signer::new();
    let claims = with(good(), &[("at_hash", json!("-"))]);
    for (alg, kid) in [("ES256", "ec"), ("EdDSA", "ed"), ("RS256", "rsa"), ("PS256", "rsa"), ("PS256", "pss")]
    {
        let named = read(&signer, &json!({ "alg": alg, "kid": kid, "typ": "JWT" }), &claims)
            .unwrap_or_else(|failure| panic!("{alg} {kid}: {failure}"));
        assert_eq!((named.subject.as_str(), named.issuer.as_str()), ("ada", ISSUER));
    }
    let unnamed = read(&signer, &json!({ "alg": "ES256" }), &claims);
    assert!(unnamed.is_ok(), "only one key can have signed it");
}

#[test]
fn oidc_2_signatures_that_are_none_are_refused() {
    let signer = Signer::new();
    let claims = good().to_string();
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None", "kid": "ec" }),
        json!({ "alg": "HS256", "kid": "oct" }),
        json!({ "alg": "HS256", "kid": "rsa" }),
        json!({ "alg": "ES256K", "kid": "ec" }),
        json!({ "alg": "RS256", "kid": "enc" }),
        json!({ "alg": "RS256", "kid": "pss" }),
        json!({ "alg": "RS256", "kid": "ec" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "ES256", "kid": "other" }),
        json!({ "alg": "ES256", "kid": 5 }),
        json!({ "alg": "ES256", "kid": "ec", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "ec", "jku": "https://evil.example" }),
        json!({ "alg": "ES256", "kid": "ec", "x5u": "https://evil.example" }),
        json!({ "alg": "ES256", "kid": "ec", "jwk": { "kty": "oct" } }),
        json!({ "alg": "ES256", "kid": "ec", "zip": "DEF" }),
        json!({ "alg": "ES256", "kid": "ec", "typ": "at+jwt" }),
        json!({ "alg": "ES256", "kid": "ec", "typ": "logout+jwt" }),
        json!({ "kid": "ec" }),
    ] {
        assert!(read(&signer, &header, &claims).is_err(), "{header}");
    }
    let token = signer.sign(&json!({ "alg": "ES256", "kid": "ec" }), &claims);
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = message.split_once('.').expect("three parts");
    let other = URL_SAFE_NO_PAD.encode(with(good(), &[("sub", json!("eve"))]));
    for forged in [
        format!("{message}."),
        format!("{message}.{}", "A".repeat(86)),
        format!("{header}.{other}.{signature}"),
        format!("{token}."),
        format!("{token}=="),
        format!("{token}.x.y"),
        message.to_owned(),
        String::new(),
        format!("{header}.{}.{signature}", "A".repeat(70_000)),
    ] {
        assert!(verified(&forged, &signer.keys()).is_err(), "{forged}");
    }
    assert!(verified(&token, &Signer::new().keys()).is_err(), "other keys");
}

#[test]
fn an_id_token_that_is_wrong_in_one_claim_is_refused() {
    let signer = Signer::new();
    let header = json!({ "alg": "ES256", "kid": "ec" });
    let missing = || json!("-");
    for (name, value) in [
        ("iss", missing()),
        ("iss", json!("https://id.example/")),
        ("iss", json!([ISSUER])),
        ("sub", missing()),
        ("sub", json!("")),
        ("sub", json!(5)),
        ("sub", json!("é")),
        ("sub", json!("a b")),
        ("sub", json!("a".repeat(256))),
        ("aud", missing()),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!(["sidegate", "other"])),
        ("aud", json!(["sidegate", 5])),
        ("aud", json!({ "sidegate": true })),
        ("azp", json!("other")),
        ("azp", json!(["sidegate"])),
        ("nonce", missing()),
        ("nonce", json!("")),
        ("nonce", json!("n-2")),
        ("nonce", json!(["n-1"])),
        ("exp", missing()),
        ("exp", json!(NOW - SKEW)),
        ("exp", json!("1800000300")),
        ("exp", json!(1e300)),
        ("exp", json!(1_800_000_300.5)),
        ("exp", json!(-1)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(4_102_444_800_u64)),
        ("exp", json!(null)),
        ("iat", missing()),
        ("iat", json!(NOW + SKEW + 1)),
        ("iat", json!(NOW - OLDEST - 1)),
        ("iat", json!("1800000000")),
        ("nbf", json!(NOW + SKEW + 1)),
        ("nbf", json!("1800000000")),
        ("at_hash", json!(half_hash(Algorithm::ES256, "at-2"))),
        ("at_hash", json!("")),
        ("sid", json!(5)),
        ("events", json!({ LOGOUT: {} })),
    ] {
        let claims = with(good(), &[(name, value.clone())]);
        assert!(read(&signer, &header, &claims).is_err(), "{name} = {value}");
    }
    for (name, value) in [
        ("aud", json!(["sidegate"])),
        ("azp", json!("sidegate")),
        ("exp", json!(NOW - SKEW + 1)),
        ("iat", json!(NOW + SKEW)),
        ("iat", json!(NOW - OLDEST)),
        ("nbf", json!(NOW + SKEW)),
        ("sid", json!("s-1")),
        ("at_hash", json!("-")),
    ] {
        let claims = with(good(), &[(name, value.clone())]);
        assert!(read(&signer, &header, &claims).is_ok(), "{name} = {value}");
    }
    let twice = good().to_string().replacen('{', "{\"sub\":\"eve\",", 1);
    assert!(read(&signer, &header, &twice).is_err(), "a claim that is there twice");
    assert!(read(&signer, &header, "[]").is_err() && read(&signer, &header, "").is_err());
}

#[test]
fn at_hash_is_made_with_the_hash_of_the_signature() {
    // OpenID Connect Core, appendix A.3: the token of the example and its at_hash under RS256.
    let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
    assert_eq!(half_hash(Algorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
    assert_eq!(half_hash(Algorithm::EdDSA, token).len(), 43);
}

#[test]
fn lo_3_a_logout_token_that_is_wrong_in_one_claim_is_refused() {
    let signer = Signer::new();
    let read = |typ: Value, claims: String| {
        let token = signer.sign(&json!({ "alg": "ES256", "kid": "ec", "typ": typ }), &claims);
        logout_token(&verified(&token, &signer.keys())?, &provider(Kind::Oidc), &one(), now())
    };
    for typ in [json!("logout+jwt"), json!("application/logout+jwt"), json!("JWT"), json!(null)] {
        let token = read(typ, good_logout().to_string()).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!((token.subject.as_deref(), token.sid.as_deref()), (Some("ada"), Some("s-1")));
        assert_eq!(token.expires, Now::from_millis((NOW + 120 + SKEW) * 1000));
    }
    assert!(read(json!("at+jwt"), good_logout().to_string()).is_err());
    let missing = || json!("-");
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("iat", missing()),
        ("exp", missing()),
        ("exp", json!(NOW - SKEW)),
        ("exp", json!(NOW + LONGEST_LOGOUT + 1)),
        ("jti", missing()),
        ("jti", json!("")),
        ("jti", json!(5)),
        ("events", missing()),
        ("events", json!([LOGOUT])),
        ("events", json!({ LOGOUT: true })),
        ("events", json!({ "other": {} })),
        ("nonce", json!("n-1")),
        ("nonce", json!(null)),
        ("sub", json!(5)),
    ] {
        let claims = with(good_logout(), &[(name, value.clone())]);
        assert!(read(json!("JWT"), claims).is_err(), "{name} = {value}");
    }
    assert!(read(json!("JWT"), with(good_logout(), &[("sub", missing())])).is_ok());
    assert!(read(json!("JWT"), with(good_logout(), &[("sid", missing())])).is_ok());
    let nobody = with(good_logout(), &[("sub", missing()), ("sid", missing())]);
    assert!(read(json!("JWT"), nobody).is_err());
}

#[test]
fn a_token_of_a_tenant_is_held_against_its_issuer_its_key_and_the_list() {
    let signer = Signer::new();
    let base = "https://login.microsoftonline.com";
    let issuer = Issuer::Tenants { base: base.to_owned() };
    let read = |tenant: Tenant, allowed: &[&str], key_issuer: &str, change: &[(&str, Value)]| {
        let mut provider = provider(Kind::Microsoft);
        provider.tenant = tenant;
        provider.allowed_tenants = allowed.iter().map(|id| (*id).to_owned()).collect();
        let mut set = signer.set();
        set["keys"][0]["issuer"] = json!(key_issuer);
        let mut claims = good();
        claims["iss"] = json!(format!("{base}/{TENANT}/v2.0"));
        claims["tid"] = json!(TENANT);
        let token = signer.sign(&json!({ "alg": "ES256", "kid": "ec" }), &with(claims, change));
        let expected = Expected { nonce: "n-1", access_token: "at-1", begun: now(), now: now() };
        id_token(&verified(&token, &keys(set))?, &provider, &issuer, &expected).map(|named| named.tenant)
    };
    let template = format!("{base}/{{tenantid}}/v2.0");
    let own = format!("{base}/{TENANT}/v2.0");
    let consumers = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let other = format!("{base}/{consumers}/v2.0");
    let fine = Ok(Some(TENANT.to_owned()));
    assert_eq!(read(Tenant::Organizations, &[], &template, &[]), fine);
    assert_eq!(read(Tenant::One(TENANT.to_owned()), &[TENANT], &own, &[]), fine);
    assert!(read(Tenant::Common, &[], &other, &[]).is_err(), "a key of another tenant");
    let refused = Err(Failure::TenantNotAllowed);
    assert_eq!(read(Tenant::Organizations, &[consumers], &template, &[]), refused);
    assert_eq!(read(Tenant::One(consumers.to_owned()), &[], &template, &[]), refused);
    assert_eq!(read(Tenant::Consumers, &[], &template, &[]), refused);
    let personal = [("iss", json!(other)), ("tid", json!(consumers))];
    assert_eq!(read(Tenant::Organizations, &[], &template, &personal), refused);
    assert!(read(Tenant::Common, &[], &template, &personal).is_ok());
    assert!(read(Tenant::Common, &[], &template, &[("tid", json!(consumers))]).is_err());
    assert!(read(Tenant::Common, &[], &template, &[("iss", json!(template))]).is_err());
}
