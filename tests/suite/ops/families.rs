//! Every number moves when that happens which it counts.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Program;
use crate::jobs::eventually;
use crate::serve::free_port;
use crate::support::database::Database;
use crate::support::raw::Raw;
use crate::support::site::PASSWORD;
use crate::support::upstream::{Upstream, ok};

/// A running program, its database, and the families whose numbers have moved.
struct Numbers {
    program: Program,
    database: Database,
    runtime: tokio::runtime::Runtime,
    moved: BTreeSet<String>,
}

impl Numbers {
    /// The sum of a family, or of those of its samples that hold `label`; 0 if there is none.
    fn sum(&self, family: &str, label: &str) -> f64 {
        let text = self.program.told("/metrics").text();
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            (name.split('{').next() == Some(family) && name.contains(label)).then_some(value.to_owned())
        };
        text.lines().filter_map(sample).map(|value| value.parse::<f64>().expect("a number")).sum()
    }

    /// Checks that a number grows after `cause`, which may be asked for again and again.
    fn grows(&mut self, family: &str, label: &str, cause: impl Fn(&Self)) {
        let before = self.sum(family, label);
        eventually(family, || {
            cause(self);
            self.sum(family, label) > before
        });
        self.moved.insert(family.to_owned());
    }

    /// The same of one that counts trouble, of which there was none before.
    fn begins(&mut self, family: &str, label: &str, cause: impl Fn(&Self)) {
        let before = self.sum(family, label);
        assert!(before == 0.0, "{family} {label}: {before} for no reason");
        self.grows(family, label, cause);
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.database.execute(sql));
    }

    fn get(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.program.address)
    }

    fn sign_up_someone(&self) -> String {
        let email = format!("{}@example.com", sidegate::id::RowId::random().as_str());
        let body = json!({ "name": "Someone", "email": email, "password": PASSWORD });
        assert_eq!(self.program.visitor().post("/auth/sign-up/email", &body).status, 200);
        email
    }

    /// Somebody new, whose session is asked for.
    fn someone_visits(&self) {
        let body = json!({ "email": self.sign_up_someone(), "password": PASSWORD });
        let mut visitor = self.program.visitor();
        assert_eq!(visitor.post("/auth/sign-in/email", &body).status, 200);
        assert_eq!(visitor.get("/x").status, 200);
    }

    fn sign_in(&self, email: &str, password: &str) -> u16 {
        let body = json!({ "email": email, "password": password });
        self.program.visitor().post("/auth/sign-in/email", &body).status
    }
}

/// In front of an app that never answers `/open/slow`.
fn begin(app: &Upstream, collector: &Upstream) -> Numbers {
    let more = format!(
        "[limits]\nconnections = 64\nconnections_per_address = 40\nuncounted = []\nattempts_per_account = 3\ngrace = \"60s\"\n\
         attempts_per_address = 10000\n[session]\ncache_entries = 3\n[sign_up]\nrequire_verified_email = false\n\
         [mail]\nfrom = \"one@example.org\"\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
         [trace]\notlp_endpoint = \"http://{}\"\n[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n",
        free_port().port(),
        collector.address
    );
    let program = Program::start(app.address, &more);
    let database = Database::Sqlite(Arc::clone(&program.directory));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    Numbers { program, database, runtime, moved: BTreeSet::new() }
}

