//! TLS towards the client: certificates by name, replaced while we serve, and asked of the client.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use sidegate::server::tls::Tls;
use sidegate::time::{Clock, Now};
use tempfile::TempDir;

use crate::jobs::eventually;
use crate::serve::{free_port, minimal, serve};
use crate::support::child::Child;
use crate::support::database::Database;
use crate::support::h2::until_ended;
use crate::support::program::optional;
use crate::support::raw::Raw;
use crate::support::site::{Plan, Site};
use crate::support::upstream::Upstream;

mod clients;
mod files;
mod handshakes;
mod revoked;

/// Certificates made by `openssl`, once for all tests.
pub(crate) fn certificates() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, common) in [("first", "127.0.0.1"), ("second", "second.test"), ("renewed", "renewed.test")]
        {
            let kind = if common.contains("test") { "DNS" } else { "IP" };
            openssl(
                directory.path(),
                &[
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "3650",
                    "-keyout",
                    &format!("{name}.key"),
                    "-out",
                    &format!("{name}.pem"),
                    "-subj",
                    &format!("/CN={name}"),
                    "-addext",
                    &format!("subjectAltName={kind}:{common}"),
                ],
            );
        }
        // An app and a client whose certificates the second of them issued.
        for (name, names) in [("app", "IP:127.0.0.1"), ("client", "DNS:client.test")] {
            openssl(
                directory.path(),
                &[
                    "req",
                    "-x509",
                    "-CA",
                    "second.pem",
                    "-CAkey",
                    "second.key",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-days",
                    "3650",
                    "-keyout",
                    &format!("{name}.key"),
                    "-out",
                    &format!("{name}.pem"),
                    "-subj",
                    &format!("/CN={name}"),
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                    "-addext",
                    &format!("subjectAltName={names}"),
                ],
            );
        }
        directory
    })
    .path()
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn file(name: &str) -> PathBuf {
    certificates().join(name)
}

/// The path of a file, for the configuration.
fn text(name: &str) -> String {
    file(name).display().to_string()
}

/// A site that speaks TLS, and whose answers to `curl` tell what was negotiated.
pub(crate) fn plan(more: &str) -> Plan {
    let (certificate, key) = (text("first.pem"), text("first.key"));
    let tls = format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n{more}");
    Site::on(Database::sqlite()).https().set("tls", &tls).rule("/open/**", "public")
}

