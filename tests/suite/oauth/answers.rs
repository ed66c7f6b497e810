//! What a provider sends besides ID tokens: callbacks, metadata, tokens, profiles, keys. Each can be wrong.

use std::thread;

use serde_json::json;

use super::{Stand, grace, verified_account};
use crate::support::database::{Database, on_both_databases};
use crate::support::provider::{Answer, Endpoint, Kind, Lie, Persona, Provider};
use crate::support::raw::PATIENCE;
use crate::support::upstream::Upstream;

const INVALID: (u16, &str) = (502, "UNABLE_TO_GET_USER_INFO");
const UNAVAILABLE: (u16, &str) = (502, "PROVIDER_UNAVAILABLE");
const MISMATCH: (u16, &str) = (400, "ISSUER_MISMATCH");
const REJECTED: (u16, &str) = (400, "INVALID_CODE");

on_both_databases! {
    fn oidc_3_a_parameter_of_the_callback_that_is_there_twice_is_refused(database) {
        let stand = Stand::new(database);
        for name in ["state", "code", "iss"] {
            stand.provider.repents();
            stand.provider.lies(Lie::CallbackAlso(name, "another".to_owned()));
            stand.refuses(400, "BAD_REQUEST", name);
        }
        stand.provider.repents();
        stand.enters();
    }

    fn oidc_3_a_callback_that_says_nothing_is_refused(database) {
        let stand = Stand::new(database);
        for query in ["", "?", "?&", "?&&&", "?=", "?code", "?state=&code=", "?iss=", "?code=x&iss="] {
            for response in [
                stand.site.stranger().get(&format!("/auth/callback/corp{query}")),
                stand.site.stranger().navigate(&format!("/auth/callback/corp{query}")),
            ] {
                assert_eq!(response.status, 400, "{query}");
                assert!(response.all("set-cookie").is_empty(), "{query}");
            }
        }
        assert_eq!(stand.asked(Endpoint::Token), 0);
    }

    fn oa_5_and_oidc_7_another_issuer_in_the_callback_is_refused_before_the_code_is_shown_to_anyone(database) {
        let stand = Stand::new(database);
        let issuer = stand.provider.issuer();
        for other in ["https://evil.example".to_owned(), format!("{issuer}/"), issuer.to_uppercase(), String::new()] {
            stand.provider.repents();
            stand.provider.lies(Lie::Callback("iss", other.clone()));
            stand.refuses(MISMATCH.0, MISMATCH.1, &other);
        }
        assert_eq!(stand.asked(Endpoint::Token), 0);
    }

    fn oa_5_a_provider_that_promised_to_name_itself_has_to(database) {
        let stand = Stand::new(database);
        stand.refuses_lies(&[Lie::NoCallback("iss")], MISMATCH.0, MISMATCH.1);
    }

    fn oa_5_a_provider_that_promised_nothing_need_not(database) {
        let stand = Stand::new(database);
        stand.provider
            .lies(Lie::NoDiscovery("authorization_response_iss_parameter_supported"))
            .lies(Lie::NoCallback("iss"));
        stand.enters();
        stand.provider.lies(Lie::Callback("iss", "https://evil.example".to_owned()));
        stand.refuses(MISMATCH.0, MISMATCH.1, "said all the same");
    }

    fn oa_6_errors_are_held_against_the_issuer_and_shown_as_text_of_ours(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::Denies("access_denied", "<script>alert(1)</script> call +1 555 0100"));
        stand.refuses(403, "ACCESS_DENIED", "denied");
        let mut person = stand.site.stranger();
        let walk = person.walk("/auth/sign-in/corp");
        assert_eq!(walk.response.status, 403);
        let page = walk.response.text();
        assert!(!page.contains("<script>alert") && !page.contains("555 0100"), "{page}");
        stand.provider.lies(Lie::Callback("iss", "https://evil.example".to_owned()));
        stand.refuses(MISMATCH.0, MISMATCH.1, "an error of somebody else");
        stand.provider.repents();
        stand.provider.lies(Lie::Denies("temporarily_unavailable", ""));
        stand.refuses(UNAVAILABLE.0, UNAVAILABLE.1, "unavailable");
        stand.provider.repents();
        stand.provider.lies(Lie::Denies("<b>\"'", ""));
        stand.refuses(REJECTED.0, REJECTED.1, "an unknown error");
        assert_eq!(stand.asked(Endpoint::Token), 0);
    }

    fn a_callback_without_a_code_is_refused(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::NoCallback("code"));
        stand.refuses(400, "VALIDATION_ERROR", "no code");
        stand.provider.repents();
        stand.provider.lies(Lie::Callback("code", "guessed".to_owned()));
        stand.refuses(REJECTED.0, REJECTED.1, "another code");
    }

    fn oa_8_an_error_of_the_token_endpoint_is_one_with_any_status(database) {
        let stand = Stand::new(database);
        let error = |status| {
            let body = json!({ "error": "invalid_grant", "access_token": "x", "token_type": "Bearer" });
            Lie::Answers(Endpoint::Token, Answer::With(status, "application/json", body.to_string()))
        };
        stand.refuses_lies(&[error(200), error(400), error(401)], REJECTED.0, REJECTED.1);
        let also = Lie::Token("error", json!("bad_verification_code"));
        stand.refuses_lies(&[also], REJECTED.0, REJECTED.1);
    }

    fn oa_8_only_a_bearer_token_is_taken(database) {
        let stand = Stand::new(database);
        stand.refuses_lies(&[
            Lie::Token("token_type", json!("mac")),
            Lie::Token("token_type", json!("N_A")),
            Lie::Token("token_type", json!(["Bearer"])),
            Lie::NoToken("token_type"),
            Lie::NoToken("access_token"),
            Lie::Token("access_token", json!(null)),
            Lie::Token("access_token", json!("x\r\nX-Evil: 1")),
        ], INVALID.0, INVALID.1);
        stand.provider.lies(Lie::Token("token_type", json!("bEARER")));
        stand.enters();
    }

    fn oa_8_and_oidc_11_no_redirect_is_followed_wherever_it_leads(database) {
        let internal = Upstream::hello();
        let stand = Stand::new(database);
        for endpoint in [Endpoint::Token, Endpoint::Keys] {
            for status in [301, 302, 303, 307, 308] {
                let to = format!("http://{}/secret", internal.address);
                stand.site.pass(std::time::Duration::from_hours(2));
                stand.provider.repents();
                stand.provider.lies(Lie::Answers(endpoint, Answer::Redirect(status, to)));
                stand.refuses(UNAVAILABLE.0, UNAVAILABLE.1, &format!("{endpoint:?} {status}"));
            }
        }
        stand.site.pass(std::time::Duration::from_hours(2));
        // Even to itself.
        stand.provider.repents();
        let itself = stand.provider.url(Endpoint::Token);
        stand.provider.lies(Lie::Answers(Endpoint::Token, Answer::Redirect(307, itself)));
        stand.refuses(UNAVAILABLE.0, UNAVAILABLE.1, "itself");
        assert_eq!(internal.connections(), 0);
    }

    fn oa_8_and_oidc_11_no_redirect_of_the_profile_is_followed(database) {
        let internal = Upstream::hello();
        let stand = Stand::of(database, Kind::GitLab, "");
        for to in [format!("http://{}/", internal.address), "http://169.254.169.254/latest/".to_owned()] {
            stand.provider.repents();
            stand.provider.lies(Lie::Answers(Endpoint::Profile, Answer::Redirect(302, to.clone())));
            stand.refuses(UNAVAILABLE.0, UNAVAILABLE.1, &to);
        }
        assert_eq!(internal.connections(), 0, "the access token went elsewhere");
        stand.provider.repents();
        stand.enters();
    }

    fn oidc_11_no_redirect_of_the_metadata_is_followed(database) {
        let internal = Upstream::hello();
        let stand = Stand::new(database);
        let to = format!("http://{}/", internal.address);
        stand.provider.lies(Lie::Answers(Endpoint::Discovery, Answer::Redirect(302, to)));
        let response = stand.site.stranger().get("/auth/sign-in/corp");
        assert_eq!((response.status, response.code().as_str()), UNAVAILABLE);
        assert_eq!(internal.connections(), 0);
    }

    fn oa_10_metadata_of_another_issuer_is_refused(database) {
        let stand = Stand::new(database);
        let issuer = stand.provider.issuer();
        for other in [
            json!("https://evil.example"),
            json!(format!("{issuer}/")),
            json!(issuer.replace("127.0.0.1", "localhost")),
            json!([issuer]),
            json!(null),
        ] {
            stand.site.pass(std::time::Duration::from_hours(2));
            stand.provider.repents();
            stand.provider.lies(Lie::Discovery("issuer", other.clone()));
            let response = stand.site.stranger().get("/auth/sign-in/corp");
            assert!(matches!(response.code().as_str(), "ISSUER_MISMATCH" | "UNABLE_TO_GET_USER_INFO"), "{other}");
        }
        assert_eq!(stand.asked(Endpoint::Authorize), 0);
    }

    fn oa_9_and_oidc_11_metadata_cannot_lead_into_a_private_network(database) {
        let stand = Stand::new(database);
        let internal = Upstream::hello();
        // On most systems this machine, though not by a name that says so.
        let here = format!("https://0.0.0.0:{}/token", internal.address.port());
        for to in [
            here.as_str(),
            "http://169.254.169.254/latest/meta-data/",
            "https://169.254.169.254/token",
            "http://10.0.0.1/token",
            "https://10.0.0.1/token",
            "https://192.168.0.1/token",
            "https://[fd00::1]/token",
            "https://[::ffff:10.0.0.1]/token",
            "https://0x0a000001/token",
            "https://167772161/token",
            "http://id.example/token",
            "ftp://127.0.0.1/token",
            "file:///etc/passwd",
            "//evil.example/token",
            "",
        ] {
            stand.site.pass(std::time::Duration::from_hours(2));
            stand.provider.repents();
            stand.provider.lies(Lie::Discovery("token_endpoint", json!(to)));
            let mut visitor = stand.site.stranger();
            let begun = visitor.get("/auth/sign-in/corp");
            let response = match begun.header("location") {
                None => begun,
                Some(location) => {
                    let callback = stand.provider.authorize(location);
                    visitor.get(callback.strip_prefix(&stand.site.origin).expect("it leads here"))
                }
            };
            assert!([INVALID, UNAVAILABLE].contains(&(response.status, response.code().as_str())), "{to}: {}", response.text());
        }
        assert_eq!(stand.rows(), [0; 3]);
        assert_eq!((stand.asked(Endpoint::Token), internal.connections()), (0, 0));
    }

    fn oidc_11_metadata_that_lacks_an_endpoint_is_refused(database) {
        let stand = Stand::new(database);
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            stand.site.pass(std::time::Duration::from_hours(2));
            stand.provider.repents();
            stand.provider.lies(Lie::NoDiscovery(name));
            let response = stand.site.stranger().get("/auth/sign-in/corp");
            assert_eq!((response.status, response.code().as_str()), INVALID, "{name}");
        }
        stand.site.pass(std::time::Duration::from_hours(2));
        stand.provider.repents();
        stand.enters();
    }

    fn a_profile_of_somebody_else_than_the_id_token_is_refused(database) {
        // OpenID Connect Core §5.3.2
        let stand = Stand::new(database);
        // Without a name in the ID token the profile is asked.
        stand.provider.lies(Lie::NoClaim("name"));
        stand.enters();
        assert_eq!(stand.asked(Endpoint::Profile), 1);
        for lie in [
            Lie::Profile("sub", json!("somebody-else")),
            Lie::Profile("sub", json!("")),
            Lie::Profile("sub", json!([Persona::ada().subject])),
            Lie::NoProfile("sub"),
        ] {
            stand.provider.repents();
            stand.provider.lies(Lie::NoClaim("name")).lies(lie.clone());
            stand.refuses(INVALID.0, INVALID.1, &format!("{lie:?}"));
        }
    }

    fn only_true_makes_an_address_verified(database) {
        let stand = Stand::new(database);
        verified_account(&stand, "ada@example.com");
        for said in [json!(false), json!("false"), json!(1), json!("yes"), json!("TRUE"), json!([true]), json!(null)] {
            stand.provider.repents();
            stand.provider.lies(Lie::Claim("email_verified", said.clone()));
            stand.refuses(403, "ACCOUNT_NOT_LINKED", &said.to_string());
        }
        stand.provider.repents();
        stand.provider.lies(Lie::Claim("email_verified", json!("true")));
        stand.enters();
        assert_eq!(stand.rows()[0], 1);
    }

    fn an_answer_that_is_not_json_is_none(database) {
        let stand = Stand::new(database);
        let with = |body: &str| Lie::Answers(Endpoint::Token, Answer::With(200, "application/json", body.to_owned()));
        stand.refuses_lies(
            &[
                with(""), with("null"), with("[]"), with("<html>"), with("{"), with("{} {}"), with("\u{feff}{}"),
                with(r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#),
                Lie::Answers(Endpoint::Token, Answer::With(500, "text/plain", "oops".to_owned())),
                Lie::Answers(Endpoint::Token, Answer::With(429, "application/json", "{}".to_owned())),
                Lie::Answers(Endpoint::Token, Answer::Hangup),
            ],
            UNAVAILABLE.0,
            UNAVAILABLE.1,
        );
        // Deep enough to end whoever reads it by recursion.
        stand.provider.lies(with(&"[".repeat(200_000)));
        stand.refuses(UNAVAILABLE.0, UNAVAILABLE.1, "nested");
    }

    fn oidc_5_answers_that_are_too_large_are_not_read_to_their_end(database) {
        let stand = Stand::new(database);
        for answer in [Answer::Giant(8 << 20), Answer::Endless, Answer::GzipBomb(1 << 30)] {
            for endpoint in [Endpoint::Token, Endpoint::Keys] {
                stand.site.pass(std::time::Duration::from_hours(2));
                stand.provider.repents();
                stand.provider.lies(Lie::Answers(endpoint, answer.clone()));
                stand.refuses(UNAVAILABLE.0, UNAVAILABLE.1, &format!("{endpoint:?} {answer:?}"));
            }
        }
        assert!(stand.site.is_well());
    }
}

