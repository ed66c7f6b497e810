//! Each kind of problem by name: the text that causes it, the key that is blamed, a word of what is said.

use std::ffi::OsString;

mod layers;
mod mail;
mod providers;
mod rules;

use super::check;
use crate::config::Config;
use crate::config::layers::Layers;
use crate::config::problem::Problems;
use crate::config::secret::stand_in;
use crate::config::shape::shape;

/// What makes an empty file whole.
const APP: &str = "upstream.url = \"http://127.0.0.1:3000\"\n";

fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
    let env: Vec<(OsString, OsString)> =
        env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let mut problems = Problems::default();
    let mut layers = Layers::file("test.toml", text, &mut problems);
    layers.expand(&env, &mut problems);
    layers.environment(&env, &mut problems);
    let raw = shape(&mut layers, &mut problems);
    let config = check(&raw, stand_in(), 2, &mut problems);
    problems.locate(|key| layers.places.of(key));
    problems.none_or(config)
}

fn config(text: &str) -> Config {
    read(&format!("{APP}{text}"), &[]).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

fn problems(text: &str, env: &[(&str, &str)]) -> Problems {
    read(text, env).err().unwrap_or_else(|| panic!("is accepted: {text}"))
}

/// Each text has exactly one problem, at this key, and it says this.
fn each_is_refused(cases: &[(&str, &str, &str)]) {
    for (text, key, says) in cases {
        let text = if text.contains("upstream.url") || text.contains("[upstream]") {
            (*text).to_owned()
        } else {
            format!("{APP}{text}")
        };
        let problems = problems(&text, &[]);
        let found: Vec<_> = problems.iter().collect();
        assert_eq!(found.len(), 1, "{text}\n{problems}");
        assert_eq!(found[0].key, *key, "{text}\n{problems}");
        let line = found[0].to_string();
        assert!(line.contains(says), "{text}\n{line}\ndoes not say {says:?}");
        assert!(!found[0].remedy.is_empty() && line.lines().count() == 1, "{line}");
    }
}

#[test]
fn nothing_but_the_app_is_needed() {
    let config = config("");
    assert_eq!(config.public.origin, "http://127.0.0.1:8080");
    assert_eq!(config.public.authority, "127.0.0.1:8080");
    assert_eq!(config.public.name, "127.0.0.1");
    assert_eq!(config.upstream.targets[0].to_string(), "http://127.0.0.1:3000");
    assert_eq!((config.listen.workers, config.password.concurrency), (2, 2));
    assert_eq!(config.identity.user_id, ["x-user-id"]);
    assert!(config.dangers.is_empty() && config.access.rules.is_empty());
}

#[test]
fn wrong_addresses_are_refused() {
    each_is_refused(&[
        ("listen.address = \"localhost\"", "listen.address", "not an IP address and a port"),
        ("listen.address = \"127.0.0.1:0\"", "public.url", "port 0"),
        ("listen.workers = 5000", "listen.workers", "too much"),
        ("listen.more = [\"[::1]:8080\", \"8080\"]", "listen.more[1]", "not an IP address and a port"),
        ("listen.more = [\"127.0.0.1:8080\"]", "listen.more[0]", "there twice"),
        ("listen.address = \"unix:run/site\"", "listen.address", "no absolute path"),
        ("listen.address = \"unix:/run/site.sock\"", "public.url", "a socket in the file system"),
        ("listen.socket_mode = \"0770\"", "listen.socket_mode", "no mode for a socket"),
        ("listen.socket_mode = \"66\"", "listen.socket_mode", "no mode for a socket"),
        ("listen.socket_mode = \"0060\"", "listen.socket_mode", "no mode for a socket"),
        ("listen.proxy_protocol = \"v2\"", "listen.proxy_protocol", "does not fit"),
        ("listen.proxy_protocol = \"required\"", "listen.proxy_protocol", "nobody is trusted"),
        ("listen.redirect_http = \"0.0.0.0:80\"", "listen.redirect_http", "plain http"),
        ("public.url = \"https://a.b\"\nlisten.redirect_http = \"80\"", "listen.redirect_http", "not an IP"),
        (
            "public.url = \"https://a.b\"\nlisten.redirect_http = \"127.0.0.1:8080\"",
            "listen.redirect_http",
            "where requests are answered",
        ),
        ("forward_auth.enabled = true", "forward_auth.enabled", "nobody is trusted"),
        ("proxies.header = \"x-real-ip\"", "proxies.header", "does not fit"),
        ("tls.hsts = \"1y\"", "tls.hsts", "a duration such as"),
        ("tls.hsts_preload = true", "tls.hsts_preload", "subdomains"),
        (
            "tls.hsts_preload = true\ntls.hsts_subdomains = true\ntls.hsts = \"30d\"",
            "tls.hsts_preload",
            "a year",
        ),
        (
            "upstream.url = \"unix:/a\"\nlisten.more = [\"unix:/a\"]",
            "upstream.url",
            "where we listen ourselves",
        ),
        ("public.url = \"app.example\"", "public.url", "not a URL"),
        ("public.url = \"ftp://app.example\"", "public.url", "neither http nor https"),
        ("public.url = \"https://app.example/x\"", "public.url", "has a path"),
        ("public.url = \"https://app.example.\"", "public.url", "ends in a dot"),
        ("public.url = \"https://app.example?x\"", "public.url", "has a query"),
        ("public.url = \"https://u:hush@app.example\"", "public.url", "user name or password"),
        ("public.url = \"http://app.example\"", "public.url", "danger_plain_http"),
        ("public.url = \"https://0.0.0.0\"", "public.url", "no host and port that a browser can reach"),
        ("public.url = \"https://*.app.example\"", "public.url", "no host and port that a browser can reach"),
        ("listen.address = \"192.0.2.1:80\"", "public.url", "danger_plain_http"),
        ("[upstream]", "upstream.url", "is not given"),
        ("upstream.url = \"ftp://127.0.0.1:3000\"", "upstream.url", "neither http nor https"),
        ("upstream.more = [\"http://a:1/x\"]", "upstream.more[0]", "has a path"),
        ("upstream.more = [\"http://127.0.0.1:3000/\"]", "upstream.more[0]", "is there twice"),
        ("admin.address = \"127.0.0.1:3000\"", "admin.address", "where the app is"),
        ("upstream.client_key = \"k.pem\"", "upstream.client_certificate", "is not given"),
        ("upstream.url = \"http://127.0.0.1:3000/app\"", "upstream.url", "has a path"),
        ("upstream.url = \"http://u:hush@127.0.0.1:3000\"", "upstream.url", "user name or password"),
        ("upstream.url = \"unix:run/app\"", "upstream.url", "no absolute path"),
        ("upstream.url = \"http://localhost:8080\"", "upstream.url", "where we listen ourselves"),
        (
            "upstream.url = \"http://a:1\"\nupstream.protocol = \"h2\"",
            "upstream.protocol",
            "agreed on under TLS, and it is not spoken to http://a:1",
        ),
        ("upstream.url = \"unix:/a\"\nupstream.protocol = \"auto\"", "upstream.protocol", "unix:/a"),
        (
            "upstream.url = \"https://a:1\"\nupstream.protocol = \"h2c\"",
            "upstream.protocol",
            "without TLS, and TLS is spoken to https://a:1",
        ),
        ("upstream.url = \"https://a:1\"\nupstream.protocol = \"spdy\"", "upstream.protocol", "h2c"),
        ("proxies.trusted = [\"10.0.0.0/8\", \"ten\"]", "proxies.trusted[1]", "not a network"),
        ("proxies.trusted = [\"0.0.0.0/0\"]", "proxies.trusted[0]", "every client"),
        ("proxies.trusted = [\"0.0.0.0/1\", \"128.0.0.0/1\"]", "proxies.trusted", "every client"),
        ("proxies.trusted = [\"10.1.2.3/8\"]", "proxies.trusted[0]", "10.0.0.0/8"),
        ("store.url = \"mysql://u:hush@h/d\"", "store.url", "neither SQLite nor PostgreSQL"),
        ("store.url = \"postgres://u:hush@ h:x/d\"", "store.url", "not a URL"),
        ("store.url = \"sqlite:\"", "store.url", "names no file"),
        ("store.url = \"sqlite::memory:\"", "store.url", "beyond this run"),
        ("store.url = \"sqlite:a.db?mode=ro\"", "store.url", "parameters"),
    ]);
}

#[test]
fn only_the_missing_app_is_a_problem_of_an_empty_file() {
    let problems = problems("", &[]);
    assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["upstream.url"]);
}

