//! The servers that `forward` compares, all in front of one upstream, and the request that each is asked.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::nginx;
use crate::oauth2_proxy;
use crate::servers::process::{Cores, Process};
use crate::servers::running::{Client, Plan};
use crate::servers::tls::Certificate;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";

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
    /// oauth2-proxy with a signed-in visitor, if it is installed.
    #[value(name = "oauth2-proxy")]
    Oauth2Proxy,
    /// Sidegate on a public path, with a cookie that is none of ours.
    SidegateOpen,
    /// Sidegate with a signed-in visitor whose session is cached.
    Sidegate,
    /// nginx saying yes without a look to whoever asks for a proxy.
    Yes,
    /// Sidegate asked for a proxy, about a signed-in visitor whose session is cached.
    Verify,
}

impl Target {
    /// As the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx proxy_pass",
            Self::AuthRequest => "nginx auth_request",
            Self::AuthRequestSession => "nginx auth_request, session checked",
            Self::Oauth2Proxy => "oauth2-proxy, signed in",
            Self::SidegateOpen => "sidegate, public path",
            Self::Sidegate => "sidegate, signed in",
            Self::Yes => "nginx return 204",
            Self::Verify => "sidegate, /auth/verify/nginx",
        }
    }

    /// Where this target is asked.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::SidegateOpen => "/open/x",
            Self::Yes | Self::Verify => "/auth/verify/nginx",
            _ => "/bench/x",
        }
    }
}

/// How clients speak to the proxies; the app behind them is always asked in HTTP/1.1 without TLS.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Protocol {
    Http,
    Https,
    /// HTTP/2 under TLS, with `h2load` as the client.
    H2,
}

