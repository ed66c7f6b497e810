//! `sidegate doctor`: tries what the configuration names, the store and the mail server, and tells how each
//! fares. Changes nothing.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::timeout;

use super::{Failure, Settings, serve};
use crate::config::mail::Mail;
use crate::config::{Config, Database, NewSecret};
use crate::mail::Mailer;
use crate::store::Store;

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
    let mut out = std::io::stdout().lock();
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
        Database::Sqlite(path) if !path.exists() => {
            return Ok(format!("{} is not there yet and will be made", path.display()));
        }
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let missing = Store::missing(&config.store).await.map_err(|fault| fault.to_string())?;
    match missing.len() {
        0 => Ok(format!("{name}, up to date")),
        _ if config.store.migrate => Ok(format!("{name}, to be updated at the next start")),
        n => Err(format!("{name} is {n} steps behind: run `sidegate migrate`")),
    }
}

async fn mail(config: &Mail) -> Result<String, String> {
    let mailer = Mailer::new(config).map_err(|fault| fault.to_string())?;
    mailer.check().await?;
    Ok(mailer.to_string())
}
