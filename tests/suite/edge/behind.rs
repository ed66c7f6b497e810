//! Real servers behind us: whatever bytes are sent, none of them ever reads a request that was not judged.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::edge::{climbing, guarded};
use crate::support::program::Program;
use crate::support::stage::Stage;

/// Somebody else's id.
const OTHER: &str = "0b5a7f9c-0000-4000-8000-00000000beef";
/// Must never be read as a request by anybody.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\nX-User-Id: admin\r\nContent-Length: 0\r\n\r\n";

/// Node's own server; says of each request what it read, and how its own URL parser reads that.
const NODE: &str = r"
const http = require('http');
http.createServer((request, response) => {
  let read;
  try { read = decodeURIComponent(new URL('http://x' + request.url).pathname); } catch { read = request.url; }
  console.log(['SEEN', request.method, request.url, read, request.headers['x-user-id'] || '-'].join('\t'));
  request.resume();
  request.on('end', () => response.end('ok'));
}).listen(Number(process.argv[2]), '127.0.0.1');
";

/// Python's own server; reads paths as the one that serves files does.
const PYTHON: &str = r"
import os, sys, posixpath, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self):
        read = posixpath.normpath(urllib.parse.unquote(self.path.split('?', 1)[0].split('#', 1)[0]))
        who = self.headers.get('x-user-id') or '-'
        # In one piece: several threads write.
        line = '\t'.join(['SEEN', self.command, self.path, read, who])
        os.write(1, (line + '\n').encode('utf-8', 'replace'))
        if self.headers.get('Transfer-Encoding'):
            while True:
                size = int(self.rfile.readline().split(b';')[0], 16)
                self.rfile.read(size + 2)
                if size == 0:
                    break
        else:
            self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(b'ok')
    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_HEAD = answer
    def log_message(self, *arguments):
        pass
ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

fn nginx(at: SocketAddr) -> Program {
    // `$uri` is what it would serve: decoded, dots resolved, slashes merged.
    let text = format!(
        "log_format seen escape=none 'SEEN\t$request_method\t$request_uri\t$uri\t$http_x_user_id';\n\
         server {{ listen {at}; access_log /dev/stdout seen; location / {{ return 200 ok; }} }}"
    );
    Program::nginx(at, &text)
}

fn haproxy(at: SocketAddr) -> Program {
    let text = format!(
        "frontend in\n    mode http\n    bind {at}\n    log global\n    option dontlognull\n    http-request set-var(txn.read) path,url_dec\n    \
         http-request set-var(txn.who) req.hdr(x-user-id)\n    \
         log-format \"SEEN\\t%HM\\t%HU\\t%[var(txn.read)]\\t%[var(txn.who)]\"\n    \
         http-request return status 200 content-type text/plain string ok"
    );
    Program::haproxy(at, &text)
}

/// `path` is what it decoded; its matchers look at that without dots and in lower case.
fn caddy(at: SocketAddr) -> Program {
    let text = format!(
        ":{} {{\n\tbind {}\n\tlog {{\n\t\toutput stdout\n\t\tformat json\n\t}}\n\
         \t@closed path /admin /admin/* /hidden /hidden/* /api/{OTHER} /api/{OTHER}/*\n\
         \theader X-Read {{path}}\n\theader @closed X-Closed yes\n\trespond ok\n}}",
        at.port(),
        at.ip()
    );
    Program::caddy(at, &text)
}

/// One line of its log.
fn caddy_saw(line: &str) -> Option<Seen> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let (asked, answered) = (&line["request"], &line["resp_headers"]);
    let read =
        if answered["X-Closed"].is_null() { text(&answered["X-Read"][0])? } else { "/admin".to_owned() };
    let who = text(&asked["headers"]["X-User-Id"][0]).unwrap_or_default();
    Some(Seen { method: text(&asked["method"])?, target: text(&asked["uri"])?, read, who })
}

/// What a server read of one request.
#[derive(Debug)]
struct Seen {
    method: String,
    target: String,
    read: String,
    who: String,
}

fn seen(program: &Program) -> Vec<Seen> {
    let log = program.log().replace("\\t", "\t");
    let parts = |line: &str| {
        if line.starts_with('{') {
            return caddy_saw(line);
        }
        let mut parts = line.split('\t').map(str::to_owned);
        parts.next().filter(|first| first.ends_with("SEEN"))?;
        Some(Seen { method: parts.next()?, target: parts.next()?, read: parts.next()?, who: parts.next()? })
    };
    log.lines().filter_map(parts).collect()
}

/// Every payload: whatever stands first in it is what it may come to, if anything.
fn corpus(stage: &Stage) -> Vec<String> {
    let me = &stage.me;
    let mut corpus = Vec::new();
    let sound = ["/public/x", "/app?x=/../admin", &format!("/api/{me}/items"), &format!("/api/{me}/a%20b")];
    for target in sound.map(str::to_owned).into_iter().chain(climbing().map(str::to_owned)) {
        let target = target.replace("{me}", me).replace("{other}", OTHER);
        corpus.push(stage.signed(&format!("GET {target} HTTP/1.1"), ""));
        corpus.push(
            stage.strange(&format!("GET {target} HTTP/1.1"), "X-User-Id: admin\r\nX_User_Id: admin\r\n"),
        );
    }
    corpus.extend(in_doubt(stage));
    corpus.extend(with_bodies(stage));
    corpus.extend(odd(stage));
    corpus
}

fn post(stage: &Stage, fields: &str, body: &str) -> String {
    stage.signed("POST /public/post HTTP/1.1", fields) + body
}

