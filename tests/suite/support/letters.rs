//! The mails that a site has decided on, whether they have left or not: read from where they wait, sealed, and
//! from the catcher.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sidegate::id::RowId;
use sidegate::mail::{Mailer, Message, sealed_for};

use crate::support::raw::PATIENCE;
use crate::support::site::Site;

/// The section with which mails are caught.
pub(crate) const CATCHER: &str = "transport = \"catcher\"\nfrom = \"Site <site@example.org>\"";

/// A mail.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// Whom it is for.
    pub(crate) to: String,
    /// Its subject.
    pub(crate) subject: String,
    /// Its text.
    pub(crate) text: String,
}

impl Letter {
    /// The code that it brings.
    pub(crate) fn code(&self) -> String {
        code_in(&self.text)
    }

    /// The path and query of the first link to one of our pages below this path.
    pub(crate) fn link(&self, site: &Site, path: &str) -> String {
        let start = format!("{}{path}", site.origin);
        let at = self.text.find(&start).unwrap_or_else(|| panic!("no link to {path}: {}", self.text));
        let link = self.text[at..].split_whitespace().next().unwrap_or_default();
        link.trim_start_matches(&site.origin).to_owned()
    }
}

/// The line that is a code.
pub(crate) fn code_in(text: &str) -> String {
    let is_code = |line: &&str| {
        let digits = line.chars().filter(char::is_ascii_digit).count();
        digits == 8 && line.chars().all(|c| c.is_ascii_digit() || c == ' ')
    };
    let line = text.lines().map(str::trim).find(is_code);
    line.unwrap_or_else(|| panic!("no code: {text}")).to_owned()
}

/// All mails, in the order in which they were decided on.
pub(crate) fn letters(site: &Site) -> Vec<Letter> {
    // First those that wait: one that leaves in between is then found in the catcher.
    let rows = site.block_on(
        site.database.texts(r#"SELECT "id" || ' ' || "body" FROM "sidegate_outbox" WHERE "body" <> ''"#),
    );
    let mut found = BTreeMap::new();
    if let Some(Mailer::Catcher(catcher)) = site.app.mailer.as_deref() {
        for caught in catcher.list() {
            let letter =
                Letter { to: caught.to.clone(), subject: caught.subject.clone(), text: caught.text.clone() };
            found.insert(caught.id.clone(), (caught.at.millis(), letter));
        }
    }
    for row in rows {
        let (id, body) = row.split_once(' ').expect("two columns");
        let clear =
            site.app.seal.open(&sealed_for(&RowId::parse(id).expect("an id")), body).expect("it opens");
        let message: Message = serde_json::from_slice(&clear).expect("a message");
        let letter =
            Letter { to: message.to.clone(), subject: message.subject.clone(), text: message.text.clone() };
        found.insert(id.to_owned(), (message.at, letter));
    }
    let mut letters: Vec<(i64, Letter)> = found.into_values().collect();
    letters.sort_by_key(|(at, _)| *at);
    letters.into_iter().map(|(_, letter)| letter).collect()
}

/// Lets time pass once every mail has left: one whose time is over while it waits is given up.
#[expect(clippy::disallowed_methods, reason = "mails leave by the machine's clock")]
pub(crate) fn later(site: &Site, time: Duration) {
    let started = Instant::now();
    let waiting = r#"SELECT "id" FROM "sidegate_outbox" WHERE "body" <> ''"#;
    while !site.block_on(site.database.texts(waiting)).is_empty() {
        assert!(started.elapsed() < PATIENCE, "a mail does not leave");
        std::thread::sleep(Duration::from_millis(5));
    }
    site.pass(time);
}
