//! The built program, twice on one PostgreSQL and once on SQLite: what replicas must agree on when nothing but the
//! database joins them (TK-4, TK-8, TK-12, RV-1).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::SECRET;
use crate::flow::{credentials, set_cookie};
use crate::serve::{Program, free_port, serve, url};
use crate::support::database::{Database, on_both_databases};
use crate::support::raw::Response;
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;

/// Running programs with one secret, one public origin and one database.
struct Cluster {
    programs: Vec<(Program, SocketAddr)>,
    origin: String,
    database: Database,
    runtime: tokio::runtime::Runtime,
    app: Upstream,
    _directory: TempDir,
}

impl Cluster {
    /// Two on PostgreSQL, one on SQLite, started together.
    fn start(database: Database, toml: &str) -> Self {
        let count = if database.file().is_some() { 1 } else { 2 };
        let (directory, app) = (TempDir::new().expect("a directory"), Upstream::hello());
        let addresses: Vec<SocketAddr> = (0..count).map(|_| free_port()).collect();
        let origin = format!("http://{}", addresses[0]);
        let programs = std::thread::scope(|scope| {
            let start = |address: SocketAddr| {
                let file = directory.path().join(format!("{}.toml", address.port()));
                let text = format!(
                    "secret = \"{SECRET}\"\n[listen]\naddress = \"{address}\"\n[public]\nurl = \"{origin}\"\n\
                     [upstream]\nurl = \"http://{}\"\n[store]\nurl = \"{}\"\n[limits]\n\
                     attempts_per_address = 10000\n{toml}\n",
                    app.address,
                    url(&database)
                );
                std::fs::write(&file, text).expect("written");
                let (directory, file): (&Path, String) =
                    (directory.path(), file.to_str().expect("text").to_owned());
                scope.spawn(move || (serve(directory, address, &["--config", &file]), address))
            };
            let all: Vec<_> = addresses.iter().map(|address| start(*address)).collect();
            all.into_iter().map(|program| program.join().expect("it starts")).collect()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { programs, origin, database, runtime, app, _directory: directory }
    }

    /// Somebody without cookies at one of them.
    fn stranger(&self, number: usize) -> Visitor {
        Visitor::new(self.programs[number % self.programs.len()].1, &self.origin)
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        self.runtime.block_on(self.database.texts(sql))
    }

    fn generations(&self) -> Vec<String> {
        self.texts(r#"SELECT CAST("generation" AS text) FROM "sidegate_refresh_family""#)
    }

    /// A new account, with the answer to its first sign-in.
    fn program(&self) -> Value {
        let mut body = credentials("ada@example.com");
        body["name"] = json!("Ada");
        assert_eq!(self.stranger(0).post("/auth/signup", &body).status, 200);
        body["delivery"] = json!("bearer");
        let response = self.stranger(0).post("/auth/login", &body);
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.all("set-cookie").is_empty());
        response.json()
    }

    fn refresh(&self, number: usize, token: &str) -> Response {
        self.stranger(number).post("/auth/refresh", &json!({ "refresh_token": token }))
    }

    fn bear(&self, number: usize, token: &str) -> u16 {
        let mut program = self.stranger(number);
        program.ask("GET", "/app").header("Authorization", &format!("Bearer {token}")).send().status
    }

    /// However slow the machine: a replica is told long before so many answers.
    fn soon(&self, mut ask: impl FnMut(usize) -> bool) {
        for number in 0..self.programs.len() {
            assert!((0..5_000).any(|_| ask(number)), "number {number} never hears of it");
        }
    }
}

/// The answers to fifty requests at once.
fn fifty(ask: impl Fn(usize) -> Response + Sync) -> Vec<Response> {
    std::thread::scope(|scope| {
        let ask = &ask;
        let all: Vec<_> = (0..50).map(|number| scope.spawn(move || ask(number))).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().expect("text")
}

on_both_databases! {
    fn tk_4_and_tk_8_of_fifty_that_exchange_one_token_nobody_is_signed_out_and_there_is_one_successor(database) {
        let cluster = Cluster::start(database, "");
        let first = text(&cluster.program(), "refresh_token").to_owned();
        let pairs: Vec<Value> = fifty(|number| cluster.refresh(number, &first)).iter()
            .map(|response| {
                assert_eq!(response.status, 200, "{}", response.text());
                response.json()
            })
            .collect();
        let successors: HashSet<&str> = pairs.iter().map(|pair| text(pair, "refresh_token")).collect();
        assert_eq!((successors.len(), cluster.generations()), (1, vec!["1".to_owned()]));
        for (number, pair) in pairs.iter().enumerate() {
            assert_eq!(cluster.bear(number + 1, text(pair, "access_token")), 200, "what one gave opens the other");
        }
        let next = cluster.refresh(1, text(&pairs[0], "refresh_token"));
        assert_eq!(next.status, 200);
        // Its parent is a replay now, and ends everything everywhere.
        assert_eq!(cluster.refresh(0, &first).status, 400);
        let access = text(&next.json(), "access_token").to_owned();
        cluster.soon(|number| cluster.bear(number, &access) == 401);
        assert_eq!(cluster.refresh(1, text(&next.json(), "refresh_token")).status, 400);
        assert_eq!(cluster.texts(r#"SELECT "error" FROM "sidegate_auth_log" WHERE "error" IS NOT NULL"#),
            ["REFRESH_TOKEN_REUSED"]);
    }

    fn tk_12_programs_that_start_together_agree_on_one_key_and_rv_1_a_revocation_reaches_all(database) {
        let cluster = Cluster::start(database, "");
        assert_eq!(cluster.texts(r#"SELECT "id" FROM "sidegate_signing_key""#).len(), 1);
        let pair = cluster.program();
        let access = text(&pair, "access_token");
        for number in 0..2 {
            assert_eq!(cluster.bear(number, access), 200);
        }
        let revoked = cluster.stranger(1).post("/auth/revoke", &json!({ "token": text(&pair, "refresh_token") }));
        assert_eq!(revoked.status, 200);
        cluster.soon(|number| cluster.bear(number, access) == 401);
        assert_eq!(cluster.refresh(0, text(&pair, "refresh_token")).status, 400);
    }

    fn of_fifty_browsers_with_one_refresh_cookie_nobody_is_signed_out_and_there_is_one_exchange(database) {
        let cluster = Cluster::start(database, "[session]\ncookie = \"jwt\"\n");
        let mut ada = cluster.stranger(0);
        let mut body = credentials("ada@example.com");
        body["name"] = json!("Ada");
        assert_eq!(ada.post("/auth/signup", &body).status, 200);
        assert_eq!(ada.post("/auth/login", &body).status, 200);
        let refresh = ada.cookies["sidegate-refresh"].clone();
        let answers = fifty(|number| {
            let mut browser = cluster.stranger(number);
            browser.cookies.insert("sidegate-refresh".to_owned(), refresh.clone());
            browser.get("/app")
        });
        assert!(answers.iter().all(|answer| answer.status == 200));
        let value = |answer: &Response, name: &str| {
            let line = set_cookie(answer, name).expect("a cookie");
            line.split(['=', ';']).nth(1).expect("a value").to_owned()
        };
        let successors: HashSet<String> =
            answers.iter().map(|answer| value(answer, "sidegate-refresh")).collect();
        assert_eq!(successors.len(), 1, "{successors:?}");
        assert_eq!((cluster.generations(), cluster.app.arrived().len()), (vec!["1".to_owned()], 50));
        // A signed cookie that one gave opens the other, and nothing once the session has ended.
        let signed = value(&answers[0], "sidegate");
        let opens = |number: usize| {
            let mut browser = cluster.stranger(number);
            browser.cookies.insert("sidegate".to_owned(), signed.clone());
            browser.get("/app").status
        };
        assert_eq!((opens(0), opens(1)), (200, 200));
        let mut last = cluster.stranger(1);
        last.cookies.insert("sidegate".to_owned(), signed.clone());
        assert_eq!(last.post("/auth/sign-out", &json!({})).status, 200);
        cluster.soon(|number| opens(number) == 401);
    }
}
