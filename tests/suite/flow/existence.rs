//! What answers tell of an account: nothing to who cannot sign in to it (EN-1 to EN-6, EN-9, RL-5).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{credentials, roomy, rows};
use crate::support::database::on_both_databases;
use crate::support::raw::Response;
use crate::support::site::{PASSWORD, Site};

/// An answer without what is another each time.
fn alike(response: &Response) -> (u16, Vec<(String, String)>, String) {
    let changing = ["date", "x-request-id"];
    let headers =
        response.headers.iter().filter(|(name, _)| !changing.contains(&&**name)).map(|(name, value)| {
            // What was typed comes back, sealed: its length is that of what was typed.
            let value = if value.starts_with("sidegate-typed=") { "sidegate-typed=…" } else { value };
            (name.clone(), value.to_owned())
        });
    let headers = headers.collect();
    let id = response.header("x-request-id").unwrap_or("no id");
    (response.status, headers, response.text().replace(id, "ID"))
}

/// The configured floor.
const FLOOR: Duration = Duration::from_millis(300);

/// How long something took: only ever compared with a lower bound.
#[expect(clippy::disallowed_methods, reason = "the floor is time that passes outside")]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let done = work();
    (started.elapsed(), done)
}

/// Ada has a password, Otto signs in elsewhere only, Nobody is not there.
fn people(site: &Site) {
    site.sign_up("ada@example.com");
    site.sign_up("otto@example.com");
    site.block_on(site.database.execute(
        r#"DELETE FROM "account" WHERE "userId" IN (SELECT "id" FROM "user" WHERE "email" = 'otto@example.com')"#,
    ));
}

