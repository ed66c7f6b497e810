//! What clients do by HTTP/1.1 while it is looked whether all of it holds: with TLS or without.

use std::io::{Read as _, Write as _};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::app::{EVENTS, Met};
use crate::ordeal::{PASSWORD, now};
use crate::pattern;
use crate::world::{House, Outcome, Person, Stream, Trouble, same};

/// What goes up at a time.
const UPLOAD: usize = 256 * 1024;

static TURN: AtomicU64 = AtomicU64::new(0);

/// A target that was not asked for before.
fn target(path: &str) -> String {
    format!("{path}?{}", TURN.fetch_add(1, Ordering::Relaxed))
}

/// One connection of a client.
pub(crate) struct Link<'h> {
    house: &'h House,
    stream: Box<dyn Stream>,
}

/// An answer: its status, its head in lower case, its body.
type Answer = (u16, String, Vec<u8>);

impl<'h> Link<'h> {
    pub(crate) fn new(house: &'h House) -> Result<Self, Trouble> {
        Ok(Self { house, stream: house.connect()? })
    }

    fn send(&mut self, line: &str, cookie: &str, fields: &str, body: &[u8]) -> Outcome {
        let address = self.house.address;
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\nCookie: {cookie}\r\n{fields}\r\n"
        );
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        Ok(self.stream.flush()?)
    }

    /// The next answer, whose body has a length or comes in chunks.
    fn answer(&mut self) -> Result<Answer, Trouble> {
        let head = self.line_by_line("\r\n\r\n")?.to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Trouble::Wrong(format!("no status in {head:?}")))?;
        if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            let mut body = Vec::new();
            loop {
                let line = self.line_by_line("\r\n")?;
                let size = usize::from_str_radix(line.trim(), 16)
                    .map_err(|_| Trouble::Wrong(format!("no chunk size in {line:?}")))?;
                let piece = self.exactly(size + 2)?;
                body.extend_from_slice(&piece[..size]);
                if size == 0 {
                    return Ok((status, head, body));
                }
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let body = self.exactly(length.unwrap_or(0))?;
        Ok((status, head, body))
    }

    /// One byte at a time: what follows is another's.
    fn line_by_line(&mut self, end: &str) -> Result<String, Trouble> {
        let mut bytes = Vec::with_capacity(512);
        while !bytes.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            bytes.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The good answer to a GET.
    fn get(&mut self, target: &str, cookie: &str) -> Result<(String, Vec<u8>), Trouble> {
        self.send(&format!("GET {target}"), cookie, "", b"")?;
        let (status, head, body) = self.answer()?;
        expect("GET", status, 200, &body)?;
        Ok((head, body))
    }

    /// A small answer to this person.
    pub(crate) fn asks(&mut self, path: &str, person: &Person) -> Outcome {
        let target = target(path);
        let (_, body) = self.get(&target, &person.cookie)?;
        same(&target, &body, pattern::said(&target, &person.id, b"").as_bytes())
    }
}

/// Checks a status. One that says that something behind us is broken is trouble of its own kind.
pub(crate) fn expect(what: &str, status: u16, wanted: u16, body: &[u8]) -> Outcome {
    match status {
        _ if status == wanted => Ok(()),
        502..=504 => {
            let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            Err(Trouble::Broken(format!(
                "{what}: {status} {}",
                said["code"].as_str().unwrap_or("without a code")
            )))
        }
        _ => Err(Trouble::Wrong(format!(
            "{what}: {status} and not {wanted}: {}",
            String::from_utf8_lossy(body)
        ))),
    }
}

pub(crate) fn session(house: &House) -> Outcome {
    let person = house.somebody();
    let cookie = house.client()?.sign_in(&person.email, PASSWORD)?.session_cookie()?;
    let visitor = Person { email: person.email.clone(), id: person.id.clone(), cookie };
    // Whatever comes of it, the session ends.
    let asked = (0..20).try_for_each(|_| Link::new(house)?.asks("/x", &visitor));
    let mut link = Link::new(house)?;
    let fields = format!("Origin: {}\r\nContent-Length: 0\r\n", house.origin());
    link.send("POST /auth/sign-out", &visitor.cookie, &fields, b"")?;
    let (status, _, body) = link.answer()?;
    expect("sign-out", status, 200, &body)?;
    let mut link = Link::new(house)?;
    link.send("GET /x", &visitor.cookie, "", b"")?;
    let (status, _, body) = link.answer()?;
    expect("a session that has ended", status, 401, &body)?;
    asked
}

pub(crate) fn kept(house: &House) -> Outcome {
    let mut link = Link::new(house)?;
    (0..200).try_for_each(|_| link.asks("/x", house.somebody()))
}