#[test]
fn wrong_times_sizes_and_numbers_are_refused() {
    each_is_refused(&[
        ("session.idle = \"soon\"", "session.idle", "a duration such as"),
        ("session.idle = 5", "session.idle", "a duration such as"),
        ("session.idle = \"31d\"", "session.idle", "session.absolute"),
        ("session.absolute = \"401d\"", "session.absolute", "400d or less"),
        ("session.renew_every = \"7d\"", "session.renew_every", "session.idle"),
        ("session.short = \"31d\"", "session.short", "session.absolute"),
        ("session.cache_age = \"1h\"", "session.cache_age", "too much"),
        ("session.jwt_lifetime = \"59s\"", "session.jwt_lifetime", "too little"),
        ("session.jwt_lifetime = \"16m\"", "session.jwt_lifetime", "too much"),
        ("session.cache_age = \"0ms\"", "session.cache_age", "too little"),
        ("upstream.keep_alive = \"1h\"\nupstream.url = \"http://a:1\"", "upstream.keep_alive", "too much"),
        ("limits.keep_alive = \"0s\"", "limits.keep_alive", "too little"),
        ("limits.head = \"1KiB\"", "limits.head", "too little"),
        ("limits.target = \"64KiB\"", "limits.target", "limits.head"),
        ("limits.headers = 39", "limits.headers", "write 40 or more"),
        ("limits.headers = 257", "limits.headers", "write 256 or less"),
        ("limits.body = \"ten\"", "limits.body", "a size such as"),
        ("limits.body = -1", "limits.body", "a size such as"),
        ("limits.min_rate = \"2MiB\"", "limits.min_rate", "too much"),
        ("limits.min_rate_grace = \"0s\"", "limits.min_rate_grace", "too little"),
        ("limits.connections_per_address = 0", "limits.connections_per_address", "too little"),
        ("limits.requests_per_address = 0", "limits.requests_per_address", "too little"),
        ("limits.handshakes = 0", "limits.handshakes", "too little"),
        ("limits.uncounted = [\"10.0.0.1/8\"]", "limits.uncounted[0]", "10.0.0.0/8"),
        ("limits.stream_window = \"1KiB\"", "limits.stream_window", "too little"),
        ("access.origins = [\"www.example\"]", "access.origins[0]", "not a URL"),
        ("session.clear_on_sign_out = [\"all\"]", "session.clear_on_sign_out[0]", "`storage`"),
        (
            "upstream.url = \"http://a:1\"\nupstream.health.path = \"healthz\"",
            "upstream.health.path",
            "no path",
        ),
        ("upstream.url = \"http://a:1\"\nupstream.failures = 0", "upstream.failures", "too little"),
        ("limits.connections = -1", "limits.connections", "a whole number"),
        ("limits.attempts_in_all = 0", "limits.attempts_in_all", "too little"),
        ("password.min_length = 7", "password.min_length", "8 or more"),
        ("password.min_length = 129", "password.min_length", "128 or less"),
        ("store.connections = 0", "store.connections", "too little"),
        ("tokens.algorithm = \"HS256\"", "tokens.algorithm", "`ES256`"),
        ("tokens.access_lifetime = \"2h\"", "tokens.access_lifetime", "too much"),
        ("tokens.refresh_grace = \"61s\"", "tokens.refresh_grace", "too much"),
        ("tokens.rotate_every = \"1h\"", "tokens.rotate_every", "too little"),
        ("sign_up.require_verified_email = true", "sign_up.require_verified_email", "[mail]"),
        ("sign_up.open = \"yes\"", "sign_up.open", "true or false"),
        ("log.format = \"xml\"", "log.format", "`json`"),
        ("log.level = \"inof\"", "log.level", "no log filter"),
        ("log.level = \"\"", "log.level", "no log filter"),
        ("log.level = \"info,\"", "log.level", "no log filter"),
        ("paths = \"/auth\"", "paths", "a list"),
        ("listen = 8080", "listen", "a section"),
    ]);
}

