//! Large bodies of requests that move through pipes to an app that stops reading: nothing of them stays behind, and none
//! reaches anybody else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tempfile::TempDir;

use crate::jobs::eventually;
use crate::proxy::pipes::{LARGE, body};
use crate::proxy::upload::head;
use crate::serve::{Program, free_port, minimal, serve};
use crate::support::raw::Raw;

/// Pipes that a process holds.
fn pipes(program: &Program) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it runs");
    let links = open.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count()
}

/// An app that answers with what it was sent; the first of its connections reads no more than a part of it, begins to
/// answer, and ends its answer when it may.
fn answer(mut stream: UnixStream, breaks: Option<&Receiver<()>>) -> Option<()> {
    while let Some(length) = head(&mut stream) {
        let mut body = vec![0; if breaks.is_some() { length / 2 } else { length }];
        stream.read_exact(&mut body).ok()?;
        if breaks.is_some() {
            stream.shutdown(Shutdown::Read).ok()?;
            // What lies in the socket, so that the other side tries to write more.
            stream.read_to_end(&mut Vec::new()).ok()?;
            body.truncate(5);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
        if let Some(wait) = breaks {
            wait.recv().ok()?;
        }
        stream.write_all(&body).ok()?;
    }
    Some(())
}

#[test]
fn what_an_app_did_not_take_is_kept_nowhere_and_reaches_nobody_else() {
    let (directory, address) = (TempDir::new().expect("a directory"), free_port());
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let (go, wait) = channel();
    let mut wait = Some(wait);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let breaks = wait.take();
            thread::spawn(move || answer(stream, breaks.as_ref()));
        }
    });
    minimal(directory.path(), address, address, "sqlite:site.db");
    let file = directory.path().join("sidegate.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let text = text.replace("[listen]\n", "[listen]\nworkers = 1\n");
    let text = text.replace(
        &format!("[upstream]\nurl = \"http://{address}\""),
        &format!("[upstream]\nurl = \"unix:{}\"", path.display()),
    );
    fs::write(&file, format!("{text}[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n")).expect("a file");
    let program = serve(directory.path(), address, &["--config", "sidegate.toml"]);
    let before = pipes(&program);
    let post = format!(
        "POST /open/x HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\ncontent-length: {LARGE}\r\n\r\n"
    );
    let send = |number: usize| {
        let mut raw = Raw::connect(address);
        raw.send(&post);
        raw.try_send(body(number));
        raw
    };
    let mut first = send(0);
    assert_eq!(first.head().expect("a head").status, 200);
    eventually("no pipe is held", || pipes(&program) == before);
    for number in 1..5 {
        assert!(send(number).answer().body == body(number), "{number}");
    }
    go.send(()).expect("it waits");
    assert_eq!(first.exactly(5).expect("the answer"), body(0)[..5]);
}