/// What `curl` says of the answer at `path`; the last line is the HTTP version and the status.
fn curl(site: &Site, arguments: &[&str], path: &str) -> String {
    let output = Command::new("curl")
        .args(["-sk", "--max-time", "20", "-w", "\n%{http_version} %{http_code}"])
        .args(arguments)
        .arg(format!("{}{path}", site.origin))
        .output()
        .expect("curl is installed");
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

/// The subject of the certificate that is shown to a client that asks for `name`.
fn subject(address: SocketAddr, name: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", name])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find(|line| line.starts_with("subject=")).unwrap_or(&text).to_owned()
}

#[test]
fn browsers_negotiate_http_2_and_others_http_1() {
    let site = plan("").start();
    assert_eq!(curl(&site, &[], "/open/x"), "2 200");
    assert_eq!(curl(&site, &["--http1.1"], "/open/x"), "1.1 200");
    assert_eq!(curl(&site, &["--data-binary", "@/bin/sh"], "/open/x"), "2 200");
    assert_eq!(curl(&site, &["-H", "accept: application/json"], "/closed"), "2 401");
    assert_eq!(curl(&site, &["--tls-max", "1.1"], "/open/x"), "0 000");
    let arrived = site.upstream.arrived();
    assert_eq!(arrived[0].header("x-forwarded-proto"), Some("https"));
    assert_eq!(arrived[2].body.len() as u64, std::fs::metadata("/bin/sh").expect("it is there").len());
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let (certificate, key) = (text("second.pem"), text("second.key"));
    let site =
        plan("").toml(&format!("[[tls.more]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")).start();
    assert!(
        subject(site.address, "second.test").ends_with("second"),
        "{}",
        subject(site.address, "second.test")
    );
    assert!(subject(site.address, "unknown.test").ends_with("first"));
}

/// A connection that stays open, kept by `openssl`.
struct Open(Child);

impl Open {
    fn to(address: SocketAddr) -> Self {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-connect", &address.to_string()]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(Child::start(&mut openssl))
    }

    /// The status line of the answer to `GET /auth/ok`.
    fn ask(&mut self, host: &str) -> String {
        let request = format!("GET /auth/ok HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.stdin.as_mut().expect("a pipe").write_all(request.as_bytes()).expect("sent");
        let mut reader = BufReader::with_capacity(1, self.0.stdout.as_mut().expect("a pipe"));
        let mut status = String::new();
        reader.read_line(&mut status).expect("a status line");
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a field");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("the body");
        status
    }
}

/// Where certificate and key are that change, and the `[tls]` that names them.
fn changing() -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("site").display().to_string();
    let section = format!("certificate = \"{path}.pem\"\nkey = \"{path}.key\"");
    change(directory.path(), "first");
    (directory, section)
}

/// Has the files be those of another certificate.
fn change(directory: &Path, to: &str) {
    for kind in ["pem", "key"] {
        std::fs::copy(file(&format!("{to}.{kind}")), directory.join(format!("site.{kind}"))).expect("copied");
    }
}

#[test]
fn a_reload_shows_the_new_certificate_and_cuts_no_connection() {
    let (directory, section) = changing();
    let mut site = Site::on(Database::sqlite()).https().set("tls", &section).start();
    let server = site.take_server();
    let host = site.origin.trim_start_matches("https://");
    let mut open = Open::to(site.address);
    assert!(open.ask(host).starts_with("HTTP/1.1 200"));
    change(directory.path(), "renewed");
    server.apply(server.prepare(&site.app).expect("the files are good"));
    assert!(subject(site.address, "x.test").ends_with("renewed"));
    assert!(open.ask(host).starts_with("HTTP/1.1 200"), "the open connection goes on");
    std::fs::write(directory.path().join("site.key"), "no key").expect("written");
    let error = server.prepare(&site.app).err().expect("no key").to_string();
    assert!(error.contains("tls.key") && error.contains("site.key"), "{error}");
    assert!(subject(site.address, "x.test").ends_with("renewed"), "a bad file changes nothing");
    drop(open);
    server.stop();
}

#[test]
fn sighup_shows_the_new_certificate_and_cuts_no_connection() {
    let (directory, section) = changing();
    let (app, address) = (Upstream::hello(), free_port());
    minimal(directory.path(), address, app.address, "sqlite:site.db");
    let config = directory.path().join("sidegate.toml");
    let text = std::fs::read_to_string(&config)
        .expect("a file")
        .replace("url = \"http://127.0.0.1:", "url = \"https://127.0.0.1:");
    let text = text.replace(&format!("https://{}", app.address), &format!("http://{}", app.address));
    std::fs::write(&config, format!("{text}[tls]\n{section}\n")).expect("a file");
    let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
    let host = address.to_string();
    let mut open = Open::to(address);
    assert!(open.ask(&host).starts_with("HTTP/1.1 200"));
    assert!(subject(address, "x.test").ends_with("first"));
    for name in ["renewed", "first"] {
        change(directory.path(), name);
        program.signal("-HUP");
        eventually("new connections are shown it", || subject(address, "x.test").ends_with(name));
        assert!(open.ask(&host).starts_with("HTTP/1.1 200"), "the open connection goes on");
    }
    // A key that does not fit changes nothing, and what is good counts again.
    std::fs::copy(file("renewed.key"), directory.path().join("site.key")).expect("copied");
    program.signal("-HUP");
    thread::sleep(Duration::from_millis(500));
    assert!(subject(address, "x.test").ends_with("first") && open.ask(&host).starts_with("HTTP/1.1 200"));
    change(directory.path(), "renewed");
    program.signal("-HUP");
    eventually("new connections are shown it", || subject(address, "x.test").ends_with("renewed"));
    assert!(open.ask(&host).starts_with("HTTP/1.1 200"));
}

#[test]
fn clients_without_a_certificate_are_turned_away_where_one_is_required() {
    let authority = text("second.pem");
    let site = plan(&format!("client_ca = \"{authority}\"\nclient_required = true")).start();
    assert_eq!(curl(&site, &[], "/open/x"), "0 000");
    let own = |name: &str| {
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        curl(
            &site,
            &["--cert", certificate.to_str().expect("text"), "--key", key.to_str().expect("text")],
            "/open/x",
        )
    };
    assert_eq!(own("client"), "2 200");
    assert_eq!(own("renewed"), "0 000", "of another issuer");
    let optional = plan(&format!("client_ca = \"{authority}\"")).start();
    assert_eq!(curl(&optional, &[], "/open/x"), "2 200");
}

#[test]
fn the_health_check_passes_where_tls_is_spoken() {
    let (directory, section) = changing();
    let (app, address) = (Upstream::hello(), free_port());
    minimal(directory.path(), address, app.address, "sqlite:site.db");
    let config = directory.path().join("sidegate.toml");
    let text = std::fs::read_to_string(&config).expect("a file");
    let text = text.replace("url = \"http://127.0.0.1:", "url = \"https://127.0.0.1:");
    let text = text.replace(&format!("https://{}", app.address), &format!("http://{}", app.address));
    std::fs::write(&config, format!("{text}[tls]\n{section}\n")).expect("a file");
    let _program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
    let check = || crate::serve::run(directory.path(), &["healthcheck", "--config", "sidegate.toml"]);
    assert!(check().status.success(), "{:?}", check());
    // The file may be newer than what is served with.
    change(directory.path(), "renewed");
    assert!(check().status.success(), "{:?}", check());
}

#[test]
fn plain_http_on_a_port_for_tls_is_told_so_and_silence_is_not_waited_for() {
    let site = plan("").set("limits", "head_timeout = \"2s\"").start();
    let plain = until_ended(site.address, b"GET /auth/ok HTTP/1.1\r\nHost: x\r\n\r\n");
    let plain = String::from_utf8(plain).expect("text");
    assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("sent to an HTTPS port"), "{plain}");
    assert!(!until_ended(site.address, b"\x05\x01\0").starts_with(b"HTTP/"), "nobody asked by HTTP");
    assert!(Raw::connect(site.address).is_closed(), "a client that says nothing");
    assert_eq!(curl(&site, &[], "/auth/ok"), "2 200");
}

