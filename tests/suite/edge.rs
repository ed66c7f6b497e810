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

use crate::support::program::Program;
use crate::support::raw::Raw;
use crate::support::site::{Plan, Site};
use crate::support::stage::Stage;
use crate::support::upstream::Upstream;

/// Paths by which somebody could reach `/admin` or another user's `/api/…` if the one who judges and the one who
/// answers read them differently; `{other}` is another user's id.
pub(crate) const CLIMBING: &[&str] = &[
    "/public/../admin/secrets",
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
    "/public/%EF%BC%8E%EF%BC%8E/admin",
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

impl Asking {
    /// `start` is told where the proxy is to listen, where we are and where the app is.
    pub(crate) fn start(
        more: fn(Plan) -> Plan,
        start: impl FnOnce(std::net::SocketAddr, std::net::SocketAddr, std::net::SocketAddr) -> Program,
    ) -> Self {
        let (at, app) = (crate::serve::free_port(), Upstream::hello());
        let plan = guarded(more(asked())).public(&format!("http://{at}"));
        let mut stage = Stage::on(plan);
        let behind = stage.site.address;
        let program = start(at, behind, app.address);
        // From here on, everybody talks to the proxy.
        stage.site.address = at;
        Self { _program: program, stage, app }
    }

    /// Everything that an attacker tries reaches neither app.
    pub(crate) fn withstands_climbing(&self) {
        let me = &self.stage.me;
        let other = "0b5a7f9c-0000-4000-8000-00000000beef";
        for target in CLIMBING {
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

/// A site whose loopback peers may ask.
pub(crate) fn asked() -> Plan {
    Stage::plan().set("proxies", "trusted = [\"127.0.0.1\"]").set("forward_auth", "enabled = true")
}

/// What `Host` says.
pub(crate) fn host(site: &Site) -> &str {
    site.origin.split("://").nth(1).unwrap_or_default()
}
