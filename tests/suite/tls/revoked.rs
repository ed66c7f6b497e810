//! Certificates of clients that their issuer took back (RFC 5280 §5).

use std::fs;
use std::path::PathBuf;

use sidegate::config::tls::{Certificate, Tls as Config};
use sidegate::server::tls::Tls;
use sidegate::time::Clock;
use tempfile::TempDir;

use super::{curl, file, openssl, plan, text};
use crate::support::site::Site;

/// One of our issuers, which keeps a list.
struct Issuer(TempDir, &'static str);

impl Issuer {
    /// The issuer of our client.
    fn new() -> Self {
        Self::called("second")
    }

    fn called(name: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).expect("written");
        };
        write("index.txt", "");
        write("crlnumber", "01\n");
        write(
            "ca.cnf",
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ncrlnumber = crlnumber\ndefault_md = sha256\n",
        );
        let issuer = Self(directory, name);
        issuer.lists("-crldays 3");
        issuer
    }

    fn runs(&self, arguments: &[&str]) {
        let (certificate, key) = (text(&format!("{}.pem", self.1)), text(&format!("{}.key", self.1)));
        let whoever = ["ca", "-config", "ca.cnf", "-cert", &certificate, "-keyfile", &key];
        openssl(self.0.path(), &[&whoever[..], arguments].concat());
    }

    fn takes_back(&self, name: &str) {
        self.runs(&["-revoke", &text(&format!("{name}.pem"))]);
    }

    /// Writes the list anew, good for so long.
    fn lists(&self, life: &str) {
        let life: Vec<&str> = life.split(' ').collect();
        self.runs(&[&["-gencrl", "-out", "list.pem"][..], &life].concat());
    }

    fn list(&self) -> PathBuf {
        self.0.path().join("list.pem")
    }

    fn section(&self, more: &str) -> String {
        let (authority, list) = (text("second.pem"), self.list());
        format!("client_ca = \"{authority}\"\nclient_crl = \"{}\"\n{more}", list.display())
    }
}

/// What the client with this certificate gets.
fn shows(site: &Site, name: &str) -> String {
    let (certificate, key) = (text(&format!("{name}.pem")), text(&format!("{name}.key")));
    curl(site, &["--cert", &certificate, "--key", &key], "/open/x")
}

#[test]
fn a_certificate_that_was_taken_back_lets_nobody_in() {
    for required in ["client_required = true", ""] {
        let issuer = Issuer::new();
        let mut site = plan(&issuer.section(required)).start();
        let server = site.take_server();
        assert_eq!(shows(&site, "client"), "2 200", "it is on no list");
        assert_eq!(shows(&site, "renewed"), "0 000", "of another issuer");
        issuer.takes_back("client");
        issuer.lists("-crldays 3");
        assert_eq!(shows(&site, "client"), "2 200", "the list was not read yet");
        server.apply(server.prepare(&site.app).expect("the files are good"));
        assert_eq!(shows(&site, "client"), "0 000");
        assert_eq!(shows(&site, "app"), "2 200", "another one of the same issuer");
        server.stop();
    }
}

#[test]
fn a_list_that_has_ended_lets_nobody_in_and_is_told_of() {
    let issuer = Issuer::new();
    let told = || {
        let certificates = vec![Certificate { certificate: file("first.pem"), key: file("first.key") }];
        let (client_ca, client_crl) = (Some(file("second.pem")), Some(issuer.list()));
        let config = Config {
            certificates,
            client_ca,
            client_crl,
            client_required: true,
            watch: std::time::Duration::ZERO,
        };
        Tls::load(&config).expect("good files").dangers("127.0.0.1", Clock::System.now())
    };
    assert_eq!(told(), [""; 0]);
    issuer.lists("-crl_lastupdate 20240101000000Z -crl_nextupdate 20240102000000Z");
    let ended = told();
    assert!(
        ended.len() == 1 && ended[0].starts_with("tls.client_crl: 1 of its lists have ended"),
        "{ended:?}"
    );
    let site = plan(&issuer.section("client_required = true")).start();
    assert_eq!(shows(&site, "client"), "0 000");
}

#[test]
fn an_issuer_whose_list_is_missing_lets_nobody_in() {
    let issuer = Issuer::called("first");
    let authorities = issuer.0.path().join("both.pem");
    let both = ["first.pem", "second.pem"].map(|name| fs::read(file(name)).expect("a file"));
    fs::write(&authorities, both.concat()).expect("written");
    let section = format!("client_ca = \"{}\"\nclient_required = true", authorities.display());
    assert_eq!(shows(&plan(&section).start(), "client"), "2 200", "nothing is asked of its issuer");
    let list = format!("{section}\nclient_crl = \"{}\"", issuer.list().display());
    assert_eq!(shows(&plan(&list).start(), "client"), "0 000");
}
