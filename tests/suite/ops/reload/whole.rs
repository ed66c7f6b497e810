//! A reload is all or nothing, needs no more than what has changed, and what it says of the next start is true.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sidegate::config::{self, Flags, NewSecret, Sources};

use super::{Program, rule};
use crate::jobs::eventually;
use crate::support::database::Database;
use crate::support::h2::H2;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

/// The database of this program.
fn database(program: &Program) -> Database {
    Database::Sqlite(std::sync::Arc::clone(&program.directory))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

#[test]
fn i_06_who_is_trusted_now_is_believed_on_connections_that_are_open_and_nobody_else() {
    let app = Upstream::hello();
    let trusting = "[proxies]\ntrusted = [\"127.0.0.1\"]\n";
    let program = Program::start(app.address, &format!("{trusting}{}", rule("public")));
    let ask = format!("GET /a/x HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n", program.address);
    let told = || app.last().header("x-forwarded-for").expect("it is always told").to_owned();
    let (mut one, mut h2) = (Raw::connect(program.address), H2::connect(program.address));
    let mut all = |what: &str| {
        let fresh = || {
            assert_eq!(Raw::connect(program.address).send(&ask).answer().status, 200);
            told()
        };
        // Whatever worker is asked.
        eventually("it counts", || (0..20).all(|_| fresh() == what));
        assert_eq!(one.send(&ask).answer().status, 200);
        assert_eq!(told(), what, "HTTP/1.1");
        let request = Request::get(format!("http://{}/a/x", program.address))
            .header("x-forwarded-for", "192.0.2.7")
            .body(Full::<Bytes>::default())
            .expect("a request");
        assert_eq!(h2.ask(request).status, 200);
        assert_eq!(told(), what, "HTTP/2");
    };
    all("192.0.2.7, 127.0.0.1");
    for (old, new, expected) in [
        ("127.0.0.1\"]", "127.0.0.9\"]", "127.0.0.1"),
        ("127.0.0.9\"]", "127.0.0.1\"]", "192.0.2.7, 127.0.0.1"),
    ] {
        program.edit(&format!("trusted = [\"{old}"), &format!("trusted = [\"{new}"));
        assert!(program.reload().contains("was read again"));
        all(expected);
    }
}

#[test]
fn oa_16_a_reload_that_is_refused_leaves_the_providers_of_the_store_as_they_were() {
    let app = Upstream::hello();
    let provider = "[[providers]]\nid = \"lab\"\nclient_id = \"x\"\nclient_secret = \"0123456789abcdef\"\n\
                    kind = \"gitlab\"\n";
    let program = Program::start(app.address, provider);
    let issuers = || {
        let query = r#"SELECT "issuer" FROM "sidegate_provider""#;
        runtime().block_on(database(&program).texts(query))
    };
    assert_eq!(issuers(), ["https://gitlab.com"]);
    // Renamed, and in the same edit a certificate that is not there.
    let renamed =
        "kind = \"gitlab\"\nbase_url = \"https://lab.example\"\nformerly = \"https://gitlab.com\"\n";
    program.edit("kind = \"gitlab\"\n", renamed);
    let site = program.address;
    program.edit(&format!("url = \"http://{site}\""), &format!("url = \"https://{site}\""));
    program.edit("[public]\n", "[tls]\ncertificate = \"nowhere.pem\"\nkey = \"nowhere.key\"\n[public]\n");
    let said = program.reload();
    assert!(said.contains("nothing was reloaded") && said.contains("nowhere.pem"), "{said}");
    assert_eq!(issuers(), ["https://gitlab.com"]);
    // Without the certificate it is good.
    program.edit("[tls]\ncertificate = \"nowhere.pem\"\nkey = \"nowhere.key\"\n", "");
    assert!(program.reload().contains("was read again"));
    assert_eq!(issuers(), ["https://lab.example"]);
}

#[test]
fn what_has_nothing_to_do_with_the_store_is_reloaded_while_it_does_not_answer() {
    let app = Upstream::hello();
    let provider =
        "[[providers]]\nkind = \"github\"\nclient_id = \"x\"\nclient_secret = \"0123456789abcdef\"\n";
    for providers in ["", provider] {
        let program = Program::start(app.address, &format!("{}{providers}", rule("public")));
        let runtime = runtime();
        let _entered = runtime.enter();
        let store = runtime.block_on(database(&program).open());
        // Nobody else can write meanwhile.
        let writing = runtime.block_on(store.begin()).unwrap_or_else(|fault| panic!("{fault}"));
        program.edit("\"public\"", "\"deny\"");
        let said = program.reload();
        assert!(said.contains("was read again"), "{said}");
        eventually("the rule counts", || program.visitor().get("/a/x").status == 403);
        drop(writing);
    }
}

#[test]
fn files_of_what_waits_for_a_start_that_hold_something_else_now_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let put = |name: &str, text: &str| {
        fs::write(path(name), text).expect("a file");
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).expect("its mode");
    };
    let (one, two) = ("one secret that is long enough, really", "another secret that is long enough");
    let database = |name: &str| format!("sqlite:{}", path(name).display());
    put("root", one);
    put("url", &database("one.db"));
    let store = format!(
        "[store]\nurl_file = \"{}\"\n[upstream]\nurl = \"http://127.0.0.1:3000\"\n",
        path("url").display()
    );
    let sources = |text: &str, new_secret| {
        put("sidegate.toml", text);
        Sources { file: Some(path("sidegate.toml")), env: Vec::new(), flags: Flags::default(), new_secret }
    };
    let given = format!("secret_file = \"{}\"\n{store}", path("root").display());
    for (text, kept_at, key) in [(&given, "root", "secret_file"), (&store, "one.db.secret", "secret")] {
        let running = config::load(&sources(text, NewSecret::Keep)).unwrap_or_else(|all| panic!("{all}"));
        let waiting = || match config::reload(&sources(text, NewSecret::Leave), &running) {
            Ok((config, waiting)) => {
                let same = config.secret.seal().open("x", &running.secret.seal().seal("x", b"y")).is_some();
                assert!(same && config.store.database == running.store.database, "it stays as it was");
                waiting
            }
            Err(all) => panic!("{all}"),
        };
        assert!(waiting().is_empty(), "{:?}", waiting());
        let before = fs::read_to_string(path(kept_at)).expect("a secret");
        put(kept_at, two);
        put("url", &database("two.db"));
        // Where the database is another, so is the place of a secret that nobody gave.
        let both: &[&str] = if key == "secret" { &["store.url_file"] } else { &[key, "store.url_file"] };
        assert_eq!(waiting(), both);
        put("url", &database("one.db"));
        assert_eq!(waiting(), [key]);
        put(kept_at, &before);
        assert!(waiting().is_empty());
    }
}
