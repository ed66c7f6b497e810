//! Where connections come in, and what stands between a client and us: real proxies in front, real servers behind.

mod behind;
mod caddy;
mod forward_auth;
mod forwarded;
mod haproxy;
mod listeners;
mod nginx;
mod proxy_protocol;
mod redirect;
mod systemd;

use std::io::Write as _;
use std::net::SocketAddr;

use crate::support::program::{Program, documented};
use crate::support::raw::{Raw, Response};
use crate::support::site::{Plan, Site};
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// Paths that lead out of a public corner if the one who judges and the one who answers read them differently.
pub(crate) const OUT_OF_PUBLIC: &[&str] = &[
    "/public/../admin/secrets",
    "/public/../private",
    "/public/%2e%2e/admin",
    "/public/%2e%2e%2fadmin",
    "/public/..%2fadmin",
    "/public/.%2e/admin",
    "/public/%252e%252e/admin",
    "/public/..%252fadmin",
    "/public/..%5cadmin",
    "/public/..%255cadmin",
    "/public/..;/admin",
    "/public/..;x=1/admin",
    "/public/;/../../admin",
    "/public//../admin",
    "/public/./../admin/",
    "/public/x/../../admin",
    "/public/%EF%BC%8E%EF%BC%8E/admin",
    "/public/%E2%80%A5/admin",
    "/public/..%EF%BC%8Fadmin",
];

/// Further paths by which somebody could reach `/admin` or another user's `/api/…` in that case; `{other}` is another
/// user's id.
const CLIMBING: &[&str] = &[
    "/public/..%c0%afadmin",
    "/public/%00/../../admin",
    "/public/%zz/../../admin",
    "/public\\..\\admin",
    "/public/#/../../admin",
    "/public/x#/../../admin",
    "/ADMIN/x",
    "/%61dmin/x",
    "/%2561dmin/x",
    "//admin/x",
    "/./admin/x",
    "/x/../admin/x",
    "/admin;x",
    "/;/admin",
    "/%2fadmin/x",
    "/admin%2fx",
    "/x/..%2fapi/{other}/x",
    "/public/../api/{other}/x",
    "/public/..%2fapi/{other}",
    "/api/{me}/../{other}/x",
    "/api/{me}/%2e%2e/{other}",
    "/api/{me}/.%2e/{other}",
    "/api/{me}/..%2f{other}",
    "/api/{me}/..%252f{other}",
    "/api/{me}/..;/{other}",
    "/api/{me};x=/../{other}",
    "/api/{me}\\..\\{other}",
    "/api/{me}/..%5c{other}",
    "/api/{me}%2f..%2f{other}",
    "/api/{me}/..%c0%af{other}",
    "/api/%75{other}/x",
    "/API/{other}/x",
    "//api/{other}",
    "/./api/{other}",
    "/api//{other}",
    "/api/{me}%00/../{other}",
    "/api/{other}%20/",
    "/api/{other}",
    "/api/{other}/x",
    "/auth/../admin/x",
    "/auth/..%2fadmin/x",
    "/auth/verify/../../admin",
    "/public/..%2f..%2f..%2fadmin",
    "/admin",
    "/admin/",
    "/admin?x=/public/",
    "*",
    "admin",
    "http://evil.test/admin",
];

/// All of them.
pub(crate) fn climbing<'a>() -> impl Iterator<Item = &'a str> {
    OUT_OF_PUBLIC.iter().chain(CLIMBING).copied()
}

/// Rules with a public corner and one that is closed to everybody.
pub(crate) fn guarded(plan: Plan) -> Plan {
    plan.rule("/public/**", "public").rule("/maybe/**", "optional").rule("/admin/**", "deny")
}

/// A proxy that was told to ask us, the app behind it, and somebody who is signed in and talks to the proxy.
pub(crate) struct Asking {
    /// Dropped first: it holds connections to the others.
    _program: Program,
    /// Us, and at `site.address` the proxy.
    pub(crate) stage: Stage,
    /// The app, which only the proxy talks to.
    pub(crate) app: Upstream,
}

/// Answers `hello`, but for what it does not have.
fn app() -> Upstream {
    Upstream::with(|arrived, stream| {
        let missing = arrived.line.starts_with("GET /missing ");
        let answer = ok("hello").replace("200 OK", if missing { "404 Not Found" } else { "200 OK" });
        let _ = stream.write_all(answer.as_bytes());
    })
}

impl Asking {
    /// `start` is told where the proxy is to listen, where we are and where the app is.
    pub(crate) fn start(
        more: fn(Plan) -> Plan,
        start: impl FnOnce(SocketAddr, SocketAddr, SocketAddr) -> Program,
    ) -> Self {
        let (at, app) = (crate::serve::free_port(), app());
        let plan = guarded(more(asked())).public(&format!("http://{at}"));
        let mut stage = Stage::on(plan);
        let behind = stage.site.address;
        let program = start(at, behind, app.address);
        // From here on, everybody talks to the proxy.
        stage.site.address = at;
        Self { _program: program, stage, app }
    }

