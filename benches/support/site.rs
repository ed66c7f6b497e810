//! The servers that `forward` compares, all in front of one upstream, and the request that each is asked.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{self, Cores, Process};
use crate::running::{Client, Plan};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";

/// Bytes of an answer that a client does not read.
const LARGE: usize = 1024 * 1024;

/// As long as a session cookie of ours, under a name of the same length, so that every proxy reads equally
/// much.
const FOREIGN_COOKIE: &str = "basketid=dGhpcyBpcyBub3QgYSBzZXNzaW9uIGJ1dCBhcyBsb25nIGFzIG9uZQ";

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The upstream itself: how far load and upstream can go.
    Direct,
    /// nginx with `proxy_pass` and no authentication: the baseline.
    Nginx,
    /// nginx asking an authentication server by `auth_request` on kept-alive HTTP, which says yes without a look.
    AuthRequest,
    /// nginx asking a Sidegate in the same way, which looks at the session.
    AuthRequestSession,
    /// Sidegate on a public path, with a cookie that is none of ours.
    SidegateOpen,
    /// Sidegate with a signed-in visitor whose session is cached.
    Sidegate,
}

impl Target {
    /// As the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx proxy_pass",
            Self::AuthRequest => "nginx auth_request",
            Self::AuthRequestSession => "nginx auth_request, session checked",
            Self::SidegateOpen => "sidegate, public path",
            Self::Sidegate => "sidegate, signed in",
        }
    }
}

/// What travels.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    /// Bytes of the answer's body.
    pub(crate) answer: usize,
    /// Send 1 KiB with POST instead of asking with GET.
    pub(crate) post: bool,
}

/// How the servers are laid out.
pub(crate) struct Layout<'a> {
    /// Workers of each proxy.
    pub(crate) workers: usize,
    /// Where the proxies run.
    pub(crate) proxies: Cores<'a>,
    /// Where the upstream and the authentication server run; the load generator is with them.
    pub(crate) rest: Cores<'a>,
    /// Buffers of nginx that suit large answers.
    pub(crate) tuned: bool,
    /// The Sidegate to measure.
    pub(crate) sidegate: &'a Path,
    /// Run it under callgrind.
    pub(crate) callgrind: bool,
    /// Send the app a signed identity.
    pub(crate) assertion: bool,
}

/// Where nobody need sign in, who may ask about others, and the signed identity. No connection is ended for its age, as
/// at nginx.
const RULES: &str = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n\n\
                     [limits]\nrequests_per_connection = 0\n";
const FORWARD_AUTH: &str = "[proxies]\ntrusted = [\"127.0.0.1\"]\n\n[forward_auth]\nenabled = true\n\n\
    [limits]\nrequests_per_connection = 0\n";
const ASSERTION: &str = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n\n\
                         [identity]\nassertion_header = \"x-sidegate-assertion\"\n\n\
                         [limits]\nrequests_per_connection = 0\n";

impl Layout<'_> {
    /// A Sidegate in front of `upstream`.
    pub(crate) fn sidegate(&self, upstream: SocketAddr, store: String) -> Plan<'_> {
        Plan {
            binary: self.sidegate,
            cores: self.proxies,
            callgrind: self.callgrind,
            workers: self.workers,
            upstream,
            store,
            sections: if self.assertion { ASSERTION } else { RULES },
        }
    }
}

