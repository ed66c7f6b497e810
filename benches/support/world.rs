//! Two Sidegates that are kept busy, the people at their doors, and what may go wrong there and what may not.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::app::App;
use crate::ordeal::{self, PASSWORD, Place};
use crate::restarts::Restarts;
use crate::servers::process::{self, Process};
use crate::servers::running::Client;
use crate::servers::tls::Certificate;

/// People with an account in each house.
const PEOPLE: usize = 8;

/// Why something did not go well.
pub(crate) enum Trouble {
    /// What nobody may ever see: another's name, a body that is not what was sent, a session that has ended.
    Wrong(String),
    /// What happens when the app goes away, and only then.
    Broken(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Broken(format!("the connection: {}", error.kind()))
    }
}

impl From<Box<dyn Error>> for Trouble {
    fn from(error: Box<dyn Error>) -> Self {
        Self::Broken(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

/// How something went.
pub(crate) type Outcome = Result<(), Trouble>;

/// Checks what was said, in whosever name.
pub(crate) fn same(what: &str, said: &[u8], wanted: &[u8]) -> Outcome {
    if said == wanted {
        return Ok(());
    }
    let start = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    Err(Trouble::Wrong(format!(
        "{what}: {} bytes that begin {:?}, and not {} that begin {:?}",
        said.len(),
        start(said),
        wanted.len(),
        start(wanted)
    )))
}

/// Somebody who is signed in.
pub(crate) struct Person {
    pub(crate) email: String,
    /// Their user id.
    pub(crate) id: String,
    /// Their `Cookie`.
    pub(crate) cookie: String,
}

/// One Sidegate and its app.
pub(crate) struct House {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    pub(crate) people: Vec<Person>,
    pub(crate) certificate: Option<Certificate>,
    /// The same client, for HTTP/2.
    pub(crate) http2: Option<Arc<ClientConfig>>,
    /// The app by HTTP/1.1, where it is that.
    pub(crate) app: Option<App>,
    /// The app by HTTP/2, where it is that.
    pub(crate) app2: Option<Restarts>,
    /// Targets of uploads that were answered with 502.
    pub(crate) refused: Mutex<Vec<String>>,
    /// What broke while the app was away, and how often.
    pub(crate) excused: Mutex<BTreeMap<String, u64>>,
    most: AtomicU64,
    folder: TempDir,
}

/// A connection, with TLS or without.
pub(crate) trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl House {
    /// One in front of an app by HTTP/1.1 for clients without TLS, or before one by HTTP/2 for those with it.
    pub(crate) fn open(binary: &Path, encrypted: bool) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let certificate = encrypted.then(|| Certificate::make(folder.path())).transpose()?;
        let http2 = certificate.as_ref().map(|certificate| {
            let mut client = ClientConfig::clone(&certificate.client);
            client.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(client)
        });
        let (app, app2) = if encrypted {
            (None, Some(crate::app_h2::start()?))
        } else {
            (Some(crate::app::start()?), None)
        };
        let upstream = match (&app, &app2) {
            (Some(app), _) => (app.address, "http1"),
            (None, Some(app)) => (app.address, "h2c"),
            (None, None) => return Err("no app".into()),
        };
        let admin = process::free_address()?;
        let sections = format!(
            "head_timeout = \"2s\"\n\n[password]\nanswer_floor = \"0ms\"\n\n[session]\n{AGE_A}\n\n\
             [admin]\naddress = \"{admin}\"\n"
        );
        let place = Place { folder: folder.path(), upstream, certificate: certificate.as_ref(), files: None };
        let process = ordeal::start(binary, &place, &sections)?;
        let mut house = Self {
            address: process.address,
            process,
            admin,
            people: Vec::new(),
            certificate,
            http2,
            app,
            app2,
            refused: Mutex::default(),
            excused: Mutex::default(),
            most: AtomicU64::new(0),
            folder,
        };
        for number in 0..PEOPLE {
            let email = format!("user{number}@example.com");
            let mut client = house.client()?;
            client.sign_up(&email, PASSWORD)?;
            let answer = client.sign_in(&email, PASSWORD)?;
            let said: serde_json::Value = serde_json::from_str(&answer.body)?;
            let id = said["user"]["id"].as_str().ok_or("no id of the user")?.to_owned();
            let cookie = answer.session_cookie()?;
            house.people.push(Person { email, id, cookie });
        }
        Ok(house)
    }

    /// Somebody who speaks JSON.
    pub(crate) fn client(&self) -> Result<Client, Box<dyn Error>> {
        match &self.certificate {
            None => Ok(Client::connect(self.address)?),
            Some(certificate) => Client::connect_tls(self.address, certificate),
        }
    }

    /// A connection for HTTP/1.1.
    pub(crate) fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = ordeal::connect(self.address, Duration::from_secs(30))?;
        Ok(match &self.certificate {
            None => Box::new(stream),
            Some(certificate) => {
                let connected = certificate.connect(self.address, stream);
                Box::new(connected.map_err(|error| io::Error::other(error.to_string()))?)
            }
        })
    }

    /// What its clients call it.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Whoever's turn it is.
    pub(crate) fn somebody(&self) -> &Person {
        static TURN: AtomicU64 = AtomicU64::new(0);
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % PEOPLE as u64;
        &self.people[usize::try_from(turn).unwrap_or(0)]
    }

    /// Its app.
    pub(crate) fn restarts(&self) -> Option<&Restarts> {
        self.app.as_ref().map(|app| &app.restarts).or(self.app2.as_ref())
    }

    /// Whether something that began then and broke had a reason; it is counted if so.
    pub(crate) fn excuses(&self, trouble: &Trouble, since: Instant) -> bool {
        let Trouble::Broken(what) = trouble else { return false };
        let excused = self.restarts().is_some_and(|app| app.was_away(since));
        if excused {
            *self.excused.lock().unwrap_or_else(PoisonError::into_inner).entry(what.clone()).or_default() +=
                1;
        }
        excused
    }

    /// Has it read its configuration again, which says something else each time.
    pub(crate) fn reload(&self, turn: u32) -> io::Result<()> {
        let file = self.folder.path().join("sidegate.toml");
        let (from, to) = if turn.is_multiple_of(2) { (AGE_A, AGE_B) } else { (AGE_B, AGE_A) };
        fs::write(&file, fs::read_to_string(&file)?.replace(from, to))?;
        Command::new("kill").args(["-HUP", &self.process.pid().to_string()]).status().map(drop)
    }

    /// A number of its own, such as `sidegate_upgraded_connections`; the sum over all labels.
    pub(crate) fn number(&self, name: &str) -> f64 {
        let text = self.numbers().unwrap_or_default();
        let values = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        });
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn numbers(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Its memory now in KiB, which may be the most so far.
    pub(crate) fn look(&self) -> u64 {
        let resident = self.process.resident();
        self.most.fetch_max(resident, Ordering::Relaxed);
        resident
    }

    /// The most of what was looked at.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

const AGE_A: &str = "cache_age = \"30s\"";
const AGE_B: &str = "cache_age = \"20s\"";
