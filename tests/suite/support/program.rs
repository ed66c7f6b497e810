//! Real proxies and web servers, each in the foreground with a directory and a configuration of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::child::Child;

/// A program that is running; killed when dropped.
pub(crate) struct Program {
    process: Child,
    directory: TempDir,
}

impl Program {
    /// Starts it and waits until it takes connections at `address`. What it says goes to `log` in its directory.
    pub(crate) fn start(directory: TempDir, command: &mut Command, address: SocketAddr) -> Self {
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        command
            .current_dir(directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            .env("XDG_DATA_HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log);
        let mut program = Self { process: Child::start(command), directory };
        while TcpStream::connect(address).is_err() {
            let ended = program.process.try_wait().expect("a child");
            assert!(ended.is_none(), "{command:?} ended: {}", program.log());
            thread::sleep(Duration::from_millis(10));
        }
        program
    }

    /// nginx with these blocks inside of `http`: one process, since the workers of a master that is killed live on.
    pub(crate) fn nginx(address: SocketAddr, http: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.path().display()))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\nuser root;\npid nginx.pid;\nerror_log stderr error;\n\
             events {{}}\nhttp {{\naccess_log off;\n{paths}{http}\n}}\n"
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, text).expect("a file");
        let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = Command::new(nginx);
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file);
        Self::start(directory, &mut command, address)
    }

    /// Caddy with these sites.
    pub(crate) fn caddy(address: SocketAddr, sites: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("Caddyfile");
        fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{sites}\n")).expect("a file");
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        Self::start(directory, &mut command, address)
    }

    /// HAProxy with these sections.
    pub(crate) fn haproxy(address: SocketAddr, sections: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "global\n    maxconn 200\n    log stdout format raw local0\ndefaults\n    timeout connect 5s\n    \
             timeout client 20s\n    timeout server 20s\n{sections}\n"
        );
        fs::write(&file, text).expect("a file");
        let haproxy = if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" };
        let mut command = Command::new(haproxy);
        command.arg("-db").arg("-f").arg(&file);
        Self::start(directory, &mut command, address)
    }

    /// Envoy with this configuration, unless it could not be had.
    pub(crate) fn envoy(address: SocketAddr, text: &str) -> Option<Self> {
        let mut command = Command::new(optional("envoy")?);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("envoy.yaml");
        fs::write(&file, text).expect("a file");
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warn", "-c"]).arg(&file);
        Some(Self::start(directory, &mut command, address))
    }

    /// Traefik with this dynamic configuration and an entry point `websecure` here, unless it could not be had.
    pub(crate) fn traefik(address: SocketAddr, text: &str) -> Option<Self> {
        let mut command = Command::new(optional("traefik")?);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("dynamic.yaml");
        fs::write(&file, text).expect("a file");
        command
            .arg(format!("--entrypoints.websecure.address={address}"))
            .arg(format!("--providers.file.filename={}", file.display()))
            .args(["--global.checknewversion=false", "--global.sendanonymoususage=false"]);
        Some(Self::start(directory, &mut command, address))
    }

    /// A script for this interpreter; it finds its port in its first argument.
    pub(crate) fn script(address: SocketAddr, interpreter: &str, text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("script");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(interpreter);
        command.arg(&file).arg(address.port().to_string());
        Self::start(directory, &mut command, address)
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.directory.path().join("log")).expect("a log");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Where this program is, by what tests/run says or in `PATH`; none where tests/run has said that it could not be had.
pub(crate) fn optional(name: &str) -> Option<String> {
    let variable = format!("SIDEGATE_TEST_{}", name.to_ascii_uppercase());
    let program = std::env::var(variable).unwrap_or_else(|_| name.to_owned());
    (program != "none").then_some(program)
}

/// The first block of code of this kind in `docs/behind-a-proxy.md`, below the line that holds `heading`.
pub(crate) fn documented(heading: &str, kind: &str) -> String {
    let text = include_str!("../../../docs/behind-a-proxy.md");
    let (_, below) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading} in there"));
    let (_, block) = below.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("no {kind}"));
    block.split_once("```").expect("its end").0.to_owned()
}
