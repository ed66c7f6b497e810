//! Which account an identity opens, when there is one with the same address, and how one is added on purpose
//! (LK-6 to LK-13).

use std::time::Duration;

use serde_json::json;

use super::super::{holder, opens, roomy, rows, set_cookie, token};
use super::{logged, me, returns, sent_back, signed_in, site, verified, with};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::provider::{Persona, Provider};
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};
use crate::support::visitor::Visitor;

/// What comes of a wish to link, followed to the callback.
fn links(visitor: &mut Visitor, provider: &Provider) -> Response {
    let callback = on_the_way(visitor, provider);
    visitor.arrive(&callback)
}

fn on_the_way(visitor: &mut Visitor, provider: &Provider) -> String {
    let body = json!({ "provider": "corp", "callbackURL": "/account", "errorCallbackURL": "/oh" });
    let response = visitor.post("/auth/link-social", &body);
    assert_eq!(response.status, 200, "{}", response.text());
    provider.authorize(response.json()["url"].as_str().expect("a URL"))
}

fn went(response: &Response, site: &Site) -> String {
    assert_eq!(response.status, 303, "{}", response.text());
    let to = response.header("location").expect("a location");
    to.strip_prefix(&site.origin).expect("our origin").to_owned()
}

on_both_databases! {
    fn a_proved_address_leads_to_the_account_whose_owner_proved_it_too(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (by_password, id) = site.signed_in("ada@example.com");
        provider.is_visited_by(Persona::new("1", "ADA@Example.com").called("Another Name"));
        let mut browser = site.stranger();
        assert_eq!(returns(&mut browser, &provider).status, 303);
        let user = me(&mut browser);
        assert_eq!((&user["id"], &user["name"]), (&json!(id), &json!("Someone")), "the name stays");
        assert!(opens(&site, &token(&by_password)), "nobody is signed out by it");
        assert_eq!(logged(&site, "link"), [""]);
        site.signed_in("ada@example.com");
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (1, 2));
    }

    fn an_address_that_nobody_proved_makes_an_account_only_where_there_is_none(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada().unverified());
        assert_eq!(me(&mut ada)["emailVerified"], json!(false));
        // The same person comes again with the address verified meanwhile: the provider's word is enough.
        let held = token(&ada);
        let (mut again, _) = signed_in(&site, &provider, Persona::ada());
        assert_eq!(me(&mut again)["emailVerified"], json!(true));
        assert!(!opens(&site, &held), "LK-2: what was opened before the proof ends with it");
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (1, 1));
    }

    fn who_has_no_address_or_finds_sign_up_closed_is_told_so(database) {
        let provider = Provider::start();
        let site = roomy(database).toml(&provider.toml("corp", "trust_email = true"))
            .set("sign_up", "open = false").start();
        provider.follow(&site.clock);
        let mut browser = site.stranger();
        assert_eq!(returns(&mut browser, &provider).status, 403);
        provider.is_visited_by(Persona::ada().without_email());
        assert_eq!(returns(&mut browser, &provider).status, 400);
        provider.is_visited_by(Persona::new("1", "not an address"));
        assert_eq!(returns(&mut browser, &provider).status, 400);
        assert_eq!(logged(&site, "login"), ["EMAIL_NOT_FOUND", "EMAIL_NOT_FOUND", "SIGNUP_DISABLED"]);
        assert_eq!((rows(&site, "user"), rows(&site, "session")), (0, 0));
    }

    fn what_a_provider_says_of_a_person_is_one_line_that_fits(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let name = format!(" Ada\u{0}\r\nLovelace{} ", "x".repeat(200));
        let persona = Persona::ada().called(&name).picture("javascript:alert(1)");
        let (mut ada, _) = signed_in(&site, &provider, persona);
        let user = me(&mut ada);
        assert!(user["name"].as_str().expect("a name").starts_with("AdaLovelacexxx"), "{user}");
        assert!(user["name"].as_str().expect("a name").len() <= 128);
        assert_eq!(user["image"], json!(null));
    }

    fn lk_6_a_link_needs_a_recent_sign_in_and_ends_in_the_session_that_asked_for_it(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        assert_eq!(site.stranger().post("/auth/link-social", &json!({ "provider": "corp" })).status, 401);
        let (mut ada, _) = site.signed_in("ada@example.com");
        // Another session of the same person, in the same browser.
        let callback = on_the_way(&mut ada, &provider);
        let body = json!({ "email": "ada@example.com", "password": PASSWORD });
        assert_eq!(ada.post("/auth/sign-in/email", &body).status, 200);
        assert_eq!(went(&ada.arrive(&callback), &site), "/oh?error=unauthorized");
        // Nobody any more.
        let callback = on_the_way(&mut ada, &provider);
        ada.cookies.remove("sidegate");
        assert_eq!(went(&ada.arrive(&callback), &site), "/oh?error=unauthorized");
        // Somebody else.
        let (mut bob, _) = site.member("bob@example.com");
        let callback = on_the_way(&mut bob, &provider);
        let (ada, _) = site.signed_in("ada@example.com");
        bob.cookies.insert("sidegate".to_owned(), token(&ada));
        assert_eq!(went(&bob.arrive(&callback), &site), "/oh?error=unauthorized");
        // Too late at the callback, and too late to begin.
        let mut ada = holder(&site, &token(&ada));
        site.pass(Duration::from_mins(23 * 60 + 55));
        let callback = on_the_way(&mut ada, &provider);
        site.pass(Duration::from_mins(5));
        assert_eq!(went(&ada.arrive(&callback), &site), "/oh?error=session_not_fresh");
        let late = ada.post("/auth/link-social", &json!({ "provider": "corp" }));
        assert_eq!((late.status, &*late.code()), (403, "SESSION_NOT_FRESH"));
        assert_eq!(rows(&site, "account"), 2, "two passwords");
        assert_eq!(logged(&site, "link").len(), 4);
    }

    fn lk_6_a_link_is_refused_when_the_session_was_ended_behind_its_copy_in_memory(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (mut ada, _) = site.signed_in("ada@example.com");
        let callback = on_the_way(&mut ada, &provider);
        assert_eq!(ada.get("/app").status, 200);
        // Past every replica, so that the copy in memory lives on.
        site.block_on(site.database.execute(r#"DELETE FROM "session""#));
        assert_eq!(ada.get("/app").status, 200);
        assert_eq!(went(&ada.arrive(&callback), &site), "/oh?error=unauthorized");
        assert_eq!(rows(&site, "account"), 1);
    }

    fn a_link_adds_a_way_to_sign_in_and_opens_no_session(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (mut ada, id) = site.member("ada@example.com");
        let (second, _) = site.signed_in("ada@example.com");
        let held = token(&ada);
        for _ in 0..2 {
            let back = links(&mut ada, &provider);
            assert_eq!(went(&back, &site), "/account", "also if it was there already");
            assert!(set_cookie(&back, "sidegate").is_none());
        }
        assert_eq!((token(&ada), rows(&site, "account")), (held, 2));
        assert_eq!(logged(&site, "link"), [""]);
        assert!(!opens(&site, &token(&second)), "LK-2: the address is proved now, and who else was here is not");
        assert_eq!(signed_in(&site, &provider, Persona::ada()).1, id);
        assert_eq!(me(&mut ada)["emailVerified"], json!(true));
        site.signed_in("ada@example.com");
    }

    fn lk_7_an_account_that_belongs_to_somebody_else_is_refused_without_a_word_of_who(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        signed_in(&site, &provider, Persona::new("1", "bob@example.com"));
        verified(&site, "ada@example.com");
        let (mut ada, _) = site.signed_in("ada@example.com");
        let body = json!({ "provider": "corp" });
        let url = ada.post("/auth/link-social", &body).json()["url"].as_str().expect("a URL").to_owned();
        let page = ada.arrive(&provider.authorize(&url));
        assert_eq!(went(&page, &site), "/auth/account?problem=SOCIAL_ACCOUNT_ALREADY_LINKED");
        let told = ada.navigate("/auth/account?problem=SOCIAL_ACCOUNT_ALREADY_LINKED").text();
        assert!(told.contains("is in use already") && !told.contains("bob"), "{told}");
        assert_eq!(went(&links(&mut ada, &provider), &site), "/oh?error=account_already_linked_to_different_user");
        assert_eq!(rows(&site, "account"), 2);
    }

    fn lk_8_another_address_is_refused_unless_that_is_allowed_and_changes_nothing(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (mut ada, _) = site.signed_in("ada@example.com");
        for persona in [Persona::new("1", "else@example.com"), Persona::ada().without_email()] {
            provider.is_visited_by(persona);
            assert_eq!(went(&links(&mut ada, &provider), &site), "/oh?error=email_does_not_match");
        }
        assert_eq!(rows(&site, "account"), 1);
    }

    fn lk_8_an_address_that_the_provider_does_not_vouch_for_links_nothing(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        verified(&site, "ada@example.com");
        let (mut ada, _) = site.signed_in("ada@example.com");
        provider.is_visited_by(Persona::ada().unverified());
        assert_eq!(went(&links(&mut ada, &provider), &site), "/oh?error=email_does_not_match");
        assert_eq!(rows(&site, "account"), 1);
    }

    fn lk_8_another_address_that_is_allowed_is_not_taken_over(database) {
        let provider = Provider::start();
        let site = with(database, &provider, "[accounts]\nlink_different_emails = true\n");
        verified(&site, "ada@example.com");
        let (mut ada, id) = site.signed_in("ada@example.com");
        provider.is_visited_by(Persona::new("1", "else@example.com"));
        assert_eq!(went(&links(&mut ada, &provider), &site), "/account");
        let (mut again, same) = signed_in(&site, &provider, Persona::new("1", "else@example.com"));
        assert_eq!((same, &me(&mut again)["email"]), (id, &json!("ada@example.com")));
    }

    fn lk_10_a_domain_that_may_sign_in_is_asked_for_every_time(database) {
        let provider = Provider::start();
        let site = roomy(database)
            .toml(&provider.toml("corp", "trust_email = true\nallowed_domains = [\"example.com\"]")).start();
        provider.follow(&site.clock);
        signed_in(&site, &provider, Persona::new("1", "ada@example.com"));
        for email in ["ada@elsewhere.example", "ada@sub.example.com", "ada@example.com.evil.com"] {
            provider.is_visited_by(Persona::new("1", email));
            assert_eq!(returns(&mut site.stranger(), &provider).status, 403, "{email}");
        }
        assert_eq!(logged(&site, "login")[1..], ["ACCOUNT_NOT_ALLOWED"; 3]);
    }

    fn lk_11_an_address_that_changes_at_the_provider_stays_what_it_was_here(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (_, id) = signed_in(&site, &provider, Persona::new("1", "ada@example.com"));
        verified(&site, "bob@example.com");
        let (mut ada, same) = signed_in(&site, &provider, Persona::new("1", "bob@example.com"));
        assert_eq!((same, &me(&mut ada)["email"]), (id, &json!("ada@example.com")), "OA-16");
        assert_eq!(rows(&site, "user"), 2);
    }

    fn lk_12_who_was_deleted_comes_back_as_somebody_new(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (_, id) = signed_in(&site, &provider, Persona::ada());
        site.block_on(site.database.execute(&match &site.database {
            Database::Sqlite(_) => format!(r#"PRAGMA foreign_keys = ON; DELETE FROM "user" WHERE "id" = '{id}'"#),
            Database::Postgres { .. } => format!(r#"DELETE FROM "user" WHERE "id" = '{id}'"#),
        }));
        let (_, new) = signed_in(&site, &provider, Persona::ada());
        assert_ne!(new, id);
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (1, 1));
    }

    fn an_account_whose_user_is_gone_is_given_to_nobody(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let leave = match &site.database {
            Database::Sqlite(_) => "PRAGMA foreign_keys = OFF",
            Database::Postgres { .. } => "SET session_replication_role = replica",
        };
        let (subject, at) = (Persona::ada().subject, "2026-01-01T00:00:00.000Z");
        site.block_on(site.database.execute(&format!(
            r#"{leave}; INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
               VALUES ('x', '{subject}', 'corp', 'gone', '{at}', '{at}')"#
        )));
        assert_eq!(returns(&mut site.stranger(), &provider).status, 403);
        assert_eq!((rows(&site, "user"), rows(&site, "session")), (0, 0));
    }

    fn en_7_only_who_comes_from_the_provider_is_told_that_there_is_an_account(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        provider.is_visited_by(Persona::ada().unverified());
        let mut browser = site.stranger();
        let free = sent_back(&mut browser, &provider);
        verified(&site, "ada@example.com");
        let page = browser.arrive(&free);
        assert_eq!(page.status, 403);
        assert!(page.text().contains("already has an account"), "{}", page.text());
        let known = site.stranger().navigate("/auth/sign-in/corp?login_hint=ada@example.com");
        let unknown = site.stranger().navigate("/auth/sign-in/corp?login_hint=eve@example.com");
        assert_eq!((known.status, unknown.status), (303, 303));
    }

    fn oa_12_tokens_are_kept_only_if_that_is_asked_for_and_sealed(database) {
        let provider = Provider::start();
        let site = roomy(database).toml(&provider.toml("corp", "trust_email = true\nstore_tokens = true"))
            .toml(&provider.toml("plain", "")).start();
        provider.follow(&site.clock);
        for _ in 0..2 {
            signed_in(&site, &provider, Persona::ada());
        }
        provider.is_visited_by(Persona::new("2", "bob@example.com"));
        assert_eq!(site.stranger().walk("/auth/sign-in/plain").response.status, 200);
        let kept = |provider: &str| site.block_on(site.database.texts(&format!(
            r#"SELECT COALESCE("accessToken", '-') FROM "account" WHERE "providerId" = '{provider}'"#
        )));
        assert_eq!(kept("plain"), ["-"]);
        assert!(kept("corp")[0].len() > 40, "{:?}", kept("corp"));
        let dump = site.block_on(site.database.dump());
        assert!(!dump.contains("eyJhbGciOi") && !dump.contains("access-"), "no token in clear: {dump}");
    }

    fn of_many_who_come_with_the_same_new_identity_at_once_all_are_the_same_user(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let callers: Vec<_> = (0..6)
            .map(|_| {
                let mut browser = site.stranger();
                let callback = sent_back(&mut browser, &provider);
                std::thread::spawn(move || browser.arrive(&callback).status)
            })
            .collect();
        let statuses: Vec<u16> = callers.into_iter().map(|caller| caller.join().expect("no panic")).collect();
        assert_eq!(statuses, [303; 6]);
        assert_eq!((rows(&site, "user"), rows(&site, "account"), rows(&site, "session")), (1, 1, 6));
    }

    fn lk_13_whoever_gets_a_new_way_to_sign_in_is_mailed(database) {
        let (provider, mailbox) = (Provider::start(), Mailbox::start());
        let site = roomy(database).toml(&provider.toml("corp", "trust_email = true\nname = \"The Corp\""))
            .set("mail", &mailbox.config()).set("sign_up", "require_verified_email = false").start();
        provider.follow(&site.clock);
        verified(&site, "ada@example.com");
        signed_in(&site, &provider, Persona::ada());
        crate::jobs::eventually("a mail comes", || mailbox.count("ada@example.com") > 0);
        let posted = || {
            site.block_on(site.database.texts(r#"SELECT "state" FROM "sidegate_outbox""#)).len()
        };
        let before = posted();
        let (mut ada, _) = signed_in(&site, &provider, Persona::ada());
        assert_eq!(posted(), before, "no mail for what is there");
        let gone = ada.post("/auth/unlink-account", &json!({ "providerId": "corp" }));
        assert_eq!((gone.status, posted()), (200, before + 1), "{}", gone.text());
    }
}
