//! A site with somebody signed in, and raw bytes sent in that person's name.

use crate::support::database::Database;
use crate::support::raw::{Raw, Response};
use crate::support::site::{Plan, Site};
use crate::support::upstream::Arrived;

/// A site and somebody who is signed in there.
pub(crate) struct Stage {
    /// The site.
    pub(crate) site: Site,
    /// The person's user id.
    pub(crate) me: String,
    /// The person's `Cookie` value.
    pub(crate) cookie: String,
}

impl Stage {
    /// With nothing special about it.
    pub(crate) fn new() -> Self {
        Self::on(Self::plan())
    }

    /// A plan to be changed.
    pub(crate) fn plan() -> Plan {
        Site::on(Database::sqlite())
    }

    /// On the site that was planned.
    pub(crate) fn on(plan: Plan) -> Self {
        let site = plan.start();
        let (visitor, me) = site.member("me@example.org");
        let cookie: Vec<String> =
            visitor.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self { site, me, cookie: cookie.join("; ") }
    }

    /// What `Host` says.
    pub(crate) fn host(&self) -> &str {
        self.site.origin.split("://").nth(1).unwrap_or_default()
    }

    /// A request with `Host` and the person's cookie before `fields`, each of which ends with CRLF.
    pub(crate) fn signed(&self, line: &str, fields: &str) -> String {
        format!("{line}\r\nHost: {}\r\nCookie: {}\r\n{fields}\r\n", self.host(), self.cookie)
    }

    /// A request with `Host` and nothing of the person's.
    pub(crate) fn strange(&self, line: &str, fields: &str) -> String {
        format!("{line}\r\nHost: {}\r\n{fields}\r\n", self.host())
    }

    /// Ends the person's session, at the person's own wish.
    pub(crate) fn sign_out(&self) {
        let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", self.site.origin);
        assert_eq!(self.ask(self.signed("POST /auth/sign-out HTTP/1.1", &fields)).status, 200);
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.site.address)
    }

    /// The answer to these bytes on a connection of their own.
    pub(crate) fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        self.connect().send(bytes).answer()
    }

    /// What reaches the app of a request that must be let through.
    pub(crate) fn arrives(&self, bytes: impl AsRef<[u8]>) -> Arrived {
        let before = self.site.upstream.arrived().len();
        let response = self.ask(bytes.as_ref());
        let arrived = self.site.upstream.arrived();
        let text = String::from_utf8_lossy(bytes.as_ref());
        assert_eq!(arrived.len(), before + 1, "{text} was answered {}", response.status);
        arrived.last().expect("it was counted").clone()
    }

    /// Checks that these bytes get one of `statuses` and that nothing of them reaches the app, not even a
    /// connection.
    pub(crate) fn denies(&self, bytes: impl AsRef<[u8]>, statuses: &[u16]) -> Response {
        let upstream = &self.site.upstream;
        let before = (upstream.arrived().len(), upstream.connections());
        let response = self.ask(bytes.as_ref());
        let text = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        assert!(statuses.contains(&response.status), "{} for {text}", response.status);
        assert_eq!((upstream.arrived().len(), upstream.connections()), before, "it reached the app: {text}");
        response
    }

    /// Checks besides that the message is not trusted any further: the connection ends, and the site is well.
    pub(crate) fn rejects(&self, bytes: impl AsRef<[u8]>, statuses: &[u16]) {
        let upstream = &self.site.upstream;
        let before = (upstream.arrived().len(), upstream.connections());
        let text = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        let text = text.get(..300).unwrap_or(&text);
        let mut raw = self.connect();
        let response = raw.send(bytes.as_ref()).answer();
        assert!(statuses.contains(&response.status), "{} for {text}", response.status);
        assert_eq!(response.header("connection"), Some("close"), "{text}");
        assert!(raw.is_closed(), "the connection went on after {text}");
        assert_eq!((upstream.arrived().len(), upstream.connections()), before, "it reached the app: {text}");
        assert!(self.site.is_well(), "after {text}");
    }
}

impl Arrived {
    /// The fields but those that every request of a test has: what the client's own fields became.
    pub(crate) fn own_fields(&self) -> Vec<(String, String)> {
        const ALWAYS: [&str; 8] = [
            "host",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-request-id",
            "x-user-id",
            "content-length",
        ];
        self.headers.iter().filter(|(name, _)| !ALWAYS.contains(&name.as_str())).cloned().collect()
    }
}
