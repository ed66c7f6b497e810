//! `sidegate doctor`: tries what the configuration names, the store and the mail server, and tells how each
//! fares. Changes nothing.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tokio::time::timeout;

use super::{Failure, Settings, serve};
use crate::config::mail::Mail;
use crate::config::{self, Config, Database, NewSecret};
use crate::error::Fault;
use crate::mail::Mailer;
use crate::store::Store;
use crate::time::Clock;
use crate::token::ANOTHER_SECRET;
use crate::token::keys::Ring;

/// Longest time that one examination may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was examined, and what was found: `Ok` with what is well, or what is wrong.
struct Finding {
    what: &'static str,
    found: Result<String, String>,
}

/// Examines everything and prints a line for each. A failure if anything is wrong.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Leave)?;
    let office = serve::office()?;
    let findings = office.block_on(examine(&config));
    office.shutdown_background();
    let mut out = io::stdout().lock();
    let mut wrong = 0;
    for Finding { what, found } in &findings {
        let (sign, text) = match found {
            Ok(text) => ("ok", text),
            Err(text) => ("WRONG", text),
        };
        wrong += usize::from(found.is_err());
        let _ = writeln!(out, "{what:<8}{sign:<7}{text}");
    }
    if wrong == 0 { Ok(()) } else { Err(Failure::Other(format!("{wrong} of {} are wrong", findings.len()))) }
}

async fn examine(config: &Config) -> Vec<Finding> {
    let mail = match &config.mail {
        Some(mail) => in_time(Box::pin(self::mail(mail))).await,
        None => Ok("not configured: none is sent".to_owned()),
    };
    vec![
        Finding { what: "store", found: in_time(store(config)).await },
        Finding { what: "mail", found: mail },
    ]
}

async fn in_time(examination: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    timeout(PATIENCE, examination).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// Connects and looks whether the tables are up to date. A SQLite file that is not there yet is not made.
async fn store(config: &Config) -> Result<String, String> {
    let name = match &config.store.database {
        Database::Sqlite(path) => {
            writable(path)?;
            if !path.exists() {
                return Ok(format!("{} is not there yet and will be made", path.display()));
            }
            path.display().to_string()
        }
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let told = |fault: Fault| fault.to_string();
    let missing = Store::missing(&config.store).await.map_err(told)?;
    match missing.len() {
        0 if is_anothers(config).await.map_err(told)? => Err(ANOTHER_SECRET.to_owned()),
        0 => Ok(format!("{name}, up to date")),
        _ if config.store.migrate => Ok(format!("{name}, to be updated at the next start")),
        n => Err(format!("{name} is {n} steps behind: run `sidegate migrate`")),
    }
}

/// Whether this user may write to a SQLite file, or make it, and others beside it.
fn writable(file: &Path) -> Result<(), String> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let places =
        [(directory, Access::WRITE_OK | Access::EXEC_OK), (file, Access::READ_OK | Access::WRITE_OK)];
    for (place, wanted) in places {
        match access(place, wanted) {
            Err(Errno::NOENT) if place == file => {}
            Err(error) => {
                let place = place.display();
                return Err(format!(
                    "store.url: this user cannot write to {place}: {}",
                    io::Error::from(error)
                ));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Whether the database was used with another root secret.
async fn is_anothers(config: &Config) -> Result<bool, Fault> {
    let as_it_is = config::Store { migrate: false, ..config.store.clone() };
    let store = Store::open(&as_it_is, &Clock::System).await?;
    let keys = Ring::open(store.signing_keys().await?, &config.secret.seal(), Clock::System.now());
    store.close().await;
    Ok(keys.is_anothers())
}

async fn mail(config: &Mail) -> Result<String, String> {
    let mailer = Mailer::new(config).map_err(|fault| fault.to_string())?;
    mailer.check().await?;
    Ok(mailer.to_string())
}