/// What travels.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) protocol: Protocol,
    /// A connection for each request.
    pub(crate) fresh: bool,
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
    /// The oauth2-proxy to compare it with.
    pub(crate) oauth2_proxy: Option<&'a Path>,
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
    pub(crate) fn sidegate<'s>(
        &'s self,
        upstream: SocketAddr,
        store: String,
        certificate: Option<&'s Certificate>,
    ) -> Plan<'s> {
        Plan {
            binary: self.sidegate,
            cores: self.proxies,
            callgrind: self.callgrind,
            certificate,
            workers: self.workers,
            files: None,
            upstream,
            protocol: "http1",
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
    /// And the cookie of who is signed in there; the same of the next.
    oauth2_proxy: Option<(Process, String)>,
    sidegate: Option<(Process, String)>,
    /// Who says yes unseen, and the Sidegate that is asked the same, with the cookie of who is signed in there.
    verify: Option<(Process, Process, String)>,
    certificate: Option<Certificate>,
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
        let root = directory.path().to_owned();
        let folder = |name: &str| -> std::io::Result<PathBuf> {
            let path = root.join(name);
            fs::create_dir(&path)?;
            Ok(path)
        };
        let buffers = if layout.tuned { "proxy_buffers 16 16k;\n" } else { "" };
        let encrypted = traffic.protocol != Protocol::Http;
        let certificate = encrypted.then(|| Certificate::make(&folder("tls")?)).transpose()?;
        let shown = certificate.as_ref();
        let own = |name: &str, cores, workers, sections: Option<&'static str>, upstream| {
            let folder = folder(name)?;
            let store = format!("url = \"sqlite:{}\"", folder.join("sidegate.db").display());
            let plan = layout.sidegate(upstream, store, shown);
            let plan = Plan { cores, workers, sections: sections.unwrap_or(plan.sections), ..plan };
            let process = plan.start(&folder)?;
            let fresh = process.resident();
            let cookie = sign_in(&process, shown)?;
            Ok::<_, Box<dyn Error>>((process, cookie, fresh))
        };
        let app_folder = folder("upstream")?;
        let upstream = nginx::start(&app_folder, layout.rest, 1, |address| {
            nginx::app(&app_folder, address, traffic.answer)
        })?;
        let app = upstream.address;
        let nginx = nginx::start(&folder("nginx")?, layout.proxies, layout.workers, |address| {
            let http2 = traffic.protocol == Protocol::H2;
            Ok(format!("{buffers}{}", nginx::proxy(address, app, http2, shown)))
        })?;
        let asking = |name: &str, authority, question| {
            nginx::start(&folder(name)?, layout.proxies, layout.workers, |address| {
                Ok(format!("{buffers}{}", nginx::auth_request(address, app, authority, question)))
            })
        };
        let mut site = Self {
            traffic,
            upstream,
            nginx,
            auth_server: None,
            auth_request: None,
            auth_request_session: None,
            oauth2_proxy: None,
            sidegate: None,
            verify: None,
            certificate: None,
            fresh: 0,
            _directory: directory,
        };
        if targets.contains(&Target::AuthRequest) {
            let server =
                nginx::start(&folder("auth_server")?, layout.rest, 1, |address| Ok(nginx::yes(address)))?;
            site.auth_request = Some(asking("auth_request", server.address, nginx::UNSEEN)?);
            site.auth_server = Some(server);
        }
        if targets.contains(&Target::AuthRequestSession) {
            let (judge, cookie, _) = own("judge", layout.rest, 1, Some(FORWARD_AUTH), app)?;
            let nginx = asking("auth_request_session", judge.address, nginx::SESSION)?;
            site.auth_request_session = Some((nginx, judge, cookie));
        }
        if targets.contains(&Target::Oauth2Proxy) {
            let program = layout.oauth2_proxy.ok_or("oauth2-proxy is not installed")?;
            let (place, folder) = ((layout.proxies, layout.workers), folder("oauth2_proxy")?);
            site.oauth2_proxy = Some(oauth2_proxy::start((program, &folder), place, app)?);
        }
        if targets.contains(&Target::Sidegate) || targets.contains(&Target::SidegateOpen) {
            let (process, cookie, fresh) = own("sidegate", layout.proxies, layout.workers, None, app)?;
            site.fresh = fresh;
            site.sidegate = Some((process, cookie));
        }
        if targets.contains(&Target::Verify) {
            let (process, cookie, _) =
                own("verify", layout.proxies, layout.workers, Some(FORWARD_AUTH), app)?;
            let yes = nginx::start(&folder("yes")?, layout.proxies, layout.workers, |address| {
                Ok(nginx::yes(address))
            })?;
            site.verify = Some((yes, process, cookie));
        }
        site.certificate = certificate;
        Ok(site)
    }

    /// The process under test, unless this target goes straight to the upstream.
    pub(crate) fn proxy(&self, target: Target) -> Option<&Process> {
        match target {
            Target::Direct => None,
            Target::Nginx => Some(&self.nginx),
            Target::AuthRequest => self.auth_request.as_ref(),
            Target::AuthRequestSession => self.auth_request_session.as_ref().map(|(nginx, ..)| nginx),
            Target::Oauth2Proxy => self.oauth2_proxy.as_ref().map(|(process, _)| process),
            Target::SidegateOpen | Target::Sidegate => self.sidegate.as_ref().map(|(process, _)| process),
            Target::Yes => self.verify.as_ref().map(|(yes, ..)| yes),
            Target::Verify => self.verify.as_ref().map(|(_, process, _)| process),
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
            self.proxy(Target::Oauth2Proxy),
            self.proxy(Target::Sidegate),
            self.proxy(Target::Yes),
            self.proxy(Target::Verify),
        ];
        [&self.upstream, &self.nginx]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .map(Process::cpu)
            .sum()
    }

    /// The request that this target is asked again and again.
    pub(crate) fn request(&self, target: Target) -> Vec<u8> {
        let (authority, post) = (self.address(target), self.traffic.post);
        let mut fields = self.fields(target);
        if self.traffic.fresh {
            fields.push_str("Connection: close\r\n");
        }
        request((authority, target.path()), &fields, post)
    }

    /// A request for an answer of 1 MiB.
    pub(crate) fn request_large(&self, target: Target) -> Vec<u8> {
        request((self.address(target), "/large"), &self.fields(target), false)
    }

    /// What a browser sends to this target, and what nginx does that asks; without `Host`.
    pub(crate) fn fields(&self, target: Target) -> String {
        let cookie = match target {
            Target::Sidegate => self.sidegate.as_ref().map(|(_, cookie)| cookie),
            Target::AuthRequestSession => self.auth_request_session.as_ref().map(|(.., cookie)| cookie),
            Target::Oauth2Proxy => self.oauth2_proxy.as_ref().map(|(_, cookie)| cookie),
            Target::Verify => self.verify.as_ref().map(|(.., cookie)| cookie),
            _ => None,
        };
        let mut fields = fields(cookie.map_or(FOREIGN_COOKIE, String::as_str));
        if self.traffic.post {
            let scheme = if self.certificate.is_some() { "https" } else { "http" };
            let _ =
                write!(fields, "Origin: {scheme}://{}\r\nContent-Type: text/plain\r\n", self.address(target));
        }
        if matches!(target, Target::Yes | Target::Verify) {
            fields.push_str(
                "X-Forwarded-For: 192.0.2.7\r\nX-Original-Method: GET\r\nX-Original-URI: /bench/x\r\n",
            );
        }
        fields
    }

    /// What the proxies show under TLS.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
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

/// Signs the one user up and in, and returns the cookie.
fn sign_in(sidegate: &Process, certificate: Option<&Certificate>) -> Result<String, Box<dyn Error>> {
    let mut ada = match certificate {
        None => Client::connect(sidegate.address)?,
        Some(certificate) => Client::connect_tls(sidegate.address, certificate)?,
    };
    ada.sign_up(EMAIL, PASSWORD)?;
    ada.sign_in(EMAIL, PASSWORD)?.session_cookie()
}

/// What a browser sends besides `Host`, with four cookies.
pub(crate) fn fields(cookie: &str) -> String {
    format!(
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Cookie: theme=dark; _ga=GA1.1.1234567890.1700000000; {cookie}; lang=en-GB\r\n"
    )
}

/// One request with these fields.
pub(crate) fn request((authority, path): (SocketAddr, &str), fields: &str, post: bool) -> Vec<u8> {
    let mut request = String::from(if post { "POST " } else { "GET " });
    let _ = write!(request, "{path} HTTP/1.1\r\nHost: {authority}\r\n{fields}");
    if post {
        request += "Content-Length: 1024\r\n";
    }
    request += "\r\n";
    if post {
        request += &"x".repeat(1024);
    }
    request.into_bytes()
}
