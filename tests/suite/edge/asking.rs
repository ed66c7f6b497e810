//! A proxy that asks us before it lets a request through to the app: what must hold whichever proxy that is.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::edge::{asked, climbing, guarded, host};
use crate::flow::token;
use crate::jobs::eventually;
use crate::support::journal;
use crate::support::node;
use crate::support::program::{Program, optional};
use crate::support::raw::{Raw, Response};
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Arrived, Upstream, ok, switch};

/// A proxy that was told to ask us, the app behind it, and somebody who is signed in and talks to the proxy.
pub(crate) struct Asking {
    /// Dropped first: it holds connections to the others.
    _program: Program,
    /// Us, and at `site.address` the proxy.
    pub(crate) stage: Stage,
    /// The app, which only the proxy talks to.
    pub(crate) app: Upstream,
}

/// Answers `hello`, but for what it does not have, and takes any handshake.
fn app() -> Upstream {
    Upstream::with(|arrived, stream| {
        if arrived.header("upgrade").is_some() {
            let _ = stream.write_all(switch(arrived).as_bytes());
            return;
        }
        let kept = "Cache-Control: public, max-age=600\r\nContent-Length";
        let missing = arrived.line.starts_with("GET /missing ");
        let answer = ok("hello").replace("200 OK", if missing { "404 Not Found" } else { "200 OK" });
        let answer = answer.replace("Content-Length", kept);
        let _ = stream.write_all(answer.as_bytes());
    })
}

impl Asking {
    /// `start` is told where the proxy is to listen, where we are and where the app is.
    pub(crate) fn start(
        more: fn(Plan) -> Plan,
        start: impl FnOnce(SocketAddr, SocketAddr, SocketAddr) -> Program,
    ) -> Self {
        Self::try_start(more, |at, site, app| Some(start(at, site, app))).expect("it is installed")
    }

    /// The same, of a proxy that may not be there.
    pub(crate) fn try_start(
        more: fn(Plan) -> Plan,
        start: impl FnOnce(SocketAddr, SocketAddr, SocketAddr) -> Option<Program>,
    ) -> Option<Self> {
        let (at, app) = (crate::serve::free_port(), app());
        let plan = guarded(more(asked())).public(&format!("http://{at}"));
        let mut stage = Stage::on(plan);
        let behind = stage.site.address;
        let program = start(at, behind, app.address)?;
        // From here on, everybody talks to the proxy.
        stage.site.address = at;
        Some(Self { _program: program, stage, app })
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

    /// What a client calls hop-by-hop, which proxies take out, takes nobody's identity from the app.
    pub(crate) fn keeps_the_identity(&self) {
        let stage = &self.stage;
        for field in
            ["Connection: keep-alive, X-User-Id", "Connection: x-user-id", "Connection: close, X-User-Id"]
        {
            for line in ["GET /app HTTP/1.1", "GET /maybe/x HTTP/1.1"] {
                let response = stage.ask(stage.signed(line, &format!("{field}\r\n")));
                assert_eq!(response.status, 200, "{line}, {field}: {}", response.text());
                let arrived = self.app.last();
                assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()), "{line}, {field}");
            }
            // And nobody gets one by it.
            for claim in ["", "X-User-Id: admin\r\n"] {
                let request = stage.strange("GET /maybe/x HTTP/1.1", &format!("{field}\r\n{claim}"));
                let (status, before) = (stage.ask(request).status, self.app.arrived().len());
                assert!(matches!(status, 200 | 403), "{field}: {status}");
                if status == 200 {
                    assert_eq!(self.app.arrived()[before - 1].header("x-user-id"), None, "{field}");
                }
            }
        }
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

    /// Nobody gets anything by naming an identity in one of these fields.
    pub(crate) fn refuses_claimed_identities(&self, names: &[&str]) {
        let stage = &self.stage;
        for (name, path) in
            names.iter().flat_map(|name| ["/app", "/public/x", "/maybe/x"].map(|path| (name, path)))
        {
            let (line, claim) = (format!("GET {path} HTTP/1.1"), format!("{name}: admin\r\n"));
            for request in [stage.signed(&line, &claim), stage.strange(&line, &claim)] {
                assert_eq!(stage.ask(&request).status, 403, "{request}");
            }
        }
        assert!(self.app.arrived().is_empty());
    }

    /// A refusal of ours is not taken for a yes where the client speaks gRPC, whatever it is refused for.
    pub(crate) fn lets_no_call_through(&self) {
        let (stage, long) = (&self.stage, "a".repeat(8200));
        for (path, wrong) in [
            ("/secret/x", ""),
            ("/secret/x", "Host: 127.0.0.1:\r\n"),
            ("/secret/x", "Authorization: a\r\nAuthorization: b\r\n"),
            ("/secret/x", "Expect: miracles\r\n"),
            ("/secret/x%zz", ""),
            (&format!("/secret/x?{long}"), ""),
            (&format!("/secret/x;{}", &long[..2048]), ""),
        ] {
            for method in ["GET", "POST", "PUT", "TRACE"] {
                let fields = format!("{wrong}Content-Type: application/grpc\r\nContent-Length: 0\r\n");
                let mut request = stage.strange(&format!("{method} {path} HTTP/1.1"), &fields);
                if wrong.starts_with("Host") {
                    request = request.replacen(&format!("Host: {}\r\n", stage.host()), "", 1);
                }
                // Envoy puts a refusal into the words of gRPC itself.
                let told = stage.ask(&request);
                let refused = told.status >= 300 || told.header("grpc-status").is_some_and(|it| it != "0");
                assert!(refused, "{told:?}: {method} {wrong}");
            }
        }
        assert!(self.app.arrived().is_empty());
    }

