//! What a reload changes, section by section, each seen in what the next one who comes meets.

use std::process::Command;

use serde_json::json;
use sidegate::config;

use super::Program;
use crate::flow::set_cookie;
use crate::jobs::eventually;
use crate::ops::number;
use crate::support::database::{Database, on_both_databases};
use crate::support::mailbox::Mailbox;
use crate::support::raw::{Raw, Response};
use crate::support::site::PASSWORD;
use crate::support::upstream::{Upstream, ok};
use crate::support::visitor::Visitor;
use crate::token::parts;

fn sign_up(program: &Program, email: &str, password: &str) -> Response {
    let body = json!({ "name": "Someone", "email": email, "password": password });
    program.visitor().post("/auth/sign-up/email", &body)
}

fn sign_in(program: &Program, email: &str) -> (Visitor, Response) {
    let mut visitor = program.visitor();
    let response = visitor.post("/auth/sign-in/email", &json!({ "email": email, "password": PASSWORD }));
    (visitor, response)
}

/// Somebody with an account, signed in.
fn member(program: &Program, email: &str) -> Visitor {
    assert_eq!(sign_up(program, email, PASSWORD).status, 200);
    let (visitor, response) = sign_in(program, email);
    assert_eq!(response.status, 200, "{}", response.text());
    visitor
}

/// A configuration on this database.
fn on(database: &Database, more: &str) -> String {
    let url = match database.config().database {
        config::Database::Sqlite(path) => format!("sqlite:{}", path.display()),
        config::Database::Postgres(url) => url,
    };
    format!("[store]\nurl = \"{url}\"\n{more}")
}

fn reloaded(program: &Program, old: &str, new: &str) {
    program.edit(old, new);
    let said = program.reload();
    assert!(said.contains("was read again") && !said.contains("until the next start"), "{said}");
}

#[test]
fn mails_go_to_the_server_of_the_latest_configuration_those_that_wait_too() {
    let (app, one, two) = (Upstream::hello(), Mailbox::start(), Mailbox::start());
    let program = Program::start(app.address, "# mail\n");
    assert_eq!(sign_up(&program, "ann@example.com", PASSWORD).status, 200, "without mail");
    let of = |mailbox: &Mailbox| format!("[mail]\n{}", mailbox.config());
    reloaded(&program, "# mail\n", &of(&one));
    assert_eq!(sign_up(&program, "ada@example.com", PASSWORD).status, 200);
    one.wait_for("ada@example.com");
    // A server that is not there, and then another in its place.
    let gone = crate::serve::free_port().port().to_string();
    reloaded(&program, &one.address.port().to_string(), &gone);
    assert_eq!(sign_up(&program, "bob@example.com", PASSWORD).status, 200);
    eventually("it could not be sent", || program.says("a mail was not taken"));
    reloaded(&program, &gone, &two.address.port().to_string());
    assert_eq!(sign_up(&program, "eve@example.com", PASSWORD).status, 200);
    two.wait_for("eve@example.com");
    two.wait_for("bob@example.com");
    assert_eq!((one.count("eve@example.com"), one.count("bob@example.com")), (0, 0));
}

#[test]
fn what_was_caught_is_still_there() {
    let app = Upstream::hello();
    let mail = "[mail]\ntransport = \"catcher\"\nfrom = \"one@example.org\"\n";
    let program = Program::start(app.address, mail);
    assert_eq!(sign_up(&program, "ada@example.com", PASSWORD).status, 200);
    let caught = |who: &str| program.visitor().navigate("/auth/dev/mail").text().contains(who);
    eventually("it is caught", || caught("ada@example.com"));
    reloaded(&program, "one@", "two@");
    assert_eq!(sign_up(&program, "bob@example.com", PASSWORD).status, 200);
    eventually("the next one too", || caught("bob@example.com"));
    assert!(caught("ada@example.com"));
}

