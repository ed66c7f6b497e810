//! An app that is a process of its own, nginx, which can be killed and started again on the same port.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// The process, and where it listens while it runs.
pub(crate) struct Nginx {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    name: &'static str,
    directory: TempDir,
    process: Option<Child>,
}

impl Nginx {
    /// Starts one that answers every request with its name, and `/healthz` with 200 unless it is made [`Self::ill`].
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let directory = tempfile::tempdir().expect("a directory");
        let mut nginx = Self { address, name, directory, process: None };
        nginx.configure();
        drop(listener);
        nginx.begin();
        nginx
    }

    fn configure(&self) {
        let Self { address, name, .. } = self;
        let home = self.directory.path().display();
        let text = format!(
            "daemon off; master_process off; user root; pid {home}/pid; error_log stderr error;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p;\n\
             fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
             server {{ listen {address};\n\
             location = /healthz {{ if (-f {home}/ill) {{ return 503; }} return 200; }}\n\
             location / {{ return 200 {name}; }} }} }}\n"
        );
        fs::write(self.directory.path().join("nginx.conf"), text).expect("a file");
    }

    /// Starts it again, and waits until it listens.
    pub(crate) fn begin(&mut self) {
        let home = self.directory.path();
        let program =
            if fs::exists("/usr/sbin/nginx").unwrap_or(false) { "/usr/sbin/nginx" } else { "nginx" };
        let process = Command::new(program)
            .args(["-e", "stderr", "-p"])
            .arg(home)
            .arg("-c")
            .arg(home.join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        self.process = Some(process);
        let listens = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            TcpStream::connect(self.address).is_ok()
        });
        assert!(listens, "nginx does not start");
    }

    /// Ends it at once, with every connection.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Whether it says that it is not well.
    pub(crate) fn ill(&self, ill: bool) {
        let mark = self.directory.path().join("ill");
        if ill {
            fs::write(mark, "").expect("a file");
        } else {
            fs::remove_file(mark).expect("the file was there");
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}
