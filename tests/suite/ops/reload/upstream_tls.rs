//! Whom we believe to be the app, and who we are to it, read again.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Program;
use crate::jobs::eventually;
use crate::serve::free_port;

/// An app behind TLS that asks for a certificate of its authority; killed when dropped.
struct App(Child);

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl App {
    /// Answers each request on a connection of its own.
    fn start(port: u16, files: &Path) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let child = Command::new("openssl")
            .args(["s_server", "-accept", &listen, "-cert", "app.pem", "-key", "app.key", "-www"])
            .args(["-CAfile", "second.pem", "-Verify", "1", "-verify_return_error"])
            .current_dir(files)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let app = Self(child);
        eventually("the app listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        app
    }
}

#[test]
fn the_authority_and_our_certificate_towards_the_app_are_read_again_and_bad_ones_change_nothing() {
    let files = crate::tls::certificates();
    let address = free_port();
    let _app = App::start(address.port(), files);
    let open = "[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n";
    let program = Program::start(address, open);
    let put = |from: &str, to: &str| {
        let to = program.directory.path().join(to);
        fs::copy(files.join(from), to).expect("copied");
    };
    let status = || program.visitor().get("/open/x").status;
    let reload = || assert!(program.reload().contains("was read again"));
    assert_eq!(status(), 502, "no TLS is spoken");

    put("first.pem", "authority.pem");
    program.edit(
        &format!("url = \"http://{address}\"\n[password]"),
        &format!(
            "url = \"https://{address}\"\nca_file = \"authority.pem\"\nclient_certificate = \"us.pem\"\n\
             client_key = \"us.key\"\n[password]"
        ),
    );
    let said = program.reload();
    assert!(said.contains("nothing was reloaded") && said.contains("us.pem"), "{said}");
    // Each problem has a line of its own.
    eventually("the key is named as well", || program.says("us.key"));
    put("renewed.pem", "us.pem");
    put("renewed.key", "us.key");
    reload();
    assert_eq!(status(), 502, "another authority");
    // The file stays the same, what is in it does not.
    put("second.pem", "authority.pem");
    reload();
    assert_eq!(status(), 502, "we are nobody whom the app knows");
    put("client.pem", "us.pem");
    put("client.key", "us.key");
    reload();
    eventually("we are", || status() == 200);
    for bad in ["authority.pem", "us.pem", "us.key"] {
        let path = program.directory.path().join(bad);
        let good = fs::read(&path).expect("a file");
        fs::write(&path, "nothing of the kind").expect("written");
        let said = program.reload();
        assert!(said.contains("nothing was reloaded") && said.contains(bad), "{said}");
        assert_eq!(status(), 200, "{bad}");
        fs::write(&path, good).expect("written");
    }
    put("first.pem", "authority.pem");
    reload();
    eventually("whom we do not believe any more is not the app", || status() == 502);
}
