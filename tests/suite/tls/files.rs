//! What is told of the files of certificates, and that they are read again when they change.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sidegate::config::tls::{Certificate, Tls as Config};
use sidegate::server::tls::Tls;
use sidegate::time::Clock;

use super::{Open, change, changing, file, openssl, subject};
use crate::jobs::eventually;
use crate::serve::{Program, free_port, minimal, serve};
use crate::support::upstream::Upstream;

/// The pair of this name.
fn pair(name: &str) -> Certificate {
    Certificate { certificate: file(&format!("{name}.pem")), key: file(&format!("{name}.key")) }
}

fn load(certificates: Vec<Certificate>, client_ca: Option<&Path>) -> Result<Tls, String> {
    let client_ca = client_ca.map(Path::to_path_buf);
    let config =
        Config { certificates, client_ca, client_crl: None, client_required: false, watch: Duration::ZERO };
    Tls::load(&config).map_err(|problems| problems.to_string())
}

#[test]
fn a_certificate_that_is_no_authority_and_one_that_is_there_twice_are_told_of() {
    let told = |certificates: &[&str], client_ca: Option<&str>| {
        let certificates = certificates.iter().map(|name| pair(name)).collect();
        let client_ca = client_ca.map(|name| file(&format!("{name}.pem")));
        let tls = load(certificates, client_ca.as_deref()).expect("good files");
        tls.dangers("127.0.0.1", Clock::System.now())
    };
    assert_eq!(told(&["first", "second"], Some("second")), [""; 0], "it is an authority");
    let told_of_client = told(&["first"], Some("client"));
    assert_eq!(told_of_client.len(), 1, "{told_of_client:?}");
    assert!(told_of_client[0].starts_with("tls.client_ca: 1 of its certificates"), "{told_of_client:?}");
    let twice = told(&["first", "second", "renewed", "second"], None);
    assert_eq!(
        twice,
        ["tls.more[2].certificate: is that of tls.more[0].certificate once more, and never used"]
    );
}

#[test]
fn a_key_that_a_passphrase_opens_is_refused_with_the_way_to_take_it_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let from = file("first.key").display().to_string();
    for (name, form) in [("pkcs8.key", None), ("traditional.key", Some("-traditional"))] {
        let arguments = ["pkey", "-in", &from, "-aes256", "-passout", "pass:hush", "-out", name];
        openssl(directory.path(), &[&arguments[..], form.as_slice()].concat());
        let key = directory.path().join(name);
        let told = load(vec![Certificate { key: key.clone(), ..pair("first") }], None).err().expect("no use");
        let says = format!("tls.key: {} is encrypted", key.display());
        assert!(told.contains(&says) && told.contains("openssl pkey"), "{told}");
    }
}

/// A program that looks every second for others of the files that change.
fn looking(directory: &Path, section: &str, app: &Upstream) -> (Program, std::net::SocketAddr) {
    let address = free_port();
    minimal(directory, address, app.address, "sqlite:site.db");
    let config = directory.join("sidegate.toml");
    let text = fs::read_to_string(&config).expect("a file");
    let text = text.replace("url = \"http://127.0.0.1:", "url = \"https://127.0.0.1:");
    let text = text.replace(&format!("https://{}", app.address), &format!("http://{}", app.address));
    fs::write(&config, format!("{text}[tls]\n{section}\n")).expect("a file");
    (serve(directory, address, &["--config", "sidegate.toml"]), address)
}

#[test]
fn files_that_have_changed_are_read_again_and_half_of_a_pair_is_waited_for() {
    let (directory, section) = changing();
    let app = Upstream::hello();
    let (_program, address) = looking(directory.path(), &format!("{section}\nwatch = \"1s\""), &app);
    let shows = |name: &str| subject(address, "x.test").ends_with(name);
    assert!(shows("first"));
    let host = address.to_string();
    let mut open = Open::to(address);
    assert!(open.ask(&host).starts_with("HTTP/1.1 200"));
    change(directory.path(), "renewed");
    eventually("it is shown", || shows("renewed"));
    assert!(open.ask(&host).starts_with("HTTP/1.1 200"), "the open connection goes on");
    // Without its key it is of no use yet.
    fs::copy(file("first.pem"), directory.path().join("site.pem")).expect("copied");
    std::thread::sleep(Duration::from_millis(2500));
    assert!(shows("renewed"), "those of before stay");
    fs::copy(file("first.key"), directory.path().join("site.key")).expect("copied");
    eventually("both are there", || shows("first"));
    // As Kubernetes does it: the path leads elsewhere.
    fs::remove_file(directory.path().join("site.key")).expect("removed");
    fs::remove_file(directory.path().join("site.pem")).expect("removed");
    for kind in ["key", "pem"] {
        let to = directory.path().join(format!("site.{kind}"));
        std::os::unix::fs::symlink(file(&format!("renewed.{kind}")), to).expect("a link");
    }
    eventually("the link is followed", || shows("renewed"));
}

#[test]
fn nobody_looks_where_nobody_is_to() {
    let (directory, section) = changing();
    let app = Upstream::hello();
    let (_program, address) = looking(directory.path(), &format!("{section}\nwatch = \"0s\""), &app);
    change(directory.path(), "renewed");
    std::thread::sleep(Duration::from_millis(2500));
    assert!(subject(address, "x.test").ends_with("first"));
}
