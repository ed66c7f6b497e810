//! What is counted, and what no label ever holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::{number, told};
use crate::jobs::eventually;
use crate::support::database::{Database, on_both_databases};
use crate::support::provider::{Answer, Endpoint, Lie, Provider};
use crate::support::raw::{PATIENCE, Raw};
use crate::support::site::Site;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

const ADMIN: &str = "address = \"127.0.0.1:0\"";

/// Reads the text as a scraper does, and fails where it would.
fn scraped(text: &str) {
    let mut types = BTreeMap::<String, String>::new();
    let (mut samples, mut helped) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped.insert(help.split(' ').next().expect("a name").to_owned());
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = sample.split('{').next().expect("a name");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let kind =
                types.get(name).or_else(|| types.get(family?)).unwrap_or_else(|| panic!("no type: {line}"));
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample.to_owned()), "twice: {line}");
        }
    }
    assert_eq!(types.keys().cloned().collect::<BTreeSet<_>>(), helped);
}

on_both_databases! {
    fn what_happens_is_counted_by_what_became_of_it(database) {
        let site = Site::on(database).set("admin", ADMIN).set("listen", "workers = 2").rule("/open/**", "public").start();
        let (mut ada, _) = site.member("ada@example.com");
        for _ in 0..5 {
            assert_eq!(ada.get("/x").status, 200);
        }
        assert_eq!(site.stranger().get("/open/x").status, 200);
        assert_eq!(site.stranger().get("/x").status, 401);
        let wrong = json!({ "email": "ada@example.com", "password": "not the right one" });
        assert_eq!(site.stranger().post("/auth/sign-in/email", &wrong).status, 401);
        assert_eq!(ada.post("/auth/sign-out", &json!({})).status, 200);
        // How long they took and what was sent is known a moment after their answers were read.
        eventually("requests have ended", || {
            told(site.admin(), "/metrics").text().contains("\nsidegate_requests_in_flight 0\n")
        });
        let text = told(site.admin(), "/metrics").text();
        scraped(&text);
        for (sample, at_least) in [
            ("sidegate_requests_total{route=\"default\",outcome=\"forwarded\",method=\"GET\",code=\"2xx\"}", 5),
            ("sidegate_requests_total{route=\"/open/**\",outcome=\"forwarded\",method=\"GET\",code=\"2xx\"}", 1),
            ("sidegate_requests_total{route=\"default\",outcome=\"refused\",method=\"GET\",code=\"4xx\"}", 1),
            ("sidegate_requests_total{route=\"auth\",outcome=\"answered\",method=\"POST\",code=\"4xx\"}", 1),
            ("sidegate_refusals_total{code=\"UNAUTHORIZED\"}", 1),
            ("sidegate_refusals_total{code=\"INVALID_EMAIL_OR_PASSWORD\"}", 1),
            ("sidegate_endpoint_requests_total{endpoint=\"POST sign-in/email\",code=\"2xx\"}", 1),
            ("sidegate_endpoint_requests_total{endpoint=\"POST sign-in/email\",code=\"4xx\"}", 1),
            ("sidegate_upstream_duration_seconds_count", 6),
            ("sidegate_request_duration_seconds_count{outcome=\"forwarded\"}", 6),
            ("sidegate_request_duration_seconds_bucket{outcome=\"forwarded\",le=\"+Inf\"}", 6),
            ("sidegate_session_cache_misses_total", 1),
            ("sidegate_session_cache_hits_total", 3),
            ("sidegate_auth_events_total{event=\"signup\",outcome=\"success\"}", 1),
            ("sidegate_auth_events_total{event=\"logout\",outcome=\"success\"}", 1),
            ("sidegate_logins_total{method=\"password\",outcome=\"success\"}", 1),
            ("sidegate_logins_total{method=\"password\",outcome=\"failure\"}", 1),
            ("sidegate_budget_spent_total{bucket=\"account\"}", 2),
            ("sidegate_sent_bytes_total", 30),
            ("sidegate_ready", 1),
            ("process_start_time_seconds", 1_000_000_000),
            ("process_resident_memory_bytes", 1_000_000),
        ] {
            assert!(number(&text, sample) >= at_least, "{sample} in\n{text}");
        }
        let build = format!("sidegate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(number(&text, &build), 1);
        eventually("jobs have run", || {
            let text = told(site.admin(), "/metrics").text();
            number(&text, "sidegate_job_runs_total{job=\"delete_old\"}") >= 1
        });
    }

    fn sessions_that_have_not_ended_are_counted_by_the_store(database) {
        let site = Site::on(database).set("admin", ADMIN).start();
        let active = |expected: u64| {
            eventually("so many sessions are active", || {
                number(&told(site.admin(), "/metrics").text(), "sidegate_sessions_active") == expected
            });
        };
        let (mut ada, _) = site.member("ada@example.com");
        active(1);
        let (mut phone, _) = site.signed_in("ada@example.com");
        site.member("bob@example.com");
        active(3);
        assert_eq!(phone.post("/auth/sign-out", &json!({})).status, 200);
        active(2);
        assert_eq!(ada.get("/x").status, 200);
        // What has expired is none, whether it was deleted or not.
        site.pass(Duration::from_hours(24 * 8));
        active(0);
    }

    fn a_refusal_that_a_form_shows_is_counted_as_one_that_a_program_hears(database) {
        let site = Site::on(database).set("admin", ADMIN).start();
        let (mut ada, _) = site.member("ada@example.com");
        let refusals = |code: &str| {
            let text = told(site.admin(), "/metrics").text();
            number(&text, &format!("sidegate_refusals_total{{code=\"{code}\"}}"))
        };
        let mut stranger = site.stranger();
        let wrong = [("email", "ada@example.com"), ("password", "not the right one")];
        assert_eq!(stranger.submit("/auth/sign-in", &wrong).status, 422);
        assert_eq!(refusals("INVALID_EMAIL_OR_PASSWORD"), 1);
        let short = [("name", "Bob"), ("email", "bob@example.com"), ("password", "short")];
        assert_eq!(stranger.submit("/auth/sign-up", &short).status, 422);
        assert_eq!(refusals("PASSWORD_TOO_SHORT"), 1);
        // What is only incomplete was not refused.
        let before = told(site.admin(), "/metrics").text();
        assert_eq!(stranger.submit("/auth/sign-in", &[("email", ""), ("password", "")]).status, 422);
        let of = |text: &str| text.lines().filter(|line| line.contains("_refusals_total")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of(&told(site.admin(), "/metrics").text()), of(&before));
        // The account page tells of one after a redirect.
        let change = [("currentPassword", "not the right one"), ("newPassword", "another long phrase")];
        assert_eq!(ada.submit("/auth/change-password", &change).status, 303);
        assert_eq!(refusals("INVALID_PASSWORD"), 1);
        assert_eq!(ada.submit("/auth/update-user", &[("name", "Ada Lovelace")]).status, 303);
    }

    fn requests_to_providers_are_counted_by_what_was_asked_and_what_came_of_it(database) {
        let (up, down) = (Provider::start(), Provider::start());
        down.lies(Lie::Answers(Endpoint::Discovery, Answer::Hangup));
        let site = Site::on(database)
            .set("admin", ADMIN)
            .toml(&format!("{}{}", up.toml("up", ""), down.toml("down", "")))
            .start();
        up.follow(&site.clock);
        let count = |provider: &str, asked: &str, outcome: &str| {
            let text = told(site.admin(), "/metrics").text();
            scraped(&text);
            let labels = format!("provider=\"{provider}\",op=\"{asked}\",outcome=\"{outcome}\"");
            number(&text, &format!("sidegate_provider_request_duration_seconds_count{{{labels}}}"))
        };
        let began = sidegate::time::Moment::now();
        assert_eq!(site.stranger().walk("/auth/sign-in/up").response.status, 200);
        let took = began.elapsed();
        for asked in ["metadata", "keys", "token"] {
            assert_eq!(count("up", asked, "answered"), 1, "{asked}");
        }
        assert_eq!(site.stranger().get("/auth/sign-in/down").status, 502);
        assert_eq!(count("down", "metadata", "invalid"), 1, "it hung up");
        // One that refuses the code is no outage.
        let refusal = Answer::With(400, "application/json", "{\"error\":\"invalid_grant\"}".to_owned());
        up.lies(Lie::Answers(Endpoint::Token, refusal));
        site.stranger().walk("/auth/sign-in/up");
        assert_eq!((count("up", "token", "refused"), count("up", "token", "answered")), (1, 1));
        let text = told(site.admin(), "/metrics").text();
        for (sample, expected) in [
            ("sidegate_provider_errors_total{provider=\"up\",kind=\"refused\"}", 1),
            ("sidegate_provider_errors_total{provider=\"down\",kind=\"invalid\"}", 1),
        ] {
            assert_eq!(number(&text, sample), expected, "{sample}");
        }
        assert!(!text.contains("kind=\"answered\""), "that is no error");
        let sum = text
            .lines()
            .filter_map(|line| line.strip_prefix("sidegate_provider_request_duration_seconds_sum")?.rsplit_once(' '))
            .filter(|(labels, _)| labels.contains("\"up\"") && labels.contains("answered"))
            .map(|(_, value)| value.parse::<f64>().expect("a number"))
            .sum::<f64>();
        assert!(sum > 0.0 && sum <= took.as_secs_f64(), "{sum} of {took:?}");
    }

    fn what_jobs_delete_is_counted(database) {
        let site = Site::on(database).set("admin", ADMIN).start();
        site.member("ada@example.com");
        site.pass(Duration::from_hours(24 * 8));
        let _again = sidegate::jobs::Jobs::start(&site.app);
        eventually("a deleted session is counted", || {
            let text = told(site.admin(), "/metrics").text();
            number(&text, "sidegate_deleted_rows_total{what=\"sessions\"}") >= 1
        });
    }
}

#[test]
fn no_label_can_be_made_by_who_sends_requests() {
    let site = Site::on(Database::sqlite()).set("admin", ADMIN).start();
    let host = site.origin.trim_start_matches("http://");
    let mark = "Zyxw9";
    for line in [
        format!("{mark} /x HTTP/1.1"),
        format!("GET /{mark}?{mark} HTTP/1.1"),
        format!("GET /auth/sign-in/{mark} HTTP/1.1"),
        format!("GET /auth/callback/{mark}?code=1&state=2 HTTP/1.1"),
        format!("GET /auth/{mark} HTTP/1.1"),
    ] {
        let fields =
            format!("Host: {host}\r\nUser-Agent: {mark}\r\nX-{mark}: 1\r\nCookie: {mark}={mark}\r\n\r\n");
        let _ = Raw::connect(site.address).send(format!("{line}\r\n{fields}")).answer();
    }
    let body = json!({ "email": format!("{mark}@example.com"), "password": "not the right one" });
    let _ = site.stranger().post("/auth/sign-in/email", &body);
    let text = told(site.admin(), "/metrics").text();
    scraped(&text);
    assert!(!text.to_ascii_lowercase().contains(&mark.to_ascii_lowercase()), "{text}");
    assert!(
        number(
            &text,
            "sidegate_requests_total{route=\"default\",outcome=\"refused\",method=\"other\",code=\"4xx\"}"
        ) >= 1,
        "{text}"
    );
}

#[test]
fn an_app_that_does_not_answer_is_counted_by_how_it_fails() {
    let gone = crate::serve::free_port();
    let site = Site::on(Database::sqlite())
        .set("admin", ADMIN)
        .set("upstream", &format!("url = \"http://{gone}\""))
        .rule("/open/**", "public")
        .start();
    assert_eq!(site.stranger().get("/open/x").status, 502);
    let text = told(site.admin(), "/metrics").text();
    assert_eq!(number(&text, "sidegate_upstream_errors_total{kind=\"unreachable\"}"), 1, "{text}");
    assert_eq!(number(&text, "sidegate_refusals_total{code=\"UPSTREAM_UNREACHABLE\"}"), 1, "{text}");
}

#[test]
fn open_connections_and_tunnels_are_counted_as_long_as_they_are_open() {
    let upstream = Upstream::with(|_, stream| {
        use std::io::{Read as _, Write as _};
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        let _ = stream.read(&mut [0]);
    });
    let site = Site::on(Database::sqlite())
        .set("admin", ADMIN)
        .upstream(upstream)
        .rule("/open/**", "public")
        .start();
    let host = site.origin.trim_start_matches("http://");
    let mut raw = Raw::connect(site.address);
    let fields = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    raw.send(format!("GET /open/socket HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    assert_eq!(raw.head().expect("an answer").status, 101);
    let open = |name: &str| number(&told(site.admin(), "/metrics").text(), name);
    eventually("both are counted", || {
        open("sidegate_upgraded_connections") == 1 && open("sidegate_connections_open") >= 1
    });
    drop(raw);
    eventually("neither is any more", || {
        open("sidegate_upgraded_connections") == 0 && open("sidegate_connections_open") == 0
    });
    assert_eq!(open("sidegate_upgrades_total"), 1);
}

#[test]
fn the_end_of_a_certificate_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "40", "-subj", "/CN=x.test", "-addext", "subjectAltName=DNS:x.test"])
        .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    let tls = format!("certificate = \"{}\"\nkey = \"{}\"", path("cert.pem"), path("key.pem"));
    let site = Site::on(Database::sqlite()).https().set("tls", &tls).set("admin", ADMIN).start();
    let text = told(site.admin(), "/metrics").text();
    let sample = format!("sidegate_tls_cert_not_after_seconds{{file=\"{}\"}}", path("cert.pem"));
    let told = number(&text, &sample);
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", &path("cert.pem")])
        .output()
        .expect("openssl is installed");
    let end = String::from_utf8_lossy(&openssl.stdout).trim().replace("notAfter=", "").replace(' ', "T");
    let end = end.trim_end_matches('Z');
    let end = sidegate::time::Now::from_iso(&format!("{end}.000Z")).unwrap_or_else(|| panic!("{end}"));
    assert_eq!(i64::try_from(told), Ok(end.seconds()), "{text}");
}

