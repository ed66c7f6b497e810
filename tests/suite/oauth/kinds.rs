//! Each kind of provider as its documentation describes it: people sign up and in, and are who they were.

use serde_json::{Value, json};

use super::{Stand, grace, known_to_app, user_of, verified_account};
use crate::support::database::on_both_databases;
use crate::support::provider::{CLIENT, Endpoint, Kind, Persona, SECRET};

/// Ada comes twice, Grace once, and the app knows them apart. What is stored of Ada must be this.
fn two_people(stand: &Stand, subject: &str, verified: bool, image: Option<&str>) {
    let mut ada = stand.enters();
    let user = user_of(&mut ada);
    assert_eq!(user["email"], json!("ada@example.com"));
    assert_eq!(user["name"], json!("Ada Lovelace"));
    assert_eq!(user["emailVerified"], json!(verified));
    assert_eq!(user["image"], image.map_or(Value::Null, |image| json!(image)));
    let id = known_to_app(stand, &mut ada);
    assert_eq!(json!(id), user["id"]);

    stand.provider.is_visited_by(grace());
    let other = known_to_app(stand, &mut stand.enters());
    assert_ne!(other, id);

    // Everything about her changed except who she is.
    stand
        .provider
        .is_visited_by(Persona::new(&Persona::ada().subject, "countess@example.net").called("Ada King"));
    let again = known_to_app(stand, &mut stand.enters());
    assert_eq!(again, id, "OA-16: the key is the provider and the subject");
    let emails = stand.texts(r#"SELECT "email" FROM "user" ORDER BY "email""#);
    assert_eq!(emails, ["ada@example.com", "grace@example.com"], "LK-11");
    let accounts = stand.texts(&format!(
        r#"SELECT "accountId" FROM "account" WHERE "providerId" = 'corp' AND "userId" = '{id}'"#
    ));
    assert_eq!(accounts, [subject]);
    assert_eq!(stand.provider.complaints(), [""; 0]);
}

/// What every authorization request of ours has in common, and the scopes of this one.
fn asked_properly(stand: &Stand, scopes: &str) {
    let asked = stand.provider.last(Endpoint::Authorize).parameters;
    assert_eq!(asked["scope"], scopes, "OA-11");
    assert_eq!(asked["response_type"], "code", "OA-1");
    assert_eq!(asked["code_challenge_method"], "S256", "OA-2");
    assert_eq!(asked["redirect_uri"], format!("{}/auth/callback/corp", stand.site.origin));
    assert!(!asked.values().any(|value| value.contains(SECRET)));
    let exchange = stand.provider.last(Endpoint::Token);
    assert!((43..=128).contains(&exchange.parameters["code_verifier"].len()), "OA-2");
    assert_eq!(exchange.parameters["redirect_uri"], asked["redirect_uri"], "OA-7");
    assert_eq!(exchange.arrived.header("accept"), Some("application/json"));
}

on_both_databases! {
    fn any_openid_provider_signs_people_in(database) {
        let stand = Stand::new(database);
        stand.provider.is_visited_by(Persona::ada().picture("https://id.example/ada.png"));
        two_people(&stand, &Persona::ada().subject, true, Some("https://id.example/ada.png"));
        asked_properly(&stand, "openid profile email");
        assert!(stand.provider.last(Endpoint::Token).arrived.header("authorization").is_some(), "by Basic");
        assert_eq!(stand.asked(Endpoint::Discovery), 1, "it is kept");
        assert_eq!(stand.asked(Endpoint::Keys), 1, "they are kept");
    }

    fn github_signs_people_in(database) {
        let stand = Stand::of(database, Kind::GitHub, "trust_email = true");
        stand.provider.is_visited_by(Persona::ada().picture("https://avatars.example/ada"));
        two_people(&stand, &Persona::ada().subject, true, Some("https://avatars.example/ada"));
        asked_properly(&stand, "read:user user:email");
        assert!(!stand.provider.last(Endpoint::Authorize).parameters.contains_key("nonce"));
    }

    fn google_signs_people_in(database) {
        let stand = Stand::of(database, Kind::Google, "");
        stand.provider.is_visited_by(
            Persona::ada().picture("https://lh3.example/ada").with("hd", "example.com"),
        );
        two_people(&stand, &Persona::ada().subject, true, Some("https://lh3.example/ada"));
        asked_properly(&stand, "openid profile email");
    }

    fn gitlab_signs_people_in(database) {
        let stand = Stand::of(database, Kind::GitLab, "trust_email = true");
        stand.provider.is_visited_by(Persona::ada().picture("https://gitlab.example/ada.png"));
        two_people(&stand, &Persona::ada().subject, true, Some("https://gitlab.example/ada.png"));
        asked_properly(&stand, "openid profile email");
    }

    fn discord_signs_people_in(database) {
        let stand = Stand::of(database, Kind::Discord, "");
        stand.provider.is_visited_by(Persona::ada().picture("a_1269e74af4df7417b13759eae50c83dc"));
        let gif = "https://cdn.discordapp.com/avatars/248289761001/a_1269e74af4df7417b13759eae50c83dc.gif";
        two_people(&stand, &Persona::ada().subject, true, Some(gif));
        asked_properly(&stand, "identify email");
    }

    fn microsoft_signs_people_in(database) {
        let stand = Stand::of(database, Kind::Entra, "");
        let subject = format!("{}.{}", crate::support::provider::TENANT, Persona::ada().subject);
        two_people(&stand, &subject, true, None);
        asked_properly(&stand, "openid profile email");
    }

    fn oa_12_no_token_and_no_secret_of_a_sign_in_is_in_the_database(database) {
        let stand = Stand::new(database);
        stand.enters();
        stand.callback(&mut stand.site.stranger());
        let dump = stand.site.block_on(stand.site.database.dump());
        let exchange = stand.provider.last(Endpoint::Token).parameters;
        let begun = stand.provider.last(Endpoint::Authorize).parameters;
        for secret in [&exchange["code"], &exchange["code_verifier"], &begun["state"], &SECRET.to_owned()] {
            assert!(!dump.contains(secret.as_str()), "{secret}");
        }
        for start in ["access-", "refresh-", "eyJhbGciOi"] {
            assert!(!dump.contains(start), "{start}: {dump}");
        }
    }

    fn oa_12_tokens_that_are_to_be_kept_are_kept_where_nobody_can_read_them(database) {
        let stand = Stand::of(database, Kind::Oidc, "store_tokens = true");
        stand.enters();
        let kept = stand.texts(r#"SELECT "accessToken" FROM "account""#);
        assert!(kept[0].len() > 20, "{kept:?}");
        let dump = stand.site.block_on(stand.site.database.dump());
        for start in ["access-", "refresh-", "eyJhbGciOi"] {
            assert!(!dump.contains(start), "{start}: {dump}");
        }
    }

    fn oa_11_the_scope_that_was_granted_is_noted(database) {
        let stand = Stand::new(database);
        stand.provider.lies(crate::support::provider::Lie::Token("scope", json!("openid email")));
        stand.enters();
        assert_eq!(stand.texts(r#"SELECT "scope" FROM "account""#), ["openid,email"]);
    }

    fn a_person_without_an_address_has_no_account_yet(database) {
        let stand = Stand::of(database, Kind::Discord, "");
        stand.provider.is_visited_by(Persona::ada().without_email());
        stand.refuses(400, "EMAIL_NOT_FOUND", "by phone only");
    }

    fn discord_people_without_picture_or_display_name_get_those_that_discord_shows(database) {
        let stand = Stand::of(database, Kind::Discord, "");
        stand.provider.is_visited_by(Persona::new("80351110224678912", "nelly@example.com"));
        let user = user_of(&mut stand.enters());
        assert_eq!(user["image"], json!("https://cdn.discordapp.com/embed/avatars/5.png"));
        assert_eq!(user["name"], json!("disco80351110224678912"));
    }

    fn lk_5_and_oidc_10_an_address_that_a_provider_does_not_verify_opens_no_account(database) {
        let stand = Stand::new(database);
        verified_account(&stand, "ada@example.com");
        stand.provider.is_visited_by(Persona::ada().unverified());
        stand.refuses(403, "ACCOUNT_NOT_LINKED", "not verified");
        stand.provider.is_visited_by(Persona::ada());
        stand.enters();
        assert_eq!(stand.rows()[..2], [1, 2], "one user, two ways in");
    }

    fn lk_5_and_oidc_10_the_word_of_a_provider_on_addresses_does_not_count_unless_it_is_said(database) {
        for_untrusted(database, Kind::Oidc);
    }

    fn lk_5_a_gitlab_of_ones_own_is_not_believed_unless_it_is_said(database) {
        for_untrusted(database, Kind::GitLab);
    }

    fn lk_5_a_github_of_ones_own_is_not_believed_unless_it_is_said(database) {
        for_untrusted(database, Kind::GitHub);
    }

    fn lk_5_google_is_believed_for_addresses_that_it_gives_out(database) {
        let stand = Stand::of(database, Kind::Google, "");
        for email in ["ada@example.com", "ada@gmail.com"] {
            verified_account(&stand, email);
        }
        stand.refuses(403, "ACCOUNT_NOT_LINKED", "an address elsewhere, verified once");
        stand.provider.is_visited_by(Persona::new("2", "ada@gmail.com").unverified());
        stand.refuses(403, "ACCOUNT_NOT_LINKED", "not verified");
        stand.provider.is_visited_by(Persona::new("3", "ada@gmail.com"));
        stand.enters();
        stand.provider.is_visited_by(Persona::ada().with("hd", "example.com"));
        stand.enters();
        assert_eq!(stand.rows()[0], 2);
    }

    fn lk_10_a_google_workspace_is_asked_for_at_every_sign_in(database) {
        let stand = Stand::of(database, Kind::Google, "hosted_domain = \"example.com\"");
        for hd in [json!("evil.example"), json!(""), json!("example.com.evil.example")] {
            stand.provider.is_visited_by(Persona::ada().with("hd", hd.clone()));
            let (status, code) = (403, "ACCOUNT_NOT_ALLOWED");
            stand.refuses(status, code, &hd.to_string());
        }
        stand.provider.is_visited_by(Persona::ada());
        stand.refuses(403, "ACCOUNT_NOT_ALLOWED", "a private account");
        stand.provider.is_visited_by(Persona::ada().with("hd", "example.com"));
        stand.enters();
        assert_eq!(stand.provider.last(Endpoint::Authorize).parameters["hd"], "example.com");
        stand.provider.is_visited_by(Persona::ada());
        stand.refuses(403, "ACCOUNT_NOT_ALLOWED", "she left");
    }

    fn lk_10_allowed_domains_are_asked_of_verified_addresses_at_every_sign_in(database) {
        let stand = Stand::of(database, Kind::Oidc, "trust_email = true\nallowed_domains = [\"example.com\"]");
        for (email, what) in [
            ("ada@evil.example", "another domain"),
            ("ada@example.com.evil.example", "a longer one"),
            ("ada@notexample.com", "one that ends so"),
            ("ada@sub.example.com", "one below"),
            ("\"ada@example.com\"@evil.example", "quoted"),
        ] {
            stand.provider.is_visited_by(Persona::new("7", email));
            stand.refuses(403, "ACCOUNT_NOT_ALLOWED", what);
        }
        stand.provider.is_visited_by(Persona::ada().unverified());
        stand.refuses(403, "ACCOUNT_NOT_ALLOWED", "not verified");
        stand.provider.is_visited_by(Persona::new(&Persona::ada().subject, "ada@EXAMPLE.com"));
        stand.enters();
        stand.provider.is_visited_by(Persona::new(&Persona::ada().subject, "ada@elsewhere.example"));
        stand.refuses(403, "ACCOUNT_NOT_ALLOWED", "she moved");
    }

    fn gitlab_people_who_are_blocked_there_do_not_get_in_here(database) {
        let stand = Stand::of(database, Kind::GitLab, "");
        stand.enters();
        for (name, value) in [("state", json!("blocked")), ("state", json!("deactivated")), ("locked", json!(true))] {
            stand.provider.is_visited_by(Persona::ada().with(name, value));
            stand.refuses(403, "ACCOUNT_NOT_ALLOWED", name);
        }
    }
}

fn for_untrusted(database: crate::support::database::Database, kind: Kind) {
    let stand = Stand::of(database, kind, "");
    verified_account(&stand, "ada@example.com");
    stand.refuses(403, "ACCOUNT_NOT_LINKED", "its word does not count");
    stand.provider.is_visited_by(grace());
    let user = user_of(&mut stand.enters());
    assert_eq!(user["emailVerified"], json!(false), "signing up proves nothing either");
    assert_eq!(stand.provider.last(Endpoint::Authorize).parameters["client_id"], CLIENT);
}
