//! Each kind of problem by name: the text that causes it, the key that is blamed, a word of what is said.

use std::ffi::OsString;

mod providers;

use super::check;
use crate::config::Config;
use crate::config::file::{self, Raw};
use crate::config::layers::Layers;
use crate::config::mail::{Tls, Transport};
use crate::config::problem::{Place, Problems};
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
    check(&raw, stand_in(), 2, problems).map_err(|mut problems| {
        problems.locate(|key| layers.place(key));
        problems
    })
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
        ("public.url = \"https://app.example?x\"", "public.url", "has a query"),
        ("public.url = \"https://u:hush@app.example\"", "public.url", "user name or password"),
        ("public.url = \"http://app.example\"", "public.url", "danger_plain_http"),
        ("public.url = \"https://0.0.0.0\"", "public.url", "no host and port that a browser can reach"),
        ("public.url = \"https://*.app.example\"", "public.url", "no host and port that a browser can reach"),
        ("listen.address = \"192.0.2.1:80\"", "public.url", "danger_plain_http"),
        ("[upstream]", "upstream.url", "is not given"),
        ("upstream.url = \"ftp://127.0.0.1:3000\"", "upstream.url", "neither http nor https"),
        ("upstream.more = [\"http://a:1/x\"]", "upstream.more[0]", "has a path"),
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
fn rules_that_cannot_be_meant_are_refused() {
    each_is_refused(&[
        ("[[rules]]\naccess = \"deny\"", "rules[0].path", "is not given"),
        ("[[rules]]\npath = \"/x\"", "rules[0].access", "is not given"),
        ("[[rules]]\npath = \"/x\"\naccess = \"open\"", "rules[0].access", "`public`"),
        ("[[rules]]\npath = \"x\"\naccess = \"public\"", "rules[0].path", "does not begin with"),
        ("[[rules]]\npath = \"/*.png\"\naccess = \"public\"", "rules[0].path", "inside a segment"),
        ("[[rules]]\npath = \"/a/**/b\"\naccess = \"public\"", "rules[0].path", "before its end"),
        ("[[rules]]\npath = \"/{id}\"\naccess = \"deny\"", "rules[0].path", "{user_id}"),
        ("[[rules]]\npath = \"/a;b\"\naccess = \"public\"", "rules[0].path", "more than one way"),
        (
            "[[rules]]\npath = \"/x\"\nmethods = [\"GET\", \"post\"]\naccess = \"deny\"",
            "rules[0].methods[1]",
            "capitals",
        ),
        ("[[rules]]\npath = \"/auth/x\"\naccess = \"public\"", "rules[0].path", "answered here"),
        ("[[rules]]\npath = \"/u/{user_id}\"\naccess = \"optional\"", "rules[0].path", "own id"),
    ]);
}

#[test]
fn rules_that_open_an_owner_path_are_refused() {
    for path in ["/api/*", "/api/**", "/API/*/x", "/api/health", "/*/*/x", "/**"] {
        for access in ["public", "optional"] {
            let text = format!("[[rules]]\npath = \"{path}\"\naccess = \"{access}\"");
            each_is_refused(&[(&text, "rules[0].path", "opens an owner path")]);
        }
        config(&format!("[[rules]]\npath = \"{path}\"\naccess = \"required\""));
    }
    for path in ["/", "/*", "/api", "/apis/**", "/assets/**", "/api/health.txt"] {
        config(&format!("[[rules]]\npath = \"{path}\"\naccess = \"public\""));
    }
}

#[test]
fn an_earlier_rule_does_not_excuse_opening_everything() {
    let text = "[[rules]]\npath = \"/api/**\"\naccess = \"required\"\n[[rules]]\npath = \"/**\"\naccess = \"public\"";
    each_is_refused(&[(text, "rules[1].path", "before this one does not help")]);
}

fn rules(list: &[(&str, &str)]) -> String {
    let table = |(path, methods): &(&str, &str)| {
        format!("[[rules]]\npath = \"{path}\"\nmethods = [{methods}]\naccess = \"required\"\n")
    };
    list.iter().map(table).collect::<String>()
}

