//! The configuration as the program's user meets it: exit codes, messages, files that are (not) made.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

mod told;

const MINIMAL: &str = r#"
[listen]
address = "127.0.0.1:8080"

[public]
url = "http://127.0.0.1:8080"

[upstream]
url = "http://127.0.0.1:3000"

[store]
url = "sqlite:sidegate.db"
"#;

/// A directory to run in, with a configuration file.
struct Home(TempDir);

impl Home {
    fn with(text: &str) -> Self {
        let home = Self(tempfile::tempdir().expect("a directory"));
        std::fs::write(home.path().join("sidegate.toml"), text).expect("written");
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the program here, without the variables of whoever runs the tests.
    fn run(&self, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(arguments)
            .env_clear()
            .envs(env.iter().copied())
            .current_dir(self.path())
            .output()
            .expect("the program starts")
    }

    fn check(&self) -> Output {
        self.run(&["check", "--config", "sidegate.toml"], &[])
    }
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_minimal_file_of_the_readme_is_good_and_checking_it_makes_no_file() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```toml{MINIMAL}```")), "the README has another one");
    let home = Home::with(MINIMAL);
    let output = home.check();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("http://127.0.0.1:3000"), "{}", out(&output));
    let files = std::fs::read_dir(home.path()).expect("a directory").count();
    assert_eq!(files, 1, "checking made a file");
}

#[test]
fn all_problems_come_together_with_line_and_remedy_and_exit_code_64() {
    let home = Home::with(
        "[public]\nurl = \"https://app.example/x\"\n[upstream]\nurl = \"ftp://127.0.0.1:3000\"\n\
         [session]\nidle = \"soon\"\nidel = \"5m\"\n[[rules]]\npath = \"/**\"\naccess = \"public\"\n",
    );
    let output = home.check();
    assert_eq!(output.status.code(), Some(64));
    let lines = err(&output);
    for (start, says) in [
        ("sidegate.toml:2: public.url: ", "has a path"),
        ("sidegate.toml:4: upstream.url: ", "write http://127.0.0.1:3000"),
        ("sidegate.toml:6: session.idle: \"soon\"", "write a duration"),
        ("sidegate.toml:7: session.idel: ", "did you mean `session.idle`?"),
        ("sidegate.toml:9: rules[0].path: ", "opens an owner path"),
    ] {
        assert!(
            lines.lines().any(|line| line.starts_with(start) && line.contains(says)),
            "{start} {says}\n{lines}"
        );
    }
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(output.stdout.is_empty());
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let home = Home::with("[upstream]\nurl = \"http://file:1\"\n[listen]\naddress = \"127.0.0.1:1001\"\n");
    let env =
        [("SIDEGATE_UPSTREAM__URL", "http://variable:2"), ("SIDEGATE_LISTEN__ADDRESS", "127.0.0.1:1002")];
    let output = home.run(&["check", "--config", "sidegate.toml", "--upstream", "http://flag:3"], &env);
    let text = out(&output);
    assert!(text.contains("http://flag:3") && text.contains("127.0.0.1:1002"), "{text}{}", err(&output));
}

