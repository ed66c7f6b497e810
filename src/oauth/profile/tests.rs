//! Profiles as each kind of provider writes them, and what is made of them.

use serde_json::json;

use super::*;
use crate::config::provider::Reach;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

fn object(value: Value) -> Object {
    Object::of(value).expect("an object")
}

fn named(subject: &str) -> Named {
    Named {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        sid: None,
        tenant: Some(TENANT.to_owned()),
    }
}

/// Address and whether it is proved.
fn address(person: &Person) -> (Option<&str>, bool) {
    (person.email.as_deref(), person.verified)
}

fn names() -> Claims {
    Claims {
        email: "email".to_owned(),
        email_verified: Some("email_verified".to_owned()),
        name: "name".to_owned(),
        image: "picture".to_owned(),
    }
}

#[test]
fn of_github_the_number_counts_and_the_address_that_is_primary_and_verified() {
    let user = object(json!({
        "id": 583_231, "login": "octocat", "name": null, "email": "shown@example.com",
        "avatar_url": "https://avatars.githubusercontent.com/u/583231",
    }));
    let entry = |email: &str, primary: bool, verified: bool| {
        object(json!({ "email": email, "primary": primary, "verified": verified, "visibility": null }))
    };
    let read = |emails: &[Object]| github(&user, emails).expect("a profile");
    let person = read(&[entry("first@example.com", false, true), entry("ada@example.com", true, true)]);
    assert_eq!((person.subject.as_str(), person.name.as_deref()), ("583231", Some("octocat")));
    assert_eq!(address(&person), (Some("ada@example.com"), true));
    assert!(person.image.is_some());
    let person = read(&[entry("ada@example.com", true, false), entry("b@example.com", false, true)]);
    assert_eq!(address(&person), (Some("ada@example.com"), false));
    let person = read(&[entry("1+ada@users.noreply.github.com", true, true)]);
    assert_eq!(address(&person), (Some("1+ada@users.noreply.github.com"), false));
    assert_eq!(address(&read(&[])), (None, false));
    assert_eq!(address(&read(&[entry("b@example.com", false, true)])), (None, false));
    for bad in [json!({ "id": "583231" }), json!({ "login": "octocat" }), json!({ "id": -1 })] {
        assert!(github(&object(bad), &[]).is_err());
    }
}

#[test]
fn of_discord_the_picture_follows_from_hash_id_or_discriminator() {
    let read = |change: Value| {
        let mut user = json!({ "id": "80351110224678912", "username": "nelly", "verified": true });
        user.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        discord(&object(user)).expect("a profile")
    };
    let cdn = "https://cdn.discordapp.com";
    for (change, image) in [
        (
            json!({ "avatar": "8342729096ea3675442027381ff50dfe" }),
            "avatars/80351110224678912/8342729096ea3675442027381ff50dfe.png",
        ),
        (json!({ "avatar": "a_1269" }), "avatars/80351110224678912/a_1269.gif"),
        (json!({ "avatar": null, "discriminator": "1337" }), "embed/avatars/2.png"),
        (json!({ "avatar": null, "discriminator": "0" }), "embed/avatars/5.png"),
        (json!({}), "embed/avatars/5.png"),
    ] {
        assert_eq!(read(change.clone()).image, Some(format!("{cdn}/{image}")), "{change}");
    }
    assert_eq!(read(json!({ "avatar": "../x" })).image, None);
    assert_eq!(read(json!({ "global_name": "Nelly" })).name.as_deref(), Some("Nelly"));
    assert_eq!(read(json!({ "global_name": null })).name.as_deref(), Some("nelly"));
    assert_eq!(address(&read(json!({ "email": "a@b.example" }))), (Some("a@b.example"), true));
    assert_eq!(
        address(&read(json!({ "email": "a@b.example", "verified": false }))),
        (Some("a@b.example"), false)
    );
    assert_eq!(address(&read(json!({ "email": null }))), (None, false));
    for bad in [json!({ "id": 5 }), json!({ "id": "../1" }), json!({})] {
        assert!(discord(&object(bad)).is_err());
    }
}

