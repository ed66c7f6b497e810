//! A mail server: connections that carry one batch of mails, and what its answers mean.
//!
//! A connection belongs to the one mail that is under way on it. If that fails, takes too long or is dropped
//! half-way, the connection is closed and never used for another mail: what the server still takes for text
//! must not be our next commands.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::{Address, Envelope};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use crate::config::mail::{self as config, Login, Tls};
use crate::error::Fault;
use crate::mail::{Failure, Message};

/// Longest part of a server's answer that is logged, in characters.
const LONGEST_ANSWER: usize = 300;
/// Answers that ask for a proof of who we are, or refuse ours (RFC 4954 §6): not the mail's fault.
const ABOUT_US: [u16; 4] = [530, 534, 535, 538];

/// A mail server.
pub struct Smtp {
    host: String,
    port: u16,
    encrypt: Tls,
    tls: Option<TlsParameters>,
    login: Option<Credentials>,
    hello: ClientId,
    timeout: Duration,
    connections: usize,
    from: config::Mailbox,
    reply_to: Option<config::Mailbox>,
    /// Connections that have carried a mail and are ready for another.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl Smtp {
    /// Connects nowhere yet.
    pub(super) fn new(mail: &config::Mail, server: &config::Smtp) -> Result<Self, Fault> {
        let tls = match server.tls {
            Tls::Implicit | Tls::StartTls => {
                Some(tls(server).map_err(|error| Fault::new("preparing TLS to the mail server", error))?)
            }
            Tls::None => None,
        };
        let credentials = |Login { username, password }: &Login| {
            Credentials::new(username.clone(), password.as_str().to_owned())
        };
        Ok(Self {
            host: server.host.clone(),
            port: server.port,
            encrypt: server.tls,
            tls,
            login: server.login.as_ref().map(credentials),
            hello: ClientId::Domain(mail.from.domain().to_owned()),
            timeout: server.timeout,
            connections: server.connections,
            from: mail.from.clone(),
            reply_to: mail.reply_to.clone(),
            idle: Mutex::default(),
        })
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), Failure> {
        let (envelope, text) = self.written(message).map_err(Failure::Permanent)?;
        let mut connection = match self.idle_connection().await {
            Some(connection) => connection,
            None => self.connect().await.map_err(Failure::Transient)?,
        };
        let sent = self.in_time(connection.send(&envelope, &text)).await;
        match sent {
            None => Err(Failure::Transient("the mail server did not take the mail in time".to_owned())),
            Some(Err(error)) => Err(failure(&error)),
            Some(Ok(_)) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                Ok(())
            }
        }
    }

    /// Says goodbye on connections that nothing needs now; a server would close them later anyway.
    pub(super) async fn rest(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for mut connection in idle {
            let _ = self.in_time(connection.quit()).await;
        }
    }

    pub(super) async fn check(&self) -> Result<(), String> {
        let mut connection = self.connect().await?;
        let answers = self.in_time(connection.test_connected()).await;
        let _ = self.in_time(connection.quit()).await;
        if answers == Some(true) { Ok(()) } else { Err("the mail server stopped to answer".to_owned()) }
    }

    pub(super) fn lanes(&self) -> usize {
        self.connections
    }

    /// A connection that is looked at, one that is made, and one mail.
    pub(super) fn patience(&self) -> Duration {
        self.timeout * 3
    }

    /// A connection that another mail has left and the server has not closed.
    async fn idle_connection(&self) -> Option<AsyncSmtpConnection> {
        let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let lives = self.in_time(connection.test_connected()).await == Some(true);
        lives.then_some(connection)
    }

    /// Connects, encrypts and signs in. Whatever goes wrong here is no mail's fault.
    async fn connect(&self) -> Result<AsyncSmtpConnection, String> {
        let connected = self.in_time(async {
            let outer = self.tls.clone().filter(|_| self.encrypt == Tls::Implicit);
            let server = (self.host.as_str(), self.port);
            let mut connection =
                AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, outer, None).await?;
            if let (Tls::StartTls, Some(tls)) = (self.encrypt, &self.tls) {
                connection.starttls(tls.clone(), &self.hello).await?;
            }
            if let Some(login) = &self.login {
                connection.auth(&[Mechanism::Plain, Mechanism::Login], login).await?;
            }
            Ok::<_, lettre::transport::smtp::Error>(connection)
        });
        match connected.await {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(error)) => Err(format!("{self}: {}", said(&error))),
            None => Err(format!("{self}: no connection within {} s", self.timeout.as_secs())),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.timeout, work).await.ok()
    }

    /// The mail as it travels: exactly one recipient, and no field that holds what a stranger chose.
    fn written(&self, message: &Message) -> Result<(Envelope, Vec<u8>), String> {
        let address = |text: &str| text.parse::<Address>().map_err(|error| format!("no address: {error}"));
        let mailbox = |mailbox: &config::Mailbox| {
            address(&mailbox.address).map(|address| Mailbox::new(mailbox.name.clone(), address))
        };
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(message.at).unwrap_or(0));
        let mut builder = lettre::Message::builder()
            .from(mailbox(&self.from)?)
            .to(Mailbox::new(None, address(&message.to)?))
            .subject(message.subject.as_str())
            .date(at)
            .message_id(Some(format!("<{}@{}>", message.id, self.from.domain())));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(mailbox(reply_to)?);
        }
        // Every attempt sends the same bytes.
        let parts = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(&message.id)
            .singlepart(SinglePart::plain(message.text.clone()))
            .singlepart(SinglePart::html(message.html.clone()));
        // No machine is to answer (RFC 3834 §5).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = builder
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .multipart(parts)
            .map_err(|error| format!("no mail: {error}"))?;
        Ok((mail.envelope().clone(), mail.formatted()))
    }
}

impl fmt::Display for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = match self.encrypt {
            Tls::Implicit => "TLS",
            Tls::StartTls => "STARTTLS",
            Tls::None => "unencrypted",
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{host}:{} ({tls})", self.port)
    }
}

fn tls(server: &config::Smtp) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let mut builder = TlsParameters::builder(server.host.clone());
    if server.authorities.is_empty() {
        builder = builder.certificate_store(CertificateStore::WebpkiRoots);
    } else {
        builder = builder.certificate_store(CertificateStore::None);
        for authority in &server.authorities {
            builder = builder.add_root_certificate(Certificate::from_der(authority.to_vec())?);
        }
    }
    builder.build_rustls()
}

/// What a refused mail means: 5xx is for good (RFC 5321 §4.2.1) unless it is about who we are; a mail that the
/// server cannot be asked to take, an address it does not understand, will not be taken later either.
fn failure(error: &lettre::transport::smtp::Error) -> Failure {
    let about_us = error.status().is_some_and(|code| ABOUT_US.contains(&u16::from(code)));
    let for_good = error.is_client() || (error.is_permanent() && !about_us);
    if for_good { Failure::Permanent(said(error)) } else { Failure::Transient(said(error)) }
}

/// An error with the server's words, as one line that cannot be taken for anything else.
fn said(error: &lettre::transport::smtp::Error) -> String {
    let text: String = error.to_string().chars().take(LONGEST_ANSWER).collect();
    text.escape_debug().to_string()
}