#[test]
fn rules_that_an_earlier_one_hides_are_refused() {
    for list in [
        [("/a/**", ""), ("/a/b", "")],
        [("/a/**", ""), ("/a/b", "\"GET\"")],
        [("/a/*", "\"GET\", \"PUT\""), ("/a/b", "\"PUT\"")],
    ] {
        each_is_refused(&[(&rules(&list), "rules[1].path", "can never match: rules[0]")]);
    }
    each_is_refused(&[(
        &rules(&[("/a", "\"GET\""), ("/a", "\"GET\"")]),
        "rules[1].path",
        "the same as rules[0]",
    )]);
    let by_two = rules(&[("/a", "\"GET\""), ("/*", "\"PUT\""), ("/a", "\"GET\", \"PUT\"")]);
    each_is_refused(&[(&by_two, "rules[2].path", "can never match")]);
    for list in [
        [("/a/b", ""), ("/a/**", "")],
        [("/a/**", "\"GET\""), ("/a/b", "")],
        [("/a/**", "\"GET\""), ("/a/b", "\"GET\", \"PUT\"")],
        [("/a/{user_id}", ""), ("/a/*", "")],
    ] {
        config(&rules(&list));
    }
}

#[test]
fn mail_is_configured_whole_or_not_at_all() {
    assert!(config("").mail.is_none() && config("[mail]\n[mail.smtp]").mail.is_none());
    let whole = "[mail]\nfrom = \"Ex Ample <a@b.example>\"\n[mail.smtp]\nhost = \"smtp.b.example\"\n";
    let mail = config(whole).mail.expect("mail");
    assert_eq!((mail.from.name.as_deref(), mail.from.address.as_str()), (Some("Ex Ample"), "a@b.example"));
    let Transport::Smtp(smtp) = mail.transport else { panic!("no server") };
    assert_eq!((smtp.port, smtp.tls, smtp.login.is_some()), (465, Tls::Implicit, false));
    let start_tls = config(&format!("{whole}tls = \"starttls\"")).mail.expect("mail").transport;
    assert!(matches!(start_tls, Transport::Smtp(smtp) if smtp.port == 587));
    let near = "[mail]\nfrom = \"a@b.example\"\n[mail.smtp]\nhost = \"[::1]\"\ntls = \"none\"";
    let mail = config(near).mail.expect("mail");
    assert_eq!(mail.from.name.as_deref(), Some("127.0.0.1"), "the name of the site");
    assert!(matches!(mail.transport, Transport::Smtp(smtp) if smtp.host == "::1"));
    let catcher = config("mail.transport = \"catcher\"");
    assert_eq!(catcher.dangers, [""; 0]);
    // Behind a proxy that everyone can reach, a listener on loopback keeps nobody out.
    let shown =
        "mail.transport = \"catcher\"\npublic.url = \"http://app.example\"\npublic.danger_plain_http = true";
    assert!(config(shown).dangers.iter().any(|danger| danger.contains("the catcher shows every mail")));
    let catcher = catcher.mail.expect("mail");
    assert_eq!(catcher.from.address, "no-reply@localhost");
}

#[test]
fn mail_that_would_be_misread_overheard_or_never_sent_is_refused() {
    each_is_refused(&[
        ("mail.from = \"a@b.example\"", "mail.smtp.host", "is not given"),
        ("mail.smtp.host = \"localhost\"", "mail.from", "is not given"),
        ("mail.transport = \"catcher\"\npublic.url = \"https://a.example\"", "mail.transport", "https"),
        ("mail.transport = \"catcher\"\nmail.smtp.host = \"x\"", "mail.smtp", "beside"),
        ("mail.transport = \"pigeon\"", "mail.transport", "does not fit"),
        ("log.keep_sign_ins = \"1h\"", "log.keep_sign_ins", "too little"),
    ]);
    let with = |lines: &str| {
        let key = lines.split(" = ").next().unwrap_or_default();
        let whole = ["mail.from = \"a@b.example\"", "mail.smtp.host = \"smtp.b.example\""];
        let mut text: Vec<&str> = whole.into_iter().filter(|line| !line.starts_with(key)).collect();
        text.push(lines);
        text.join("\n")
    };
    for (lines, key, says) in [
        ("mail.from = \"a@b.example, c@d.example\"", "mail.from", "more than one"),
        ("mail.from = \"A\\nBcc: x <a@b.example>\"", "mail.from", "more than one"),
        ("mail.from = \"nobody\"", "mail.from", "no address"),
        ("mail.from = \"jürgen@b.example\"", "mail.from", "no address"),
        ("mail.reply_to = \"<a@b.example\"", "mail.reply_to", "no address"),
        ("mail.per_recipient = 1", "mail.per_recipient", "too little"),
        ("mail.keep_sent = \"1m\"", "mail.keep_sent", "too little"),
        ("mail.give_up_after = \"30d\"", "mail.give_up_after", "too much"),
        ("mail.smtp.host = \"smtp.b.example:465\"", "mail.smtp.host", "no host name"),
        ("mail.smtp.tls = \"none\"", "mail.smtp.tls", "everyone on the way"),
        ("mail.smtp.tls = \"ssl\"", "mail.smtp.tls", "does not fit"),
        ("mail.smtp.port = 0", "mail.smtp.port", "is 0"),
        ("mail.smtp.username = \"a\"", "mail.smtp.password", "beside"),
        ("mail.smtp.password = \"hush\"", "mail.smtp.username", "beside"),
        ("mail.smtp.username = \"a\"\nmail.smtp.password = \"hush\\u0007\"", "mail.smtp.password", "control"),
        ("mail.smtp.connections = 0", "mail.smtp.connections", "too little"),
        ("mail.smtp.hots = \"x\"", "mail.smtp.hots", "`mail.smtp.host`?"),
    ] {
        each_is_refused(&[(&with(lines), key, says)]);
        assert!(!problems(&format!("{APP}{}", with(lines)), &[]).to_string().contains("hush"), "{lines}");
    }
}