/// Those of connections, requests and the process.
fn traffic(numbers: &mut Numbers) {
    numbers.begins("sidegate_connections_refused_total", "", |numbers| {
        let held: Vec<Raw> = (0..60).map(|_| Raw::connect(numbers.program.address)).collect();
        drop(held);
    });
    numbers.begins("sidegate_connections_shed_total", "", |numbers| {
        let from = |last: u8, count| {
            let here = IpAddr::from([127, 0, 0, last]);
            let connect = move |_| Raw::connect_from(here, numbers.program.address);
            (0..count).map(connect).collect::<Vec<_>>()
        };
        let held = (from(2, 40), from(3, 30));
        // Each is looked at once more, a tick after it was told.
        std::thread::sleep(Duration::from_millis(750));
        drop(held);
    });
    numbers.begins("sidegate_requests_in_flight", "", |numbers| {
        let mut raw = Raw::connect(numbers.program.address);
        // Given up only when the connection is dropped.
        raw.send(numbers.get("/open/slow"));
        std::thread::sleep(Duration::from_millis(300));
        if numbers.sum("sidegate_requests_in_flight", "") > 0.0 {
            std::mem::forget(raw);
        }
    });
    let answered = numbers.sum("sidegate_request_duration_seconds_count", "forwarded");
    numbers.begins("sidegate_requests_abandoned_total", "", |numbers| {
        Raw::connect(numbers.program.address).send(numbers.get("/open/slow"));
    });
    let later = numbers.sum("sidegate_request_duration_seconds_count", "forwarded");
    assert!(later <= answered, "what had no answer took no time");
    let held = std::cell::RefCell::new(Vec::new());
    numbers.grows("process_open_fds", "", |numbers| {
        held.borrow_mut().extend((0..10).map(|_| Raw::connect(numbers.program.address)));
    });
    drop(held);
    numbers.grows("process_cpu_seconds_total", "", |numbers| {
        let mut raw = Raw::connect(numbers.program.address);
        (0..100).for_each(|_| assert_eq!(raw.send(numbers.get("/closed")).answer().status, 401));
    });
    numbers.grows("sidegate_spans_total", "sent", |numbers| {
        let _ = Raw::connect(numbers.program.address).send(numbers.get("/open/x")).answer();
    });
    // Nobody takes what is said: the pipe fills, then what is kept in memory.
    let lines = Arc::clone(&numbers.program.lines);
    let reader_waits = lines.lock().expect("no panic");
    numbers.begins("sidegate_lost_log_lines_total", "", |numbers| {
        let mut raw = Raw::connect(numbers.program.address);
        let request = numbers.get(&format!("/closed/{}", "x".repeat(7000)));
        for _ in 0..50 {
            raw.send(request.repeat(10));
            (0..10).for_each(|_| assert_eq!(raw.answer().status, 401, "nobody is held up"));
        }
    });
    drop(reader_waits);
}

/// Those of people, mails, jobs and the store.
fn upkeep(numbers: &mut Numbers) {
    numbers.begins("sidegate_session_cache_entries", "", Numbers::someone_visits);
    numbers.grows("sidegate_session_cache_evictions_total", "", Numbers::someone_visits);
    numbers.grows("sidegate_sessions_active", "", Numbers::someone_visits);
    // Nobody listens where mails are to go.
    numbers.grows("sidegate_mails_total", "put_off", |_| {});
    numbers.grows("sidegate_mails_waiting", "", |numbers| drop(numbers.sign_up_someone()));
    numbers.begins("sidegate_rate_limited_total", "account", |numbers| {
        numbers.sign_in("nobody@example.com", "not the right one");
    });
    numbers.grows("sidegate_job_runs_total", "send_mails", |numbers| drop(numbers.sign_up_someone()));
    numbers.grows("sidegate_job_duration_seconds_total", "", |_| {});
    let timestamp = numbers.sum("sidegate_config_last_reload_timestamp_seconds", "");
    numbers.begins("sidegate_config_reloads_total", "applied", |numbers| {
        assert!(numbers.program.reload().contains("was read again"));
    });
    eventually("the configuration is a later one", || {
        let _ = numbers.program.reload();
        numbers.sum("sidegate_config_last_reload_timestamp_seconds", "") > timestamp
    });
    numbers.moved.insert("sidegate_config_last_reload_timestamp_seconds".to_owned());
    let once = std::sync::Once::new();
    numbers.begins("sidegate_job_failures_total", "send_mails", |numbers| {
        once.call_once(|| numbers.execute(r#"ALTER TABLE "sidegate_outbox" RENAME TO "away""#));
    });
    numbers.moved.insert("sidegate_store_errors_total".to_owned());
    assert!(numbers.sum("sidegate_store_errors_total", "") > 0.0, "that was one");
    numbers.execute(r#"ALTER TABLE "away" RENAME TO "sidegate_outbox""#);
}

#[test]
fn every_family_moves_when_its_cause_does() {
    let app = Upstream::with(|arrived, stream| {
        if !arrived.line.contains("slow") {
            let _ = stream.write_all(ok("hello").as_bytes());
        }
    });
    let collector = Upstream::answering(ok("{}"));
    let mut numbers = begin(&app, &collector);
    let before = numbers.sum("sidegate_store_errors_total", "");
    assert!(before == 0.0, "{before}");
    traffic(&mut numbers);
    upkeep(&mut numbers);
    let text = numbers.program.told("/metrics").text();
    numbers.program.signal("-TERM");
    eventually("it is not ready", || numbers.sum("sidegate_ready", "") == 0.0);
    numbers.moved.insert("sidegate_ready".to_owned());
    // Some are proved there.
    let elsewhere = [
        include_str!("numbers.rs"),
        include_str!("instances.rs"),
        include_str!("refused.rs"),
        include_str!("reload/certificates.rs"),
        include_str!("routes.rs"),
    ]
    .concat();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unproved: Vec<&str> = families
        .filter(|family| !numbers.moved.contains(*family) && !elsewhere.contains(&format!("\"{family}")))
        .collect();
    assert!(unproved.is_empty(), "nothing moves them: {unproved:?}");
}
