//! Identity providers: what follows from few keys, and what is said of wrong ones.

use super::{config, each_is_refused, problems};
use crate::config::provider::{Kind, Provider, Reach, Tenant};

/// One provider with what every kind needs.
fn one(kind: &str, rest: &str) -> String {
    format!("[[providers]]\nkind = \"{kind}\"\nclient_id = \"id\"\nclient_secret = \"hush\"\n{rest}\n")
}

fn read(kind: &str, rest: &str) -> Provider {
    let mut config = config(&one(kind, rest));
    config.providers.remove(0)
}

/// Each text has one problem, at this key of the only provider.
fn each_provider_is_refused(cases: &[(&str, &str, &str, &str)]) {
    let texts: Vec<_> = cases
        .iter()
        .map(|(kind, rest, key, says)| {
            let text = format!("upstream.url = \"http://127.0.0.1:3000\"\n{}", one(kind, rest));
            (text, format!("providers[0].{key}"), *says)
        })
        .collect();
    let texts: Vec<_> = texts.iter().map(|(text, key, says)| (text.as_str(), key.as_str(), *says)).collect();
    each_is_refused(&texts);
}

#[test]
fn a_kind_and_a_registration_are_enough() {
    for (kind, parsed, name) in [
        ("github", Kind::GitHub, "GitHub"),
        ("google", Kind::Google, "Google"),
        ("gitlab", Kind::GitLab, "GitLab"),
        ("discord", Kind::Discord, "Discord"),
    ] {
        let provider = read(kind, "");
        assert_eq!((provider.kind, provider.id.as_str(), provider.name.as_str()), (parsed, kind, name));
        assert!(provider.trust_email && !provider.store_tokens, "{kind}");
    }
    let provider = read("microsoft", "tenant = \"AAAAAAAA-2222-3333-4444-555555555555\"");
    assert_eq!(provider.tenant, Tenant::One("aaaaaaaa-2222-3333-4444-555555555555".to_owned()));
    let provider = read("oidc", "issuer = \"https://id.example/realms/x/\"");
    assert_eq!(provider.issuer.as_deref(), Some("https://id.example/realms/x/"));
    assert_eq!(provider.name, "id.example");
    assert!(!provider.trust_email && provider.reach == Reach::Internet);
}

#[test]
fn who_can_be_run_by_anybody_is_not_trusted_with_addresses_unless_told() {
    assert!(!read("gitlab", "base_url = \"https://gitlab.example/git/\"").trust_email);
    assert!(!read("github", "base_url = \"https://github.example\"").trust_email);
    assert!(read("gitlab", "base_url = \"https://gitlab.example\"\ntrust_email = true").trust_email);
    assert!(!read("github", "trust_email = false").trust_email);
    let provider = read("gitlab", "base_url = \"https://GitLab.example/git/\"");
    assert_eq!(provider.base_url.as_deref(), Some("https://gitlab.example/git"));
}

#[test]
fn plain_http_is_for_this_machine_and_opens_nothing_else() {
    for url in ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"] {
        let provider = read("oidc", &format!("issuer = \"{url}\""));
        assert_eq!(provider.reach, Reach::Loopback, "{url}");
        assert_eq!(read("google", &format!("base_url = \"{url}\"")).reach, Reach::Loopback, "{url}");
    }
}

#[test]
fn a_claim_of_another_name_has_no_proof_by_itself() {
    let claims = |rest: &str| read("oidc", &format!("issuer = \"https://id.example\"\n{rest}")).claims;
    assert_eq!(claims("").email_verified.as_deref(), Some("email_verified"));
    assert_eq!(claims("claims = { email = \"mail\" }").email_verified, None);
    let both = claims("claims = { email = \"mail\", email_verified = \"mail_ok\" }");
    assert_eq!((both.email.as_str(), both.email_verified.as_deref()), ("mail", Some("mail_ok")));
}