#[test]
fn a_weaker_choice_is_reported() {
    let plain = config("public.url = \"http://app.example\"\npublic.danger_plain_http = true").dangers;
    assert!(plain.len() == 1 && plain[0].contains("danger_plain_http"), "{plain:?}");
    let open = config("listen.address = \"0.0.0.0:8080\"").dangers;
    assert!(open.len() == 1 && open[0].contains("other machines"), "{open:?}");
    assert!(config("listen.address = \"0.0.0.0:80\"\npublic.url = \"https://a.example\"").dangers.is_empty());
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

#[test]
fn unknown_keys_are_told_what_was_meant() {
    each_is_refused(&[
        ("session.idel = \"5m\"", "session.idel", "`session.idle`?"),
        ("[sesion]", "sesion", "`session`?"),
        ("listen.max_idle = 5", "listen.max_idle", "`upstream.max_idle`?"),
        ("listen.paths = [\"/auth\"]", "listen.paths", "`paths` at the top level"),
        ("store.flavour = 1", "store.flavour", "url, url_file"),
        (
            "[[rules]]\npath = \"/a\"\naccess = \"deny\"\n[[rules]]\npath = \"/b\"\nacces = \"deny\"\naccess = \"deny\"",
            "rules[1].acces",
            "`rules[1].access`?",
        ),
    ]);
}

#[test]
fn problems_come_in_the_order_of_lines_and_all_at_once() {
    let text =
        "[listen]\nworkers = \"many\"\nport = 1\n[session]\nidle = 5\n[[rules]]\npath = \"x\"\naccess = 5\n";
    let problems = problems(text, &[("SIDEGATE_LOG__LEVEL", "loud")]);
    let said: Vec<(String, String)> = problems
        .iter()
        .map(|p| (p.place.as_ref().map(ToString::to_string).unwrap_or_default(), p.key.clone()))
        .collect();
    let expected = [
        ("test.toml:2", "listen.workers"),
        ("test.toml:3", "listen.port"),
        ("test.toml:5", "session.idle"),
        ("test.toml:7", "rules[0].path"),
        ("test.toml:8", "rules[0].access"),
        ("SIDEGATE_LOG__LEVEL", "log.level"),
        ("", "upstream.url"),
    ];
    assert_eq!(said, expected.map(|(place, key)| (place.to_owned(), key.to_owned())), "{problems}");
}

#[test]
fn syntax_errors_are_told_with_their_lines() {
    let problems = problems("upstream.url = \"http://a:1\"\nx = = 1\n[b\n", &[]);
    let lines: Vec<String> = problems.iter().filter_map(|p| p.place.as_ref().map(Place::to_string)).collect();
    assert!(
        lines.contains(&"test.toml:2".to_owned()) && lines.contains(&"test.toml:3".to_owned()),
        "{problems}"
    );
}

#[test]
fn variables_are_laid_over_the_file_whatever_their_type() {
    let env = [
        ("SIDEGATE_LISTEN__WORKERS", "7"),
        ("SIDEGATE_SIGN_UP__OPEN", "false"),
        ("SIDEGATE_SESSION__IDLE", "1h"),
        ("SIDEGATE_LIMITS__BODY", "0"),
        ("SIDEGATE_PUBLIC__NAME", "42"),
        ("SIDEGATE_PATHS", "/auth,/api/auth"),
        ("SIDEGATE_PROXIES__TRUSTED", "[\"10.0.0.0/8\"]"),
        ("SIDEGATE_CONFIG", "read by the command line"),
        ("SIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("SIDEGATE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("HOME", "/"),
    ];
    let renew = "[session]\nidle = \"2h\"\nrenew_every = \"1m\"";
    let config = read(&format!("{APP}{renew}"), &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((config.listen.workers, config.sign_up.open, config.limits.body), (7, false, u64::MAX));
    assert_eq!(config.session.idle.as_secs(), 3600);
    assert_eq!(config.public.name, "42");
    assert_eq!(config.paths, ["/auth", "/api/auth"]);
    assert_eq!(config.proxies.trusted.len(), 1);
}

#[test]
fn wrong_variables_are_named() {
    let env = [
        ("SIDEGATE_LISTEN__WORKERS", "many"),
        ("SIDEGATE_LISTEN__WORKER", "1"),
        ("SIDEGATE_UPSTREAM_URL", "x"),
    ];
    let said = problems(APP, &env).to_string();
    assert!(said.contains("SIDEGATE_LISTEN__WORKERS: listen.workers: \"many\" does not fit"), "{said}");
    assert!(said.contains("SIDEGATE_LISTEN__WORKER: listen.worker: is not a key"), "{said}");
    assert!(said.contains("SIDEGATE_UPSTREAM_URL: upstream_url: is not a key"), "{said}");
}

#[test]
fn strings_of_the_file_hold_variables() {
    let env = [("APP_HOST", "10.0.0.7"), ("DOLLAR", "${APP_HOST}")];
    let text = "upstream.url = \"http://${APP_HOST}:3000\"\npublic.name = \"$${APP_HOST} ${DOLLAR} $1\"\n";
    let config = read(text, &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.upstream.targets[0].to_string().starts_with("http://10.0.0.7:"));
    assert_eq!(config.public.name, "${APP_HOST} ${APP_HOST} $1");
    each_is_refused(&[
        ("public.name = \"${NOT_THERE}\"", "public.name", "not set"),
        ("public.name = \"${OPEN\"", "public.name", "never closes"),
    ]);
}

#[test]
fn no_problem_shows_a_secret() {
    let env = [("HUSH", "hush-from-env"), ("SIDEGATE_STORE__URL", "hush-store")];
    for text in [
        "secret = [\"hush\"]",
        "secret = 12345678901234",
        "store.url = \"mysql://u:hush@h/d\"",
        "store = \"hush\"",
        "listen.address = \"${HUSH}\"",
        "session.idle = \"${HUSH}\"",
        "log.level = \"${HUSH}=\"",
        "identity.email = \"${HUSH} \"",
        "upstream.url = \"http://u:hush@h\"",
        "[[rules]]\npath = \"${HUSH}\"\naccess = \"deny\"",
        "paths = [\"${HUSH}\"]",
        "proxies.trusted = [\"${HUSH}\"]",
    ] {
        let said = problems(text, &env).to_string();
        assert!(!said.contains("hush") && !said.contains("12345"), "{said}");
    }
}

#[test]
fn the_example_file_is_the_defaults_and_names_every_key() {
    let text = include_str!("../../../config.example.toml");
    let mut problems = Problems::default();
    let raw = shape(&mut Layers::file("config.example.toml", text, &mut problems), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    assert!(raw == Raw::default(), "config.example.toml holds something else than a default");

    let mut named = std::collections::BTreeSet::new();
    let mut table = "";
    for line in text.lines().map(|line| line.trim_start_matches("# ")) {
        if let Some(name) =
            line.strip_prefix("[[").or(line.strip_prefix('[')).and_then(|l| l.split(']').next())
        {
            table = name;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            named.insert((table, key));
        }
    }
    for top in file::keys("").expect("the top level") {
        match file::keys(top) {
            Some(keys) => {
                for key in keys {
                    let table = format!("{top}.{key}");
                    match file::keys(&table) {
                        Some(keys) => {
                            assert!(
                                keys.iter().all(|key| named.contains(&(table.as_str(), *key))),
                                "{table}"
                            );
                        }
                        None => assert!(named.contains(&(*top, *key)), "{top}.{key}"),
                    }
                }
            }
            None => assert!(named.contains(&("", *top)), "{top}"),
        }
    }
}
