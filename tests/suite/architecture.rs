//! The house rules that no compiler checks: who may import whom, what a file looks like, which module owns a
//! tool.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const WORDS: &[&str] = &["id", "pattern", "secret", "time", "visitor"];
const SAYING_NO: &[&str] = &["refusal", "error"];
const TOOLS: &[&str] = &["metrics", "trace", "config", "log"];
const LEAVES: &[&str] = &["store", "mail", "oauth", "ui"];
/// What flows share; everything else below `flow/` is one thing that a person does.
const SHARED: &[&str] = &[
    "entry", "pair", "post", "provider", "ending", "ticket", "confirm", "cookies", "exchange", "reader",
    "typed",
];

/// What a module may import besides its own parts: whole levels, then single modules or `module/part`.
struct Module {
    name: &'static str,
    levels: &'static [&'static [&'static str]],
    besides: &'static [&'static str],
}

const fn module(
    name: &'static str,
    levels: &'static [&'static [&'static str]],
    besides: &'static [&'static str],
) -> Module {
    Module { name, levels, besides }
}

/// The table of the modules, from the words upwards.
const TABLE: &[Module] = &[
    module("id", &[], &[]),
    module("pattern", &[], &["id"]),
    module("secret", &[], &["id"]),
    module("time", &[], &["id", "secret"]),
    module("visitor", &[], &["id", "pattern", "secret", "time"]),
    module("refusal", &[WORDS], &[]),
    module("error", &[WORDS], &["refusal"]),
    module("metrics", &[WORDS, SAYING_NO], &[]),
    module("trace", &[WORDS, SAYING_NO], &["metrics"]),
    module("config", &[WORDS, SAYING_NO], &["trace"]),
    module("log", &[WORDS, SAYING_NO], &["metrics", "trace", "config"]),
    module("http", &[WORDS, SAYING_NO, TOOLS], &[]),
    module("store", &[WORDS, SAYING_NO, TOOLS], &[]),
    module("mail", &[WORDS, SAYING_NO, TOOLS], &[]),
    module("oauth", &[WORDS, SAYING_NO, TOOLS], &[]),
    module("ui", &[WORDS, SAYING_NO, TOOLS], &[]),
    // Pure: nothing here can ask the store or wait.
    module("gate", &[WORDS, SAYING_NO], &["http/path", "http/visit", "config/rule"]),
    module("session", &[WORDS, SAYING_NO, TOOLS], &["store", "http/cookie"]),
    module("account", &[WORDS, SAYING_NO, TOOLS], &["store/tickets"]),
    module("token", &[WORDS, SAYING_NO, TOOLS], &["store"]),
    module("account", &[WORDS, SAYING_NO, TOOLS], &[]),
    module("limit", &[WORDS, SAYING_NO, TOOLS], &["account/email", "account/device"]),
    module("proxy", &[WORDS, SAYING_NO, TOOLS], &["http", "gate/Pass", "session/live"]),
    module("answer", &[WORDS, SAYING_NO, TOOLS], &["http", "ui"]),
    module(
        "app",
        &[WORDS, SAYING_NO, TOOLS, LEAVES],
        &["http", "gate", "session", "token", "account", "limit", "proxy", "answer"],
    ),
    module(
        "flow",
        &[WORDS, SAYING_NO, TOOLS, LEAVES],
        // A proxy that asks is told what the app would be told.
        &[
            "http",
            "gate",
            "session",
            "token",
            "account",
            "limit",
            "answer",
            "app",
            "proxy/headers",
            "proxy/reserved",
        ],
    ),
    module(
        "jobs",
        &[WORDS, SAYING_NO, TOOLS, LEAVES],
        &["http", "session", "token", "account", "limit", "answer", "app", "flow"],
    ),
    module(
        "server",
        &[WORDS, SAYING_NO, TOOLS, LEAVES],
        &["http", "gate", "session", "token", "account", "limit", "proxy", "answer", "app", "flow"],
    ),
    module("demo", &[WORDS, SAYING_NO, TOOLS, LEAVES], &["http", "account", "answer", "app", "server"]),
];

