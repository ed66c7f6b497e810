//! A forgotten password (EM-1 to EM-7, EN-5).

use std::time::Duration;

use serde_json::{Value, json};

use super::mailed::{
    link, logged, mailing, proved, provider_only, refused, reset, reset_token, sign_in, token, token_of,
};
use super::{opens, rows, token as cookie};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::site::{PASSWORD, Site};

const ADA: &str = "ada@example.com";
const OTHER: &str = "quite another phrase";

/// How many sessions a user has.
fn rows_of(site: &Site, user: &str) -> usize {
    let sql = format!(r#"SELECT "id" FROM "session" WHERE "userId" = '{user}'"#);
    site.block_on(site.database.texts(&sql)).len()
}

on_both_databases! {
    fn a_person_sets_a_new_password_with_forms_alone(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        let mut ada = site.stranger();
        let asks = ada.navigate("/auth/forgot-password?callback_url=/notes");
        assert!(asks.status == 200 && asks.text().contains("action=\"/auth/forgot-password\""), "{}", asks.text());
        let asked = ada.submit("/auth/forgot-password", &[("email", ADA), ("callback_url", "/notes")]);
        let to = format!("{}/auth/sign-in?callback_url=%2Fnotes&notice=reset-sent", site.origin);
        assert_eq!((asked.status, asked.header("location")), (303, Some(&*to)));
        let link = link(&site, &mailbox, ADA);
        let page = ada.navigate(&link).text();
        assert!(page.contains("autocomplete=\"new-password\"") && page.contains("value=\"ada@example.com\""));
        assert!(page.contains("name=\"callback_url\" value=\"") && page.contains("/notes\""), "{page}");
        let token = token_of(&link);
        for bad in ["short", "password1", ""] {
            let page = ada.submit("/auth/reset-password", &[("token", &token), ("newPassword", bad)]);
            assert!(page.status == 422 && page.text().contains("id=\"password-error\""), "{}", page.text());
        }
        let fields = [("token", &*token), ("newPassword", OTHER), ("callback_url", "/notes")];
        let done = ada.submit("/auth/reset-password", &fields);
        let to = format!("{}/auth/sign-in?callback_url=%2Fnotes&notice=password-reset", site.origin);
        assert_eq!((done.status, done.header("location")), (303, Some(&*to)));
        assert_eq!((sign_in(&site, ADA, PASSWORD).0, sign_in(&site, ADA, OTHER).0), (401, 200));
    }

    fn en_5_asking_is_answered_alike_whoever_is_meant_and_mailed_to_who_has_an_account(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        let (_, otto) = proved(&site, &mailbox, "otto@example.com");
        provider_only(&site, &otto);
        for path in ["/auth/request-password-reset", "/auth/forget-password", "/auth/forgot-password"] {
            let ask = |email: &str| {
                let response = site.stranger().post(path, &json!({ "email": email, "redirectTo": "/set" }));
                let names: Vec<_> = response.headers.iter().map(|(name, _)| name.clone()).collect();
                (response.status, response.text(), names)
            };
            let nobody = ask("nobody@example.com");
            assert!(nobody.0 == 200 && nobody.1.contains("\"status\":true"), "{nobody:?}");
            for email in [ADA, "otto@example.com", " ADA@Example.com "] {
                assert_eq!(ask(email), nobody, "{path} {email}");
            }
            let page = |email: &str| {
                let response = site.stranger().submit(path, &[("email", email)]);
                (response.status, response.header("location").map(str::to_owned))
            };
            assert_eq!(page(ADA), page("nobody@example.com"));
        }
        token(&site, &mailbox, "otto@example.com");
        assert_eq!(mailbox.count("nobody@example.com"), 0);
    }

    fn em_10_an_address_is_one_recipient_or_none(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        for email in ["ada@example.com,eve@evil.example", "ada@example.com\r\nBcc: eve@evil.example", "Ada <ada@example.com>", ""] {
            let response = site.stranger().post("/auth/request-password-reset", &json!({ "email": email }));
            refused(&response, 400, "INVALID_EMAIL");
        }
        let list = json!({ "email": ["ada@example.com", "eve@evil.example"] });
        refused(&site.stranger().post("/auth/request-password-reset", &list), 400, "VALIDATION_ERROR");
        let off = json!({ "email": ADA, "redirectTo": "https://evil.example/" });
        refused(&site.stranger().post("/auth/request-password-reset", &off), 403, "INVALID_CALLBACK_URL");
        assert_eq!((rows(&site, "user"), mailbox.count("eve@evil.example")), (1, 0));
    }

    fn em_5_the_link_leads_to_the_public_origin_whatever_the_request_says(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        let mut eve = site.stranger();
        let asked = eve.ask("POST", "/auth/request-password-reset").header("X-Forwarded-Host", "evil.example")
            .header("Forwarded", "host=evil.example").header("X-Forwarded-Proto", "https")
            .header("X-Original-Host", "evil.example").json(&json!({ "email": ADA })).send();
        assert_eq!(asked.status, 200);
        let mail = mailbox.wait_for(ADA);
        assert!(mail.text.contains(&format!("{}/auth/reset-password?token=", site.origin)) && !mail.raw.contains("evil"));
    }

    fn em_6_a_reset_ends_everything_and_says_so(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, id) = proved(&site, &mailbox, ADA);
        let held = [cookie(&ada), cookie(&site.signed_in(ADA).0), cookie(&site.signed_in(ADA).0)];
        ada.post("/auth/change-email", &json!({ "newEmail": "new@example.com" }));
        let change = token(&site, &mailbox, "new@example.com");
        let (bob, _) = proved(&site, &mailbox, "bob@example.com");
        let reset_token = reset_token(&site, &mailbox, ADA);
        assert!(held.iter().all(|token| opens(&site, token)), "asking ends nothing");

        let done = ada.post("/auth/reset-password", &json!({ "token": reset_token, "newPassword": OTHER }));
        assert_eq!((done.status, done.json()), (200, json!({ "status": true })));
        assert!(!ada.cookies.contains_key("sidegate"), "EM-6: nobody is signed in by it");
        assert!(!held.iter().any(|token| opens(&site, token)));
        assert!(opens(&site, &cookie(&bob)));
        assert_eq!(rows_of(&site, &id), 0);
        assert_eq!(ada.post("/auth/login", &json!({ "email": ADA, "password": OTHER })).status, 200);
        refused(&ada.post("/auth/change-email", &json!({ "token": change })), 400, "INVALID_TOKEN");
        let notice = mailbox.wait_for(ADA);
        assert!(notice.text.contains("password") && !notice.text.contains("token="), "{}", notice.text);
        assert_eq!(logged(&site, "password-reset"), ["ok - known"]);
        assert_eq!(logged(&site, "reset-request"), ["ok - known"]);
    }

    fn em_1_a_reset_link_is_void_once_it_is_used_replaced_or_the_address_is_another(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (mut ada, _) = proved(&site, &mailbox, ADA);
        let first = reset_token(&site, &mailbox, ADA);
        let second = reset_token(&site, &mailbox, ADA);
        refused(&reset(&site, &first, OTHER), 400, "INVALID_TOKEN");
        refused(&reset(&site, &second, "short"), 400, "PASSWORD_TOO_SHORT");
        refused(&reset(&site, &second, ADA), 400, "PASSWORD_TOO_COMMON");
        assert_eq!(reset(&site, &second, OTHER).status, 200, "what is refused spends nothing");
        mailbox.wait_for(ADA);
        refused(&reset(&site, &second, "a third phrase"), 400, "INVALID_TOKEN");
        let body = json!({ "email": ADA, "password": OTHER });
        assert_eq!(ada.post("/auth/login", &body).status, 200);
        let third = reset_token(&site, &mailbox, ADA);
        ada.post("/auth/change-email", &json!({ "newEmail": "new@example.com" }));
        let change = token(&site, &mailbox, "new@example.com");
        assert_eq!(ada.post("/auth/change-email", &json!({ "token": change })).status, 200);
        refused(&reset(&site, &third, "a third phrase"), 400, "INVALID_TOKEN");
        assert_eq!(sign_in(&site, "new@example.com", OTHER), (200, Value::Null));
    }

    fn em_7_who_has_no_password_gets_one_by_proving_the_mailbox_and_keeps_the_provider(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (_, id) = proved(&site, &mailbox, ADA);
        provider_only(&site, &id);
        assert_eq!(sign_in(&site, ADA, PASSWORD).0, 401);
        assert_eq!(reset(&site, &reset_token(&site, &mailbox, ADA), OTHER).status, 200);
        assert_eq!(sign_in(&site, ADA, OTHER).0, 200);
        let sql = r#"SELECT "providerId" FROM "account" ORDER BY "providerId""#;
        assert_eq!(site.block_on(site.database.texts(sql)), ["credential", "github"], "the address was proved before");
    }

    fn lk_3_what_was_connected_of_late_goes_with_the_password_and_a_mail_says_so(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let (_, id) = proved(&site, &mailbox, ADA);
        let connect = |provider: &str| {
            let at = site.clock.now().iso();
            site.block_on(site.database.execute(&format!(
                r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
                   VALUES ('{provider}', 'there', '{provider}', '{id}', '{at}', '{at}')"#
            )));
        };
        site.pass(Duration::from_mins(1));
        connect("github");
        site.pass(Duration::from_hours(24 * 7));
        connect("gitlab");
        site.pass(Duration::from_mins(1));
        assert_eq!(reset(&site, &reset_token(&site, &mailbox, ADA), OTHER).status, 200);
        let sql = r#"SELECT "providerId" FROM "account" ORDER BY "providerId""#;
        assert_eq!(site.block_on(site.database.texts(sql)), ["credential", "github"]);
        let told: Vec<String> = [(); 2].map(|()| mailbox.wait_for(ADA).text).into();
        assert!(told.iter().any(|text| text.contains("cannot be opened with gitlab")), "{told:?}");
        assert!(!told.iter().any(|text| text.contains("with github")), "{told:?}");
    }
}
