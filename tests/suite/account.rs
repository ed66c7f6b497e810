//! Passwords and budgets from outside, on both databases (PW-1 to PW-10, RL-1 to RL-6, proxies' RL-1 to
//! RL-5).

use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::{credentials, opens, roomy, rows, token};
use crate::support::database::on_both_databases;
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};

fn sign_up(site: &Site, email: &str, password: &str) -> Response {
    let body = json!({ "name": "Someone", "email": email, "password": password });
    site.stranger().post("/auth/sign-up/email", &body)
}

fn login(site: &Site, email: &str, password: &str) -> Response {
    site.stranger().post("/auth/login", &json!({ "email": email, "password": password }))
}

fn stored(site: &Site) -> String {
    site.block_on(site.database.texts(r#"SELECT "password" FROM "account""#)).remove(0)
}

fn wrong(email: &str) -> Value {
    json!({ "email": email, "password": "another phrase" })
}

on_both_databases! {
    fn pw_1_to_3_length_is_counted_in_characters_and_nothing_is_cut_off(database) {
        let site = roomy(database).start();
        let most = "zq xk vj ".repeat(15)[..128].to_owned();
        for (n, (password, code)) in [
            ("zq wvxk", "PASSWORD_TOO_SHORT"), ("zq wvxkt", ""), ("🦉🐢🦊🐙🐬🦋🐝", "PASSWORD_TOO_SHORT"),
            ("🦉🐢🦊🐙🐬🦋🐝🐌", ""), ("        x", ""), ("~`!@#$%^&*()_+-=[]{}|\\:\";'<>?,./", ""),
            (&most, ""), (&format!("{most}z"), "PASSWORD_TOO_LONG"), (&"x".repeat(60_000), "PASSWORD_TOO_LONG"),
            ("zq\0wvxkt!", ""),
        ].into_iter().enumerate() {
            let email = format!("ada{n}@example.com");
            let response = sign_up(&site, &email, password);
            if code.is_empty() {
                assert_eq!(response.status, 200, "{password:?}: {}", response.text());
                assert_eq!(login(&site, &email, password).status, 200, "{password:?}");
                let mut shorter = password.to_owned();
                shorter.pop();
                assert_eq!(login(&site, &email, &shorter).status, 401, "PW-2: no truncation of {password:?}");
                assert_eq!(login(&site, &email, &format!("{password}z")).status, 401, "PW-2: {password:?}");
            } else {
                assert_eq!((response.status, &*response.code()), (400, code), "{password:?}");
            }
        }
    }

    fn pw_3_every_spelling_that_nfkc_makes_equal_signs_in(database) {
        let site = roomy(database).start();
        sign_up(&site, "ada@example.com", "\u{c5}ngstr\u{f6}m \u{fb01}sh");
        assert_eq!(login(&site, "ada@example.com", "A\u{30a}ngstro\u{308}m fish").status, 200);
        assert_eq!(login(&site, "ada@example.com", "angstrom fish").status, 401);
    }

    fn pw_4_and_5_only_what_is_guessed_first_is_refused_and_no_kinds_of_characters_are_asked_for(database) {
        let site = roomy(database).set("public", "name = \"Harbour Notes\"").start();
        for bad in ["password", "Password1!", "12345678", "qwertyuiop", "iloveyou", "margarethe", "margarethe@example.com",
                    "Harbour Notes", "someone's"] {
            let response = sign_up(&site, "margarethe@example.com", bad);
            if bad == "someone's" {
                assert_eq!(response.status, 200, "only the whole name is refused");
            } else {
                assert_eq!((response.status, &*response.code()), (400, "PASSWORD_TOO_COMMON"), "{bad}");
                assert!(!response.json()["message"].as_str().unwrap_or_default().is_empty(), "and says why");
            }
        }
        assert_eq!(sign_up(&site, "ada@example.com", "nur kleine buchstaben").status, 200);
    }

    fn pw_8_a_better_auth_hash_signs_in_and_is_replaced_by_a_better_one(database) {
        let site = roomy(database).start();
        site.sign_up("ada@example.com");
        for (hash, password) in [
            ("00112233445566778899aabbccddeeff:4dc641b984b6e44ea3133a70c7b828545791fe1b8ff78dbbaa17a7b2c70341cc2df8e7b6f5adc87ded98bf93083e5245ac9fbf90bae65bf34a5fbc62312dd82e", "password1234"),
            ("0123456789abcdef0123456789abcdef:342d0cc949b56a30b1e6d5d1f66d1120acbe3cdc1c99c49609f7053c541472bc63bb90543c47ea23b642c23ae86e437b09f6270a8589eb42443e41a5b78fe901", "\u{fb01}sh-\u{c5}-\u{30d1}\u{30b9}\u{30ef}\u{30fc}\u{30c9}"),
        ] {
            site.block_on(site.database.execute(&format!(r#"UPDATE "account" SET "password" = '{hash}'"#)));
            assert_eq!(login(&site, "ada@example.com", "another phrase").status, 401);
            assert_eq!(stored(&site), hash, "only a right password replaces it");
            assert_eq!(login(&site, "ada@example.com", password).status, 200);
            let better = stored(&site);
            assert!(better.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{better}");
            assert_eq!(login(&site, "ada@example.com", password).status, 200);
            assert_eq!(stored(&site), better, "once");
        }
    }

    fn a_hash_in_a_format_that_nobody_knows_opens_nothing(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 10000").start();
        site.sign_up("ada@example.com");
        for hash in ["", "plain", PASSWORD, "$argon2id$", "$9$x", ":", "00:00"] {
            site.block_on(site.database.execute(&format!(r#"UPDATE "account" SET "password" = '{hash}'"#)));
            for password in [PASSWORD, hash, ""] {
                assert_eq!(login(&site, "ada@example.com", password).status, 401, "{hash:?} {password:?}");
            }
        }
    }

    fn rl_1_guesses_are_counted_once_whatever_the_door_and_the_spelling(database) {
        // GHSA-hjj4-hfjm-fmrj
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 6").start();
        site.sign_up("alice@example.com");
        for email in ["alice@example.com", "ALICE@example.com", " alice@example.com "] {
            assert_eq!(site.stranger().post("/auth/sign-in/email", &wrong(email)).status, 401);
        }
        assert_eq!(site.stranger().post("/auth/login", &wrong("Alice@Example.COM")).status, 401);
        let form = [("email", "alice@example.com"), ("password", "another phrase")];
        for _ in 0..2 {
            assert_eq!(site.stranger().submit("/auth/sign-in", &form).status, 422);
        }
        let refused = site.stranger().submit("/auth/sign-in", &form);
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("600")));
        assert!(refused.text().contains("role=\"alert\""), "{}", refused.text());
        for at in ["login", "sign-in/email"] {
            let refused = site.stranger().post(&format!("/auth/{at}"), &credentials("alice@example.com"));
            assert_eq!((refused.status, &*refused.code()), (429, "TOO_MANY_REQUESTS"), "also the right password");
        }
        site.pass(Duration::from_mins(10));
        site.signed_in("alice@example.com");
    }

    fn rl_3_a_browser_that_signed_in_before_is_not_locked_out_by_strangers(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 2").start();
        let (mut ada, _) = site.member("ada@example.com");
        ada.post("/auth/sign-out", &json!({}));
        for _ in 0..20 {
            site.stranger().post("/auth/login", &wrong("ada@example.com"));
        }
        assert_eq!(site.stranger().post("/auth/login", &credentials("ada@example.com")).status, 429);
        assert_eq!(ada.post("/auth/login", &credentials("ada@example.com")).status, 200);
        // That browser has a budget of its own to guess with, and for this account only.
        let statuses = [(); 3].map(|()| ada.post("/auth/login", &wrong("ada@example.com")).status);
        assert_eq!(statuses, [401, 401, 429]);
        let statuses = [(); 3].map(|()| ada.post("/auth/login", &wrong("bob@example.com")).status);
        assert_eq!(statuses, [401, 401, 429]);
    }

    fn rl_2_one_source_has_so_many_attempts_a_minute_for_all_accounts_together(database) {
        let site = Site::on(database).set("limits", "attempts_per_address = 5").start();
        site.sign_up("ada@example.com");
        for n in 0..4 {
            assert_eq!(site.stranger().post("/auth/login", &wrong(&format!("x{n}@example.com"))).status, 401);
        }
        let refused = site.stranger().post("/auth/login", &credentials("ada@example.com"));
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("12")));
        let up = sign_up(&site, "bob@example.com", PASSWORD);
        assert_eq!((up.status, &*up.code()), (429, "TOO_MANY_REQUESTS"));
        assert_eq!(rows(&site, "user"), 1);
        site.pass(Duration::from_secs(12));
        site.signed_in("ada@example.com");
    }

    fn rl_2_all_together_have_so_many_attempts_a_second_and_known_browsers_are_not_counted(database) {
        let site = Site::on(database)
            .set("limits", "attempts_in_all = 4\nattempts_per_address = 3\nattempts_per_account = 10")
            .set("proxies", "trusted = [\"127.0.0.0/8\"]").start();
        let (mut known, _) = site.member("ada@example.com");
        let from = |n: u32, at: &str, body: &Value| {
            site.stranger().ask("POST", at).header("X-Forwarded-For", &format!("198.51.100.{n}")).json(body).send()
        };
        // Two were spent to get here. Each comes from an address of its own and means an account of its own.
        assert_eq!(from(1, "/auth/login", &wrong("a@example.com")).status, 401);
        assert_eq!(from(2, "/auth/login", &wrong("b@example.com")).status, 401);
        let up = json!({ "name": "Bob", "email": "bob@example.com", "password": PASSWORD });
        for (at, body) in [
            ("/auth/login", &credentials("ada@example.com")),
            ("/auth/sign-in/email", &wrong("c@example.com")),
            ("/auth/sign-up/email", &up),
        ] {
            // More often than the address may: whoever is turned away here keeps what the address had.
            for _ in 0..4 {
                let refused = from(3, at, body);
                assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{at}");
                assert_eq!(refused.code(), "TOO_MANY_REQUESTS");
            }
        }
        assert_eq!(rows(&site, "user"), 1);
        assert_eq!(known.post("/auth/login", &credentials("ada@example.com")).status, 200, "known here");
        site.pass(Duration::from_secs(1));
        for n in 0..4 {
            assert_eq!(from(3 + n % 2, "/auth/login", &wrong("d@example.com")).status, 401, "{n}");
        }
        assert_eq!(from(5, "/auth/login", &wrong("d@example.com")).status, 429);
    }

    fn rl_6_who_is_refused_keeps_session_and_cookies(database) {
        let site = Site::on(database).set("limits", "attempts_per_address = 3").start();
        let (mut ada, _) = site.member("ada@example.com");
        ada.post("/auth/login", &wrong("ada@example.com"));
        let refused = ada.post("/auth/login", &wrong("ada@example.com"));
        assert_eq!((refused.status, refused.all("set-cookie").len()), (429, 0));
        assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
        assert!(opens(&site, &token(&ada)));
    }

    fn rl_4_and_5_a_client_cannot_choose_the_address_it_is_counted_by(database) {
        // authentik CVE-2023-36456
        let site = Site::on(database).set("limits", "attempts_per_address = 3").start();
        let statuses: Vec<u16> = (0..6).map(|n| {
            site.stranger().ask("POST", "/auth/login").header("X-Forwarded-For", &format!("198.51.100.{n}"))
                .header("X-Real-IP", &format!("198.51.100.{n}")).header("Forwarded", &format!("for=198.51.100.{n}"))
                .header("CF-Connecting-IP", &format!("198.51.100.{n}")).json(&wrong("ada@example.com")).send().status
        }).collect();
        assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    }

    fn rl_4_behind_a_trusted_proxy_the_nearest_address_that_it_vouches_for_counts(database) {
        let site = Site::on(database).set("limits", "attempts_per_address = 3\nattempts_per_account = 1000")
            .set("proxies", "trusted = [\"127.0.0.0/8\"]").start();
        let from = |chain: &str| {
            site.stranger().ask("POST", "/auth/login").header("X-Forwarded-For", chain)
                .json(&wrong("ada@example.com")).send().status
        };
        let statuses: Vec<u16> = (0..5).map(|n| from(&format!("203.0.113.{n}, 198.51.100.7"))).collect();
        assert_eq!(statuses, [401, 401, 401, 429, 429], "what stands left of it is the client's word");
        assert_eq!(from("198.51.100.8"), 401, "another client");
        let statuses: Vec<u16> = (0..4).map(|n| from(&format!("2001:db8:1:1::{n}"))).collect();
        assert_eq!(statuses, [401, 401, 401, 429], "an IPv6 network is one source");
        assert_eq!(from("2001:db8:1:2::1"), 401);
    }

    fn rl_5_an_address_that_cannot_be_read_puts_nobody_into_the_bucket_of_others(database) {
        let site = Site::on(database).set("limits", "attempts_per_address = 2")
            .set("proxies", "trusted = [\"127.0.0.0/8\"]").start();
        for _ in 0..5 {
            site.stranger().ask("POST", "/auth/login").header("X-Forwarded-For", "unknown, _hidden")
                .json(&wrong("ada@example.com")).send();
        }
        let other = site.stranger().ask("POST", "/auth/login").header("X-Forwarded-For", "198.51.100.7")
            .json(&wrong("bob@example.com")).send();
        assert_eq!(other.status, 401);
    }

    fn a_right_password_is_no_failure_however_often_it_is_given(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 2").start();
        site.sign_up("ada@example.com");
        for _ in 0..6 {
            site.signed_in("ada@example.com");
        }
    }

    fn parallel_guesses_pass_only_as_often_as_the_budget_allows(database) {
        let site = roomy(database).set("limits", "attempts_per_address = 10000\nattempts_per_account = 4")
            .set("listen", "workers = 2").start();
        site.sign_up("ada@example.com");
        let judged: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..24).map(|_| scope.spawn(|| {
                site.stranger().post("/auth/login", &wrong("ada@example.com")).status
            })).collect();
            all.into_iter().map(|thread| thread.join().expect("no panic")).filter(|status| *status == 401).count()
        });
        assert_eq!(judged, 4);
    }
}