/// At the door everything may be named.
const DOOR: &[&str] = &["cli", "main", "lib"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this extension below `under`, as (path from the root, text).
fn files(under: &str, extension: &str) -> Vec<(String, String)> {
    fn walk(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|known| known == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(under), extension, &mut found);
    found.sort();
    assert!(!found.is_empty(), "nothing under {under}");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            (name, text)
        })
        .collect()
}

/// The lines of code: neither comments nor the inline tests, which end a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The module of the house that a file belongs to.
fn module_of(file: &str) -> &str {
    let below = file.strip_prefix("src/").expect("a source file");
    below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// What stands behind `root` in this text, as `module/part/…`: of a list in braces, each.
fn named(text: &str, root: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut all = Vec::new();
    for (at, _) in text.match_indices(root) {
        let named = &text[at + root.len()..];
        let (path, rest) = named.split_at(named.find(|c| !is_path(c)).unwrap_or(named.len()));
        let path = path.replace("::", "/");
        match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) => all.extend(list.split(',').map(|name| path.clone() + name.trim())),
            None => all.push(path),
        }
    }
    all
}

/// Fails with all complaints at once.
fn all_well(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut complaints = Vec::new();
    for (file, text) in files("src", "rs") {
        let name = module_of(&file);
        if DOOR.contains(&name) {
            continue;
        }
        let Some(rule) = TABLE.iter().find(|module| module.name == name) else {
            complaints.push(format!("{file}: `{name}` is not in the table"));
            continue;
        };
        for path in named(&code(&text).collect::<Vec<_>>().join("\n"), "crate::") {
            let mut parts = path.split('/');
            let module = parts.next().unwrap_or_default();
            let part = format!("{module}/{}", parts.next().unwrap_or_default());
            let allowed = module == name
                || rule.levels.iter().any(|level| level.contains(&module))
                || rule.besides.iter().any(|known| *known == module || *known == part);
            if !allowed {
                complaints.push(format!("{file}: {path}"));
            }
        }
    }
    all_well(&complaints);
}

/// For each file of the library, as `module/part`, those that it uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let texts: BTreeMap<String, String> = files("src", "rs")
        .into_iter()
        .map(|(file, text)| {
            let name = file.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
            (name, code(&text).collect::<Vec<_>>().join("\n"))
        })
        .collect();
    let file_of = |path: &Path| {
        path.ancestors().filter_map(Path::to_str).find(|file| texts.contains_key(*file)).map(str::to_owned)
    };
    let used = |(file, text): (&String, &String)| {
        let above = Path::new(file).parent().expect("a module");
        let far = named(text, "crate::").into_iter().map(PathBuf::from);
        let near = named(text, "super::").into_iter().map(|path| above.join(path));
        (file.clone(), far.chain(near).filter_map(|path| file_of(&path)).collect())
    };
    texts.iter().map(used).collect()
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut uses = uses();
    // What a file is a part of, and its parts, are one thing with it.
    let is_part = |whole: &str, part: &str| Path::new(part).starts_with(whole);
    for (file, used) in &mut uses {
        used.retain(|other| !is_part(other, file) && !is_part(file, other));
    }
    // What uses nothing, or is used by nothing, of what is left is in no circle.
    loop {
        let (before, left) = (uses.len(), uses.keys().cloned().collect::<BTreeSet<_>>());
        for used in uses.values_mut() {
            used.retain(|file| left.contains(file));
        }
        let wanted: BTreeSet<String> = uses.values().flatten().cloned().collect();
        uses.retain(|file, used| wanted.contains(file) && !used.is_empty());
        if uses.len() == before {
            break;
        }
    }
    all_well(&uses.iter().map(|(file, used)| format!("{file} uses {used:?}")).collect::<Vec<_>>());
}

#[test]
fn flows_do_not_import_flows() {
    // A flow and its own parts are one.
    let flow_of = |file: &str| file.strip_prefix("flow/")?.split('/').next().map(str::to_owned);
    let mut complaints = Vec::new();
    for (file, used) in uses() {
        let Some(flow) = flow_of(&file) else { continue };
        let foreign = used.iter().filter_map(|used| flow_of(used));
        let foreign = foreign.filter(|name| *name != flow && !SHARED.contains(&name.as_str()));
        complaints.extend(foreign.map(|name| format!("{file} uses {name}")));
    }
    all_well(&complaints);
}

