//! Signing in at a provider, from outside: each kind as its documentation describes it, and every lie.

use crate::support::database::Database;
use crate::support::provider::{Endpoint, Kind, Lie, Persona, Provider, TENANT};
use crate::support::raw::Response;
use crate::support::site::{Plan, Site};
use crate::support::visitor::Visitor;

mod answers;
mod client;
mod entra;
mod flow;
mod github;
mod id_token;
mod instance;
mod kinds;
mod logout;
mod outage;

/// A site and its one provider, called `corp`.
pub(crate) struct Stand {
    pub(crate) site: Site,
    pub(crate) provider: Provider,
}

/// A site whose budgets no test exhausts unawares.
pub(crate) fn plan(database: Database) -> Plan {
    Site::on(database).set("limits", "attempts_per_address = 10000")
}

impl Stand {
    /// A provider by the book, whose word on addresses counts.
    pub(crate) fn new(database: Database) -> Self {
        Self::of(database, Kind::Oidc, "trust_email = true")
    }

    /// A provider of this kind, with these lines in its table.
    pub(crate) fn of(database: Database, kind: Kind, lines: &str) -> Self {
        let tenant = format!("tenant = \"{TENANT}\"\n");
        let tenant = if kind == Kind::Entra && !lines.contains("tenant") { tenant } else { String::new() };
        let provider = Provider::playing(kind);
        let site = plan(database).toml(&provider.toml("corp", &format!("{tenant}{lines}"))).start();
        provider.follow(&site.clock);
        provider.register(&[&format!("{}/auth/callback/corp", site.origin)]);
        Self { site, provider }
    }

    /// The callback to which the provider sends this browser.
    pub(crate) fn callback(&self, visitor: &mut Visitor) -> String {
        let to = visitor.sent_to("corp", "");
        self.provider.authorize(&to)
    }

    /// Somebody without cookies comes here from the provider, as a script would follow it, so that a refusal
    /// says its code.
    pub(crate) fn tries(&self) -> (Visitor, Response) {
        let mut visitor = self.site.stranger();
        let callback = self.callback(&mut visitor);
        let response = visitor.get(callback.strip_prefix(&self.site.origin).expect("it leads here"));
        (visitor, response)
    }

    /// Somebody without cookies walks through the provider as a person does, and is in.
    pub(crate) fn enters(&self) -> Visitor {
        let mut visitor = self.site.stranger();
        let walk = visitor.walk("/auth/sign-in/corp?callback_url=/app");
        assert_eq!(walk.response.status, 200, "{:#?} {}", walk.urls, walk.response.text());
        assert_eq!(walk.urls.last(), Some(&format!("{}/app", self.site.origin)));
        assert!(signed_in(&visitor));
        assert_eq!(self.provider.complaints(), [""; 0]);
        visitor
    }

    /// Nobody gets in: the refusal has this status and code, and there is neither session nor user nor
    /// account more than before.
    pub(crate) fn refuses(&self, status: u16, code: &str, what: &str) {
        let before = self.rows();
        let (visitor, response) = self.tries();
        assert_eq!(response.status, status, "{what}: {}", response.text());
        assert_eq!(response.code(), code, "{what}");
        assert!(!signed_in(&visitor), "{what}");
        assert_eq!(self.rows(), before, "{what}");
    }

    /// Nobody gets in with these lies, and everybody does without them.
    pub(crate) fn refuses_lies(&self, lies: &[Lie], status: u16, code: &str) {
        for lie in lies {
            self.provider.repents();
            self.provider.lies(lie.clone());
            self.refuses(status, code, &format!("{lie:?}"));
        }
        self.provider.repents();
        self.enters();
    }

    /// How many users, accounts and sessions there are.
    pub(crate) fn rows(&self) -> [usize; 3] {
        ["user", "account", "session"]
            .map(|table| self.texts(&format!(r#"SELECT "id" FROM "{table}""#)).len())
    }

    /// The first column of what a query finds.
    pub(crate) fn texts(&self, sql: &str) -> Vec<String> {
        self.site.block_on(self.site.database.texts(sql))
    }

    /// How often something was asked of the provider.
    pub(crate) fn asked(&self, endpoint: Endpoint) -> usize {
        self.provider.asked(endpoint).len()
    }
}

/// The user of a visitor, as the JSON API shows it.
pub(crate) fn user_of(visitor: &mut Visitor) -> serde_json::Value {
    let response = visitor.get("/auth/get-session");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["user"].clone()
}

/// Whether a browser has a session cookie.
pub(crate) fn signed_in(visitor: &Visitor) -> bool {
    visitor.cookies.contains_key("sidegate")
}

/// Makes an account with a password, whose address is verified.
pub(crate) fn verified_account(stand: &Stand, email: &str) {
    stand.site.sign_up(email);
    let sql = match stand.site.database {
        Database::Sqlite(_) => format!(r#"UPDATE "user" SET "emailVerified" = 1 WHERE "email" = '{email}'"#),
        Database::Postgres { .. } => {
            format!(r#"UPDATE "user" SET "emailVerified" = true WHERE "email" = '{email}'"#)
        }
    };
    stand.site.block_on(stand.site.database.execute(&sql));
}

/// Whether the session of a visitor opens the app, and as whom.
pub(crate) fn known_to_app(stand: &Stand, visitor: &mut Visitor) -> String {
    assert_eq!(visitor.get("/app").status, 200);
    stand.site.upstream.last().header("x-user-id").expect("an id").to_owned()
}

/// Somebody else than Ada.
pub(crate) fn grace() -> Persona {
    Persona::new("248289761002", "grace@example.com").called("Grace Hopper")
}