#[test]
fn an_unusual_sign_in_asks_for_mails_only_where_they_can_be_sent() {
    use crate::config::unusual::Mode;
    let mail = "mail.transport = \"catcher\"\nmail.from = \"a@example.org\"\n";
    assert_eq!(config("").unusual.mode, Mode::Off);
    let balanced = config(mail).unusual;
    assert_eq!(
        (balanced.mode, balanced.providers, balanced.block_unverified),
        (Mode::Balanced, false, false)
    );
    let strict = config(&format!("{mail}unusual.mode = \"strict\"")).unusual;
    assert_eq!((strict.mode, strict.providers, strict.block_unverified), (Mode::Strict, true, true));
    let own = "unusual.mode = \"strict\"\nunusual.apply_to = [\"password\"]\nunusual.unverified = \"allow\"";
    let own = config(&format!("{mail}{own}")).unusual;
    assert!(!own.providers && !own.block_unverified);
    each_is_refused(&[
        ("unusual.mode = \"notify\"", "unusual.mode", "[mail]"),
        ("unusual.mode = \"lax\"", "unusual.mode", "`balanced`"),
        ("unusual.apply_to = [\"provider\"]", "unusual.apply_to", "[\"password\", \"provider\"]"),
    ]);
}

#[test]
fn wrong_identity_names_are_refused() {
    each_is_refused(&[
        ("identity.email = \"x user\"", "identity.email", "not a header name"),
        ("identity.email = \"Cookie\"", "identity.email", "another meaning"),
        ("identity.email = \"X_Forwarded_For\"", "identity.email", "another meaning"),
        ("identity.email = \"x_user_id\"", "identity.email", "the same to some apps"),
        ("identity.email = [\"x-mail\", \"X.Mail\"]", "identity.email", "the same to some apps"),
        ("identity.email = \"x-who\"\nidentity.name = \"x-who\"", "identity.name", "the same to some apps"),
        (
            "identity.preset = \"authelia\"\nidentity.name = \"remote-user\"",
            "identity.name",
            "the same to some apps",
        ),
        ("identity.preset = \"okta\"", "identity.preset", "`authentik`"),
        ("identity.assertion_header = \"Authorization\"", "identity.assertion_header", "another meaning"),
        (
            "identity.email = \"x-who\"\nidentity.assertion_header = \"X_Who\"",
            "identity.assertion_header",
            "the same to some apps",
        ),
        (
            "identity.assertion_header = \"x-proof\"\nidentity.assertion_lifetime = \"6m\"",
            "identity.assertion_lifetime",
            "5m or less",
        ),
        (
            "identity.assertion_header = \"x-proof\"\nidentity.assertion_lifetime = \"59s\"",
            "identity.assertion_lifetime",
            "session.cache_age",
        ),
        (
            "identity.assertion_header = \"x-proof\"\nidentity.assertion_audience = \"http://127.0.0.1:8080\"",
            "identity.assertion_audience",
            "access tokens",
        ),
    ]);
}