#[test]
fn no_file_is_needed_when_a_flag_names_the_app() {
    let output = Home::with("").run(&["check", "--upstream", "http://127.0.0.1:3000"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("http://127.0.0.1:8080"), "{}", out(&output));
}

#[test]
fn a_file_that_is_not_there_is_said_and_not_passed_over() {
    let output = Home::with("").run(&["check", "--config", "other.toml", "--upstream", "http://a:1"], &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("other.toml cannot be read"), "{}", err(&output));
}

#[test]
fn a_wrong_command_exits_with_64_and_help_with_0() {
    let home = Home::with("");
    assert_eq!(home.run(&["chekc"], &[]).status.code(), Some(64));
    assert_eq!(home.run(&["check", "--confg", "x"], &[]).status.code(), Some(64));
    assert_eq!(home.run(&["--help"], &[]).status.code(), Some(0));
    assert_eq!(home.run(&["--version"], &[]).status.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn se_1_a_secret_file_must_be_long_enough_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::with(&format!("secret_file = \"root\"\n{MINIMAL}"));
    let file = home.path().join("root");
    let set = |text: &str, mode: u32| {
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode set");
    };
    set("hush-hush-hush-hush-hush-hush-hush", 0o644);
    let open = home.check();
    assert!(open.status.code() == Some(64) && err(&open).contains("open to other users"), "{}", err(&open));
    set("hush", 0o600);
    let short = home.check();
    assert!(short.status.code() == Some(64) && err(&short).contains("at least 32"), "{}", err(&short));
    assert!(!err(&open).contains("hush") && !err(&short).contains("hush"));
    set("hush-hush-hush-hush-hush-hush-hush", 0o600);
    assert_eq!(home.check().status.code(), Some(0));
}

#[test]
fn se_2_files_with_former_secrets_are_held_to_the_same_and_are_not_the_one_in_use() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::with(&format!(
        "secret = \"0123456789abcdef0123456789abcdef\"\nformer_secret_files = [\"a\", \"b\", \"c\", \"d\"]\n{MINIMAL}"
    ));
    for (name, text, mode) in [
        ("a", "hush-hush-hush-hush-hush-hush-hush", 0o600),
        ("b", "hush", 0o600),
        ("c", "hush-hush-hush-hush-hush-hush-hush", 0o644),
        ("d", "0123456789abcdef0123456789abcdef\n", 0o600),
    ] {
        let file = home.path().join(name);
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("mode set");
    }
    let output = home.check();
    let told = err(&output);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");
    for (place, says) in
        [(1, "has 4 bytes"), (2, "is open to other users"), (3, "is the secret that is in use")]
    {
        assert!(
            told.contains(&format!("former_secret_files[{place}]: {says}")) || told.contains(says),
            "{told}"
        );
    }
    assert!(!told.contains("hush") && !told.contains("0123"));
}

#[test]
fn one_secret_in_two_ways_is_refused_but_a_variable_replaces_the_file_s() {
    let both = format!("secret = \"0123456789abcdef0123456789abcdef\"\nsecret_file = \"root\"\n{MINIMAL}");
    let output = Home::with(&both).check();
    assert_eq!(output.status.code(), Some(64));
    assert!(
        err(&output).contains("keep one of the two") && !err(&output).contains("0123"),
        "{}",
        err(&output)
    );
    let home = Home::with(&format!("secret_file = \"not-there\"\n{MINIMAL}"));
    let env = [("SIDEGATE_SECRET", "0123456789abcdef0123456789abcdef")];
    let output = home.run(&["check", "--config", "sidegate.toml"], &env);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn a_postgresql_url_is_never_printed_and_a_secret_beside_it_is_a_danger() {
    let home = Home::with("");
    let store = "postgres://sidegate:hush@127.0.0.1/sidegate";
    let output = home.run(&["check", "--upstream", "http://127.0.0.1:3000", "--store", store], &[]);
    let text = out(&output);
    assert!(text.contains("PostgreSQL") && text.contains("every replica"), "{text}{}", err(&output));
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn the_health_check_asks_with_the_public_host_and_takes_only_200_for_good() {
    for (answer, code) in [("HTTP/1.1 200 OK\r\n\r\n", 0), ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("answered");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let home =
            Home::with("[public]\nurl = \"https://app.example\"\n[upstream]\nurl = \"http://127.0.0.1:1\"\n");
        let output = home.run(&["healthcheck", "--config", "sidegate.toml", "--listen", &address], &[]);
        assert_eq!(output.status.code(), Some(code), "{}", err(&output));
        let request = server.join().expect("the server ends");
        assert!(request.starts_with("GET /auth/ok HTTP/1.1\r\nHost: app.example\r\n"), "{request}");
    }
}

#[test]
fn the_health_check_fails_where_nobody_listens() {
    let free = crate::serve::free_port().to_string();
    let output =
        Home::with("").run(&["healthcheck", "--upstream", "http://127.0.0.1:1", "--listen", &free], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("does not answer"), "{}", err(&output));
}

#[test]
fn every_documented_provider_is_good_with_what_is_commented_out_too() {
    let blocks = include_str!("../../docs/providers.md")
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut shown = 0;
    for block in blocks.filter(|block| block.contains("[[providers]]")) {
        shown += 1;
        // What lies in files there is not here.
        let lines = block.lines().filter(|line| !line.contains("_file = "));
        let all: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        let all = all.join("\n");
        let checked = Home::with(&format!("{MINIMAL}\n{all}\nclient_secret = \"x\"\n")).check();
        assert_eq!(checked.status.code(), Some(0), "{all}\n{}", err(&checked));
    }
    assert_eq!(shown, 8, "one for each kind, a GitLab of one's own, and the first look");
}

#[test]
fn the_configurations_for_systemd_and_kubernetes_are_good() {
    let page = include_str!("../../docs/operations.md");
    let block = |kind: &str, start: &str| {
        let (_, rest) = page.split_once(&format!("```{kind}\n{start}")).expect(start);
        rest.split_once("```").expect("its end").0
    };
    let (before, rest) = block("toml", "# /etc/sidegate").split_once("[tls]").expect("TLS");
    let (_, after) = rest.split_once("\n\n").expect("what follows it");
    let text = format!("#{before}{after}");
    let checked = Home::with(&text).check();
    assert_eq!(checked.status.code(), Some(0), "{text}\n{}", err(&checked));

    let home = Home::with("[store]\nurl = \"sqlite:/data/sidegate.db\"\n");
    for (name, text) in [("secret", "0".repeat(32)), ("store-url", "postgres://a:b@127.0.0.1/c".to_owned())] {
        std::fs::write(home.path().join(name), text).expect("written");
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o440);
        std::fs::set_permissions(home.path().join(name), closed).expect("closed");
    }
    let mut env = vec![("SIDEGATE_CONFIG", "sidegate.toml")];
    for line in block("yaml", "apiVersion: apps/v1").lines().filter(|line| line.contains("SIDEGATE_")) {
        let (name, value) =
            line.split_once("name: ").and_then(|(_, rest)| rest.split_once(", value: \"")).expect(line);
        let (value, _) = value.split_once('"').expect(line);
        env.push((name, value.trim_start_matches("/run/secrets/sidegate/")));
    }
    let checked = home.run(&["check"], &env);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    assert!(out(&checked).contains("PostgreSQL") && env.len() == 9, "{env:?}\n{}", out(&checked));
}

#[test]
fn everything_that_is_wrong_with_files_is_told_at_once_with_its_line_before_anything_starts() {
    let home = Home::with(
        "[upstream]\nurl = \"https://127.0.0.1:3000\"\nca_file = \"/nope/ca.pem\"\nclient_certificate = \"/nope/c.pem\"\n\
         client_key = \"/nope/k.pem\"\n[public]\nurl = \"https://a.example\"\n[tls]\ncertificate = \"/nope/c.pem\"\n\
         key = \"/nope/k.pem\"\nclient_ca = \"/nope/ca.pem\"\nclient_crl = \"/nope/crl.pem\"\n[geo]\ncountry_file = \"/nope/c.mmdb\"\n\
         asn_file = \"sidegate.toml\"\nanonymizers_file = \"sidegate.toml\"\n",
    );
    for command in ["check", "serve"] {
        let output = home.run(&[command, "--config", "sidegate.toml"], &[]);
        assert_eq!(output.status.code(), Some(64), "{}", err(&output));
        let told = err(&output);
        let lines: Vec<&str> = told.lines().collect();
        let expected = [
            "sidegate.toml:3: upstream.ca_file: /nope/ca.pem cannot be read",
            "sidegate.toml:4: upstream.client_certificate: /nope/c.pem cannot be read",
            "sidegate.toml:5: upstream.client_key: /nope/k.pem cannot be read: No such file",
            "sidegate.toml:9: tls.certificate: /nope/c.pem cannot be read",
            "sidegate.toml:10: tls.key: /nope/k.pem cannot be read: No such file",
            "sidegate.toml:11: tls.client_ca: /nope/ca.pem cannot be read",
            "sidegate.toml:12: tls.client_crl: /nope/crl.pem cannot be read",
            "sidegate.toml:14: geo.country_file: /nope/c.mmdb: ",
            "sidegate.toml:15: geo.asn_file: sidegate.toml: ",
            "sidegate.toml:16: geo.anonymizers_file: sidegate.toml: \"[upstream]\" is no network",
        ];
        assert_eq!(lines.len(), expected.len(), "{told}");
        for (line, start) in lines.iter().zip(expected) {
            assert!(line.starts_with(start) && line.contains("; name "), "{line}\n{start}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_all_that_is_told() {
    let home = Home::with("[upstream\n");
    let mut told = vec![err(&home.check())];
    std::fs::write(home.path().join("sidegate.toml"), b"[public]\nname = \"\xff\"\n").expect("written");
    told.push(err(&home.check()));
    assert!(told[1].contains("is not UTF-8; save it as UTF-8"), "{told:?}");
    std::fs::remove_file(home.path().join("sidegate.toml")).expect("removed");
    told.push(err(&home.check()));
    assert!(told[2].contains("name one that is there"), "{told:?}");
    std::fs::create_dir(home.path().join("sidegate.toml")).expect("made");
    told.push(err(&home.check()));
    assert!(told[3].contains("name the file in it"), "{told:?}");
    for told in told {
        assert!(told.lines().count() == 1 && told.contains("sidegate.toml"), "{told}");
    }
}

#[test]
fn an_empty_variable_is_an_empty_value_and_said_to_be_one() {
    let home = Home::with(MINIMAL);
    let arguments = ["check", "--config", "sidegate.toml"];
    let output = home.run(&arguments, &[("SIDEGATE_PUBLIC__URL", ""), ("SIDEGATE_SECRET", "")]);
    assert_eq!(output.status.code(), Some(64));
    for start in ["SIDEGATE_PUBLIC__URL (empty; unset it", "SIDEGATE_SECRET (empty; unset it"] {
        assert!(err(&output).lines().any(|line| line.starts_with(start)), "{}", err(&output));
    }
}
