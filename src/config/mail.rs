//! `[mail]` as the rest of the house uses it: who writes, over which server, how much and for how long.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use zeroize::Zeroizing;

/// `[mail]`
pub struct Mail {
    /// Who writes.
    pub from: Mailbox,
    /// Where answers go, if not to who writes.
    pub reply_to: Option<Mailbox>,
    /// What carries the mails away.
    pub transport: Transport,
    /// Mails to one address in an hour.
    pub per_recipient: u32,
    /// Mails in an hour in all, over all replicas.
    pub in_all: u32,
    /// How long a mail is tried again before it counts as undeliverable.
    pub give_up_after: Duration,
    /// How long the line of a mail that was sent is kept. Its text is not.
    pub keep_sent: Duration,
}

/// A mailbox: an address with a name beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The name that mail programs show.
    pub name: Option<String>,
    /// `local@domain`
    pub address: String,
}

impl Mailbox {
    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// `mail.transport`: what carries the mails away.
pub enum Transport {
    /// A mail server.
    Smtp(Smtp),
    /// Nothing: the last ones are kept in memory and shown under `/auth/dev/mail`.
    Catcher,
}

/// `[mail.smtp]`
pub struct Smtp {
    /// Host name or address of the mail server; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// User name and password.
    pub login: Option<Login>,
    /// The file that the authorities came from.
    pub ca_file: Option<PathBuf>,
    /// Certificate authorities that are believed instead of those of the web; empty: those of the web.
    pub authorities: Vec<CertificateDer<'static>>,
    /// How long connecting may take, and then handing over one mail.
    pub timeout: Duration,
    /// Connections at a time.
    pub connections: usize,
}

/// How the connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From its first byte (RFC 8314 §3).
    Implicit,
    /// By `STARTTLS`; without it nothing is sent.
    StartTls,
    /// Not at all; on loopback only.
    None,
}

/// User name and password at the mail server.
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}