    /// A session that is extended on the way gets its cookie to the browser, and the next request needs none.
    pub(crate) fn passes_a_renewed_cookie_on(&self) {
        let stage = &self.stage;
        stage.site.pass(Duration::from_hours(25));
        let response = stage.ask(stage.signed("GET /app HTTP/1.1", ""));
        assert_eq!(response.status, 200);
        let renewed = response.header("set-cookie").is_some_and(|cookie| cookie.starts_with("sidegate="));
        assert!(renewed, "{response:?}");
        assert_eq!(self.app.only().header("x-user-id"), Some(stage.me.as_str()));
        assert_eq!(stage.ask(stage.signed("GET /app HTTP/1.1", "")).header("set-cookie"), None);
    }

    /// What the app says to caches is not said beside a renewed cookie.
    pub(crate) fn keeps_renewed_cookies_from_caches(&self, path: &str, signed: bool) {
        let site = &self.stage.site;
        let (mut ada, _) = site.member("second@example.org");
        let usual = ada.get(path);
        assert_eq!(usual.all("cache-control"), ["public, max-age=600"], "{usual:?}");
        site.pass(if signed { Duration::from_mins(5) } else { Duration::from_hours(25) });
        let renewed = ada.get(path);
        assert_eq!(renewed.all("set-cookie").len(), if signed { 2 } else { 1 }, "{renewed:?}");
        assert_eq!(renewed.all("cache-control"), ["no-store"], "{renewed:?}");
        assert_eq!(ada.get(path).all("cache-control"), ["public, max-age=600"]);
    }

    /// Both signed cookies, renewed on the way, get to the browser at each of these paths, whatever the app answers.
    pub(crate) fn passes_both_signed_cookies_on(&self, paths: &[(&str, u16)]) {
        let site = &self.stage.site;
        let (mut ada, id) = site.member("second@example.org");
        assert_eq!(ada.get("/app").status, 200);
        for (path, status) in paths {
            site.pass(Duration::from_mins(5));
            let before = self.app.arrived().len();
            let renewed = ada.get(path);
            assert_eq!(renewed.status, *status, "{path}");
            for arrived in &self.app.arrived()[before..] {
                assert_eq!(arrived.header("x-user-id"), Some(id.as_str()), "{path}");
                assert_eq!(arrived.header("set-cookie"), None, "{path}");
            }
            let lines = renewed.all("set-cookie");
            let given: Vec<_> = lines.iter().filter_map(|line| line.split('=').next()).collect();
            assert_eq!(given, ["sidegate", "sidegate-refresh"], "{path}");
            assert!(lines.iter().all(|line| line.contains("HttpOnly") && !line.contains(',')), "{lines:?}");
            assert!(
                renewed.headers.iter().all(|(name, _)| !name.contains("renewed")),
                "{:?}",
                renewed.headers
            );
        }
        assert!(ada.get("/app").all("set-cookie").is_empty());
    }

    /// A body of either framing reaches the app, and nobody but the app.
    pub(crate) fn passes_bodies_on(&self) {
        let stage = &self.stage;
        let digit = |place: u32| char::from_digit((place * 7 + place / 251) % 36, 36).expect("a digit");
        let large: String = (0..300_000).map(digit).collect();
        let (own, other) = (format!("/api/{}/a", stage.me), "/api/0b5a7f9c-0000-4000-8000-00000000beef/a");
        for body in ["hello", &large] {
            let length = format!("Content-Length: {}\r\n", body.len());
            let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            for (fields, sent) in [(length.as_str(), body), ("Transfer-Encoding: chunked\r\n", &chunked)] {
                let post = |path: &str| stage.signed(&format!("POST {path} HTTP/1.1"), fields) + sent;
                let response = stage.ask(post(&own));
                assert_eq!(response.status, 200, "{fields}: {}", response.text());
                let arrived = self.app.last();
                assert!(arrived.line.starts_with(&format!("POST {own} ")), "{}", arrived.line);
                assert!(arrived.content() == body.as_bytes(), "{fields}: {} bytes", arrived.body.len());
                let before = self.app.arrived().len();
                assert_eq!(stage.ask(post(other)).status, 403, "{fields}");
                assert_eq!(self.app.arrived().len(), before);
            }
        }
        assert!(stage.site.upstream.arrived().is_empty());
    }