#[test]
fn the_next_session_lives_as_long_as_is_configured_now_and_those_before_live_on() {
    let app = Upstream::hello();
    let program =
        Program::start(app.address, "[session]\nidle = \"7d\"\n[limits]\nattempts_per_address = 500\n");
    let mut ada = member(&program, "ada@example.com");
    let life = || {
        let response = sign_in(&program, "ada@example.com").1;
        set_cookie(&response, "sidegate").expect("a cookie").to_owned()
    };
    assert!(life().contains("Max-Age=604800"), "{}", life());
    reloaded(&program, "idle = \"7d\"", "idle = \"2d\"");
    eventually("the next one is shorter", || life().contains("Max-Age=172800"));
    assert_eq!(ada.get("/x").status, 200);
    // Nobody's session is older than its absolute end, of whenever it is.
    reloaded(
        &program,
        "idle = \"2d\"",
        "idle = \"1m\"\nabsolute = \"1m\"\nshort = \"1m\"\nrenew_every = \"1s\"",
    );
    eventually("and shorter still", || life().split("; ").any(|part| part == "Max-Age=60"));
}

#[test]
fn a_new_password_is_as_long_as_is_asked_now() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "");
    assert_eq!(sign_up(&program, "ada@example.com", "zq wvxkt").status, 200);
    reloaded(&program, "[password]\n", "[password]\nmin_length = 12\nconcurrency = 3\n");
    let page = || program.visitor().navigate("/auth/sign-up").text();
    eventually("the page says so", || page().contains("minlength=\"12\""));
    let refused = sign_up(&program, "bob@example.com", "zq wvxkt");
    assert_eq!((refused.status, &*refused.code()), (400, "PASSWORD_TOO_SHORT"));
    assert_eq!(sign_up(&program, "bob@example.com", PASSWORD).status, 200);
    let mut ada = program.visitor();
    let known = json!({ "email": "ada@example.com", "password": "zq wvxkt" });
    assert_eq!(ada.post("/auth/sign-in/email", &known).status, 200, "who has one keeps it");
}

#[test]
fn the_app_sees_the_names_and_the_assertion_of_the_latest_configuration() {
    let app = Upstream::hello();
    let program =
        Program::start(app.address, "[identity]\npreset = \"none\"\n[session]\ncache_age = \"2m\"\n");
    let mut ada = member(&program, "ada@example.com");
    let mut seen = |name: &str| {
        assert_eq!(ada.get("/x").status, 200);
        app.last().header(name).map(str::to_owned)
    };
    assert_eq!(seen("remote-email"), None);
    let asserted = "preset = \"authelia\"\nassertion_header = \"x-proof\"\nassertion_audience = \"one\"";
    reloaded(&program, "preset = \"none\"", asserted);
    eventually("the names of the preset", || seen("remote-email").as_deref() == Some("ada@example.com"));
    let audience = |proof: Option<String>| parts(&proof.expect("a proof")).1["aud"].clone();
    assert_eq!(audience(seen("x-proof")), "one");
    // The assertion goes with a copy of the session in memory, which is good for minutes.
    reloaded(&program, "\"one\"", "\"two\"");
    eventually("the other audience", || audience(seen("x-proof")) == "two");
    let asked = || number(&program.told("/metrics").text(), "sidegate_session_cache_misses_total");
    let before = asked();
    for _ in 0..20 {
        assert_eq!(audience(seen("x-proof")), "two");
    }
    assert!(asked() < before + 20, "a copy of now is kept");
    // What a client writes under the names of the preset is left out from then on.
    assert_eq!(ada.ask("GET", "/x").header("Remote-Email", "eve@example.com").send().status, 200);
    assert_eq!(app.last().all("remote-email"), ["ada@example.com"]);
}

on_both_databases! {
    fn the_next_access_token_lives_as_long_as_is_configured_now_and_is_signed_so(database) {
        let app = Upstream::hello();
        let program = Program::start(app.address, &on(&database, "[tokens]\naccess_lifetime = \"15m\"\n"));
        assert_eq!(sign_up(&program, "ada@example.com", PASSWORD).status, 200);
        let pair = || {
            let body = json!({ "email": "ada@example.com", "password": PASSWORD, "delivery": "bearer" });
            program.visitor().post("/auth/login", &body).json()
        };
        let opens = |pair: &serde_json::Value| {
            let token = format!("Bearer {}", pair["access_token"].as_str().expect("a token"));
            program.visitor().ask("GET", "/x").header("Authorization", &token).send().status == 200
        };
        let before = pair();
        assert_eq!(before["expires_in"], 900);
        reloaded(&program, "\"15m\"", "\"2m\"\nalgorithm = \"ES256\"");
        eventually("the next one is good for less", || pair()["expires_in"] == 120);
        assert!(opens(&before) && opens(&pair()));
        let published = || program.visitor().get("/auth/jwks").text();
        eventually("a key of the other kind is published", || published().contains("ES256"));
        assert!(published().contains("EdDSA"), "what the earlier one signed is still believed");
        let mut ada = sign_in(&program, "ada@example.com").0;
        let made = ada.post("/auth/personal-tokens", &json!({ "name": "backup" })).json();
        let personal = format!("Bearer {}", made["token"].as_str().expect("a token"));
        let status = || program.visitor().ask("GET", "/x").header("Authorization", &personal).send().status;
        assert_eq!(status(), 200);
        reloaded(&program, "\"ES256\"", "\"ES256\"\npersonal = false");
        eventually("it opens nothing any more", || (0..20).all(|_| status() == 401));
        reloaded(&program, "personal = false", "personal = true");
        eventually("it does again", || (0..20).all(|_| status() == 200));
    }
}