#[test]
fn oa_9_a_built_in_kind_asks_nobody_for_its_endpoints() {
    for kind in [Kind::GitHub, Kind::Google, Kind::GitLab, Kind::Discord, Kind::Entra] {
        let stand = Stand::of(Database::sqlite(), kind, "");
        stand.enters();
        assert_eq!(stand.asked(Endpoint::Discovery), 0, "{kind:?}");
    }
}

#[test]
fn a_provider_that_takes_its_time_is_not_waited_for_for_long() {
    let cases: Vec<_> = [
        (Endpoint::Token, Answer::Silence),
        (Endpoint::Token, Answer::Drip),
        (Endpoint::Keys, Answer::Silence),
        (Endpoint::Discovery, Answer::Drip),
    ]
    .into_iter()
    .map(|(endpoint, answer)| {
        thread::spawn(move || {
            let slow = Provider::start();
            let quick = Provider::start();
            let text = format!("{}{}", slow.toml("slow", ""), quick.toml("quick", ""));
            let site = super::plan(Database::sqlite()).toml(&text).start();
            slow.lies(Lie::Answers(endpoint, answer));
            let mut visitor = site.stranger();
            let slowly = thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let begun = visitor.get("/auth/sign-in/slow");
                    let Some(location) = begun.header("location") else { return begun };
                    let callback = slow.authorize(location);
                    visitor.get(callback.strip_prefix(&site.origin).expect("it leads here"))
                });
                // Meanwhile everybody else signs in (3.3).
                quick.is_visited_by(grace());
                let walk = site.stranger().walk("/auth/sign-in/quick?callback_url=/app");
                assert_eq!(walk.response.status, 200);
                assert!(!waiting.is_finished(), "{endpoint:?} was not slow");
                waiting.join().expect("an answer within the patience of the tests")
            });
            assert_eq!((slowly.status, slowly.code().as_str()), UNAVAILABLE, "{endpoint:?}");
        })
    })
    .collect();
    assert!(PATIENCE.as_secs() >= 15, "the deadline of a request to a provider is ten seconds");
    for case in cases {
        case.join().expect("it went well");
    }
}
