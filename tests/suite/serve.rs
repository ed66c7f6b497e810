//! `sidegate serve` as it is run: the built program, a file, signals, exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use crate::support::child::Child;
use crate::support::database::{Database, on_both_databases};
use crate::support::raw::{PATIENCE, Raw};
use crate::support::site::PASSWORD;
use crate::support::upstream::{self, Upstream};
use crate::support::visitor::Visitor;

/// A running program; killed when dropped.
pub(crate) struct Program {
    process: Child,
    address: SocketAddr,
    /// What it said until it served.
    pub(crate) said: String,
    /// What it says afterwards.
    says: Mutex<mpsc::Receiver<String>>,
}

/// The program with these arguments.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidegate"));
    command.args(arguments).current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

/// Runs a command that ends by itself.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().expect("the program runs")
}

/// A port that nobody listens on, given to nobody else. It is below those that Linux gives to whoever asks for any
/// (from 32,768), or the app of another test would be there before the program that it is meant for.
pub(crate) fn free_port() -> SocketAddr {
    const PORTS: Range<u32> = 20_000..32_000;
    /// Two runs of the suite at the same time begin at different places.
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(509)));
    let count = PORTS.end - PORTS.start;
    (0..count)
        .map(|_| PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % count)
        .filter_map(|port| u16::try_from(port).ok())
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a port")
}

/// Starts `serve` and waits for the line that says that it does.
pub(crate) fn serve(directory: &Path, address: SocketAddr, arguments: &[&str]) -> Program {
    let mut all = vec!["serve"];
    all.extend(arguments);
    begun(command(directory, &all), address)
}

fn begun(mut command: Command, address: SocketAddr) -> Program {
    let mut process = Child::start(command.stderr(Stdio::piped()));
    let mut lines = BufReader::new(process.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains(" serving ") {
        let count = lines.read_line(&mut said).expect("text");
        assert!(count > 0, "it ended: {said}");
    }
    let (say, says) = mpsc::channel();
    // Nobody may be kept waiting for a full pipe.
    thread::spawn(move || lines.lines().map_while(Result::ok).for_each(|line| drop(say.send(line))));
    Program { process, address, said, says: Mutex::new(says) }
}

/// The same through a shell, which runs `script` with the program as `$0` and its arguments as `$@`.
pub(crate) fn serve_with(script: &str, directory: &Path, address: SocketAddr) -> Program {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_sidegate"), "serve", "--config", "sidegate.toml"]);
    shell.current_dir(directory).env_clear().stdin(Stdio::null());
    begun(shell, address)
}

impl Program {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(self.address, &format!("http://{}", self.address))
    }

    /// Waits until it says this.
    fn says(&self, what: &str) {
        let says = self.says.lock().expect("no panic");
        let next = || says.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never said: {what}"));
        while !next().contains(what) {}
    }

    /// Sends it a signal: `-TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// How it ended; `None` if a signal ended it.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.process.wait().expect("an end").code()
    }
}

/// The complete configuration of the README, with other addresses.
pub(crate) fn minimal(directory: &Path, address: SocketAddr, upstream: SocketAddr, store: &str) {
    let text = format!(
        "[listen]\naddress = \"{address}\"\n[public]\nurl = \"http://{address}\"\n\
         [upstream]\nurl = \"http://{upstream}\"\n[store]\nurl = \"{store}\"\n"
    );
    fs::write(directory.join("sidegate.toml"), text).expect("a file");
}

