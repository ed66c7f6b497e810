//! Sockets that are handed over by the process that starts ours, as systemd does it, and what that process is told.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::serve::free_port;
use crate::support::child::Child;
use crate::support::raw::{PATIENCE, Raw};
use crate::support::upstream::Upstream;

/// Listens at an address and in the file system, and on `start` hands both sockets to a process of its own, as file
/// descriptors 3 and 4 (`sd_listen_fds(3)`). On `stop` it ends that process as systemd does, and says how it ended.
/// That process does not outlive it (`prctl(2)`), however it ends.
const SYSTEMD: &str = r#"
import ctypes, os, signal, socket, sys
PR_SET_PDEATHSIG = 1
host, port, path, program, files, pid = *sys.argv[1:6], None
def listening(family, address):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(128)
    return listener
sockets = [listening(socket.AF_INET, (host, int(port))), listening(socket.AF_UNIX, path)]
other = socket.socket()
print("listening", flush=True)
for line in sys.stdin:
    what = line.split()
    if what[0] == "start":
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            given = [os.dup((other if fd == "other" else sockets[int(fd)]).fileno()) for fd in files.split(",")]
            given = [os.dup2(fd, 100 + place) for place, fd in enumerate(given)]
            for place, fd in enumerate(given):
                os.dup2(fd, 3 + place, inheritable=True)
            os.environ["LISTEN_FDS"] = str(len(given))
            os.environ["LISTEN_PID"] = str(os.getpid() + (1 if "stranger" in what else 0))
            os.closerange(3 + len(given), 4096)
            os.execv(program, [program, "serve", "--config", "sidegate.toml"])
        print(pid, flush=True)
    elif what[0] == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        os.kill(pid, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"#;

/// Whoever starts us.
struct Systemd {
    /// Killed when dropped, and with it what it started.
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
    directory: TempDir,
    notified: UnixDatagram,
}

impl Systemd {
    /// `files`: which sockets are handed over, in which order.
    fn new(files: &str, listen: &str, app: SocketAddr) -> Self {
        Self::at("127.0.0.1", (files, listen), app)
    }

    /// `host`: the address that it listens at.
    fn at(host: &str, (files, listen): (&str, &str), app: SocketAddr) -> Self {
        let (directory, address) = (TempDir::new().expect("a directory"), free_port());
        let path = |name: &str| directory.path().join(name);
        let text = format!(
            "[listen]\naddress = \"{listen}\"\nworkers = 2\n[public]\nurl = \"http://{address}\"\n\
             [upstream]\nurl = \"http://{app}\"\n[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n"
        );
        fs::write(path("sidegate.toml"), text).expect("a file");
        let notified = UnixDatagram::bind(path("notify")).expect("a socket");
        notified.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut python = Command::new("python3");
        python
            .args(["-c", SYSTEMD, host, &address.port().to_string()])
            .arg(path("site.sock"))
            .args([env!("CARGO_BIN_EXE_sidegate"), files])
            .current_dir(directory.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("NOTIFY_SOCKET", path("notify"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(path("said")).expect("a file"));
        let mut process = Child::start(&mut python);
        let orders = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut systemd = Self { _process: process, orders, answers, address, directory, notified };
        assert_eq!(systemd.answer(), "listening");
        systemd
    }

    /// Gives an order, and returns what is answered.
    fn order(&mut self, what: &str) -> String {
        writeln!(self.orders, "{what}").expect("it reads");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }

    /// What we tell it next (`sd_notify(3)`).
    fn told(&self) -> String {
        let mut bytes = [0; 64];
        let length = self.notified.recv(&mut bytes).expect("it is told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// What was written to standard error.
    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).expect("a file")
    }

    fn ask(&self) -> Raw {
        let mut raw = Raw::connect(self.address);
        raw.send(format!("GET /open/x HTTP/1.1\r\nHost: {}\r\n\r\n", self.address));
        raw
    }
}

/// How many sockets a process has this many descriptors of.
fn shared_by(process: &str, descriptors: usize) -> usize {
    let mut counts = HashMap::<_, usize>::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten() {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        if link.to_string_lossy().starts_with("socket:") {
            *counts.entry(link).or_default() += 1;
        }
    }
    counts.into_values().filter(|count| *count == descriptors).count()
}

#[test]
fn sockets_that_are_handed_over_are_served_by_all_workers_and_outlive_a_restart() {
    let app = Upstream::hello();
    let mut systemd = Systemd::new("0,1", "systemd", app.address);
    // Who comes before we are there waits.
    let mut early = systemd.ask();
    let process = systemd.order("start");
    assert_eq!(systemd.told(), "READY=1");
    assert_eq!(early.answer().text(), "hello");
    for _ in 0..40 {
        assert_eq!(systemd.ask().answer().text(), "hello");
    }
    let mut file = Raw::connect_to_file(&systemd.directory.path().join("site.sock"));
    file.send(format!("GET /open/x HTTP/1.1\r\nHost: {}\r\n\r\n", systemd.address));
    assert_eq!(file.answer().text(), "hello");
    assert!(systemd.said().contains(&format!("serving address={}", systemd.address)), "{}", systemd.said());
    assert_eq!(shared_by(&process, 2), 2, "each of both has one of each worker");
    // Whatever would be run by it does not get them: they are closed on exec (fcntl(2)).
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo")).expect("it runs").flatten() {
        let number: u32 = entry.file_name().to_string_lossy().parse().expect("a number");
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("02000000").trim();
        let flags = u32::from_str_radix(flags, 8).expect("octal");
        assert!(number < 3 || flags & 0o2_000_000 != 0, "{number}: {info}");
    }
    drop(file);
    assert_eq!(systemd.order("stop"), "0");
    assert_eq!(systemd.told(), "STOPPING=1");
    // The socket is still there, and so is who comes meanwhile.
    let mut between = systemd.ask();
    systemd.order("start");
    assert_eq!(systemd.told(), "READY=1");
    assert_eq!(between.answer().text(), "hello");
    assert!(systemd.directory.path().join("site.sock").exists(), "it is not ours to remove");
}

#[test]
fn without_a_socket_for_this_very_process_it_does_not_start_and_says_why() {
    let app = Upstream::hello();
    let mut systemd = Systemd::new("0", "systemd", app.address);
    systemd.order("start stranger");
    assert_eq!(systemd.order("wait"), "1", "they were meant for another process");
    assert!(systemd.said().contains("no socket was handed over"), "{}", systemd.said());
    let mut odd = Systemd::new("0,other", "systemd", app.address);
    odd.order("start");
    assert_eq!(odd.order("wait"), "1");
    assert!(odd.said().contains("file descriptor 4 is no listening socket"), "{}", odd.said());
}

#[test]
fn sockets_that_others_can_reach_are_told_of_where_the_site_is_plain_http_for_this_machine() {
    let app = Upstream::hello();
    for (host, open) in [("0.0.0.0", true), ("127.0.0.1", false)] {
        let mut systemd = Systemd::at(host, ("0", "systemd"), app.address);
        systemd.order("start");
        assert_eq!(systemd.told(), "READY=1");
        let said = systemd.said();
        assert_eq!(said.contains("can be reached from other machines"), open, "{said}");
    }
}

#[test]
fn sockets_that_nobody_asks_for_are_told_of() {
    let (app, elsewhere) = (Upstream::hello(), free_port());
    let mut systemd = Systemd::new("0", &elsewhere.to_string(), app.address);
    systemd.order("start");
    assert_eq!(systemd.told(), "READY=1");
    assert!(systemd.said().contains("does not ask for them"), "{}", systemd.said());
}