/// Requests whose end two readers would find in different places.
fn in_doubt(stage: &Stage) -> Vec<String> {
    let ends = format!("0\r\n\r\n{HIDDEN}");
    let framings = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 400\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nX: y\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 200\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0005\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -0\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Connection: Content-Length\r\nContent-Length: 5\r\n",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
        "Expect: y 100-continue\r\nContent-Length: 5\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Upgrade: foo\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n",
    ];
    let chunks = [
        "5\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "8000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\nX-User-Id: admin\r\nContent-Length: 9\r\n\r\n",
    ];
    let coded = chunks.map(|body| post(stage, "Transfer-Encoding: chunked\r\n", &format!("{body}{HIDDEN}")));
    framings.iter().map(|fields| post(stage, fields, &ends)).chain(coded).collect()
}

/// Bodies that look like requests, where few expect a body.
fn with_bodies(stage: &Stage) -> Vec<String> {
    let mut corpus = Vec::new();
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        let line = format!("{method} /public/body HTTP/1.1");
        corpus.push(stage.signed(&line, &format!("Content-Length: {}\r\n", HIDDEN.len())) + HIDDEN);
        let chunked = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
        corpus.push(stage.signed(&line, "Transfer-Encoding: chunked\r\n") + &chunked);
        // Answered before the body was read.
        let line = format!("{method} /admin HTTP/1.1");
        corpus.push(stage.signed(&line, &format!("Content-Length: {}\r\n", HIDDEN.len())) + HIDDEN);
    }
    corpus
}

/// Heads that are none, or that name another place.
fn odd(stage: &Stage) -> Vec<String> {
    let ends = format!("0\r\n\r\n{HIDDEN}");
    let (host, cookie) = (stage.host(), &stage.cookie);
    vec![
        format!("POST /public/post HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{ends}"),
        format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\nX-A: 1\nX-User-Id: admin\r\n\r\n"),
        format!("GET /public/x HTTP/1.1\nHost: {host}\n\n{HIDDEN}"),
        format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\nHost: evil\r\n\r\n"),
        format!("GET /public/x\r\n\r\n{HIDDEN}"),
        format!("GET  /public/x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /public/x /../admin HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET http://{host}/admin HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"),
        format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n{HIDDEN}"),
        format!(
            "GET /public/x HTTP/1.1\r\nHost: {host}\r\nConnection: close, X-User-Id\r\nCookie: {cookie}\r\n\r\n"
        ),
    ]
}

/// Sends everything through us and looks at what the server behind us has read.
fn reads_only_what_was_judged(start: impl FnOnce(SocketAddr) -> Program) {
    let at = crate::serve::free_port();
    let program = start(at);
    let stage = Stage::on(guarded(Stage::plan().set("upstream", &format!("url = \"http://{at}\""))));
    let corpus = corpus(&stage);
    for payload in &corpus {
        let mut raw = stage.connect();
        // What comes behind an answer that ends the connection was not served either.
        let _ = raw.send(payload).try_answer(payload.starts_with("HEAD"));
        raw.end();
    }
    let last = "GET /public/last HTTP/1.1";
    assert_eq!(stage.ask(stage.signed(last, "")).status, 200);
    // It writes its log when it likes.
    let mut seen = seen(&program);
    for _ in 0..500 {
        if seen.iter().any(|seen| seen.target == "/public/last") {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        seen = self::seen(&program);
    }
    let (mine, other) = (format!("/api/{}", stage.me), format!("/api/{OTHER}"));
    for Seen { method, target, read, who } in &seen {
        let first = format!("{method} {target} ");
        let sent = corpus.iter().any(|payload| payload.starts_with(&first)) || last.starts_with(&first);
        assert!(sent, "nobody sent {method} {target} first");
        for path in [target, read] {
            let folded = path.to_ascii_lowercase();
            assert!(
                !folded.starts_with("/hidden") && !folded.starts_with("/admin"),
                "{target}, read as {read}"
            );
            assert!(!folded.starts_with(&other), "{target}, read as {read}");
            if folded.starts_with("/api/") {
                assert!(path.starts_with(&mine), "{target}, read as {read}");
                assert_eq!(who, &stage.me, "{target}");
            }
        }
        assert!(who == &stage.me || who == "-" || who.is_empty(), "{target} by {who}");
        if !target.starts_with("/public/") {
            assert_eq!(who, &stage.me, "{target}");
        }
    }
    // It did read what it should have.
    for sound in [
        "/public/x".to_owned(),
        "/app?x=/../admin".to_owned(),
        format!("{mine}/a%20b"),
        "/public/body".to_owned(),
    ] {
        assert!(seen.iter().any(|seen| seen.target == sound), "{sound} did not arrive: {seen:#?}");
    }
}

#[test]
fn nginx_behind_us_reads_only_what_was_judged() {
    reads_only_what_was_judged(nginx);
}

#[test]
fn haproxy_behind_us_reads_only_what_was_judged() {
    reads_only_what_was_judged(haproxy);
}

#[test]
fn caddy_behind_us_reads_only_what_was_judged() {
    reads_only_what_was_judged(caddy);
}

#[test]
fn node_behind_us_reads_only_what_was_judged() {
    reads_only_what_was_judged(|at| Program::script(at, "node", NODE));
}

#[test]
fn python_behind_us_reads_only_what_was_judged() {
    reads_only_what_was_judged(|at| Program::script(at, "python3", PYTHON));
}
