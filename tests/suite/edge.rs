//! Where connections come in, and what stands between a client and us: real proxies in front, real servers behind.

mod asker;
mod asking;
mod behind;
mod caddy;
mod envoy;
mod forward_auth;
mod forwarded;
mod haproxy;
mod listeners;
mod nginx;
mod proxy_protocol;
mod redirect;
mod systemd;
mod traefik;

use std::net::SocketAddr;

use crate::support::program::documented;
use crate::support::site::{Plan, Site};
use crate::support::stage::Stage;

pub(crate) use asker::{Asker, asks};
pub(crate) use asking::{Asking, client_is_who_the_proxy_says, grpc_passes};

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
