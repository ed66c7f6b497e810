//! The real server on a port of its own, with a real store and a clock that moves only when told.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sidegate::app::App;
use sidegate::config::{self, Flags, NewSecret, Sources};
use sidegate::jobs::Jobs;
use sidegate::server::Server;
use sidegate::server::listen::Reservation;
use sidegate::time::Clock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::database::{Database, START};
use crate::support::journal;
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;

/// The password of everybody in the tests.
pub(crate) const PASSWORD: &str = "a long and private phrase";

/// A running site.
pub(crate) struct Site {
    /// The wired application.
    pub(crate) app: Arc<App>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// `http://127.0.0.1:PORT`, or what the test configured.
    pub(crate) origin: String,
    /// Stands at [`START`] until it is moved.
    pub(crate) clock: Clock,
    /// The app behind it.
    pub(crate) upstream: Upstream,
    /// Its database.
    pub(crate) database: Database,
    /// The office.
    pub(crate) runtime: Runtime,
    server: Option<Server>,
    jobs: Option<Jobs>,
    _directory: TempDir,
    _port: Reservation,
}

/// A site that is being described.
pub(crate) struct Plan {
    database: Database,
    upstream: Upstream,
    sections: Vec<(&'static str, String)>,
    tail: String,
    public: Option<String>,
    https: bool,
    top: String,
}

impl Plan {
    /// In front of this app.
    pub(crate) fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// Lines for a section: `.set("limits", "body = 10")`.
    pub(crate) fn set(mut self, section: &'static str, lines: &str) -> Self {
        self.sections.push((section, lines.to_owned()));
        self
    }

    /// A rule: `.rule("/open/**", "public")`.
    pub(crate) fn rule(mut self, path: &str, access: &str) -> Self {
        let _ = write!(self.tail, "[[rules]]\npath = \"{path}\"\naccess = \"{access}\"\n");
        self
    }

    /// Text at the end of the configuration.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        self.tail.push_str(text);
        self
    }

    /// Another public origin than the address it listens on.
    pub(crate) fn public(mut self, origin: &str) -> Self {
        self.public = Some(origin.to_owned());
        self
    }

    /// Public by https, on the address where it listens.
    pub(crate) fn https(mut self) -> Self {
        self.https = true;
        self
    }

