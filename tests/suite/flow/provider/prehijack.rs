//! The five ways to wait in somebody's account before they come, and what becomes of who waits there
//! (Sudhodanan and Paverd, "Pre-hijacked accounts", USENIX Security 2022).

use serde_json::json;

use super::super::{opens, roomy, rows, token};
use super::{logged, me, returns, signed_in, site, verified};
use crate::support::database::on_both_databases;
use crate::support::provider::{Persona, Provider};
use crate::support::site::PASSWORD;

fn sign_in(email: &str) -> serde_json::Value {
    json!({ "email": email, "password": PASSWORD })
}

on_both_databases! {
    fn lk_1_classic_federated_merge_a_password_set_by_another_opens_nothing_once_the_owner_came(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        // The attacker signs up with the victim's address and a password of their own.
        site.sign_up("ada@example.com");
        let (ada, id) = signed_in(&site, &provider, Persona::ada());
        let attacker = site.stranger().post("/auth/sign-in/email", &sign_in("ada@example.com"));
        assert_eq!((attacker.status, &*attacker.code()), (401, "INVALID_EMAIL_OR_PASSWORD"));
        let user = me(&mut { ada });
        assert_eq!((&user["name"], &user["emailVerified"]), (&json!("Ada Lovelace"), &json!(true)), "nothing of theirs stays");
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (1, 1));
        assert_eq!(logged(&site, "takeover"), [""]);
        assert_eq!(signed_in(&site, &provider, Persona::ada()).1, id);
    }

    fn lk_2_unexpired_session_a_session_of_another_ends_when_the_owner_comes(database) {
        let provider = Provider::start();
        let site = site(database, &provider);
        let (attacker, before) = site.member("ada@example.com");
        let (second, _) = site.signed_in("ada@example.com");
        let (held, other) = (token(&attacker), token(&second));
        assert!(opens(&site, &held) && opens(&site, &other), "they are in memory");
        let (owner, after) = signed_in(&site, &provider, Persona::ada());
        assert!(!opens(&site, &held) && !opens(&site, &other));
        assert!(opens(&site, &token(&owner)));
        assert_eq!((before == after, rows(&site, "session")), (true, 1));
    }

    fn lk_3_trojan_identifier_a_provider_attached_by_another_opens_nothing_once_the_owner_came(database) {
        let (provider, plain) = (Provider::start(), Provider::start());
        let site = roomy(database).toml(&provider.toml("corp", "trust_email = true"))
            .toml(&plain.toml("plain", "")).start();
        provider.follow(&site.clock);
        plain.follow(&site.clock);
        // The attacker has a provider say the victim's address; it proves nothing, so nobody is harmed yet.
        plain.is_visited_by(Persona::new("attacker", "ada@example.com"));
        let mut attacker = site.stranger();
        assert_eq!(attacker.walk("/auth/sign-in/plain").response.status, 200);
        assert_eq!(me(&mut attacker)["emailVerified"], json!(false));
        let (mut owner, id) = signed_in(&site, &provider, Persona::ada());
        assert_eq!(attacker.get("/auth/me").status, 401);
        let again = site.stranger().walk("/auth/sign-in/plain").response;
        assert_eq!(again.status, 403, "the address has an account that this provider does not open");
        let accounts = owner.get("/auth/list-accounts").json();
        assert_eq!((accounts.as_array().expect("a list").len(), &accounts[0]["providerId"]), (1, &json!("corp")));
        assert_eq!((me(&mut owner)["id"] == json!(id), rows(&site, "user")), (true, 1));
    }

    fn lk_4_unexpired_email_change_what_another_has_in_the_mail_dies_when_the_owner_comes(database) {
        use sidegate::id::UserId;
        use sidegate::secret::{Purpose, RootSecret};
        use sidegate::store::tickets::{TicketKind, TicketRow};
        let provider = Provider::start();
        let site = site(database, &provider);
        let (_, id) = site.member("ada@example.com");
        let key = RootSecret::new(vec![1; 32]).expect("long enough").key(Purpose::Ticket);
        for kind in [TicketKind::ChangeEmail, TicketKind::ResetPassword] {
            let now = site.clock.now();
            let row = TicketRow {
                token: key.issue().hash(),
                kind,
                user: UserId::parse(&id).expect("an id"),
                email: "ada@example.com".to_owned(),
                new_email: Some("eve@example.com".to_owned()),
                issued: now,
                expires: now.plus(std::time::Duration::from_hours(1)),
            };
            site.block_on(async {
                let mut tx = site.app.store.begin().await.expect("begins");
                tx.ticket_insert(&row).await.expect("inserts");
                tx.commit().await.expect("commits");
            });
        }
        let tickets = || site.block_on(site.database.texts(r#"SELECT "purpose" FROM "sidegate_ticket""#)).len();
        assert_eq!(tickets(), 2);
        signed_in(&site, &provider, Persona::ada());
        assert_eq!(tickets(), 0);
    }

    fn lk_5_non_verifying_provider_its_word_opens_no_account_that_is_there(database) {
        let (provider, plain) = (Provider::start(), Provider::start());
        let site = roomy(database).toml(&provider.toml("corp", "trust_email = true"))
            .toml(&plain.toml("plain", "")).start();
        provider.follow(&site.clock);
        plain.follow(&site.clock);
        verified(&site, "ada@example.com");
        site.sign_up("bob@example.com");
        for email in ["ada@example.com", "ADA@Example.com", "bob@example.com"] {
            // It says that the address is verified, but its word does not count here.
            plain.is_visited_by(Persona::new("attacker", email));
            let mut attacker = site.stranger();
            assert_eq!(attacker.walk("/auth/sign-in/plain").response.status, 403, "{email}");
            assert_eq!(attacker.get("/auth/me").status, 401);
            // Its word counts, and it does not say that.
            provider.is_visited_by(Persona::new("attacker", email).unverified());
            let mut attacker = site.stranger();
            assert_eq!(returns(&mut attacker, &provider).status, 403, "{email}");
            assert_eq!(attacker.get("/auth/me").status, 401);
        }
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (2, 2));
        assert!(logged(&site, "login").iter().all(|error| error == "ACCOUNT_NOT_LINKED"));
        for email in ["ada@example.com", "bob@example.com"] {
            site.signed_in(email);
        }
    }
}