    /// Who may pass does, and the app, asked in this version of HTTP, is told who it is.
    pub(crate) fn lets_through(&self, version: &str) {
        let (stage, me) = (&self.stage, Some(self.stage.me.as_str()));
        for (what, who) in [
            ("GET /app?x=y", me),
            (&format!("POST /api/{}/a%20b", stage.me), me),
            ("GET /public/x", None),
            ("GET /maybe/x", me),
        ] {
            let line = format!("{what} HTTP/1.1");
            let response = stage.ask(stage.signed(&line, "Content-Length: 2\r\n") + "ab");
            assert_eq!(response.status, 200, "{what}: {}", response.text());
            assert_eq!(response.header("set-cookie"), None);
            let arrived = self.app.last();
            assert_eq!(arrived.line, format!("{what} {version}"));
            assert_eq!(arrived.header("x-user-id"), who, "{what}");
            assert_eq!(arrived.body, b"ab");
        }
        assert!(stage.site.upstream.arrived().is_empty(), "nothing of it came through us");
    }

    /// People are led to the sign-in page, who may not is told so, and who signs in there gets through. Returns what a
    /// program is told.
    pub(crate) fn refuses_as_we_do(&self) -> Response {
        let stage = &self.stage;
        let person = stage.ask(stage.strange("GET /app?x=y HTTP/1.1", "Sec-Fetch-Mode: navigate\r\n"));
        let sign_in = format!("http://{}/auth/sign-in?callback_url=%2Fapp%3Fx%3Dy", host(&stage.site));
        assert_eq!((person.status, person.header("location")), (302, Some(sign_in.as_str())));
        let page = stage.ask(stage.strange("GET /auth/sign-in HTTP/1.1", "Sec-Fetch-Mode: navigate\r\n"));
        assert_eq!(page.status, 200);
        let program = stage.ask(stage.strange("GET /app HTTP/1.1", ""));
        assert_eq!(program.status, 401);
        assert_eq!(stage.ask(stage.signed("GET /admin/x HTTP/1.1", "")).status, 403);
        assert!(self.app.arrived().is_empty());
        let (mut visitor, id) = stage.site.member("second@example.org");
        assert_eq!(visitor.get("/app").status, 200);
        assert_eq!(self.app.only().header("x-user-id"), Some(id.as_str()));
        program
    }

    /// Fields that a client writes for us change no verdict, and nobody but the proxy asks at these paths.
    pub(crate) fn believes_no_client(&self, lies: &str, paths: &[&str]) {
        let stage = &self.stage;
        // A question that names another request is refused whoever asks.
        let stranger = stage.ask(stage.strange("GET /app HTTP/1.1", lies)).status;
        assert!(matches!(stranger, 401 | 403), "{stranger}");
        assert_eq!(stage.ask(stage.signed("GET /admin HTTP/1.1", lies)).status, 403);
        for path in paths {
            let response = stage.ask(stage.signed(&format!("GET {path} HTTP/1.1"), lies));
            assert!(matches!(response.status, 400 | 403 | 404), "{path}: {}", response.status);
            assert!(response.header("x-user-id").is_none());
        }
    }

    /// A session that is extended on the way gets its cookie to the browser, and the next request needs none.
    pub(crate) fn passes_a_renewed_cookie_on(&self) {
        let stage = &self.stage;
        stage.site.pass(std::time::Duration::from_hours(25));
        let response = stage.ask(stage.signed("GET /app HTTP/1.1", ""));
        assert_eq!(response.status, 200);
        let renewed = response.header("set-cookie").is_some_and(|cookie| cookie.starts_with("sidegate="));
        assert!(renewed, "{response:?}");
        assert_eq!(self.app.only().header("x-user-id"), Some(stage.me.as_str()));
        assert_eq!(stage.ask(stage.signed("GET /app HTTP/1.1", "")).header("set-cookie"), None);
    }

    /// Everything that an attacker tries reaches neither app.
    pub(crate) fn withstands_climbing(&self) {
        let me = &self.stage.me;
        let other = "0b5a7f9c-0000-4000-8000-00000000beef";
        for target in climbing() {
            let target = target.replace("{me}", me).replace("{other}", other);
            for method in ["GET", "POST", "OPTIONS"] {
                let line = format!("{method} {target} HTTP/1.1");
                for request in [
                    self.stage.signed(&line, "Content-Length: 0\r\nConnection: close\r\n"),
                    self.stage.strange(&line, "Content-Length: 0\r\nConnection: close\r\n"),
                ] {
                    let mut raw = Raw::connect(self.stage.site.address);
                    let answer = raw.send(&request).try_answer(false);
                    let arrived = self.app.arrived();
                    assert!(arrived.is_empty(), "{line}: {arrived:?}");
                    // Where the proxy has no site or answers by itself, it may call that a success.
                    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.text() != "hello"), "{line}");
                }
            }
        }
        let arrived = self.stage.site.upstream.arrived();
        assert!(arrived.is_empty(), "{arrived:?}");
    }
}

/// A configuration of the documentation with these addresses of us and the app.
pub(crate) fn documented_for(heading: &str, kind: &str, site: SocketAddr, app: SocketAddr) -> String {
    documented(heading, kind)
        .replace("127.0.0.1:8080", &site.to_string())
        .replace("127.0.0.1:3000", &app.to_string())
}

/// A site whose loopback peers may ask.
pub(crate) fn asked() -> Plan {
    Stage::plan().set("proxies", "trusted = [\"127.0.0.1\"]").set("forward_auth", "enabled = true")
}

/// What `Host` says.
pub(crate) fn host(site: &Site) -> &str {
    site.origin.split("://").nth(1).unwrap_or_default()
}
