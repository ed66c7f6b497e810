//! A real Sidegate as a child process, and people who sign up and in through its JSON API.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{self, CALLGRIND, Cores, Process};
use super::tls::Certificate;

/// The root secret of every Sidegate of the benchmarks, so that they can issue tokens it takes for its own.
pub(crate) const SECRET: &str = "a root secret for benchmarks on loopback only";

/// Long enough for two password hashes under valgrind.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is started.
pub(crate) struct Plan<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) cores: Cores<'a>,
    /// Run it under callgrind.
    pub(crate) callgrind: bool,
    pub(crate) workers: usize,
    /// How many files it may have open, if not as many as the system allows.
    pub(crate) files: Option<u32>,
    pub(crate) upstream: SocketAddr,
    /// What is spoken to the app, as `upstream.protocol` has it.
    pub(crate) protocol: &'a str,
    /// What it shows to those who come by TLS; without it, nobody can.
    pub(crate) certificate: Option<&'a Certificate>,
    /// The lines of `[store]`.
    pub(crate) store: String,
    /// Further sections.
    pub(crate) sections: &'a str,
}

impl Plan<'_> {
    /// Writes its configuration into `folder`: where it will listen, and the file.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<(SocketAddr, PathBuf)> {
        let address = process::free_address()?;
        let file = folder.join("sidegate.toml");
        let Self { workers, upstream, protocol, store, sections, .. } = self;
        let (scheme, tls) = match self.certificate {
            None => ("http", String::new()),
            Some(Certificate { chain, key, .. }) => (
                "https",
                format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\n", chain.display(), key.display()),
            ),
        };
        let access = std::env::var_os("BENCH_ACCESS_LOG").is_some();
        fs::write(
            &file,
            format!(
                "secret = \"{SECRET}\"\n\n\
                 [listen]\naddress = \"{address}\"\nworkers = {workers}\n\n\
                 [public]\nurl = \"{scheme}://{address}\"\n\n{tls}\
                 [upstream]\nurl = \"http://{upstream}\"\nprotocol = \"{protocol}\"\n\n\
                 [store]\n{store}\n\n\
                 [log]\naccess = {access}\nlevel = \"warn\"\n\n\
                 {sections}"
            ),
        )?;
        Ok((address, file))
    }

    /// Starts it with its configuration in `folder`.
    pub(crate) fn start(&self, folder: &Path) -> Result<Process, Box<dyn Error>> {
        let (address, file) = self.write(folder)?;
        // It runs in `folder`, and whoever named it did not.
        let binary = std::path::absolute(self.binary)?;
        let callgrind = if self.callgrind { &CALLGRIND[..] } else { &[] };
        let limit = self.files.map(|files| format!("--nofile={files}:{files}"));
        let limit = limit.iter().flat_map(|limit| ["prlimit".as_ref(), limit.as_ref()]);
        let command = limit.chain(callgrind.iter().map(AsRef::as_ref)).chain([
            binary.as_os_str(),
            "serve".as_ref(),
            "--config".as_ref(),
            file.as_os_str(),
        ]);
        Process::start(self.cores, folder, address, command)
    }
}

/// A program that speaks JSON over one kept-alive connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    address: SocketAddr,
    origin: String,
}

/// A connection, with TLS or without.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = Box::new(tcp(address)?);
        Ok(Self { stream, address, origin: format!("http://{address}") })
    }

    /// Comes by TLS.
    pub(crate) fn connect_tls(
        address: SocketAddr,
        certificate: &Certificate,
    ) -> Result<Self, Box<dyn Error>> {
        let stream = Box::new(certificate.connect(address, tcp(address)?)?);
        Ok(Self { stream, address, origin: format!("https://{address}") })
    }

    /// Signs a new user up.
    pub(crate) fn sign_up(&mut self, email: &str, password: &str) -> Result<(), Box<dyn Error>> {
        let person = serde_json::json!({ "name": "Ada", "email": email, "password": password });
        let answer = self.post("/auth/sign-up/email", &person)?;
        if answer.status == 200 { Ok(()) } else { Err(format!("no sign-up:\n{}", answer.head).into()) }
    }

    /// Tries to sign in.
    pub(crate) fn sign_in(&mut self, email: &str, password: &str) -> Result<Answer, Box<dyn Error>> {
        self.post("/auth/sign-in/email", &serde_json::json!({ "email": email, "password": password }))
    }

    /// Sends JSON from our own origin.
    pub(crate) fn post(&mut self, path: &str, body: &serde_json::Value) -> Result<Answer, Box<dyn Error>> {
        let (address, origin, body) = (self.address, &self.origin, body.to_string());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(&request)
    }

    /// Opens a page as a browser does that another site may have sent here, with these cookies.
    pub(crate) fn visit(&mut self, target: &str, cookies: &str) -> Result<Answer, Box<dyn Error>> {
        let address = self.address;
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Mode: navigate\r\nAccept: text/html\r\n\
             Cookie: {cookies}\r\n\r\n"
        ))
    }

    /// Sends a form.
    pub(crate) fn submit(&mut self, target: &str, form: &str) -> Result<Answer, Box<dyn Error>> {
        let (address, length) = (self.address, form.len());
        self.send(&format!(
            "POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        ))
    }

    fn send(&mut self, request: &str) -> Result<Answer, Box<dyn Error>> {
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let mut bytes = Vec::with_capacity(4096);
        let mut piece = [0; 4096];
        loop {
            if let Some((answer, length)) = complete(&bytes)
                && bytes.len() >= length
            {
                return Ok(answer);
            }
            match self.stream.read(&mut piece)? {
                0 => return Err(format!("cut off:\n{}", String::from_utf8_lossy(&bytes)).into()),
                read => bytes.extend_from_slice(&piece[..read]),
            }
        }
    }
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The answer and the length of the whole message, once its head is there.
fn complete(bytes: &[u8]) -> Option<(Answer, usize)> {
    let text = str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length: usize = field(head, "content-length").find_map(|value| value.parse().ok()).unwrap_or(0);
    Some((Answer { status, head: head.to_owned(), body: body.to_owned() }, head.len() + 4 + length))
}

fn field<'h>(head: &'h str, name: &str) -> impl Iterator<Item = &'h str> {
    let named = move |line: &'h str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    };
    head.lines().filter_map(named)
}

impl Answer {
    /// Where it leads, without `origin`.
    pub(crate) fn leads_to(&self, origin: &str) -> Result<String, Box<dyn Error>> {
        let to = field(&self.head, "location").find_map(|to| to.strip_prefix(origin));
        Ok(to.ok_or_else(|| format!("it does not lead to {origin}:\n{}", self.head))?.to_owned())
    }

    /// The cookies that it sets, as `name=value; name=value`.
    pub(crate) fn cookies(&self) -> String {
        let cookies: Vec<_> =
            field(&self.head, "set-cookie").filter_map(|cookie| cookie.split(';').next()).collect();
        cookies.join("; ")
    }

    /// The session cookie that it sets, as `name=value`.
    pub(crate) fn session_cookie(&self) -> Result<String, Box<dyn Error>> {
        let mut cookies = field(&self.head, "set-cookie").filter_map(|cookie| cookie.split(';').next());
        let names = ["sidegate=", "__Host-sidegate="];
        let cookie = cookies.find(|cookie| names.iter().any(|name| cookie.starts_with(name)));
        Ok(cookie.ok_or_else(|| format!("no session cookie in:\n{}", self.head))?.to_owned())
    }
}