#[test]
fn of_google_only_its_own_addresses_and_those_of_a_workspace_count() {
    for (claims, proved) in [
        (json!({ "email": "ada@gmail.com", "email_verified": true }), true),
        (json!({ "email": "ada@GMAIL.com", "email_verified": "true" }), true),
        (json!({ "email": "ada@corp.example", "email_verified": true, "hd": "corp.example" }), true),
        (json!({ "email": "ada@corp.example", "email_verified": true }), false),
        (json!({ "email": "ada@corp.example", "email_verified": true, "hd": "" }), false),
        (json!({ "email": "ada@gmail.com", "email_verified": false }), false),
        (json!({ "email": "ada@gmail.com", "email_verified": 1 }), false),
        (json!({ "email": "ada@gmail.com.evil.example", "email_verified": true }), false),
    ] {
        let person = google(&object(claims.clone()), &named("1")).expect("a profile");
        assert_eq!(person.verified, proved, "{claims}");
    }
}

#[test]
fn of_gitlab_nobody_is_taken_who_is_blocked() {
    let claims = object(json!({ "email": "ada@example.com", "email_verified": true }));
    let read = |profile: Value| gitlab(&claims, &object(profile), &named("7"));
    let person = read(json!({ "name": "Ada", "email": "other@example.com", "state": "active" }));
    let person = person.expect("a profile");
    assert_eq!(address(&person), (Some("ada@example.com"), true));
    assert_eq!(person.name.as_deref(), Some("Ada"));
    assert_eq!(read(json!({ "state": "blocked" })), Err(Failure::Blocked));
    assert_eq!(read(json!({ "locked": true })), Err(Failure::Blocked));
}

#[test]
fn oidc_10_of_microsoft_an_address_counts_only_if_the_tenant_is_known_or_the_domain_is_its_own() {
    let read = |tenant: Tenant, allowed: &[&str], change: Value| {
        let provider = Configured { tenant, ..configured(allowed, &[]) };
        let mut claims =
            json!({ "oid": "AAAAAAAA-0000-0000-0000-000000000001", "email": "ceo@corp.example" });
        claims.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        microsoft(&object(claims), &named("pairwise"), &provider)
    };
    let proved =
        |tenant, allowed: &[&str], change| read(tenant, allowed, change).map(|person| person.verified);
    assert_eq!(proved(Tenant::Organizations, &[], json!({})), Ok(false));
    assert_eq!(proved(Tenant::Organizations, &[], json!({ "email_verified": true })), Ok(false));
    for yes in [json!(true), json!(1), json!("1"), json!("true")] {
        assert_eq!(proved(Tenant::Organizations, &[], json!({ "xms_edov": yes })), Ok(true), "{yes}");
    }
    for no in [json!(false), json!(0), json!("0"), json!("no"), json!([true]), json!(null)] {
        assert_eq!(proved(Tenant::Organizations, &[], json!({ "xms_edov": no })), Ok(false), "{no}");
    }
    assert_eq!(proved(Tenant::Organizations, &[TENANT], json!({})), Ok(true));
    assert_eq!(proved(Tenant::One(TENANT.to_owned()), &[], json!({})), Ok(true));
    assert_eq!(proved(Tenant::Common, &[], json!({ "email": null, "xms_edov": true })), Ok(false));
    let person = read(Tenant::Common, &[], json!({})).expect("a profile");
    assert_eq!(person.subject, format!("{TENANT}.aaaaaaaa-0000-0000-0000-000000000001"));
    assert!(read(Tenant::Common, &[], json!({ "oid": null })).is_err());
}