/// The running servers; those that no target needs are not started.
pub(crate) struct Site {
    traffic: Traffic,
    upstream: Process,
    nginx: Process,
    auth_server: Option<Process>,
    auth_request: Option<Process>,
    /// nginx, the Sidegate that it asks, and the cookie of who is signed in there.
    auth_request_session: Option<(Process, Process, String)>,
    sidegate: Option<(Process, String)>,
    /// KiB that Sidegate had before anybody signed up.
    fresh: u64,
    _directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn start(
        layout: &Layout<'_>,
        traffic: Traffic,
        targets: &[Target],
    ) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let folder = |name: &str| -> std::io::Result<PathBuf> {
            let path = directory.path().join(name);
            fs::create_dir(&path)?;
            Ok(path)
        };
        let buffers = if layout.tuned { "proxy_buffers 16 16k;\n" } else { "" };
        let upstream = start_nginx(&folder("upstream")?, layout.rest, 1, |folder, address| {
            upstream_server(folder, address, traffic.answer)
        })?;
        let nginx = start_nginx(&folder("nginx")?, layout.proxies, layout.workers, |_, address| {
            Ok(format!("{buffers}{}", proxy_server(address, upstream.address)))
        })?;
        let (mut auth_server, mut auth_request, mut sidegate, mut fresh) = (None, None, None, 0);
        if targets.contains(&Target::AuthRequest) {
            let server =
                start_nginx(&folder("auth_server")?, layout.rest, 1, |_, address| Ok(auth_answer(address)))?;
            let authority = server.address;
            auth_server = Some(server);
            auth_request =
                Some(start_nginx(&folder("auth_request")?, layout.proxies, layout.workers, |_, address| {
                    Ok(format!(
                        "{buffers}{}",
                        auth_request_server(address, upstream.address, authority, UNSEEN)
                    ))
                })?);
        }
        let mut auth_request_session = None;
        if targets.contains(&Target::AuthRequestSession) {
            let folder_of_judge = folder("judge")?;
            let plan = layout.sidegate(upstream.address, store_in(&folder_of_judge));
            let plan = Plan { cores: layout.rest, workers: 1, sections: FORWARD_AUTH, ..plan };
            let judge = plan.start(&folder_of_judge)?;
            let cookie = sign_in(&judge)?;
            let authority = judge.address;
            let folder = folder("auth_request_session")?;
            let asking = start_nginx(&folder, layout.proxies, layout.workers, |_, address| {
                Ok(format!("{buffers}{}", auth_request_server(address, upstream.address, authority, SESSION)))
            })?;
            auth_request_session = Some((asking, judge, cookie));
        }
        if targets.contains(&Target::Sidegate) || targets.contains(&Target::SidegateOpen) {
            let folder = folder("sidegate")?;
            let process = layout.sidegate(upstream.address, store_in(&folder)).start(&folder)?;
            fresh = process.resident();
            let cookie = sign_in(&process)?;
            sidegate = Some((process, cookie));
        }
        Ok(Self {
            traffic,
            upstream,
            nginx,
            auth_server,
            auth_request,
            auth_request_session,
            sidegate,
            fresh,
            _directory: directory,
        })
    }

    /// The process under test, unless this target goes straight to the upstream.
    pub(crate) fn proxy(&self, target: Target) -> Option<&Process> {
        match target {
            Target::Direct => None,
            Target::Nginx => Some(&self.nginx),
            Target::AuthRequest => self.auth_request.as_ref(),
            Target::AuthRequestSession => self.auth_request_session.as_ref().map(|(nginx, ..)| nginx),
            Target::SidegateOpen | Target::Sidegate => self.sidegate.as_ref().map(|(process, _)| process),
        }
    }

    pub(crate) fn address(&self, target: Target) -> SocketAddr {
        self.proxy(target).unwrap_or(&self.upstream).address
    }

    /// Processor time of every server of ours so far.
    pub(crate) fn cpu(&self) -> Duration {
        let optional = [
            self.auth_server.as_ref(),
            self.auth_request.as_ref(),
            self.proxy(Target::AuthRequestSession),
            self.auth_request_session.as_ref().map(|(_, judge, _)| judge),
            self.proxy(Target::Sidegate),
        ];
        [&self.upstream, &self.nginx]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .map(Process::cpu)
            .sum()
    }

    /// The request that this target is asked again and again.
    pub(crate) fn request(&self, target: Target) -> Vec<u8> {
        let path = if target == Target::SidegateOpen { "/open/x" } else { "/bench/x" };
        request((self.address(target), path), self.cookie(target), self.traffic.post)
    }

    /// A request for [`LARGE`] bytes.
    pub(crate) fn request_large(&self, target: Target) -> Vec<u8> {
        request((self.address(target), "/large"), self.cookie(target), false)
    }

    fn cookie(&self, target: Target) -> &str {
        match (target, &self.sidegate, &self.auth_request_session) {
            (Target::Sidegate, Some((_, cookie)), _)
            | (Target::AuthRequestSession, _, Some((.., cookie))) => cookie,
            _ => FOREIGN_COOKIE,
        }
    }

    /// Resident memory of the process under test in KiB before any password was hashed.
    pub(crate) fn fresh(&self, target: Target) -> Option<u64> {
        matches!(target, Target::Sidegate | Target::SidegateOpen).then_some(self.fresh)
    }

    /// Where the app is.
    pub(crate) fn upstream(&self) -> SocketAddr {
        self.upstream.address
    }

    /// Ends Sidegate and returns what it wrote.
    pub(crate) fn end_sidegate(self) -> Result<String, Box<dyn Error>> {
        let (process, _) = self.sidegate.ok_or("no Sidegate was started")?;
        Ok(process.end()?)
    }
}

fn store_in(folder: &Path) -> String {
    format!("url = \"sqlite:{}\"", folder.join("sidegate.db").display())
}

