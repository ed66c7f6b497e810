//! SIGHUP: the configuration read again while requests are served.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use serde_json::json;

use super::{Program, number};
use crate::support::raw::{PATIENCE, Raw};
use crate::support::site::PASSWORD;
use crate::support::upstream::{Upstream, ok};

mod certificates;
mod connections;
mod sections;
mod upstream_tls;
mod whole;

/// A rule for `/a/**`.
fn rule(access: &str) -> String {
    format!("[[rules]]\npath = \"/a/**\"\naccess = \"{access}\"\n")
}

const PROVIDER: &str =
    "[[providers]]\nkind = \"github\"\nclient_id = \"x\"\nclient_secret = \"0123456789abcdef\"\n";

#[test]
fn rules_change_under_load_and_not_one_request_fails() {
    let app = Upstream::hello();
    let program =
        Program::start(app.address, &format!("[limits]\nrequests_per_connection = 0\n{}", rule("public")));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let request = format!("GET /a/x HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
                let mut raw = Raw::connect(program.address);
                while !done.load(Ordering::Relaxed) {
                    let response = raw.send(&request).try_answer(false).expect("the connection stays");
                    assert!(matches!(response.status, 200 | 401), "{}", response.status);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for access in ["required", "public", "required", "public", "required"] {
            program.configure(app.address, &rule(access));
            assert!(program.reload().contains("was read again"));
            let expected = if access == "public" { 200 } else { 401 };
            crate::jobs::eventually("the new rule counts", || {
                program.visitor().get("/a/x").status == expected
            });
            let before = asked.load(Ordering::Relaxed);
            crate::jobs::eventually("the load goes on", || asked.load(Ordering::Relaxed) > before + 100);
        }
        done.store(true, Ordering::Relaxed);
    });
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_config_reloads_total{outcome=\"applied\"}"), 5, "{text}");
}

#[test]
fn a_bad_file_changes_nothing_and_everything_wrong_with_it_is_said() {
    let app = Upstream::hello();
    let program = Program::start(app.address, &rule("public"));
    program.configure(app.address, "[[rules]]\npath = \"/a/**\"\naccess = \"open\"\n[limits]\nbdoy = 1\n");
    let said = program.reload();
    assert!(
        said.contains("nothing was reloaded: sidegate.toml:") && said.contains("rules[0].access"),
        "{said}"
    );
    crate::jobs::eventually("the rest too", || program.says("did you mean `limits.body`?"));
    assert_eq!(program.visitor().get("/a/x").status, 200);
    // Nor does one that names a file that is not there.
    program.configure(app.address, "[geo]\ncountry_file = \"nowhere.mmdb\"\n");
    let said = program.reload();
    assert!(said.contains("nothing was reloaded") && said.contains("nowhere.mmdb"), "{said}");
    let place = said.split("sidegate.toml:").nth(1).expect("the place of the key");
    assert!(place.contains(": geo.country_file: nowhere.mmdb: "), "{said}");
    assert_eq!(program.visitor().get("/a/x").status, 200);
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_config_reloads_total{outcome=\"refused\"}"), 2, "{text}");
    // And no file at all is no reason to fall back to the defaults.
    std::fs::remove_file(program.directory.path().join("sidegate.toml")).expect("it was there");
    assert!(program.reload().contains("cannot be read"));
    assert_eq!(program.visitor().get("/a/x").status, 200);
}

#[test]
fn a_provider_that_is_removed_signs_nobody_in_any_more_and_sessions_stay() {
    let app = Upstream::hello();
    let program = Program::start(app.address, PROVIDER);
    let mut ada = program.visitor();
    let account = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(ada.post("/auth/signup", &account).status, 200);
    assert_eq!(ada.post("/auth/login", &account).status, 200);
    let on_the_page = |id: &str| program.visitor().navigate("/auth/sign-in").text().contains(id);
    assert!(on_the_page("/auth/sign-in/github"));
    let mut browser = program.visitor();
    let away = browser.sent_to("github", "");
    let state = away.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state");
    program.configure(app.address, "");
    assert!(program.reload().contains("was read again"));
    crate::jobs::eventually("it is gone from the page", || !on_the_page("/auth/sign-in/github"));
    assert_eq!(program.visitor().get("/auth/sign-in/github").status, 404);
    // Who is on the way through it is told so, and is not signed in.
    let back =
        browser.arrive(&format!("http://{}/auth/callback/github?code=x&state={state}", program.address));
    assert!(
        back.status == 404 || back.header("location").is_some_and(|to| to.contains("PROVIDER_NOT_FOUND")),
        "{back:?}"
    );
    assert_eq!(ada.get("/x").status, 200, "the session lives on");
}