/// Whether a program found nothing wrong, and what it said.
fn run(program: &str, arguments: &[&str]) -> std::io::Result<(bool, String)> {
    let output = Command::new(program).args(arguments).output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn rfc_9113_h2spec_finds_nothing() {
    let Some(h2spec) = optional("h2spec") else { return };
    let site = plan("").start();
    let port = site.address.port().to_string();
    let arguments = ["-h", "127.0.0.1", "-p", &port, "-t", "-k", "-S", "-P", "/open/x", "-o", "10"];
    let (success, report) = run(&h2spec, &arguments).unwrap_or_else(|error| {
        panic!("{h2spec}: {error}; tests/run installs it, or SIDEGATE_TEST_H2SPEC says where it is")
    });
    assert!(success && report.contains(" 0 skipped, 0 failed"), "{report}");
    assert_eq!(curl(&site, &[], "/open/x"), "2 200");
}

#[test]
fn h2load_loses_no_request_in_either_version() {
    let site = plan("").start();
    let url = format!("{}/open/x", site.origin);
    for version in [&[][..], &["--h1"]] {
        let arguments = [&["-n", "1000", "-c", "8", "-m", "16"], version, &[&url]].concat();
        let (_, report) = run("h2load", &arguments).expect("h2load is installed (nghttp2-client)");
        assert!(report.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        assert!(report.contains("1000 2xx"), "{report}");
    }
}

#[test]
fn a_certificate_that_has_ended_or_is_for_another_name_is_told_of() {
    use sidegate::config::tls::{Certificate, Tls as Config};
    let certificate = |name: &str| Certificate {
        certificate: file(&format!("{name}.pem")),
        key: file(&format!("{name}.key")),
    };
    let certificates = vec![certificate("second"), certificate("first")];
    let tls = Tls::load(&Config {
        certificates,
        client_ca: None,
        client_crl: None,
        client_required: false,
        watch: Duration::ZERO,
    })
    .expect("good files");
    let now = Clock::System.now();
    for host in ["127.0.0.1", "127.0.0.1:8443", "second.test", "Second.Test:443"] {
        assert!(tls.dangers(host, now).is_empty(), "{host}");
    }
    for host in ["app.example", "[::1]:8443", "a.second.test"] {
        let told = tls.dangers(host, now);
        assert!(told.len() == 1 && told[0].contains(&format!("is not for {host}")), "{told:?}");
    }
    let told = tls.dangers("127.0.0.1", now.plus(Duration::from_hours(24 * 3651))).join("\n");
    assert!(
        told.contains("tls.certificate: was good until") && told.contains("tls.more[0].certificate:"),
        "{told}"
    );
    let told = tls.dangers("127.0.0.1", Now::from_seconds(1_000_000_000)).join("\n");
    for key in ["tls.certificate", "tls.more[0].certificate"] {
        let early = |line: &str| line.starts_with(&format!("{key}: is not good before 20"));
        assert!(told.lines().any(early) && !told.contains("was good"), "{told}");
    }
    // Whoever starts with it hears of it.
    let (directory, section) = changing();
    minimal(directory.path(), free_port(), free_port(), "sqlite:site.db");
    let config = directory.path().join("sidegate.toml");
    let text = std::fs::read_to_string(&config).expect("a file");
    let text = text.replace("url = \"http://127.0.0.1:", "url = \"https://127.0.0.1:");
    std::fs::write(&config, format!("{text}[tls]\n{section}\n")).expect("a file");
    let check = || crate::serve::run(directory.path(), &["check", "--config", "sidegate.toml"]);
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let quiet = said(check());
    change(directory.path(), "renewed");
    let told = said(check());
    assert!(!quiet.contains("is not for") && told.contains("tls.certificate: is not for"), "{quiet}{told}");
}