/// Signs the one user up and in, and returns the cookie.
fn sign_in(sidegate: &Process) -> Result<String, Box<dyn Error>> {
    let mut ada = Client::connect(sidegate.address)?;
    ada.sign_up(EMAIL, PASSWORD)?;
    ada.sign_in(EMAIL, PASSWORD)?.session_cookie()
}

/// One request as a browser would send it, with four cookies.
pub(crate) fn request((authority, path): (SocketAddr, &str), cookie: &str, post: bool) -> Vec<u8> {
    let mut request = String::from(if post { "POST " } else { "GET " });
    request += path;
    request += " HTTP/1.1\r\n";
    let _ = write!(request, "Host: {authority}\r\n");
    request += "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
            Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
            Accept-Language: en-GB,en;q=0.5\r\n\
            Accept-Encoding: gzip, deflate, br, zstd\r\n";
    let _ = write!(request, "Cookie: theme=dark; _ga=GA1.1.1234567890.1700000000; {cookie}; lang=en-GB\r\n");
    if post {
        let _ = write!(
            request,
            "Origin: http://{authority}\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n"
        );
    }
    request += "\r\n";
    if post {
        request += &"x".repeat(1024);
    }
    request.into_bytes()
}

fn start_nginx(
    folder: &Path,
    cores: Cores<'_>,
    workers: usize,
    server: impl FnOnce(&Path, SocketAddr) -> std::io::Result<String>,
) -> Result<Process, Box<dyn Error>> {
    let address = process::free_address()?;
    // `user` keeps the workers of a root-owned master able to read this directory; other masters ignore it.
    // No connection is closed for its age: a closed connection would be a difference in work between two
    // proxies.
    let configuration = format!(
        "daemon off; user root; worker_processes {workers}; pid nginx.pid; error_log stderr error;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log off; sendfile on; tcp_nopush on; default_type text/plain;\n\
         keepalive_timeout 1h; keepalive_requests 1000000000;\n\
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         proxy_http_version 1.1;\n\
         {}\n\
         }}\n",
        server(folder, address)?
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let prefix = folder.as_os_str();
    let command = [
        "nginx".as_ref(),
        "-e".as_ref(),
        "stderr".as_ref(),
        "-p".as_ref(),
        prefix,
        "-c".as_ref(),
        file.as_os_str(),
    ];
    Process::start(cores, folder, address, command)
}

fn upstream_server(folder: &Path, address: SocketAddr, answer: usize) -> std::io::Result<String> {
    let body = |length: usize| "0123456789abcdef".repeat(length / 16);
    fs::write(folder.join("large"), body(LARGE))?;
    let answer = if answer <= 1024 {
        format!("return 200 \"{}\";", body(answer))
    } else {
        fs::write(folder.join("body"), body(answer))?;
        "try_files /body =404;".to_owned()
    };
    Ok(format!(
        "open_file_cache max=8; server {{ listen {address}; root {};\n\
         location / {{ {answer} }} location = /large {{ }} }}",
        folder.display()
    ))
}

fn proxy_server(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}\n\
         server {{ listen {address}; location / {{\n\
         proxy_pass http://app; proxy_set_header Host $http_host; proxy_set_header Connection \"\";\n\
         }} }}"
    )
}

fn auth_answer(address: SocketAddr) -> String {
    format!("server {{ listen {address}; location / {{ add_header X-User-Id u1; return 204; }} }}")
}

/// How nginx asks: an answer that needs no question, and as the README has it.
const UNSEEN: &str = "proxy_pass http://auth;";
const SESSION: &str = "proxy_pass http://auth/auth/verify/nginx; proxy_set_header Host $http_host;\n\
    proxy_set_header X-Forwarded-For $remote_addr;\n\
    proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URI $request_uri;";

fn auth_request_server(
    address: SocketAddr,
    upstream: SocketAddr,
    auth_server: SocketAddr,
    question: &str,
) -> String {
    format!(
        "upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}\n\
         upstream auth {{ server {auth_server}; keepalive 128; keepalive_requests 1000000000; }}\n\
         server {{ listen {address};\n\
         location / {{\n\
         auth_request /_auth; auth_request_set $user_id $upstream_http_x_user_id;\n\
         proxy_pass http://app; proxy_set_header Host $http_host; proxy_set_header Connection \"\";\n\
         proxy_set_header X-User-Id $user_id;\n\
         }}\n\
         location = /_auth {{\n\
         internal; {question} proxy_set_header Connection \"\";\n\
         proxy_pass_request_body off; proxy_set_header Content-Length \"\";\n\
         }} }}"
    )
}