pub(crate) fn sign_up_and_in(visitor: &mut Visitor) -> String {
    let account = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(visitor.post("/auth/signup", &account).status, 200);
    let response = visitor.post("/auth/login", &account);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["user"]["id"].as_str().expect("an id").to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

/// The `store.url` of this database.
pub(crate) fn url(database: &Database) -> String {
    match database.config().database {
        sidegate::config::Database::Sqlite(path) => format!("sqlite:{}", path.display()),
        sidegate::config::Database::Postgres(url) => url,
    }
}

on_both_databases! {
    fn the_minimal_file_is_a_whole_configuration_and_sessions_outlive_a_restart(database) {
        let directory = TempDir::new().expect("a directory");
        let (app, address) = (Upstream::hello(), free_port());
        minimal(directory.path(), address, app.address, &url(&database));
        let arguments = ["--config", "sidegate.toml"];
        let program = serve(directory.path(), address, &arguments);
        let mut ada = program.visitor();
        assert_eq!(ada.get("/app").status, 401);
        let id = sign_up_and_in(&mut ada);
        assert_eq!(ada.get(&format!("/api/{id}/things")).text(), "hello");
        assert_eq!(app.only().header("x-user-id"), Some(&*id));
        let health = run(directory.path(), &["healthcheck", "--config", "sidegate.toml"]);
        assert!(health.status.success());
        program.signal("-TERM");
        assert_eq!(program.exit_code(), Some(0));
        let _again = serve(directory.path(), address, &arguments);
        assert_eq!(ada.get("/app").status, 200);
    }

    fn se_2_a_new_secret_ends_no_session_while_the_one_before_is_named(database) {
        let directory = TempDir::new().expect("a directory");
        let (app, address) = (Upstream::hello(), free_port());
        for name in ["old", "new"] {
            let path = directory.path().join(name);
            fs::write(&path, format!("{name}, and long enough to be a secret")).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        }
        minimal(directory.path(), address, app.address, &url(&database));
        let minimal = fs::read_to_string(directory.path().join("sidegate.toml")).expect("a file");
        let begins = |secrets: &str| {
            fs::write(directory.path().join("sidegate.toml"), format!("{secrets}\n{minimal}")).expect("a file");
            serve(directory.path(), address, &["--config", "sidegate.toml"])
        };
        let program = begins("secret_file = \"old\"");
        let mut before = program.visitor();
        sign_up_and_in(&mut before);
        let made = before.post("/auth/personal-tokens", &json!({ "name": "backup" }));
        let personal = format!("Bearer {}", made.json()["token"].as_str().expect("a token"));
        let account = json!({ "email": "ada@example.com", "password": PASSWORD, "delivery": "bearer" });
        let mut pair = program.visitor().post("/auth/login", &account).json();
        drop(program);
        // One that will be the secret may be named before it is, for replicas that start one after the other.
        for secrets in [
            "secret_file = \"old\"\nformer_secret_files = [\"new\"]",
            "secret_file = \"new\"\nformer_secret_files = [\"old\"]",
        ] {
            let program = begins(secrets);
            assert_eq!(before.get("/app").status, 200, "{secrets}");
            let asks = |bearer: &str| {
                program.visitor().ask("GET", "/app").header("authorization", bearer).send().status
            };
            assert_eq!(asks(&personal), 200, "{secrets}");
            assert_eq!(asks(&format!("Bearer {}", pair["access_token"].as_str().expect("a token"))), 200);
            pair = program.visitor().post("/auth/refresh", &json!({ "refresh_token": pair["refresh_token"] })).json();
        }
        let program = begins("secret_file = \"new\"\nformer_secret_files = [\"old\"]");
        let mut after = program.visitor();
        let by_cookie = json!({ "email": "ada@example.com", "password": PASSWORD });
        assert_eq!(after.post("/auth/login", &by_cookie).status, 200);
        drop(program);
        let program = begins("secret_file = \"new\"");
        assert_eq!((before.get("/app").status, after.get("/app").status), (401, 200));
        // The key that signed does not open any more, and there is another one.
        let pair = program.visitor().post("/auth/login", &account).json();
        let bearer = format!("Bearer {}", pair["access_token"].as_str().expect("a token"));
        assert_eq!(program.visitor().ask("GET", "/app").header("authorization", &bearer).send().status, 200);
    }

    fn without_migration_at_start_it_is_refused_until_it_is_done_by_hand(database) {
        let directory = TempDir::new().expect("a directory");
        let (app, address) = (Upstream::hello(), free_port());
        minimal(directory.path(), address, app.address, &format!("{}\"\nmigrate = false\n#\"", url(&database)));
        let refused = run(directory.path(), &["serve", "--config", "sidegate.toml"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("migrate"), "{refused:?}");
        let applied = run(directory.path(), &["migrate", "--config", "sidegate.toml"]);
        assert!(applied.status.success() && String::from_utf8_lossy(&applied.stdout).contains("0001"), "{applied:?}");
        let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
        assert_eq!(program.visitor().get("/auth/ok").status, 200);
    }
}

#[test]
fn with_no_file_at_all_an_upstream_is_enough_and_secrets_are_closed_to_others() {
    let directory = TempDir::new().expect("a directory");
    let (app, address) = (Upstream::hello(), free_port());
    let (listen, behind) = (address.to_string(), format!("http://{}", app.address));
    let program = serve(directory.path(), address, &["--upstream", &behind, "--listen", &listen]);
    let mut ada = program.visitor();
    sign_up_and_in(&mut ada);
    assert_eq!(ada.get("/").text(), "hello");
    assert_eq!(mode(&directory.path().join("sidegate.db")), 0o600);
    assert_eq!(mode(&directory.path().join("sidegate.db.secret")), 0o600);
}

#[test]
fn a_term_signal_lets_a_running_request_finish_and_a_second_one_does_not() {
    for signals in [1, 2] {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let app = Upstream::with(move |_, stream| {
            let _ = held.lock().expect("no panic").recv();
            let _ = std::io::Write::write_all(stream, upstream::ok("late").as_bytes());
        });
        let (directory, address) = (TempDir::new().expect("a directory"), free_port());
        minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
        let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
        let mut ada = program.visitor();
        sign_up_and_in(&mut ada);
        let mut raw = Raw::connect(address);
        raw.send(ada.ask("GET", "/slow").bytes());
        while app.arrived().is_empty() {
            thread::yield_now();
        }
        program.signal("-TERM");
        // Nobody new is let in once it is stopping.
        while std::net::TcpStream::connect(address).is_ok() {
            thread::yield_now();
        }
        if signals == 2 {
            program.signal("-TERM");
            assert_eq!(program.exit_code(), Some(1));
        } else {
            release.send(()).expect("the app waits");
            assert_eq!(raw.answer().text(), "late");
            assert_eq!(program.exit_code(), Some(0));
        }
    }
}

#[test]
fn a_second_server_does_not_share_the_port_of_the_first() {
    let (directory, address) = (TempDir::new().expect("a directory"), free_port());
    let app = Upstream::hello();
    minimal(directory.path(), address, app.address, "sqlite:sidegate.db");
    let _first = serve(directory.path(), address, &["--config", "sidegate.toml"]);
    let second = run(directory.path(), &["serve", "--config", "sidegate.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("cannot listen"), "{second:?}");
}

#[test]
fn a_second_server_on_one_sqlite_file_warns_of_the_first_and_takes_its_place() {
    const WARNING: &str = "another process serves with ";
    let directory = TempDir::new().expect("a directory");
    let app = Upstream::hello();
    let start = |name: &str| {
        let (address, file) = (free_port(), format!("{name}.toml"));
        let text = format!(
            "[listen]\naddress = \"{address}\"\n[upstream]\nurl = \"http://{}\"\n[store]\nurl = \"sqlite:{name}.db\"\n",
            app.address
        );
        fs::write(directory.path().join(&file), text).expect("a file");
        serve(directory.path(), address, &["--config", &file])
    };
    let first = start("one");
    assert!(!first.said.contains(WARNING), "{}", first.said);
    for path in ["one.db.lock", "one.db"] {
        assert_eq!(mode(&directory.path().join(path)), 0o600, "{path}");
    }
    for command in [&["user", "list"][..], &["doctor"], &["migrate"], &["keys", "list"]] {
        let output = run(directory.path(), &[command, &["--config", "one.toml"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains(WARNING), "{command:?}: {said}");
    }
    // Another name for the same file.
    for end in ["db", "db.secret"] {
        let link = directory.path().join(format!("two.{end}"));
        std::os::unix::fs::symlink(format!("one.{end}"), link).expect("a link");
    }
    let second = start("two");
    assert!(second.said.contains(WARNING) && second.said.contains("PostgreSQL"), "{}", second.said);
    let mut ada = second.visitor();
    sign_up_and_in(&mut ada);
    assert_eq!(ada.get("/app").status, 200, "it serves all the same");
    first.signal("-KILL");
    second.says("no other process serves with ");
    assert!(start("one").said.contains(WARNING), "the second one has its place");
    second.signal("-KILL");
    assert_eq!(second.exit_code(), None);
    let last = start("one");
    assert!(!last.said.contains(WARNING), "a crash leaves nothing behind: {}", last.said);
    let mut again = last.visitor();
    again.cookies = ada.cookies;
    assert_eq!(again.get("/app").status, 200);
}

#[test]
fn whoever_cannot_listen_is_told_which_key_names_the_place_and_what_to_do() {
    let (directory, taken, app) = (TempDir::new().expect("a directory"), free_port(), Upstream::hello());
    let _held = TcpListener::bind(taken).expect("a port");
    // Reserved for documentation (RFC 5737 §3): no machine has it.
    let foreign = "192.0.2.1:8080";
    for (more, key, remedy) in [
        (format!("more = [\"127.0.0.1:0\", \"{taken}\"]"), "listen.more[1]", "another program listens there"),
        (format!("redirect_http = \"{taken}\""), "listen.redirect_http", "another program listens there"),
        (format!("more = [\"{foreign}\"]"), "listen.more[0]", "this machine has no such address"),
        (format!("[admin]\naddress = \"{taken}\""), "admin.address", "another program listens there"),
    ] {
        let text = format!(
            "[public]\nurl = \"https://127.0.0.1\"\n[upstream]\nurl = \"http://{}\"\n[store]\nurl = \"sqlite:x.db\"\n\
             [listen]\naddress = \"{}\"\n{more}\n",
            app.address,
            free_port()
        );
        fs::write(directory.path().join("sidegate.toml"), text).expect("a file");
        let output = run(directory.path(), &["serve", "--config", "sidegate.toml"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().last().expect("a line");
        assert!(last.starts_with("cannot listen on ") && last.contains(&format!("(`{key}`): ")), "{said}");
        assert!(last.contains(remedy), "{said}");
    }
}