#[test]
fn what_cannot_change_stays_and_is_named_and_the_rest_counts() {
    let app = Upstream::hello();
    let program = Program::start(app.address, &rule("public"));
    program.configure(
        app.address,
        &format!("[session]\ncache_entries = 5\n[store]\nurl = \"sqlite:other.db\"\n{}", rule("deny")),
    );
    let said = program.reload();
    assert!(said.contains("was read again"), "{said}");
    crate::jobs::eventually("both are named", || {
        ["session.cache_entries", "store.url"].iter().all(|key| {
            program.lines().iter().any(|line| line.contains(key) && line.contains("until the next start"))
        })
    });
    crate::jobs::eventually("the rule counts", || program.visitor().get("/a/x").status == 403);
    // Nobody gave one: it is kept beside the store.
    assert!(
        !program
            .lines()
            .iter()
            .any(|line| line.contains("until the next start") && line.contains("\"secret\""))
    );
    assert!(!program.directory.path().join("other.db").exists());
}

#[test]
fn a_request_that_has_begun_ends_as_it_began_and_the_app_may_move() {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let slow = Upstream::with(move |_, stream| {
        let _ = asked.send(());
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        let _ = stream.write_all(ok("the old app").as_bytes());
    });
    let program = Program::start(slow.address, &rule("public"));
    let mut running = Raw::connect(program.address);
    running.send(format!("GET /a/x HTTP/1.1\r\nHost: {}\r\n\r\n", program.address));
    was_asked.recv_timeout(PATIENCE).expect("the app was asked");
    let moved = Upstream::answering(ok("the new app"));
    program.configure(moved.address, &format!("[limits]\nbody = 10\n{}", rule("public")));
    assert!(program.reload().contains("was read again"));
    crate::jobs::eventually("others reach the new app", || {
        program.visitor().get("/a/y").text() == "the new app"
    });
    assert_eq!(program.visitor().get("/a/x").text(), "the new app");
    let post =
        format!("POST /a/x HTTP/1.1\r\nHost: {}\r\nContent-Length: 11\r\n\r\nhello world", program.address);
    assert_eq!(Raw::connect(program.address).send(post).answer().status, 413);
    go.send(()).expect("the app waits");
    assert_eq!(running.answer().text(), "the old app");
    // On the connection of before, the next request is one of now.
    running.send(format!("GET /a/x HTTP/1.1\r\nHost: {}\r\n\r\n", program.address));
    assert_eq!(running.answer().text(), "the new app");
}

#[test]
fn the_level_of_the_log_and_the_name_on_the_pages_change() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "");
    let name = "Another Name";
    // `public` has a url already: the section is written anew.
    let file = program.directory.path().join("sidegate.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let text = text.replace("[public]\n", &format!("[public]\nname = \"{name}\"\n"));
    std::fs::write(&file, format!("{text}[log]\nlevel = \"debug\"\n")).expect("a file");
    assert!(program.reload().contains("was read again"));
    crate::jobs::eventually("the page has it", || {
        program.visitor().navigate("/auth/sign-in").text().contains(name)
    });
    crate::jobs::eventually("more is said", || program.says(" DEBUG "));
}

#[test]
fn signals_at_which_other_servers_reopen_files_end_nothing() {
    let app = Upstream::hello();
    let program = Program::start(app.address, &rule("public"));
    for (times, signal) in [(1, "-USR1"), (2, "-USR2")] {
        program.signal(signal);
        crate::jobs::eventually("it says that it does nothing", || {
            program.lines().iter().filter(|line| line.contains("nothing is reopened")).count() == times
        });
        assert_eq!(program.visitor().get("/a/x").status, 200);
    }
}