#[test]
fn every_module_of_the_library_is_in_the_table() {
    let modules: BTreeSet<String> =
        files("src", "rs").iter().map(|(file, _)| module_of(file).to_owned()).collect();
    for name in &modules {
        assert!(
            DOOR.contains(&name.as_str()) || TABLE.iter().any(|module| module.name == name),
            "`{name}` is not in the table"
        );
    }
}

#[test]
fn every_file_says_first_what_it_is_for_and_is_not_too_long() {
    let mut complaints = Vec::new();
    for (file, text) in ["src", "tests", "benches"].iter().flat_map(|under| files(under, "rs")) {
        if !text.starts_with("//! ") {
            complaints.push(format!("{file}: does not open with `//! `"));
        }
        let lines = text.lines().count();
        if lines > 400 {
            complaints.push(format!("{file}: has {lines} lines"));
        }
        if file.ends_with("/mod.rs") {
            complaints.push(format!("{file}: is a mod.rs"));
        }
    }
    all_well(&complaints);
}

#[test]
fn the_table_has_no_module_that_the_library_has_not() {
    let modules: BTreeSet<String> =
        files("src", "rs").iter().map(|(file, _)| module_of(file).to_owned()).collect();
    for module in TABLE {
        assert!(modules.contains(module.name), "there is no `{}`", module.name);
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| -> Vec<String> {
        files(&format!("src/store/migrations/{database}"), "sql")
            .into_iter()
            .map(|(file, _)| file.rsplit('/').next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

/// Whether a line names this tool, and not something that ends like it.
fn names(line: &str, tool: &str) -> bool {
    let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(tool).any(|(at, _)| begins(at))
}

#[test]
fn a_tool_is_named_only_where_it_belongs() {
    let mut complaints = Vec::new();
    for (tool, homes) in [
        ("sqlx", &["src/store.rs", "src/store/"][..]),
        ("hyper", &["src/server.rs", "src/server/", "src/oauth/", "src/demo/"][..]),
        (
            "h2::",
            &[
                "src/proxy/http2.rs",
                "src/proxy/http2/",
                "src/server/http2.rs",
                "src/server/http2/",
                "src/http/gathered.rs",
                "src/http/stream.rs",
                "src/http/duplex.rs",
            ][..],
        ),
        ("SystemTime::now", &["src/time.rs"][..]),
        ("Instant::now", &["src/time.rs"][..]),
        ("now_utc", &["src/time.rs"][..]),
        ("rand::", &["src/secret.rs", "src/id.rs"][..]),
        ("getrandom", &["src/secret.rs", "src/id.rs"][..]),
        ("OsRng", &["src/secret.rs", "src/id.rs"][..]),
        ("SystemRandom", &["src/secret.rs", "src/id.rs"][..]),
        ("moka", &["src/session/cache.rs", "src/session/bearer.rs"][..]),
        ("TcpStream::connect", &["src/proxy/connect.rs", "src/oauth/", "src/cli/"][..]),
        ("lettre", &["src/mail.rs", "src/mail/"][..]),
        ("jsonwebtoken", &["src/oauth/", "src/demo/"][..]),
        ("listenfd", &["src/server/passed.rs"][..]),
        ("env::var", &["src/cli.rs", "src/cli/", "src/main.rs"][..]),
    ] {
        for (file, text) in files("src", "rs") {
            let test = file.ends_with("/tests.rs");
            if !test && !homes.iter().any(|home| file.starts_with(home)) {
                let named = code(&text).filter(|line| names(line, tool));
                complaints.extend(named.map(|line| format!("{tool} in {file}: {}", line.trim())));
            }
        }
    }
    all_well(&complaints);
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_left_out() {
    // Put together here, so that this file does not find itself.
    let marks = ["TO", "FIX", "unimplement", "tod", "#[igno"]
        .iter()
        .zip(["DO", "ME", "ed!", "o!", "re"])
        .map(|(start, end)| format!("{start}{end}"));
    let marks: Vec<String> = marks.collect();
    let mut complaints = Vec::new();
    for (file, text) in ["src", "tests", "benches"].iter().flat_map(|under| files(under, "rs")) {
        for line in text.lines().filter(|line| marks.iter().any(|mark| line.contains(mark.as_str()))) {
            complaints.push(format!("{file}: {}", line.trim()));
        }
    }
    all_well(&complaints);
}