#[test]
fn how_long_the_app_takes_is_measured_only_of_what_it_answers() {
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let app = Upstream::with(move |arrived, stream| {
        let _ = match arrived.line.split(' ').nth(1) {
            Some("/open/broken") => stream.shutdown(Shutdown::Both),
            Some("/open/late") => {
                sleep(Duration::from_millis(300));
                stream.write_all(ok("hello").as_bytes())
            }
            // The head at once, and the rest when it may.
            Some("/open/long") => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
                let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
                stream.write_all(b"hello")
            }
            _ => stream.write_all(ok("hello").as_bytes()),
        };
    });
    let site = Stage::plan().upstream(app).set("admin", ADMIN).rule("/open/**", "public").start();
    let text = || told(site.admin(), "/metrics").text();
    let count = |text: &str| number(text, "sidegate_upstream_duration_seconds_count");
    let waited = |text: &str| -> f64 {
        let sum = text.lines().find_map(|line| line.strip_prefix("sidegate_upstream_duration_seconds_sum "));
        sum.and_then(|sum| sum.parse().ok()).expect("seconds")
    };
    for (path, status) in [("/open/x", 200), ("/open/broken", 502)] {
        assert_eq!(site.stranger().get(path).status, status);
    }
    let quick = text();
    assert_eq!(count(&quick), 1);
    assert_eq!(number(&quick, "sidegate_upstream_errors_total{kind=\"closed\"}"), 1);
    assert_eq!(site.stranger().get("/open/late").status, 200);
    let late = text();
    assert!(count(&late) == 2 && waited(&late) - waited(&quick) >= 0.3, "{late}");
    let mut long = Raw::connect(site.address);
    let host = site.origin.trim_start_matches("http://");
    long.send(format!("GET /open/long HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    eventually("it is measured to the head, not to the end", || count(&text()) == 3);
    go.send(()).expect("the app waits");
    assert_eq!(long.answer().text(), "hello");
    assert_eq!(count(&text()), 3, "and once");
}