#[test]
fn a_preset_adds_its_names_and_x_user_id_is_always_sent() {
    let identity = config("identity.preset = \"oauth2-proxy\"\nidentity.user_id = \"Remote-User\"").identity;
    assert_eq!(identity.user_id, ["x-user-id", "x-forwarded-user", "remote-user"]);
    assert_eq!(identity.email, ["x-forwarded-email"]);
    assert_eq!(identity.name, ["x-forwarded-preferred-username"]);
}

#[test]
fn wrong_mount_prefixes_are_refused() {
    each_is_refused(&[
        ("paths = []", "paths", "is empty"),
        ("paths = [\"auth\"]", "paths[0]", "plain segments"),
        ("paths = [\"/auth/\"]", "paths[0]", "plain segments"),
        ("paths = [\"/\"]", "paths[0]", "plain segments"),
        ("paths = [\"/a/../b\"]", "paths[0]", "plain segments"),
        ("paths = [\"/a%62\"]", "paths[0]", "plain segments"),
        ("paths = [\"/auth\", \"/api/users\"]", "paths[1]", "owner paths"),
        ("paths = [\"/auth\", \"/API\"]", "paths[1]", "owner paths"),
        ("paths = [\"/auth\", \"/auth\"]", "paths[1]", "twice"),
    ]);
    assert_eq!(config("paths = [\"/auth\", \"/api/auth\", \"/api/auth/v1\"]").paths.len(), 3);
}