on_both_databases! {
    fn en_1_a_failed_sign_in_is_the_same_answer_whoever_was_meant(database) {
        let site = roomy(database).start();
        people(&site);
        for at in ["sign-in/email", "login"] {
            let answer = |email: &str, password: &str| {
                let body = json!({ "email": email, "password": password });
                alike(&site.stranger().post(&format!("/auth/{at}"), &body))
            };
            let wrong = answer("ada@example.com", "another phrase");
            assert_eq!(wrong.0, 401);
            assert!(wrong.2.contains("INVALID_EMAIL_OR_PASSWORD"));
            assert_eq!(answer("nobody@example.com", "another phrase"), wrong);
            assert_eq!(answer("otto@example.com", "another phrase"), wrong);
            assert_eq!(answer("ada@example.com", ""), wrong);
            assert_eq!(answer("ada@example.com", &"x".repeat(5000)), wrong, "PW-2");
            assert_eq!(answer("nobody@example.com", &"x".repeat(5000)), wrong);
        }
        let page = |email: &str| {
            let page = site.stranger().submit("/auth/sign-in", &[("email", email), ("password", "another phrase")]);
            let (status, headers, text) = alike(&page);
            let headers: Vec<_> = headers.into_iter().filter(|(name, _)| name != "content-length").collect();
            (status, headers, text.replace(email, "EMAIL"))
        };
        let wrong = page("ada@example.com");
        assert_eq!(wrong.0, 422);
        assert_eq!(page("nobody@example.com"), wrong);
        assert_eq!(page("otto@example.com"), wrong);
    }

    fn en_3_a_taken_address_signs_up_like_a_free_one_and_nothing_changes(database) {
        let site = roomy(database).start();
        people(&site);
        let shape = |email: &str| {
            let body = json!({ "name": "Eve", "email": email, "password": "a phrase of somebody else" });
            let response = site.stranger().post("/auth/sign-up/email", &body);
            let mut answer = response.json();
            let id = answer["user"]["id"].take();
            let id = id.as_str().expect("an id").to_owned();
            assert_eq!(id.len(), 36);
            assert_eq!(answer["user"]["email"].take(), Value::from(email));
            (response.status, answer, response.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())
        };
        let new = shape("new@example.com");
        assert_eq!(new.0, 200);
        assert_eq!(shape("ada@example.com"), new);
        assert_eq!(shape("otto@example.com"), new);
        assert_eq!(rows(&site, "user"), 3);
        // Neither was the password of the account replaced, nor the name, nor was one given to Otto.
        assert_eq!(site.signed_in("ada@example.com").0.get("/auth/me").json()["user"]["name"], "Someone");
        for email in ["ada@example.com", "otto@example.com"] {
            let body = json!({ "email": email, "password": "a phrase of somebody else" });
            assert_eq!(site.stranger().post("/auth/login", &body).status, 401);
        }
        let page = |email: &str| {
            let fields = [("name", "Eve"), ("email", email), ("password", PASSWORD)];
            alike(&site.stranger().submit("/auth/sign-up", &fields))
        };
        assert_eq!(page("newer@example.com"), page("ada@example.com"));
    }

    fn en_3_what_is_wrong_with_a_sign_up_is_said_alike_for_free_and_taken_addresses(database) {
        let site = roomy(database).start();
        people(&site);
        for password in ["short", "password1", &"x".repeat(200)] {
            let answer = |email: &str| {
                let body = json!({ "name": "Eve", "email": email, "password": password });
                alike(&site.stranger().post("/auth/sign-up/email", &body))
            };
            let free = answer("nobody@example.com");
            assert_eq!(free.0, 400);
            assert_eq!(answer("ada@example.com"), free);
        }
    }

    fn en_6_budgets_and_what_is_said_of_them_are_the_same_for_all(database) {
        let site = roomy(database).set("limits", "attempts_per_account = 3").start();
        people(&site);
        let tries = |email: &str| {
            let body = json!({ "email": email, "password": "another phrase" });
            [(); 5].map(|()| alike(&site.stranger().post("/auth/sign-in/email", &body)))
        };
        let ada = tries("ada@example.com");
        assert_eq!(ada.clone().map(|answer| answer.0), [401, 401, 401, 429, 429]);
        assert_eq!(tries("nobody@example.com"), ada);
        assert_eq!(tries("otto@example.com"), ada);
    }

    fn en_2_no_answer_leaves_before_the_floor(database) {
        let site = roomy(database).set("password", "answer_floor = \"300ms\"").start();
        people(&site);
        let slow = |path: &str, body: &Value, status: u16| {
            let (took, response) = timed(|| site.stranger().post(path, body));
            assert!(took >= FLOOR, "{path} {body}");
            assert_eq!(response.status, status, "{path} {body}");
        };
        let wrong = |email: &str| json!({ "email": email, "password": "another phrase" });
        for at in ["/auth/sign-in/email", "/auth/login"] {
            slow(at, &wrong("nobody@example.com"), 401);
            slow(at, &wrong("ada@example.com"), 401);
            slow(at, &wrong("otto@example.com"), 401);
            slow(at, &credentials("ada@example.com"), 200);
        }
        for (n, at) in ["/auth/sign-up/email", "/auth/signup"].into_iter().enumerate() {
            let up = |email: &str| json!({ "name": "Eve", "email": email, "password": PASSWORD });
            slow(at, &up(&format!("new{n}@example.com")), 200);
            slow(at, &up("ada@example.com"), 200);
        }
        for (at, email, password, status) in [
            ("sign-in", "nobody@example.com", "another phrase", 422), ("sign-in", "ada@example.com", "another phrase", 422),
            ("sign-in", "ada@example.com", PASSWORD, 303), ("sign-up", "ada@example.com", PASSWORD, 303),
            ("sign-up", "newest@example.com", PASSWORD, 303),
        ] {
            let fields = [("name", "Eve"), ("email", email), ("password", password)];
            let (took, response) = timed(|| site.stranger().submit(&format!("/auth/{at}"), &fields));
            assert_eq!(response.status, status);
            assert!(took >= FLOOR, "{at} {email}");
        }
    }

    fn en_9_no_page_knows_an_address_before_the_password(database) {
        let site = roomy(database).start();
        people(&site);
        for page in ["sign-in", "sign-up"] {
            let shown = |email: &str| site.stranger().navigate(&format!("/auth/{page}?email={email}")).text();
            assert_eq!(shown("ada@example.com"), shown("nobody@example.com"));
        }
    }

    fn two_sign_ups_at_the_same_time_make_one_account(database) {
        let site = roomy(database).set("listen", "workers = 2").start();
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| {
                let body = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
                site.stranger().post("/auth/signup", &body).status
            })).collect();
            all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(statuses, [200; 8]);
        assert_eq!((rows(&site, "user"), rows(&site, "account")), (1, 1));
        site.signed_in("ada@example.com");
    }
}
