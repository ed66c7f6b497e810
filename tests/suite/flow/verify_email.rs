//! Proving an address after signing up (EM-3, EN-3, EN-5, LK-2, LK-4, RL-9).

use serde_json::{Value, json};

use super::mailed::{
    lenient, link, logged, mailing, proved, provider_only, refused, reset, reset_token, sign_in, token,
    token_of,
};
use super::{opens, roomy, rows, token as cookie};
use crate::support::database::on_both_databases;
use crate::support::mailbox::Mailbox;
use crate::support::site::{PASSWORD, Site};

const ADA: &str = "ada@example.com";

fn verified(site: &Site, email: &str) -> bool {
    let sql = format!(
        r#"SELECT "id" FROM "user" WHERE "email" = '{email}' AND "emailVerified" <> {}"#,
        if site.database.file().is_some() { "0" } else { "false" }
    );
    !site.block_on(site.database.texts(&sql)).is_empty()
}

on_both_databases! {
    fn nobody_signs_in_before_the_address_is_proved_and_only_the_right_password_learns_that(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let made = site.stranger().post("/auth/sign-up/email", &json!({
            "name": "Ada", "email": ADA, "password": PASSWORD, "callbackURL": "/notes?tab=1" }));
        assert_eq!((made.status, &made.json()["token"]), (200, &Value::Null));
        assert_eq!(sign_in(&site, ADA, PASSWORD), (403, json!("EMAIL_NOT_VERIFIED")));
        assert_eq!(sign_in(&site, ADA, "another phrase"), (401, json!("INVALID_EMAIL_OR_PASSWORD")));
        let fields = [("email", ADA), ("password", PASSWORD), ("callback_url", "/notes")];
        let page = site.stranger().submit("/auth/sign-in", &fields);
        assert_eq!(page.status, 422);
        assert!(page.text().contains("action=\"/auth/send-verification-email\""), "{}", page.text());
        let wrong = site.stranger().submit("/auth/sign-in", &[("email", ADA), ("password", "another phrase")]);
        assert!(!wrong.text().contains("send-verification-email"));
        assert_eq!(rows(&site, "session"), 0);

        let link = link(&site, &mailbox, ADA);
        assert!(link.ends_with("&callback_url=%2Fnotes%3Ftab%3D1"), "{link}");
        let mut ada = site.stranger();
        let page = ada.navigate(&link).text();
        assert!(page.contains("name=\"password\"") && page.contains("value=\"ada@example.com\""), "{page}");
        let token = token_of(&link);
        let fields = [("token", &*token), ("password", PASSWORD), ("callback_url", "/notes?tab=1")];
        let done = ada.submit("/auth/verify-email", &fields);
        assert_eq!((done.status, done.header("location")), (303, Some(&*format!("{}/notes?tab=1", site.origin))));
        assert!(opens(&site, &cookie(&ada)), "the password and the mailbox together sign in");
        assert_eq!(ada.get("/auth/me").json()["user"]["emailVerified"], true);
        site.signed_in(ADA);
        assert_eq!(logged(&site, "verify"), ["ok - known"]);
    }

    fn lk_2_the_mailbox_alone_does_not_confirm_a_password_that_somebody_else_chose(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        site.sign_up(ADA);
        let link = link(&site, &mailbox, ADA);
        let token = token_of(&link);
        for body in [json!({ "token": token }), json!({ "token": token, "password": "" }),
                     json!({ "token": token, "password": "not what was chosen" })] {
            refused(&site.stranger().post("/auth/verify-email", &body), 400, "INVALID_PASSWORD");
        }
        let page = site.stranger().submit("/auth/verify-email", &[("token", &token), ("password", "a guess")]);
        assert_eq!(page.status, 422);
        assert!(page.text().contains("id=\"password-error\"") && page.text().contains("/auth/forgot-password"));
        // Whoever is signed in to another account is nobody here.
        let (mut eve, _) = proved(&site, &mailbox, "eve@example.com");
        refused(&eve.post("/auth/verify-email", &json!({ "token": token })), 400, "INVALID_PASSWORD");
        assert!(!verified(&site, ADA) && sign_in(&site, ADA, PASSWORD).0 == 403);
        let done = site.stranger().post("/auth/verify-email", &json!({ "token": token, "password": PASSWORD }));
        assert_eq!(done.status, 200, "nothing was spent: {}", done.text());
    }

    fn lk_2_lk_3_lk_4_who_proves_the_mailbox_by_a_new_password_takes_over_what_a_stranger_prepared(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        site.sign_up(ADA);
        let planted = token(&site, &mailbox, ADA);
        let (mut eve, id) = site.signed_in(ADA);
        let eves = cookie(&eve);
        assert_eq!(eve.post("/auth/change-email", &json!({ "newEmail": "eve@evil.example" })).status, 200);
        let change = token(&site, &mailbox, "eve@evil.example");
        site.block_on(site.database.execute(&format!(
            r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "createdAt", "updatedAt")
               VALUES ('x', '666', 'github', '{id}', '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678Z')"#)));

        assert_eq!(reset(&site, &reset_token(&site, &mailbox, ADA), "what the owner chose").status, 200);
        assert!(!opens(&site, &eves), "LK-2");
        assert_eq!(sign_in(&site, ADA, PASSWORD).0, 401, "the prepared password");
        assert_eq!(site.block_on(site.database.texts(r#"SELECT "providerId" FROM "account""#)), ["credential"], "LK-3");
        refused(&eve.post("/auth/change-email", &json!({ "token": change })), 401, "UNAUTHORIZED");
        let body = json!({ "email": ADA, "password": "what the owner chose" });
        let mut owner = site.stranger();
        let within = owner.post("/auth/login", &body);
        assert_eq!((within.status, &within.json()["user"]["emailVerified"]), (200, &json!(true)));
        assert_eq!(within.json()["user"]["id"], id);
        refused(&owner.post("/auth/change-email", &json!({ "token": change })), 400, "INVALID_TOKEN");
        refused(&owner.post("/auth/verify-email", &json!({ "token": planted })), 400, "INVALID_TOKEN");
        let told = [mailbox.wait_for(ADA), mailbox.wait_for(ADA)].map(|mail| mail.text);
        assert!(told.iter().any(|text| text.contains("github")), "LK-3: what was removed is listed: {told:#?}");
    }

    fn lk_4_a_change_of_the_address_that_was_begun_before_the_proof_does_not_go_on_after_it(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        site.sign_up(ADA);
        let verify = token(&site, &mailbox, ADA);
        let (mut ada, _) = site.signed_in(ADA);
        ada.post("/auth/change-email", &json!({ "newEmail": "new@example.com" }));
        let change = token(&site, &mailbox, "new@example.com");
        assert_eq!(ada.post("/auth/verify-email", &json!({ "token": verify })).status, 200);
        refused(&ada.post("/auth/change-email", &json!({ "token": change })), 400, "INVALID_TOKEN");
    }

    fn in_a_browser_that_is_signed_in_the_button_is_enough(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        site.sign_up(ADA);
        let link = link(&site, &mailbox, ADA);
        let (mut ada, id) = site.signed_in(ADA);
        provider_only(&site, &id);
        let held = cookie(&ada);
        assert_eq!(ada.get("/auth/me").json()["user"]["emailVerified"], false);
        assert!(!ada.navigate(&link).text().contains("name=\"password\""));
        let done = ada.submit("/auth/verify-email", &[("token", &token_of(&link))]);
        let to = format!("{}/auth/account?notice=email-verified", site.origin);
        assert_eq!((done.status, done.header("location")), (303, Some(&*to)));
        assert_eq!(cookie(&ada), held);
        assert_eq!(ada.get("/auth/me").json()["user"]["emailVerified"], true, "seen at once");
    }

    fn en_3_the_owner_of_a_taken_address_is_told_by_mail_and_the_answer_is_that_of_a_new_one(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        let shape = |email: &str| {
            let body = json!({ "name": "Eve", "email": email, "password": "a phrase of somebody else" });
            let response = site.stranger().post("/auth/sign-up/email", &body);
            let mut answer = response.json();
            for field in ["id", "email"] {
                answer["user"][field].take();
            }
            let names: Vec<_> = response.headers.iter().map(|(name, _)| name.clone()).collect();
            (response.status, answer, names)
        };
        let new = shape("new@example.com");
        assert_eq!((new.0, shape(ADA)), (200, new));
        let owner = mailbox.wait_for(ADA);
        assert!(owner.text.contains("/auth/sign-in\n") && !owner.text.contains("token="), "{}", owner.text);
        assert!(mailbox.wait_for("new@example.com").text.contains("/auth/verify-email?token="));
        assert_eq!(sign_in(&site, ADA, "a phrase of somebody else").0, 401);
        let page = |email: &str| {
            let fields = [("name", "Eve"), ("email", email), ("password", PASSWORD)];
            let response = site.stranger().submit("/auth/sign-up", &fields);
            (response.status, response.header("location").map(str::to_owned))
        };
        let to = format!("{}/auth/sign-in?notice=mail-sent", site.origin);
        assert_eq!(page("newer@example.com"), (303, Some(to)));
        assert_eq!(page(ADA), page("newest@example.com"));
    }

    fn em_11_what_a_stranger_typed_is_not_in_the_mail(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        let body = json!({ "name": "Win at https://evil.example <b>now</b>", "email": ADA, "password": PASSWORD });
        site.stranger().post("/auth/sign-up/email", &body);
        let mail = mailbox.wait_for(ADA);
        assert!(!mail.raw.contains("evil") && !mail.html.contains("<b>now") && !mail.text.contains("Win at"));
    }

    fn en_5_asking_for_the_mail_again_is_answered_alike_whoever_is_meant(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).start();
        proved(&site, &mailbox, ADA);
        site.sign_up("bob@example.com");
        let first = token(&site, &mailbox, "bob@example.com");
        let ask = |email: &str| {
            let response = site.stranger().post("/auth/send-verification-email", &json!({ "email": email }));
            (response.status, response.text())
        };
        let expected = (200, r#"{"status":true}"#.to_owned());
        for email in [ADA, "nobody@example.com", "bob@example.com"] {
            assert_eq!(ask(email), expected, "{email}");
        }
        let second = token(&site, &mailbox, "bob@example.com");
        let spend = |token: &str| {
            site.stranger().post("/auth/verify-email", &json!({ "token": token, "password": PASSWORD })).status
        };
        assert_eq!((spend(&first), spend(&second)), (400, 200), "a newer link takes the place of the earlier");
        assert_eq!((mailbox.count(ADA), mailbox.count("nobody@example.com")), (1, 0));
        let page = site.stranger().submit("/auth/send-verification-email", &[("email", ADA), ("callback_url", "/x")]);
        let to = format!("{}/auth/sign-in?callback_url=%2Fx&notice=verification-sent", site.origin);
        assert_eq!((page.status, page.header("location")), (303, Some(&*to)));
        let mut log = logged(&site, "verify-request");
        log.sort();
        let proved = "failed EMAIL_ALREADY_VERIFIED known";
        assert_eq!(log, [proved, proved, "failed USER_NOT_FOUND nobody", "ok - known"]);
    }

    fn who_is_signed_in_can_have_it_sent_to_the_own_address_only(database) {
        let mailbox = Mailbox::start();
        let site = lenient(database, &mailbox).start();
        site.sign_up(ADA);
        token(&site, &mailbox, ADA);
        let (mut ada, _) = site.signed_in(ADA);
        let at = "/auth/send-verification-email";
        refused(&ada.post(at, &json!({ "email": "bob@example.com" })), 400, "EMAIL_MISMATCH");
        let sent = ada.submit(at, &[("email", ADA)]);
        let to = format!("{}/auth/account?notice=verification-sent", site.origin);
        assert_eq!((sent.status, sent.header("location")), (303, Some(&*to)));
        let token = token(&site, &mailbox, ADA);
        assert_eq!(ada.post("/auth/verify-email", &json!({ "token": token })).json()["status"], true);
        refused(&ada.post(at, &json!({ "email": ADA })), 400, "EMAIL_ALREADY_VERIFIED");
    }

    fn rl_9_mails_to_one_address_are_counted_alike_whether_it_has_an_account(database) {
        let mailbox = Mailbox::start();
        let site = mailing(database, &mailbox).set("limits", "mails_per_recipient = 3").start();
        proved(&site, &mailbox, ADA);
        let tries = |email: &str| {
            let [first, second] = ["/auth/request-password-reset", "/auth/send-verification-email"];
            [first, second, first, second].map(|path| {
                let response = site.stranger().post(path, &json!({ "email": email }));
                (response.status, response.header("retry-after").map(str::to_owned))
            })
        };
        let up = json!({ "name": "Bob", "email": "nobody@example.com", "password": PASSWORD });
        let nobody = tries("nobody@example.com");
        assert_eq!(nobody.clone().map(|(status, _)| status), [200, 200, 200, 429]);
        assert_eq!(site.stranger().post("/auth/sign-up/email", &up).status, 429);
        let ada = tries(ADA).map(|(status, _)| status);
        assert_eq!(ada, [200, 200, 429, 429], "one was spent by signing up");
        let taken = json!({ "name": "Bob", "email": ADA, "password": PASSWORD });
        assert_eq!(site.stranger().post("/auth/sign-up/email", &taken).status, 429);
        assert_eq!(mailbox.count("nobody@example.com"), 0);
    }

    fn a_site_without_mail_asks_for_no_proof_and_offers_none(database) {
        let site = roomy(database).start();
        let (mut ada, _) = site.member(ADA);
        refused(&ada.post("/auth/send-verification-email", &json!({ "email": ADA })), 400, "VERIFICATION_EMAIL_NOT_ENABLED");
        refused(&ada.post("/auth/change-email", &json!({ "newEmail": "x@example.com" })), 400, "CHANGE_EMAIL_DISABLED");
        let body = json!({ "email": ADA });
        refused(&site.stranger().post("/auth/request-password-reset", &body), 400, "RESET_PASSWORD_DISABLED");
        assert_eq!(site.stranger().navigate("/auth/forgot-password").status, 400);
        assert!(!site.stranger().navigate("/auth/sign-in").text().contains("forgot-password"));
    }
}