pub(crate) fn fresh(house: &House) -> Outcome {
    Link::new(house)?.asks("/x", house.somebody())
}

pub(crate) fn closing(house: &House) -> Outcome {
    let mut link = Link::new(house)?;
    (0..50).try_for_each(|_| link.asks("/close", house.somebody()))
}

pub(crate) fn upload(house: &House) -> Outcome {
    let person = house.somebody();
    // Whoever sent a request with an effect has to send it again.
    for _ in 0..6 {
        let target = target("/x");
        let body = &pattern::large(pattern::number(&target))[..UPLOAD];
        let begun = now();
        let mut link = Link::new(house)?;
        link.send(&format!("POST {target}"), &person.cookie, &format!("Content-Length: {UPLOAD}\r\n"), body)?;
        let (status, _, said) = link.answer()?;
        match expect("POST", status, 200, &said) {
            Ok(()) => return same(&target, &said, pattern::said(&target, &person.id, body).as_bytes()),
            Err(trouble) if house.excuses(&trouble, begun) => {}
            Err(_) if status == 502 => {
                house.refused.lock().unwrap_or_else(PoisonError::into_inner).push(target);
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Err(Trouble::Broken("an upload failed six times".to_owned()))
}

/// Says which 502 had its reason, and returns how many had none.
pub(crate) fn explain(house: &House) -> usize {
    let refused = house.refused.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut before, mut after, mut unexplained) = (0, 0, 0);
    for target in refused.iter() {
        match house.app.as_ref().and_then(|app| app.met(target)) {
            Some(Met::Before) => before += 1,
            Some(Met::After) => after += 1,
            None => {
                unexplained += 1;
                println!("POST {target}: 502, and the app was not closing the connection");
            }
        }
    }
    println!(
        "\n{} uploads were answered with 502 and sent again: {before} had reached the app before it closed their \
         connection, {after} after it, {unexplained} are unexplained",
        refused.len()
    );
    unexplained
}

pub(crate) fn download(house: &House) -> Outcome {
    let (person, target) = (house.somebody(), target("/large"));
    let (head, body) = Link::new(house)?.get(&target, &person.cookie)?;
    if !head.contains(&format!("\r\nx-said: {}\r\n", person.id)) {
        return Err(Trouble::Wrong(format!("{target}: another's: {head}")));
    }
    same(&target, &body, pattern::large(pattern::number(&target)))
}

pub(crate) fn events(house: &House) -> Outcome {
    let (person, target) = (house.somebody(), target("/events"));
    let (_, body) = Link::new(house)?.get(&target, &person.cookie)?;
    let wanted: String = (0..EVENTS).map(|number| pattern::event(&target, &person.id, number)).collect();
    same(&target, &body, wanted.as_bytes())
}

/// A whole masked frame, so that whoever looks inside finds one.
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0x82, 0x80 | 0x7e], &length[..], &[0; 4], payload].concat()
}

/// A tunnel of this person's.
pub(crate) fn switched<'h>(house: &'h House, person: &Person) -> Result<Link<'h>, Trouble> {
    let mut link = Link::new(house)?;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    link.send("GET /socket", &person.cookie, fields, b"")?;
    let head = link.line_by_line("\r\n\r\n")?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    expect("handshake", status, 101, head.as_bytes())?;
    Ok(link)
}

pub(crate) fn tunnel(house: &House) -> Outcome {
    let mut link = switched(house, house.somebody())?;
    for number in 0..50 {
        let message = framed(&pattern::large(number)[..1000]);
        link.stream.write_all(&message)?;
        link.stream.flush()?;
        let said_back = link.exactly(message.len())?;
        same("what a WebSocket says", &said_back, &message)?;
    }
    Ok(())
}

pub(crate) fn gone(house: &House) -> Outcome {
    let person = house.somebody();
    let mut link = Link::new(house)?;
    link.send("GET /large", &person.cookie, "", b"")?;
    link.exactly(1000)?;
    let mut link = Link::new(house)?;
    link.send("POST /x", &person.cookie, "Content-Length: 100000\r\n", &[b'x'; 5000])
}

pub(crate) fn slow(house: &House) -> Outcome {
    let mut link = Link::new(house)?;
    link.stream.write_all(format!("GET /x HTTP/1.1\r\nHost: {}\r\nX-", house.address).as_bytes())?;
    link.stream.flush()?;
    let mut rest = Vec::new();
    // It is ended for us, with a word or without.
    let _ = link.stream.read_to_end(&mut rest);
    Ok(())
}