    /// Where our store does not answer, and where we do not answer at all, nobody passes. The proxy says one of these.
    pub(crate) fn denies_without_us(mut self, unsure: u16, gone: &[u16]) {
        journal::announce("reading a session");
        let stage = &mut self.stage;
        stage.site.block_on(stage.site.app.store.close());
        stage.site.pass(Duration::from_mins(1));
        let response = stage.ask(stage.signed("GET /app HTTP/1.1", ""));
        assert_eq!(response.status, unsure, "{}", response.text());
        assert!(response.all("set-cookie").is_empty(), "never signed out");
        assert_eq!(stage.ask(stage.strange("GET /public/x HTTP/1.1", "")).status, 200);
        stage.site.stop();
        let before = self.app.arrived().len();
        for path in ["/app", "/public/x", "/auth/ok"] {
            for request in [
                stage.signed(&format!("GET {path} HTTP/1.1"), ""),
                stage.strange(&format!("GET {path} HTTP/1.1"), ""),
            ] {
                let response = stage.ask(request);
                assert!(gone.contains(&response.status), "{path}: {} {}", response.status, response.text());
            }
        }
        assert_eq!(self.app.arrived().len(), before);
    }

    /// A handshake of a WebSocket is judged, and reaches the app if it begins at this site.
    pub(crate) fn judges_handshakes(&self) {
        let stage = &self.stage;
        for (origin, status) in [(stage.site.origin.as_str(), 101), ("https://evil.test", 403)] {
            let fields = format!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n"
            );
            let response = stage.ask(stage.signed("GET /socket HTTP/1.1", &fields));
            assert_eq!(response.status, status, "{origin}: {}", response.text());
        }
        assert_eq!(self.app.only().header("x-user-id"), Some(stage.me.as_str()));
    }

    /// Everything that an attacker tries reaches neither app.
    pub(crate) fn withstands_climbing(&self) {
        self.climb(|line, arrived| panic!("{line}: {arrived:?}"));
    }

    /// The same, where the proxy resolves what it can before it asks: what arrives is what we have judged.
    pub(crate) fn withstands_climbing_resolved(&self) {
        self.climb(|line, arrived| {
            let path = arrived.line.split(' ').nth(1).unwrap_or_default();
            assert!(["/private", "/x"].contains(&path), "{line} arrived as {path}");
            assert_eq!(arrived.header("x-user-id"), Some(self.stage.me.as_str()), "{line}");
        });
    }

    /// Tries to climb, and has `judge` look at what reaches the app of it.
    fn climb(&self, judge: impl Fn(&str, &Arrived)) {
        let me = &self.stage.me;
        let other = "0b5a7f9c-0000-4000-8000-00000000beef";
        let mut before = 0;
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
                    arrived[before..].iter().for_each(|arrived| judge(&line, arrived));
                    // Where the proxy has no site or answers by itself, it may call that a success.
                    let answered = answer.is_ok_and(|answer| answer.text() == "hello");
                    assert_eq!(answered, arrived.len() > before, "{line}");
                    before = arrived.len();
                }
            }
        }
        let arrived = self.stage.site.upstream.arrived();
        assert!(arrived.is_empty(), "{arrived:?}");
    }
}

/// A proxy that `start` puts before a site, before this app of gRPC: `at` there, and where the site is. Nothing, where
/// there is no such `program`.
pub(crate) fn grpc_passes(program: &str, start: impl FnOnce(SocketAddr, SocketAddr) -> Option<Program>) {
    if optional(program).is_none() {
        return;
    }
    let (at, node) = (crate::serve::free_port(), node::Program::start("grpc.mjs"));
    let upstream = format!("url = \"http://127.0.0.1:{}\"\nprotocol = \"h2c\"", node.port);
    let plan = asked().public(&format!("http://{at}")).set("upstream", &upstream);
    let stage = Stage::on(plan.rule("/closed.Notes/**", "deny"));
    let (other, _) = stage.site.signed_in("me@example.org");
    let Some(_program) = start(at, stage.site.address) else { return };
    let told = json!({
        "site": at.to_string(),
        "origin": stage.site.origin,
        "cookie": stage.cookie,
        "bearer": token(&other),
        "me": stage.me,
    });
    assert_eq!(node.run(&told), "all is well");
}

/// A proxy that `start` puts before a site says who the client is. Returns what the app hears of that.
pub(crate) fn client_is_who_the_proxy_says(
    start: impl FnOnce(SocketAddr, SocketAddr) -> Option<Program>,
) -> Option<String> {
    let at = crate::serve::free_port();
    let mut stage = Stage::on(asked().public(&format!("http://{at}")));
    let _program = start(at, stage.site.address)?;
    stage.site.address = at;
    let request = stage.signed("GET /x;y/a%20b?c HTTP/1.1", "X-Forwarded-For: 6.6.6.6\r\n");
    eventually("the proxy knows of us", || {
        let mut raw = Raw::connect_from("127.0.0.5".parse().expect("an address"), at);
        raw.send(&request).answer().status == 200
    });
    let arrived = stage.site.upstream.only();
    assert_eq!(arrived.line, "GET /x;y/a%20b?c HTTP/1.1");
    assert_eq!(arrived.header("x-user-id"), Some(stage.me.as_str()));
    arrived.header("x-forwarded-for").map(str::to_owned)
}