#[test]
fn spans_go_to_the_collector_of_the_latest_configuration() {
    let app = Upstream::hello();
    let (one, two) = (Upstream::answering(ok("{}")), Upstream::answering(ok("{}")));
    let open = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
    let program = Program::start(app.address, &format!("# trace\n{open}"));
    let ask = |path: &str| assert_eq!(program.visitor().get(path).status, 200);
    let has = |collector: &Upstream, path: &str| {
        collector.arrived().iter().any(|arrived| String::from_utf8_lossy(&arrived.body).contains(path))
    };
    ask("/open/untraced");
    reloaded(&program, "# trace\n", &format!("[trace]\notlp_endpoint = \"http://{}\"\n", one.address));
    eventually("the first collector hears of it", || {
        ask("/open/first");
        has(&one, "/open/first")
    });
    reloaded(&program, &one.address.to_string(), &two.address.to_string());
    eventually("the second one does", || {
        ask("/open/second");
        has(&two, "/open/second")
    });
    assert!(!has(&one, "/open/untraced") && !has(&two, "/open/first"));
    let text = program.told("/metrics").text();
    assert_eq!(number(&text, "sidegate_spans_total{outcome=\"lost\"}"), 0, "{text}");
    reloaded(&program, "[trace]\n", "[trace]\nsample = 0.0\n");
    eventually("none is recorded any more", || {
        let before = two.arrived().len();
        ask("/open/third");
        std::thread::sleep(std::time::Duration::from_millis(1500));
        two.arrived().len() == before
    });
}

on_both_databases! {
    fn the_kind_of_the_session_cookie_changes_in_both_directions_and_endings_are_known(database) {
        let app = Upstream::hello();
        let program = Program::start(app.address, &on(&database, "[session]\ncookie = \"opaque\"\n"));
        let mut ada = member(&program, "ada@example.com");
        let mut bob = member(&program, "bob@example.com");
        assert_eq!((ada.get("/x").status, bob.get("/x").status), (200, 200));
        reloaded(&program, "\"opaque\"", "\"jwt\"");
        eventually("it is exchanged", || {
            assert_eq!(ada.get("/x").status, 200);
            ada.cookies.contains_key("sidegate-refresh")
        });
        let held = ada.cookies.clone();
        assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
        let mut thief = program.visitor();
        thief.cookies = held;
        assert_eq!(thief.get("/x").status, 401, "the signed cookie of a session that has ended");
        assert_eq!(bob.get("/x").status, 200);
        reloaded(&program, "\"jwt\"", "\"opaque\"");
        let mut eve = program.visitor();
        eventually("a signed cookie means nothing", || bob.get("/x").status == 401);
        let known = json!({ "email": "bob@example.com", "password": PASSWORD });
        assert_eq!(eve.post("/auth/sign-in/email", &known).status, 200);
        assert_eq!(eve.get("/x").status, 200);
    }
}

#[test]
fn r_6_as_many_connections_as_is_configured_now_and_those_that_are_there_count() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "[limits]\nuncounted = []\nconnections_per_address = 50\n");
    let ask = format!("GET /auth/ok HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    let taken = || {
        let mut raw = Raw::connect(program.address);
        let answered = raw.try_send(&ask) && raw.try_answer(false).is_ok();
        answered.then_some(raw)
    };
    let mut held = [taken().expect("room"), taken().expect("room")];
    reloaded(&program, "address = 50", "address = 2");
    eventually("no third one", || taken().is_none());
    for raw in &mut held {
        assert_eq!(raw.send(&ask).answer().status, 200, "who is there stays");
    }
    reloaded(&program, "address = 2\n", "address = 3\n");
    eventually("a third one", || taken().is_some());
}

