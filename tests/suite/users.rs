//! `sidegate user` and `sidegate session`, beside a server that runs on the same database.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serve::{Program, command, free_port, serve, url};
use crate::support::database::{Database, on_both_databases};
use crate::support::site::PASSWORD;
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;

/// A server, and the directory in which commands find its configuration.
struct Place {
    _program: Program,
    address: SocketAddr,
    directory: TempDir,
    database: Database,
    _app: Upstream,
}

impl Place {
    /// Asks the database at every request, as SQLite needs it to see at once what another process ended; on
    /// PostgreSQL it is told, and keeps copies for as long as it may.
    fn start(database: Database) -> Self {
        let (directory, app, address) =
            (TempDir::new().expect("a directory"), Upstream::hello(), free_port());
        let cache_age = if database.file().is_some() { "1ms" } else { "10m" };
        let text = format!(
            "[listen]\naddress = \"{address}\"\n[upstream]\nurl = \"http://{}\"\n[store]\nurl = \"{}\"\n\
             [session]\ncache_age = \"{cache_age}\"\n[limits]\nattempts_per_address = 10000\n",
            app.address,
            url(&database)
        );
        std::fs::write(directory.path().join("sidegate.toml"), text).expect("a file");
        let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
        Self { _program: program, address, directory, database, _app: app }
    }

    /// Runs a command with this line on its standard input.
    fn run(&self, arguments: &[&str], line: &str) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--config", "sidegate.toml"]);
        let mut child = command(self.directory.path(), &all)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // A command that asks for nothing may be gone.
        let _ = child.stdin.take().expect("a pipe").write_all(format!("{line}\n").as_bytes());
        child.wait_with_output().expect("it ends")
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, PASSWORD);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn refuses(&self, arguments: &[&str], line: &str) -> String {
        let output = self.run(arguments, line);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// What is said of a new password where standard input is closed.
    fn is_told_nothing(&self, user: &str) -> String {
        let output =
            command(self.directory.path(), &["user", "set-password", user, "--config", "sidegate.toml"])
                .output()
                .expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(self.address, &format!("http://{}", self.address))
    }

    fn signs_in(&self, password: &str) -> (Visitor, u16, String) {
        let mut visitor = self.visitor();
        let body = json!({ "email": "ada@example.com", "password": password });
        let response = visitor.post("/auth/login", &body);
        (visitor, response.status, response.text())
    }

    /// How many browsers are trusted.
    fn known_browsers(&self) -> usize {
        self.texts(r#"SELECT "id" FROM "sidegate_device" WHERE "revokedAt" IS NULL"#).len()
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.database.texts(sql))
    }
}

/// However slow the machine: a server is told long before so many answers.
fn soon_out(visitor: &mut Visitor) {
    assert!((0..5_000).any(|_| visitor.get("/app").status == 401), "it never hears of it");
}

fn id_of(line: &str) -> String {
    line.split(' ').next().expect("an id").to_owned()
}

