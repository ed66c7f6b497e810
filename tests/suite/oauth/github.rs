//! GitHub's habits: errors with status 200, a list of addresses, and logins that change hands.

use serde_json::{Value, json};

use super::{Stand, known_to_app, user_of, verified_account};
use crate::support::database::{Database, on_both_databases};
use crate::support::provider::{Answer, Endpoint, Kind, Lie, Persona};

fn stand(database: Database) -> Stand {
    Stand::of(database, Kind::GitHub, "trust_email = true")
}

fn address(email: &str, primary: bool, verified: bool) -> Value {
    json!({ "email": email, "primary": primary, "verified": verified, "visibility": null })
}

on_both_databases! {
    fn oa_8_errors_with_status_200_are_errors(database) {
        let stand = stand(database);
        for error in ["bad_verification_code", "incorrect_client_credentials", "redirect_uri_mismatch", "unverified_user_email"] {
            let body = json!({ "error": error, "error_description": "…", "error_uri": "https://docs.github.com" });
            stand.provider.repents();
            stand.provider.lies(Lie::Answers(Endpoint::Token, Answer::With(200, "application/json", body.to_string())));
            stand.refuses(400, "INVALID_CODE", error);
        }
        // What really happens with a code that was used.
        stand.provider.repents();
        stand.provider.lies(Lie::Callback("code", "used".to_owned()));
        stand.refuses(400, "INVALID_CODE", "the provider's own answer");
    }

    fn the_address_is_the_primary_verified_one_wherever_it_stands_in_the_list(database) {
        let stand = stand(database);
        let mut emails: Vec<Value> = (0..120).map(|n| address(&format!("old{n}@example.com"), false, true)).collect();
        emails.push(address("ada@example.com", true, true));
        stand.provider.is_visited_by(Persona::ada().emails(emails));
        let user = user_of(&mut stand.enters());
        assert_eq!(user["email"], json!("ada@example.com"));
        assert!(stand.asked(Endpoint::Emails) > 1, "the list has pages");
    }

    fn lk_5_an_address_that_is_not_verified_there_or_not_primary_opens_no_account(database) {
        let stand = stand(database);
        verified_account(&stand, "victim@example.com");
        for (what, emails) in [
            ("not verified", vec![address("victim@example.com", true, false)]),
            ("verified as a text", vec![json!({ "email": "victim@example.com", "primary": true, "verified": "true" })]),
        ] {
            stand.provider.is_visited_by(Persona::ada().emails(emails));
            stand.refuses(403, "ACCOUNT_NOT_LINKED", what);
        }
        let emails = vec![address("victim@example.com", false, true), address("ada@example.com", true, true)];
        // The public address is whatever its owner writes there.
        stand.provider.is_visited_by(Persona::ada().emails(emails).with("email", "victim@example.com"));
        let user = user_of(&mut stand.enters());
        assert_eq!(user["email"], json!("ada@example.com"));
    }

    fn a_reply_address_of_github_proves_no_mailbox(database) {
        let stand = stand(database);
        let reply = "248289761001+octo@users.noreply.github.com";
        verified_account(&stand, reply);
        stand.provider.is_visited_by(Persona::ada().emails(vec![address(reply, true, true)]));
        stand.refuses(403, "ACCOUNT_NOT_LINKED", "a reply address");
    }

    fn oa_16_whoever_takes_over_a_login_does_not_take_over_the_account(database) {
        let stand = stand(database);
        stand.provider.is_visited_by(Persona::ada().with("login", "countess"));
        let ada = known_to_app(&stand, &mut stand.enters());
        stand.provider.is_visited_by(Persona::new("666", "mallory@example.com").with("login", "countess"));
        assert_ne!(known_to_app(&stand, &mut stand.enters()), ada);
        stand.provider.is_visited_by(Persona::ada().with("login", "renamed"));
        assert_eq!(known_to_app(&stand, &mut stand.enters()), ada);
    }

    fn an_id_that_is_no_number_is_refused(database) {
        let stand = stand(database);
        stand.refuses_lies(&[
            Lie::Profile("id", json!("248289761001")),
            Lie::Profile("id", json!(1.5)),
            Lie::Profile("id", json!(-1)),
            Lie::Profile("id", json!(null)),
            Lie::NoProfile("id"),
        ], 502, "UNABLE_TO_GET_USER_INFO");
    }

    fn oa_5_githubs_issuer_is_known_without_metadata(database) {
        let stand = stand(database);
        stand.refuses_lies(&[
            Lie::Callback("iss", "https://github.com.evil.example/login/oauth".to_owned()),
            Lie::Callback("iss", stand.provider.origin.clone()),
        ], 400, "ISSUER_MISMATCH");
        // Servers from before 2026 do not say it.
        stand.provider.lies(Lie::NoCallback("iss"));
        stand.enters();
    }

    fn whoever_may_not_see_addresses_signs_up_without_one_and_is_told_so(database) {
        let stand = stand(database);
        stand.provider.lies(Lie::Answers(Endpoint::Emails, Answer::With(404, "application/json", "{}".to_owned())));
        stand.refuses(400, "EMAIL_NOT_FOUND", "no permission");
    }
}
