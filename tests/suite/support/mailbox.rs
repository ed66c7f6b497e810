//! A mail server: takes what it is given, or is slow, refuses and hangs up where a test says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::raw::PATIENCE;
use mail::Mail;

pub(crate) mod mail;

/// The authority behind the certificate of [`Mailbox::with_tls`].
pub(crate) const CA_FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/mailbox/tls/ca.pem");
const CERTIFICATE: &str = include_str!("mailbox/tls/localhost.pem");
const KEY: &str = include_str!("mailbox/tls/localhost.key");

/// Where in a conversation something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The first line of the server.
    Greeting,
    /// `EHLO`
    Ehlo,
    /// `AUTH`
    Auth,
    /// `MAIL FROM`
    From,
    /// `RCPT TO`
    To,
    /// `DATA`
    Data,
    /// After the first bytes of the text.
    MidText,
    /// After the whole text.
    Text,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Says this in place of the usual.
    Says(&'static str),
    /// Says nothing, and waits until the client goes.
    Waits,
    /// Closes the connection.
    HangsUp,
    /// Keeps the mail, and closes the connection before it says so.
    TakesAndHangsUp,
}

/// A running server.
pub(crate) struct Mailbox {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mood: Option<(Stage, Does)>,
    mails: Vec<Mail>,
    /// Every line of every client but text.
    said: Vec<String>,
    connections: usize,
}

/// How a server encrypts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encrypts {
    Never,
    AtOnce,
    IfAsked,
}

impl Mailbox {
    /// Speaks without TLS.
    pub(crate) fn start() -> Self {
        Self::listen(Encrypts::Never)
    }

    /// Speaks TLS from the first byte, as `localhost` and `127.0.0.1`.
    pub(crate) fn with_tls() -> Self {
        Self::listen(Encrypts::AtOnce)
    }

    /// Offers `STARTTLS`.
    pub(crate) fn with_start_tls() -> Self {
        Self::listen(Encrypts::IfAsked)
    }

    fn listen(encrypts: Encrypts) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::downgrade(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Some(shared), Ok(stream)) = (theirs.upgrade(), stream) else { return };
                thread::spawn(move || {
                    shared.change(|state| state.connections += 1);
                    // A client that goes in the middle of it is what some tests are about.
                    let _ = converse(&shared, stream, encrypts);
                });
            }
        });
        Self { address, shared }
    }

    /// The `[mail]` section that names it, without its headline.
    pub(crate) fn config(&self) -> String {
        format!("from = \"Harbour Notes <no-reply@harbour.test>\"\n{}", self.smtp("tls = \"none\""))
    }

    /// The `[mail.smtp]` section that names it, with more lines.
    pub(crate) fn smtp(&self, lines: &str) -> String {
        format!(
            "[mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntimeout = \"5s\"\n{lines}\n",
            self.address.port()
        )
    }

    /// From now on it does this, at this point of every conversation.
    pub(crate) fn mood(&self, at: Stage, does: Does) {
        self.shared.change(|state| state.mood = Some((at, does)));
    }

    /// From now on it takes everything.
    pub(crate) fn relents(&self) {
        self.shared.change(|state| state.mood = None);
    }

    /// Waits for a mail to this address that nobody has read yet.
    pub(crate) fn wait_for(&self, to: &str) -> Mail {
        let mut state = self.wait(&format!("a mail to {to}"), |state| unread(state, to).is_some());
        let mail = unread(&mut state, to).expect("it was waited for");
        mail.read = true;
        mail.clone()
    }

    /// How many mails have come to this address.
    pub(crate) fn count(&self, to: &str) -> usize {
        let state = self.shared.state.lock().expect("no panic");
        state.mails.iter().filter(|mail| mail.to.iter().any(|known| known == to)).count()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().expect("no panic").connections
    }

    /// What clients said.
    pub(crate) fn said(&self) -> Vec<String> {
        self.shared.state.lock().expect("no panic").said.clone()
    }

    /// Waits until a client said something that begins so.
    pub(crate) fn wait_until_said(&self, start: &str) {
        drop(self.wait(start, |state| state.said.iter().any(|line| line.starts_with(start))));
    }

    fn wait(&self, what: &str, so: impl Fn(&mut State) -> bool) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock().expect("no panic");
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !so(state));
        let (state, waited) = waited.expect("no panic");
        assert!(!waited.timed_out(), "{what} never came; clients said {:#?}", state.said);
        state
    }
}

