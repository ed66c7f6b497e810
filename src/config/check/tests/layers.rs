//! What file, variables and example say together: unknown keys, places, secrets.

use super::{APP, each_is_refused, problems, read};
use crate::config::file::{self, Raw};
use crate::config::layers::Layers;
use crate::config::problem::{Place, Problems};
use crate::config::shape::shape;

#[test]
fn unknown_keys_are_told_what_was_meant() {
    each_is_refused(&[
        ("session.idel = \"5m\"", "session.idel", "`session.idle`?"),
        ("[sesion]", "sesion", "`session`?"),
        ("limits.HEAD_TIMEOUT = \"5s\"", "limits.HEAD_TIMEOUT", "`limits.head_timeout`?"),
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
fn a_section_is_no_list() {
    each_is_refused(&[
        ("limits = [\"32KiB\", 50]", "limits", "is a list; write one section `[limits]`"),
        ("[[limits]]\nhead = \"32KiB\"", "limits", "`[limits]`"),
        ("[[mail]]", "mail", "`[mail]`"),
        ("[mail]\nsmtp = [\"localhost\"]", "mail.smtp", "`[mail.smtp]`"),
        (
            "rules = [[\"/a\", [\"GET\"], \"public\"]]",
            "rules",
            "holds a list; write a section `[[rules]]` for each",
        ),
        (
            "[[providers]]\nkind = \"github\"\nclient_id = \"x\"\nclient_secret = \"y\"\nclaims = []",
            "providers[0].claims",
            "`[providers.claims]`",
        ),
        ("[tls]\nmore = [[\"a\", \"b\"]]", "tls.more", "`[[tls.more]]`"),
    ]);
    let found = problems(APP, &[("SIDEGATE_LISTEN", "[\"0.0.0.0:8081\"]")]);
    assert_eq!(found.to_string(), "SIDEGATE_LISTEN: listen: is a list; write one section `[listen]`\n");
}

#[test]
fn a_variable_is_named_as_the_place_of_what_it_made() {
    for (name, key) in [("SIDEGATE_UPSTREM__URL", "upstrem"), ("SIDEGATE_RULES__0__PATH", "rules")] {
        let found = problems(APP, &[(name, "x")]).to_string();
        assert!(found.starts_with(&format!("{name}: {key}: ")), "{found}");
    }
}

#[test]
fn http_is_no_protocol_to_leave_http_for() {
    let each = |name: &str, says: &str| {
        let text = format!("upstream.upgrades = [\"websocket\", \"{name}\"]");
        each_is_refused(&[(text.as_str(), "upstream.upgrades[1]", says)]);
    };
    for name in ["h2c", "H2", "HTTP/2.0", "http"] {
        each(name, "HTTP again");
    }
    for name in ["", "a b", "a,b", "é"] {
        each(name, "names no protocol");
    }
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
    for (text, says) in [
        ("upstream.max_idle = 99999999999999999999", "test.toml:1: upstream.max_idle: holds a number"),
        ("[upstream]\nurl = \"http://a\"\nurl = \"http://b\"", "test.toml:3: url is there twice; remove one"),
    ] {
        let mut problems = Problems::default();
        assert!(Layers::file("test.toml", text, &mut problems).unreadable);
        assert!(problems.to_string().starts_with(says), "{problems}");
    }
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
    let text = include_str!("../../../../config.example.toml");
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