#[test]
fn a_header_of_the_proxy_protocol_is_asked_for_from_then_on() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "[proxies]\ntrusted = [\"127.0.0.1\"]\n");
    let ask = format!("GET /auth/ok HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    let answered = |start: &str| {
        let mut raw = Raw::connect(program.address);
        raw.try_send(format!("{start}{ask}"))
            && raw.try_answer(false).is_ok_and(|answer| answer.status == 200)
    };
    assert!(answered(""));
    reloaded(&program, "workers = 2\n", "workers = 2\nproxy_protocol = \"required\"\n");
    eventually("who says nothing is not listened to", || !answered(""));
    assert!(answered("PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n"));
}

#[test]
fn the_address_that_browsers_know_and_the_mount_prefix_change_together() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "[access]\norigins = []\n");
    let new = format!("http://localhost:{}", program.address.port());
    program.edit("[listen]\n", "paths = [\"/login\"]\n[listen]\n");
    reloaded(
        &program,
        &format!("url = \"http://{}\"\n[upstream]", program.address),
        &format!("url = \"{new}\"\n[upstream]"),
    );
    let body = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    let mut ada = Visitor::new(program.address, &new);
    eventually("our endpoints are there", || ada.get("/login/ok").status == 200);
    assert_eq!(ada.post("/login/sign-up/email", &body).status, 200);
    assert_eq!(ada.get("/auth/ok").status, 401, "a path of the app as any other");
    let refused = program.visitor().post("/login/sign-up/email", &body);
    assert_eq!(refused.status, 403, "from a page of another origin: {}", refused.text());
}

#[test]
fn encryption_begins_and_who_must_show_a_certificate_changes() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "# tls\n");
    let directory = crate::tls::certificates();
    let file = |name: &str| directory.join(name).display().to_string();
    let mut before = Raw::connect(program.address);
    let ask = format!("GET /auth/ok HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    assert_eq!(before.send(&ask).answer().status, 200);
    let curl = |more: &[&str]| {
        let url = format!("https://{}/auth/ok", program.address);
        let output = Command::new("curl")
            .args([
                "--silent",
                "--insecure",
                "--noproxy",
                "*",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
            ])
            .args(more)
            .arg(url)
            .output()
            .expect("curl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(&[]), "000");
    program.edit(
        &format!("url = \"http://{}\"\n[upstream]", program.address),
        &format!("url = \"https://{}\"\n[upstream]", program.address),
    );
    let tls = format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", file("first.pem"), file("first.key"));
    reloaded(&program, "# tls\n", &tls);
    eventually("it is encrypted", || curl(&[]) == "200");
    assert_eq!(before.send(&ask).answer().status, 200, "what is open stays open");
    let more = format!("[tls]\nclient_ca = \"{}\"\nclient_required = true\n", file("second.pem"));
    reloaded(&program, "[tls]\n", &more);
    eventually("none without a certificate", || curl(&[]) == "000");
    assert_eq!(curl(&["--cert", &file("client.pem"), "--key", &file("client.key")]), "200");
    // The numbers tell of the certificates that are shown now.
    assert!(program.told("/metrics").text().contains("first.pem"));
    reloaded(&program, "first", "renewed");
    eventually("the numbers follow", || program.told("/metrics").text().contains("renewed.pem"));
}

#[test]
fn what_is_deleted_follows_the_latest_configuration() {
    let app = Upstream::hello();
    let program = Program::start(app.address, "[log]\nkeep_sign_ins = \"90d\"\n");
    assert_eq!(sign_up(&program, "ada@example.com", PASSWORD).status, 200);
    let database = Database::Sqlite(std::sync::Arc::clone(&program.directory));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let age = r#"UPDATE "sidegate_auth_log" SET "at" = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-10 days')"#;
    runtime.block_on(database.execute(age));
    let lines = || runtime.block_on(database.texts(r#"SELECT "id" FROM "sidegate_auth_log""#)).len();
    assert!(lines() > 0);
    reloaded(&program, "\"90d\"", "\"1d\"");
    eventually("what is old now goes", || lines() == 0);
}