#[test]
fn of_any_provider_address_and_proof_come_from_the_same_document() {
    let proof = object(json!({ "email_verified": true }));
    let other = object(json!({ "email": "ceo@corp.example" }));
    let person = oidc(&proof, Some(&other), &names(), &named("1")).expect("a profile");
    assert_eq!(address(&person), (Some("ceo@corp.example"), false));
    let person = oidc(&other, Some(&proof), &names(), &named("1")).expect("a profile");
    assert_eq!(address(&person), (Some("ceo@corp.example"), false));
    let renamed = Claims { email: "mail".to_owned(), email_verified: None, ..names() };
    let claims = object(json!({ "mail": "ceo@corp.example", "email_verified": true, "name": "Ada" }));
    let person = oidc(&claims, None, &renamed, &named("1")).expect("a profile");
    assert_eq!(address(&person), (Some("ceo@corp.example"), false));
    assert!(oidc(&object(json!({ "email": ["a@b.example"] })), None, &names(), &named("1")).is_err());
}

fn configured(tenants: &[&str], domains: &[&str]) -> Configured {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Configured {
        kind: crate::config::provider::Kind::Oidc,
        id: "corp".to_owned(),
        name: "Corp".to_owned(),
        client_id: "sidegate".to_owned(),
        client_secret: None,
        client_auth: None,
        scopes: Vec::new(),
        base_url: None,
        issuer: None,
        formerly: None,
        tenant: Tenant::Common,
        allowed_tenants: list(tenants),
        trust_email: false,
        allowed_domains: list(domains),
        hosted_domain: None,
        claims: names(),
        prompt: None,
        store_tokens: false,
        reach: Reach::Internet,
        ca_file: None,
        authorities: Vec::new(),
    }
}

#[test]
fn lk_10_only_verified_addresses_of_the_domains_are_admitted() {
    let provider = configured(&[], &["corp.example", "xn--mnchen-3ya.example"]);
    for (email, verified, fine) in [
        (Some("ada@corp.example"), true, true),
        (Some("ada@CORP.example"), true, true),
        (Some("ada@münchen.example"), true, true),
        (Some("ada@corp.example"), false, false),
        (Some("ada@sub.corp.example"), true, false),
        (Some("ada@corp.example.evil.example"), true, false),
        (None, true, false),
    ] {
        let person = Person {
            subject: String::new(),
            email: email.map(str::to_owned),
            verified,
            name: None,
            image: None,
        };
        assert_eq!(admitted(&provider, None, &person).is_ok(), fine, "{email:?}");
    }
    let mut workspace = configured(&[], &[]);
    workspace.hosted_domain = Some("corp.example".to_owned());
    let person = google(&object(json!({ "email": "ada@corp.example" })), &named("1")).expect("a profile");
    for (hosted, fine) in
        [(json!("corp.example"), true), (json!("other.example"), false), (json!(null), false)]
    {
        let claims = object(json!({ "hd": hosted }));
        assert_eq!(admitted(&workspace, Some(&claims), &person).is_ok(), fine, "{hosted}");
    }
    assert!(admitted(&workspace, None, &person).is_err());
}

#[test]
fn what_a_page_could_not_show_is_left_out() {
    for bad in ["", "ada", "a@b@c.example", "a b@c.example", "a@", "a@c.example\r\nBcc: x", "\"a\"@c.example"]
    {
        assert_eq!(clean_email(bad), None, "{bad:?}");
    }
    // The Kelvin sign is a `k` in lower case, and so somebody else's mailbox.
    assert_eq!(clean_email("\u{212a}evin@c.example"), None);
    assert_eq!(clean_email(&format!("{}@c.example", "a".repeat(250))), None);
    for bad in ["http://x.example/a.png", "javascript:alert(1)", "data:image/png;base64,AA", "https://u:p@x/"]
    {
        assert_eq!(image(Some(bad)), None, "{bad}");
    }
    assert_eq!(first_name(&[Some(" \u{7}"), Some("Ada\r\n")]).as_deref(), Some("Ada"));
    assert_eq!(first_name(&[Some(&"x".repeat(1000))]).map(|name| name.len()), Some(LONGEST_NAME));
}
