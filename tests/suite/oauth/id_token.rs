//! Each check of an ID token (OpenID Connect Core §3.1.3.7): a provider whose token is wrong in one way signs
//! nobody in. Numbers are those of the rules.

use serde_json::{Value, json};

use super::Stand;
use crate::support::database::on_both_databases;
use crate::support::provider::{Alg, CLIENT, Endpoint, Kind, Lie};

/// What is said of whatever cannot be believed.
const INVALID: (u16, &str) = (502, "UNABLE_TO_GET_USER_INFO");

fn refused(stand: &Stand, lies: &[Lie]) {
    stand.refuses_lies(lies, INVALID.0, INVALID.1);
}

fn claims(name: &'static str, values: &[Value]) -> Vec<Lie> {
    values.iter().map(|value| Lie::Claim(name, value.clone())).collect()
}

/// Seconds since 1970 by the clock of the tests.
const NOW: i64 = 1_767_323_045;

on_both_databases! {
    fn oidc_1_every_algorithm_that_providers_use_signs_people_in(database) {
        let stand = Stand::new(database);
        for alg in [Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::EdDsa] {
            stand.provider.signs_with(alg);
            stand.enters();
        }
        assert_eq!(stand.rows()[0], 1, "it was Ada each time");
    }

    fn item_1_an_encrypted_token_is_refused(database) {
        let stand = Stand::new(database);
        let jwe = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00iLCJ6aXAiOiJERUYifQ.AAAA.AAAA.AAAA.AAAA";
        refused(&stand, &[Lie::Text(jwe.to_owned())]);
    }

    fn item_2_another_issuer_in_the_token_is_refused(database) {
        let stand = Stand::new(database);
        let issuer = stand.provider.issuer();
        let mut lies = claims("iss", &[
            json!("https://evil.example"),
            json!(format!("{issuer}/")),
            json!(issuer.to_uppercase()),
            json!(issuer.trim_start_matches("http://")),
            json!(""),
        ]);
        for lie in &lies {
            stand.provider.repents();
            stand.provider.lies(lie.clone());
            let (_, response) = stand.tries();
            assert!(matches!(response.code().as_str(), "ISSUER_MISMATCH" | "UNABLE_TO_GET_USER_INFO"), "{lie:?}");
        }
        lies.clear();
        lies.extend(claims("iss", &[json!([issuer]), json!(5)]));
        refused(&stand, &lies);
    }

    fn oidc_1_a_token_without_issuer_or_audience_is_refused(database) {
        let stand = Stand::new(database);
        for (claim, code) in [("iss", "ISSUER_MISMATCH"), ("aud", INVALID.1)] {
            stand.provider.repents();
            stand.provider.lies(Lie::NoClaim(claim));
            let before = stand.rows();
            let (_, response) = stand.tries();
            assert!([code, INVALID.1].contains(&response.code().as_str()), "{claim}: {}", response.text());
            assert_eq!(stand.rows(), before);
        }
    }

    fn item_3_a_token_for_another_client_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &claims("aud", &[
            json!("another"),
            json!([]),
            json!(["another"]),
            json!([CLIENT, "another"]),
            json!(format!("{CLIENT} ")),
            json!({ "sidegate": true }),
            json!(true),
        ]));
    }

    fn item_3_an_audience_in_a_list_is_the_same_audience(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::Claim("aud", json!([CLIENT])));
        stand.enters();
    }

    fn items_4_and_5_a_token_issued_to_another_party_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &claims("azp", &[json!("another"), json!(""), json!([CLIENT])]));
        stand.provider.lies(Lie::Claim("azp", json!(CLIENT)));
        stand.enters();
    }

    fn item_6_and_oidc_8_a_wrong_signature_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &[
            Lie::Tampered,
            Lie::ForeignKey,
            Lie::Text("a.b.c".to_owned()),
            Lie::Text("..".to_owned()),
            Lie::Text(String::new()),
        ]);
        for alg in [Alg::Es256, Alg::EdDsa, Alg::Ps256] {
            stand.provider.signs_with(alg);
            refused(&stand, &[Lie::Tampered, Lie::ForeignKey]);
        }
    }

    fn item_7_and_oidc_2_a_token_without_signature_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &[Lie::Alg(Alg::None)]);
        for name in ["None", "NONE", "nOnE", ""] {
            stand.provider.lies(Lie::Alg(Alg::None)).lies(Lie::Header("alg", json!(name)));
            stand.refuses(INVALID.0, INVALID.1, name);
            stand.provider.repents();
        }
    }

    fn items_7_and_8_and_oidc_2_a_mac_is_no_signature_whatever_its_key(database) {
        let stand = Stand::new(database);
        refused(&stand, &[Lie::Alg(Alg::Hs256PublicKey), Lie::Alg(Alg::Hs256Secret)]);
    }

    fn item_7_the_header_does_not_choose_how_a_key_is_used(database) {
        let stand = Stand::new(database);
        // Signed with one key, named by the id of another.
        for (alg, kid) in [(Alg::Es256, "rsa-1"), (Alg::Rs256, "ec-1"), (Alg::EdDsa, "ec-1")] {
            stand.provider.lies(Lie::Alg(alg)).lies(Lie::Header("kid", json!(kid)));
            stand.refuses(INVALID.0, INVALID.1, &format!("{alg:?} under {kid}"));
            stand.provider.repents();
        }
        refused(&stand, &[Lie::Header("alg", json!("ES256")), Lie::Header("alg", json!("RS512"))]);
    }

    fn item_9_and_oidc_2_a_token_that_has_expired_or_never_does_is_refused(database) {
        let stand = Stand::new(database);
        let mut lies = claims("exp", &[
            json!(NOW - 3600),
            json!(NOW - 61),
            json!(0),
            json!(-1),
            json!(1e300),
            json!(f64::MAX),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1_767_326_645.5),
            json!(format!("{}", NOW + 3600)),
            json!(true),
            json!([NOW + 3600]),
            json!(null),
        ]);
        lies.push(Lie::NoClaim("exp"));
        refused(&stand, &lies);
    }

    fn item_9_a_clock_that_is_a_little_late_is_forgiven(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::Claim("exp", json!(NOW - 20)));
        stand.enters();
    }

    fn item_10_and_oidc_2_a_token_of_another_time_is_refused(database) {
        let stand = Stand::new(database);
        let mut lies = claims("iat", &[
            json!(4_102_444_800_u64),
            json!(NOW + 3600),
            json!(NOW + 120),
            json!(NOW - 30 * 86_400),
            json!(0),
            json!(1e300),
            json!(format!("{NOW}")),
            json!(null),
        ]);
        lies.push(Lie::NoClaim("iat"));
        lies.push(Lie::Claim("nbf", json!(NOW + 3600)));
        refused(&stand, &lies);
    }

    fn item_11_and_oidc_6_a_token_with_another_nonce_is_refused(database) {
        let stand = Stand::new(database);
        let mut lies = claims("nonce", &[json!("another"), json!(""), json!(null), json!(5), json!([])]);
        lies.push(Lie::NoClaim("nonce"));
        refused(&stand, &lies);
    }

    fn item_11_the_nonce_of_an_earlier_sign_in_is_refused(database) {
        let stand = Stand::new(database);
        stand.enters();
        let old = stand.provider.last(Endpoint::Authorize).parameters["nonce"].clone();
        refused(&stand, &[Lie::Claim("nonce", json!(old))]);
    }

    fn item_13_where_people_are_asked_to_sign_in_anew_the_token_has_to_say_that_they_did(database) {
        let stand = Stand::of(database, Kind::Oidc, "trust_email = true\nprompt = \"login\"");
        stand.provider.lies(Lie::Claim("auth_time", json!(NOW)));
        stand.enters();
        let asked = stand.provider.last(Endpoint::Authorize).parameters;
        assert_eq!((&*asked["prompt"], &*asked["max_age"]), ("login", "0"));
        // Whoever sits at the browser leaves out what we asked for, and is still signed in from last week.
        let week_ago = NOW - 7 * 24 * 60 * 60;
        for lie in [Lie::Claim("auth_time", json!(week_ago)), Lie::Claim("auth_time", json!(NOW - 61)),
                    Lie::Claim("auth_time", json!(NOW + 3600)), Lie::Claim("auth_time", json!("now")),
                    Lie::NoClaim("auth_time")] {
            stand.provider.repents();
            stand.provider.lies(lie.clone());
            stand.refuses(INVALID.0, INVALID.1, &format!("{lie:?}"));
        }
    }

    fn item_13_kinds_that_cannot_be_asked_when_it_was_are_held_to_what_they_say(database) {
        let stand = Stand::of(database, Kind::Google, "prompt = \"login\"");
        stand.enters();
        assert!(!stand.provider.last(Endpoint::Authorize).parameters.contains_key("max_age"));
        stand.provider.lies(Lie::Claim("auth_time", json!(NOW - 3600)));
        stand.refuses(INVALID.0, INVALID.1, "an hour ago");
    }

    fn claims_of_the_wrong_type_are_refused(database) {
        let stand = Stand::new(database);
        let mut lies = claims("sub", &[
            json!(null),
            json!(""),
            json!(5),
            json!(["248289761001"]),
            json!("x".repeat(256)),
            json!("süß"),
            json!("a\nb"),
        ]);
        lies.push(Lie::NoClaim("sub"));
        refused(&stand, &lies);
    }

    fn a_claim_that_is_there_twice_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &[
            Lie::Repeats("sub", json!("somebody-else")),
            Lie::Repeats("email", json!("victim@example.com")),
            Lie::Repeats("aud", json!("another")),
        ]);
    }

    fn an_at_hash_of_another_access_token_is_refused(database) {
        let stand = Stand::new(database);
        refused(&stand, &claims("at_hash", &[json!("AAAAAAAAAAAAAAAAAAAAAA"), json!(""), json!(5)]));
        stand.provider.lies(Lie::NoClaim("at_hash"));
        stand.enters();
    }

    fn a_token_of_another_type_is_refused(database) {
        let stand = Stand::new(database);
        stand.provider.lies(Lie::NoHeader("typ"));
        stand.enters();
        let types = ["at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt"];
        let mut lies: Vec<Lie> = types.iter().map(|typ| Lie::Header("typ", json!(typ))).collect();
        lies.push(Lie::Claim("events", json!({ "http://schemas.openid.net/event/backchannel-logout": {} })));
        refused(&stand, &lies);
    }

    fn a_header_that_brings_its_own_key_is_refused_and_nothing_is_fetched(database) {
        let stand = Stand::new(database);
        let other = crate::support::upstream::Upstream::hello();
        let url = json!(format!("http://{}/keys", other.address));
        for lie in [
            Lie::Header("jku", url.clone()),
            Lie::Header("x5u", url),
            Lie::Header("jwk", json!({ "kty": "oct", "k": "AAAA" })),
            Lie::Header("crit", json!(["b64"])),
            Lie::Header("crit", json!(["exp"])),
            Lie::Header("zip", json!("DEF")),
        ] {
            stand.provider.repents();
            // Signed with the key that a believer would find there.
            stand.provider.lies(lie.clone()).lies(Lie::ForeignKey);
            stand.refuses(INVALID.0, INVALID.1, &format!("{lie:?}"));
        }
        assert_eq!(other.connections(), 0);
    }

    fn oidc_2_unknown_keys_make_us_ask_for_keys_once_in_a_while_only(database) {
        let stand = Stand::new(database);
        stand.enters();
        let before = stand.asked(Endpoint::Keys);
        stand.provider.lies(Lie::UnknownKey);
        for round in 0..20 {
            stand.refuses(INVALID.0, INVALID.1, &format!("round {round}"));
        }
        assert!(stand.asked(Endpoint::Keys) <= before + 1, "{}", stand.asked(Endpoint::Keys));
        stand.site.pass(std::time::Duration::from_mins(1));
        stand.refuses(INVALID.0, INVALID.1, "a minute later");
        assert!(stand.asked(Endpoint::Keys) <= before + 2, "{}", stand.asked(Endpoint::Keys));
        stand.provider.repents();
        stand.enters();
    }

    fn a_provider_may_change_its_keys_at_any_time(database) {
        let stand = Stand::new(database);
        for round in 0..3 {
            stand.enters();
            stand.provider.rotates_keys();
            stand.site.pass(std::time::Duration::from_secs(15));
            assert!(stand.asked(Endpoint::Keys) <= round + 1);
        }
    }

    fn a_token_is_needed_where_there_should_be_one(database) {
        let stand = Stand::new(database);
        refused(&stand, &[
            Lie::NoToken("id_token"),
            Lie::Token("id_token", json!(null)),
            Lie::Token("id_token", json!(5)),
            Lie::Token("id_token", json!("")),
        ]);
    }

    fn oidc_8_no_kind_believes_a_token_that_is_not_signed(database) {
        let stand = Stand::of(database, Kind::Google, "");
        refused(&stand, &[Lie::Tampered, Lie::ForeignKey, Lie::Alg(Alg::None), Lie::Alg(Alg::Hs256PublicKey)]);
    }
}

on_both_databases! {
    fn oidc_8_gitlab_believes_no_token_that_is_not_signed(database) {
        let stand = Stand::of(database, Kind::GitLab, "trust_email = true");
        refused(&stand, &[Lie::Tampered, Lie::ForeignKey, Lie::Alg(Alg::None), Lie::Alg(Alg::Hs256PublicKey)]);
    }

    fn oidc_8_microsoft_believes_no_token_that_is_not_signed(database) {
        let stand = Stand::of(database, Kind::Entra, "");
        refused(&stand, &[Lie::Tampered, Lie::ForeignKey, Lie::Alg(Alg::None), Lie::Alg(Alg::Hs256PublicKey)]);
    }
}