fn unread<'s>(state: &'s mut State, to: &str) -> Option<&'s mut Mail> {
    state.mails.iter_mut().find(|mail| !mail.read && mail.to.iter().any(|known| known == to))
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no panic"));
        self.changed.notify_all();
    }

    /// What it does at this point, unless it is in no special mood.
    fn does(&self, at: Stage) -> Option<Does> {
        self.state.lock().expect("no panic").mood.filter(|(stage, _)| *stage == at).map(|(_, does)| does)
    }
}

/// Bytes in both directions.
trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A client that has gone, or that the server has left.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

fn encrypted(stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate and its key");
    StreamOwned::new(ServerConnection::new(Arc::new(config)).expect("a connection"), stream)
}

fn converse(shared: &Shared, stream: TcpStream, encrypts: Encrypts) -> Result<(), Over> {
    stream.set_read_timeout(Some(PATIENCE))?;
    if encrypts == Encrypts::AtOnce {
        return talk(shared, encrypted(stream), false, true).map(|_| ());
    }
    let ours = stream.try_clone()?;
    if talk(shared, stream, encrypts == Encrypts::IfAsked, true)? {
        talk(shared, encrypted(ours), false, false)?;
    }
    Ok(())
}

/// Says `usual`, or what the mood is.
fn say(shared: &Shared, to: &mut impl Wire, at: Stage, usual: &str) -> Result<(), Over> {
    let line = match shared.does(at) {
        None => usual,
        Some(Does::Says(line)) => line,
        Some(Does::Waits) => {
            let mut late = [0; 512];
            let count = to.read(&mut late).unwrap_or(0);
            if count > 0 {
                let late = String::from_utf8_lossy(&late[..count]).trim_end().to_owned();
                shared.change(|state| state.said.push(late));
            }
            return Err(Over);
        }
        Some(Does::HangsUp | Does::TakesAndHangsUp) => return Err(Over),
    };
    to.write_all(format!("{line}\r\n").as_bytes())?;
    Ok(to.flush()?)
}

/// One conversation; true if it goes on encrypted.
fn talk(shared: &Shared, wire: impl Wire, offers_tls: bool, greets: bool) -> Result<bool, Over> {
    let mut wire = BufReader::new(wire);
    if greets {
        say(shared, wire.get_mut(), Stage::Greeting, "220 mailbox.test ESMTP")?;
    }
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_owned();
        shared.change(|state| state.said.push(line.clone()));
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let path = || {
            let (_, rest) = line.split_once('<').unwrap_or_default();
            rest.split('>').next().unwrap_or_default().to_owned()
        };
        let out = wire.get_mut();
        match verb.as_str() {
            "EHLO" => {
                let tls = if offers_tls { "250-STARTTLS\r\n" } else { "" };
                let offer = format!("250-mailbox.test\r\n{tls}250-8BITMIME\r\n250 AUTH PLAIN LOGIN");
                say(shared, out, Stage::Ehlo, &offer)?;
            }
            "STARTTLS" => {
                out.write_all(b"220 go ahead\r\n")?;
                return Ok(true);
            }
            "AUTH" => say(shared, out, Stage::Auth, "235 welcome")?,
            "MAIL" => {
                from = path();
                say(shared, out, Stage::From, "250 ok")?;
            }
            "RCPT" => {
                to.push(path());
                say(shared, out, Stage::To, "250 ok")?;
            }
            "DATA" => {
                say(shared, out, Stage::Data, "354 go on")?;
                if shared.does(Stage::MidText).is_some() {
                    wire.read_line(&mut String::new())?;
                    say(shared, wire.get_mut(), Stage::MidText, "")?;
                }
                let raw = text_of(&mut wire)?;
                let refused =
                    matches!(shared.does(Stage::Text), Some(Does::Says(_) | Does::HangsUp | Does::Waits));
                if !refused {
                    let mail = Mail::parse(std::mem::take(&mut from), std::mem::take(&mut to), &raw);
                    shared.change(|state| state.mails.push(mail));
                }
                say(shared, wire.get_mut(), Stage::Text, "250 taken")?;
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n")?;
                out.flush()?;
                return Ok(false);
            }
            _ => {
                out.write_all(b"250 ok\r\n")?;
                out.flush()?;
            }
        }
    }
}

fn text_of(wire: &mut impl BufRead) -> Result<String, Over> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line)? == 0 {
            return Err(Over);
        }
        if line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