    /// The root secret, where two sites must have the same.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        let _ = writeln!(self.top, "secret = \"{secret}\"");
        self
    }

    /// Other mount prefixes, as TOML.
    pub(crate) fn paths(mut self, paths: &str) -> Self {
        let _ = writeln!(self.top, "paths = {paths}");
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> Site {
        journal::start();
        let directory = tempfile::tempdir().expect("a directory");
        let port = Reservation::take(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = port.address();
        let origin = self.public.clone().unwrap_or_else(|| {
            let scheme = if self.https { "https" } else { "http" };
            format!("{scheme}://{address}")
        });
        let store = match self.database.config().database {
            config::Database::Sqlite(path) => format!("sqlite:{}", path.display()),
            config::Database::Postgres(url) => url,
        };
        let mut sections = vec![
            ("listen", format!("address = \"{address}\"\nworkers = 1")),
            ("public", format!("url = \"{origin}\"")),
            ("upstream", format!("url = \"http://{}\"", self.upstream.address)),
            ("store", format!("url = \"{store}\"\nconnections = 4")),
            ("password", "answer_floor = \"0ms\"".to_owned()),
            ("limits", "attempts_in_all = 10000".to_owned()),
        ];
        for (name, lines) in &self.sections {
            match sections.iter_mut().find(|(known, _)| known == name) {
                // What a test sets takes the place of a line of the same key.
                Some((_, text)) => *text = merged(text, lines),
                None => sections.push((name, lines.clone())),
            }
        }
        let mut text = self.top;
        for (name, lines) in sections {
            let _ = write!(text, "[{name}]\n{lines}\n");
        }
        text.push_str(&self.tail);
        let file = directory.path().join("sidegate.toml");
        std::fs::write(&file, text).expect("the configuration is written");
        let sources = Sources {
            file: Some(file),
            env: Vec::new(),
            flags: Flags::default(),
            new_secret: NewSecret::Keep,
        };
        let config = config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let clock = Clock::fixed(START);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("office")
            .enable_all()
            .build()
            .expect("a runtime");
        let app =
            runtime.block_on(App::start(config, clock.clone())).unwrap_or_else(|fault| panic!("{fault}"));
        let jobs = Jobs::start(&app);
        let server = Server::start(&app).expect("a server");
        Site {
            address,
            origin,
            clock,
            upstream: self.upstream,
            database: self.database,
            server: Some(server),
            jobs: Some(jobs),
            runtime,
            app,
            _directory: directory,
            _port: port,
        }
    }
}

/// `lines` after `text`, without those lines of `text` whose key they give again.
fn merged(text: &str, lines: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let given: Vec<String> = lines.lines().map(key).collect();
    let kept: Vec<&str> = text.lines().filter(|line| !given.contains(&key(line))).collect();
    format!("{}\n{lines}", kept.join("\n"))
}

impl Site {
    /// Describes a site on this database.
    pub(crate) fn on(database: Database) -> Plan {
        Plan {
            database,
            upstream: Upstream::hello(),
            sections: Vec::new(),
            tail: String::new(),
            public: None,
            https: false,
            top: String::new(),
        }
    }

    /// A site on SQLite with nothing special about it.
    pub(crate) fn start() -> Self {
        Self::on(Database::sqlite()).start()
    }

    /// Somebody without cookies.
    pub(crate) fn stranger(&self) -> Visitor {
        Visitor::new(self.address, &self.origin)
    }

    /// Makes an account; its user id is told by signing in.
    pub(crate) fn sign_up(&self, email: &str) {
        let body = serde_json::json!({ "name": "Someone", "email": email, "password": PASSWORD });
        let response = self.stranger().post("/auth/sign-up/email", &body);
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Somebody who has just signed in with this account, and the user id.
    pub(crate) fn signed_in(&self, email: &str) -> (Visitor, String) {
        let mut visitor = self.stranger();
        let body = serde_json::json!({ "email": email, "password": PASSWORD });
        let response = visitor.post("/auth/sign-in/email", &body);
        assert_eq!(response.status, 200, "{}", response.text());
        let id = response.json()["user"]["id"].as_str().expect("an id").to_owned();
        (visitor, id)
    }

    /// Somebody with a new account, signed in, and the user id.
    pub(crate) fn member(&self, email: &str) -> (Visitor, String) {
        self.sign_up(email);
        self.signed_in(email)
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Runs something on the office's runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Stops the server and waits for it, as SIGTERM does.
    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    /// Has nothing go on that nobody asked for.
    pub(crate) fn end_jobs(&mut self) {
        self.jobs = None;
    }

    /// Has the jobs look at once for what is to be done, as after SIGHUP.
    pub(crate) fn look_again(&self) {
        self.jobs.as_ref().expect("they run").apply(&self.app);
    }

    /// Where the admin listener is.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.server.as_ref().and_then(Server::admin_address).expect("there is one")
    }

    /// Takes the server out, to stop it from another thread.
    pub(crate) fn take_server(&mut self) -> Server {
        self.server.take().expect("it runs")
    }

    /// Where plain http is led to https.
    pub(crate) fn redirect(&self) -> SocketAddr {
        self.server.as_ref().and_then(Server::redirect).expect("it was configured")
    }

    /// Whether the site still answers.
    pub(crate) fn is_well(&self) -> bool {
        TcpStream::connect(self.address).is_ok() && self.stranger().get("/auth/ok").status == 200
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // Connections that a test left open would only be waited for.
            std::thread::spawn(move || server.stop());
        }
        if !std::thread::panicking() {
            let errors = journal::unannounced();
            assert!(errors.is_empty(), "errors were logged: {errors:#?}");
        }
    }
}