#[test]
fn a_weaker_choice_is_reported() {
    let plain = config("public.url = \"http://app.example\"\npublic.danger_plain_http = true").dangers;
    assert!(plain.len() == 1 && plain[0].contains("danger_plain_http"), "{plain:?}");
    let open = config("listen.address = \"0.0.0.0:8080\"").dangers;
    assert!(open.len() == 1 && open[0].contains("other machines"), "{open:?}");
    assert!(config("listen.address = \"0.0.0.0:80\"\npublic.url = \"https://a.example\"").dangers.is_empty());
    for (text, says) in [
        ("limits.uncounted = [\"10.0.0.0/8\", \"0.0.0.0/0\"]", "limits.uncounted"),
        ("limits.uncounted = [\"::/1\", \"8000::/1\"]", "limits.uncounted"),
        ("password.answer_floor = \"0s\"", "password.answer_floor"),
    ] {
        let dangers = config(text).dangers;
        assert!(dangers.len() == 1 && dangers[0].contains(says), "{text}: {dangers:?}");
    }
}

#[test]
fn a_socket_is_a_place_to_listen_whose_peers_are_trusted() {
    let config = config(
        "listen.address = \"unix:/run/site.sock\"\nlisten.more = [\"0.0.0.0:8080\"]\n\
         listen.proxy_protocol = \"required\"\nforward_auth.enabled = true\npublic.url = \"https://a.example\"",
    );
    let places: Vec<String> = config.listen.places.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["unix:/run/site.sock", "0.0.0.0:8080"]);
    assert_eq!(config.listen.socket_mode, 0o660);
    assert!(config.listen.proxy_protocol && config.forward_auth && !config.listen.only_here());
}

#[test]
fn browsers_are_told_of_https_only_where_they_come_by_it() {
    assert_eq!(config("").hsts, None);
    let https = "public.url = \"https://a.example\"";
    assert_eq!(config(https).hsts.as_deref(), Some("max-age=31536000"));
    assert_eq!(config(&format!("{https}\ntls.hsts = \"0s\"")).hsts, None);
}

#[test]
fn origins_are_as_browsers_write_them() {
    for (url, origin, authority) in [
        ("https://App.Example:443/", "https://app.example", "app.example"),
        ("https://app.example:8443", "https://app.example:8443", "app.example:8443"),
        ("http://[::1]:80", "http://[::1]", "[::1]"),
    ] {
        let public = config(&format!("public.url = \"{url}\"")).public;
        assert_eq!((public.origin.as_str(), public.authority.as_str()), (origin, authority));
    }
}