on_both_databases! {
    fn an_account_is_made_shown_and_given_another_password_and_a_running_server_hears_of_it(database) {
        let place = Place::start(database);
        let made = place.says(&["user", "create", "Ada@Example.com", "--name", "Ada", "--verified", "--password"]);
        assert!(made.contains("ada@example.com  verified") && made.trim_end().ends_with("Ada"), "{made}");
        let id = id_of(&made);
        let (mut ada, status, text) = place.signs_in(PASSWORD);
        assert_eq!((status, ada.get("/app").status), (200, 200), "{text}");
        assert_eq!(place.says(&["user", "list"]), made);
        assert_eq!(place.says(&["user", "list", "--after", "ada@example.com"]), "");
        for name in [&*id, "ADA@example.com"] {
            let shown = place.says(&["user", "show", name]);
            assert!(shown.contains("signs in by credential") && shown.contains("1 sessions, 0 personal"), "{shown}");
        }
        assert!(place.refuses(&["user", "create", "ada@example.com"], "").contains("has an account"));
        assert!(place.refuses(&["user", "create", "no address"], "").contains("is no address"));
        assert!(place.refuses(&["user", "show", "nobody@example.com"], "").contains("there is no user"));
        let short = place.refuses(&["user", "set-password", &id], "short");
        assert!(short.contains("at least 8 characters (PASSWORD_TOO_SHORT)"), "{short}");
        let long = place.refuses(&["user", "set-password", &id], &"long".repeat(40));
        assert!(long.contains("at most 128 characters (PASSWORD_TOO_LONG)"), "{long}");
        for nothing in [place.refuses(&["user", "set-password", &id], ""), place.is_told_nothing(&id)] {
            assert!(nothing.contains("no password came by standard input"), "{nothing}");
        }
        assert_eq!(ada.get("/app").status, 200, "nothing came of all that");
        let changed = place.run(&["user", "set-password", "ada@example.com"], "another long phrase");
        assert!(changed.status.success());
        soon_out(&mut ada);
        assert_eq!(place.known_browsers(), 0, "whoever used the earlier one");
        assert_eq!((place.signs_in(PASSWORD).1, place.signs_in("another long phrase").1), (401, 200));
    }

    fn a_disabled_user_is_out_and_stays_out_and_nobody_is_told_why(database) {
        let place = Place::start(database);
        place.says(&["user", "create", "ada@example.com", "--password"]);
        let (mut ada, ..) = place.signs_in(PASSWORD);
        let made = ada.post("/auth/personal-tokens", &json!({ "name": "backup" }));
        assert_eq!(made.status, 200, "{}", made.text());
        let token = made.json()["token"].as_str().expect("a token").to_owned();
        let bears = || place.visitor().ask("GET", "/app").header("Authorization", &format!("Bearer {token}")).send().status;
        let body = json!({ "email": "ada@example.com", "password": PASSWORD, "delivery": "bearer" });
        let pair: Value = place.visitor().post("/auth/login", &body).json();
        assert_eq!((ada.get("/app").status, bears()), (200, 200));
        assert_eq!(place.known_browsers(), 2);
        assert!(place.says(&["user", "disable", "ada@example.com"]).contains("is kept out"));
        soon_out(&mut ada);
        assert_eq!(place.known_browsers(), 0);
        assert!((0..5_000).any(|_| bears() == 401));
        let refresh = place.visitor().post("/auth/refresh", &json!({ "refresh_token": pair["refresh_token"] }));
        assert_eq!(refresh.status, 400);
        let (right, wrong) = (place.signs_in(PASSWORD), place.signs_in("a wrong phrase here"));
        let code = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["code"].clone();
        assert_eq!((right.1, code(&right.2)), (wrong.1, code(&wrong.2)), "EN-1");
        assert!(place.says(&["user", "list"]).contains("disabled since"));
        let logged = place.texts(r#"SELECT "error" FROM "sidegate_auth_log" WHERE "error" = 'ACCOUNT_DISABLED'"#);
        assert_eq!(logged.len(), 1);
        place.says(&["user", "enable", "ada@example.com"]);
        assert_eq!((place.signs_in(PASSWORD).1, bears()), (200, 401));
    }

    fn a_session_that_is_written_for_a_disabled_user_opens_nothing(database) {
        let place = Place::start(database);
        place.says(&["user", "create", "ada@example.com", "--password"]);
        let (mut ada, ..) = place.signs_in(PASSWORD);
        // As if the sign-in had been overtaken: the session outlives what should have ended it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(place.database.execute(
            r#"INSERT INTO "sidegate_disabled_user" ("userId", "at") SELECT "id", "createdAt" FROM "user""#,
        ));
        assert_eq!(ada.get("/app").status, 401);
    }

    fn sessions_are_listed_and_ended_one_by_one_or_all_and_users_deleted(database) {
        let place = Place::start(database);
        place.says(&["user", "create", "ada@example.com", "--password"]);
        let mut browsers: Vec<Visitor> = (0..3).map(|_| place.signs_in(PASSWORD).0).collect();
        let ours = browsers[0].get("/auth/me").json()["session"]["id"].as_str().expect("an id").to_owned();
        let listed = place.says(&["session", "list", "ada@example.com"]);
        assert_eq!((listed.lines().count(), listed.contains(&ours), listed.contains("127.0.0.1")), (3, true, true));
        assert!(browsers.iter_mut().all(|browser| browser.get("/app").status == 200));
        assert_eq!(place.says(&["session", "end", "ada@example.com", "--session", "none"]), "0 ended\n");
        assert_eq!(place.says(&["session", "end", "ada@example.com", "--session", &ours]), "1 ended\n");
        soon_out(&mut browsers[0]);
        assert_eq!(browsers[1].get("/app").status, 200);
        assert_eq!(place.says(&["session", "end", "ada@example.com"]), "2 ended\n");
        soon_out(&mut browsers[1]);
        soon_out(&mut browsers[2]);
        let (mut ada, ..) = place.signs_in(PASSWORD);
        assert!(place.refuses(&["user", "delete", "ada@example.com"], "").contains("--yes"));
        assert_eq!(ada.get("/app").status, 200);
        assert!(place.says(&["user", "delete", "ada@example.com", "--yes"]).contains("is deleted"));
        soon_out(&mut ada);
        assert_eq!(place.says(&["user", "list"]), "");
    }

    fn what_users_wrote_cannot_move_the_cursor_of_whoever_looks(database) {
        let place = Place::start(database);
        place.says(&["user", "create", "ada@example.com"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(place.database.execute("UPDATE \"user\" SET \"name\" = 'A\u{1b}[2Jda\r\n'"));
        let shown = place.says(&["user", "list"]);
        assert!(shown.lines().count() == 1 && !shown.contains(['\u{1b}', '\r']), "{shown:?}");
    }
}
