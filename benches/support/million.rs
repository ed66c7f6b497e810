//! A database of many users, and a Sidegate that starts on it.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::database::{Database, Kind};
use crate::ordeal::{mebibytes, now};
use crate::servers::process::configured_here_alone;
use crate::servers::running::Plan;
use crate::{Options, answer, cells, sessions};

/// Sessions that are used before the count begins, so that the database's own cache is full, and those that count.
const BEFORE: usize = 10_000;
pub(crate) const COUNTED: usize = 50_000;

/// The database, and the tokens of the first sessions in it.
pub(crate) struct House {
    database: Database,
    tokens: Vec<String>,
}

/// `?1` rows of each kind besides those that are there, made after the first of them.
const MULTIPLY: [&str; 3] = [
    r#"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO "user" SELECT printf('%08x-0000-4000-8000-%012x', i * 2654435761 % 4294967296, i), "name",
           printf('user%d@example.com', i), "emailVerified", "image", "createdAt", "updatedAt"
       FROM n, (SELECT * FROM "user" LIMIT 1)"#,
    r#"INSERT INTO "account" ("id", "accountId", "providerId", "userId", "password", "createdAt", "updatedAt")
       SELECT "id", "id", 'credential', "id", 'none', "createdAt", "updatedAt" FROM "user" LIMIT ?1"#,
    r#"INSERT INTO "session" ("id", "expiresAt", "token", "createdAt", "updatedAt", "ipAddress", "userAgent", "userId",
           "sidegateRemember")
       SELECT u."id", s."expiresAt", 'none-' || u."id", s."createdAt", s."updatedAt", s."ipAddress", s."userAgent",
           u."id", s."sidegateRemember"
       FROM "user" AS u, (SELECT * FROM "session" LIMIT 1) AS s LIMIT ?1"#,
];

impl House {
    pub(crate) fn build(users: u32) -> Result<Self, Box<dyn Error>> {
        let database = Kind::Sqlite.create();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let known = if users == 1 { 1 } else { BEFORE + COUNTED };
        let tokens = runtime.block_on(sessions::write(&database.config(1), known))?;
        let house = Self { database, tokens };
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(house.file()).disable_statement_logging();
            let mut connection = SqliteConnection::connect_with(&options).await?;
            let mut tx = connection.begin().await?;
            for statement in MULTIPLY {
                sqlx::query(statement).bind(if users == 1 { 0 } else { users }).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            connection.close().await
        })?;
        Ok(house)
    }

    fn file(&self) -> String {
        self.database.url().trim_start_matches("sqlite:").to_owned()
    }

    /// Of the file.
    pub(crate) fn size(&self) -> Result<String, Box<dyn Error>> {
        Ok(mebibytes(fs::metadata(self.file())?.len() / 1024))
    }

    fn plan<'a>(&self, options: &'a Options, app: SocketAddr) -> Plan<'a> {
        Plan {
            binary: &options.sidegate,
            cores: None,
            callgrind: false,
            certificate: None,
            files: None,
            workers: 2,
            upstream: app,
            protocol: "http1",
            // SQLite's page cache grows to 2 MB for each.
            store: format!("url = \"{}\"\nconnections = 1", self.database.url()),
            sections: "[limits]\nrequests_per_connection = 0\n",
        }
    }

    fn request(&self, address: SocketAddr, session: usize) -> String {
        format!("GET /x HTTP/1.1\r\nHost: {address}\r\nCookie: sidegate={}\r\n\r\n", self.tokens[session])
    }

    /// Starts it again and again: the cells of the times, and the memory after the last.
    pub(crate) fn starts(&self, options: &Options, app: SocketAddr) -> Result<String, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let (plan, mut times, mut resident) = (self.plan(options, app), Vec::new(), String::new());
        for _ in 0..options.rounds {
            let (address, file) = plan.write(folder.path())?;
            let request = self.request(address, 0);
            let begun = now();
            // The kernel ends it with us even if we are killed.
            let mut launcher = Command::new("setpriv");
            configured_here_alone(&mut launcher);
            let mut child = launcher
                .args(["--pdeathsig", "TERM"])
                .arg(std::path::absolute(&options.sidegate)?)
                .args(["serve", "--config"])
                .arg(&file)
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            let mut stream = loop {
                match TcpStream::connect(address) {
                    Ok(stream) => break stream,
                    Err(_) if child.try_wait()?.is_none() => thread::sleep(Duration::from_micros(500)),
                    Err(error) => return Err(format!("it ended: {error}").into()),
                }
            };
            stream.write_all(request.as_bytes())?;
            let (status, _) = answer::read(&mut stream)?;
            times.push(begun.elapsed());
            resident = resident_of(child.id());
            child.kill()?;
            child.wait()?;
            if status != 200 {
                return Err(format!("the first answer is {status}").into());
            }
        }
        Ok(format!("{} | {resident}", cells(&mut times)))
    }

    /// Bytes that each session adds when its first request brings it from the store into memory.
    pub(crate) fn sessions(&self, options: &Options, app: SocketAddr) -> Result<f64, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let process = self.plan(options, app).start(folder.path())?;
        let mut stream = TcpStream::connect(process.address)?;
        stream.set_nodelay(true)?;
        let mut before = 0;
        for session in 0..self.tokens.len() {
            if session == BEFORE {
                before = process.resident();
            }
            stream.write_all(self.request(process.address, session).as_bytes())?;
            let (status, _) = answer::read(&mut stream)?;
            if status != 200 {
                return Err(format!("session {session}: {status}").into());
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "KiB stay far below 2^52")]
        Ok(process.resident().saturating_sub(before) as f64 * 1024.0 / COUNTED as f64)
    }
}

fn resident_of(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    mebibytes(kib.unwrap_or(0))
}