#[test]
fn wrong_providers_are_refused() {
    let oidc = "issuer = \"https://id.example\"\n";
    let with = |rest: &str| format!("{oidc}{rest}");
    each_is_refused(&[
        ("[[providers]]\nclient_id = \"x\"", "providers[0].kind", "is not given"),
        ("[[providers]]\nkind = \"myspace\"", "providers[0].kind", "does not fit"),
        ("[[providers]]\nkind = \"github\"\nclient_secret = \"x\"", "providers[0].client_id", "is not given"),
        ("[[providers]]\nkind = \"github\"\nclient_id = \"x\"", "providers[0].client_secret", "is not given"),
        (&format!("{}{}", one("github", ""), one("github", "")), "providers[1].id", "is there twice"),
    ]);
    each_provider_is_refused(&[
        ("github", "id = \"Git Hub\"", "id", "no short name"),
        ("github", "id = \"\"", "id", "no short name"),
        ("github", "id = \"../x\"", "id", "no short name"),
        ("github", "id = \"email\"", "id", "something else"),
        ("github", "id = \"credential\"", "id", "something else"),
        ("github", "name = \" \"", "name", "is empty"),
        ("github", "issuer = \"https://github.com\"", "issuer", "write `base_url`"),
        ("github", "hosted_domain = \"a.example\"", "hosted_domain", "write `allowed_domains`"),
        ("github", "tenant = \"common\"", "tenant", "means nothing"),
        ("google", "allowed_tenants = [\"x\"]\nid = \"g\"", "allowed_tenants", "means nothing"),
        ("google", "claims.email = \"x\"", "claims", "means nothing"),
        ("google", "client_auth = \"basic\"", "client_auth", "means nothing"),
        ("google", "scopes = [\"email\"]", "scopes", "openid"),
        ("github", "scopes = [\"read:user user:email\"]", "scopes[0]", "not one scope"),
        ("github", "base_url = \"http://github.example\"", "base_url", "plain http"),
        ("github", "base_url = \"https://u:p@github.example\"", "base_url", "user name or password"),
        ("github", "base_url = \"ftp://github.example\"", "base_url", "not an https URL"),
        ("github", "allowed_domains = [\"@corp.example\"]", "allowed_domains[0]", "not a domain"),
        ("github", "allowed_domains = [\"*.corp.example\"]", "allowed_domains[0]", "not a domain"),
        ("github", "prompt = \"login&x=y\"", "prompt", "write login, consent"),
        ("google", "prompt = \"log_in\"", "prompt", "something unknown"),
        ("google", "prompt = \"none\"", "prompt", "something unknown"),
        ("microsoft", "", "tenant", "is not given"),
        ("microsoft", "tenant = \"corp.onmicrosoft.com\"", "tenant", "not a tenant's id"),
        ("microsoft", "allowed_tenants = [\"corp\"]", "allowed_tenants[0]", "not a tenant's id"),
        ("oidc", "", "issuer", "is not given"),
        ("oidc", "issuer = \"http://id.example\"", "issuer", "plain http"),
        (
            "oidc",
            "issuer = \"https://id.example/.well-known/openid-configuration\"",
            "issuer",
            "where the metadata is",
        ),
        ("oidc", "issuer = \"https://id.example?x\"", "issuer", "query"),
        ("oidc", "issuer = \"id.example\"", "issuer", "not a URL"),
        ("oidc", &with("base_url = \"https://id.example\""), "base_url", "write `issuer`"),
        ("oidc", &with("claims.email = \"\""), "claims.email", "is empty"),
        ("oidc", &with("claims.emial = \"x\""), "claims.emial", "did you mean `providers[0].claims.email`?"),
        ("oidc", &with("isuer = \"x\""), "isuer", "did you mean `providers[0].issuer`?"),
    ]);
}

#[test]
fn no_problem_shows_the_secret_of_a_client() {
    for text in [
        one("myspace", ""),
        one("github", "").replace("\"hush\"", "[\"hush\"]"),
        one("oidc", "issuer = \"https://u:hush@id.example\""),
    ] {
        let said = problems(&text, &[]).to_string();
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn providers_on_private_networks_are_reported() {
    let config = config(&one("github", "danger_private_addresses = true"));
    assert_eq!(config.providers[0].reach, Reach::Private);
    assert!(config.dangers.iter().any(|danger| danger.contains("danger_private_addresses")));
}

#[test]
fn a_provider_of_ones_own_whose_word_counts_for_addresses_is_a_danger() {
    let dangers = |kind: &str, more: &str| config(&one(kind, &format!("{more}\ntrust_email = true"))).dangers;
    let told = dangers("oidc", "issuer = \"https://id.example\"");
    assert!(
        told.len() == 1 && told[0].starts_with("providers[0].trust_email: whoever runs \"oidc\""),
        "{told:?}"
    );
    assert_eq!(dangers("gitlab", "base_url = \"https://gitlab.example\"").len(), 1);
    assert_eq!(dangers("oidc", "issuer = \"http://127.0.0.1:9000\""), [""; 0], "whoever runs us runs it");
    assert_eq!(dangers("google", ""), [""; 0]);
}
