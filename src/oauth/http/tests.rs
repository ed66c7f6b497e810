//! A host that answers with bytes, and what the client makes of them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use super::*;

fn client(reach: Reach) -> Client {
    Client {
        tls: TlsConnector::from(Arc::new(
            ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("TLS")
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        )),
        reach,
        provider: "corp".to_owned(),
        counts: Arc::default(),
    }
}

/// Asks `url` with a client of its own runtime.
fn ask(client: &Client, url: &str, form: Option<&str>) -> Result<Answer, Outage> {
    let url = Url::parse(url).expect("a URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = Ask { step: Step::Profile, url: &url, authorization: Some("Bearer x"), form, most: 1000 };
    runtime.block_on(client.ask(ask))
}

/// A host that answers once; gives its port and, when it has answered, what it was asked.
fn host(answer: impl Into<Vec<u8>>) -> (u16, thread::JoinHandle<String>) {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut head = vec![0; 4096];
        let length = socket.read(&mut head).expect("a request");
        head.truncate(length);
        let _ = socket.write_all(&answer);
        String::from_utf8(head).expect("text")
    });
    (port, asked)
}

fn answered(answer: &str) -> Result<Answer, Outage> {
    let (port, asked) = host(answer);
    let answer = ask(&client(Reach::Loopback), &format!("http://127.0.0.1:{port}/"), None);
    asked.join().expect("asked");
    answer
}

#[test]
fn a_request_says_what_it_wants_and_closes() {
    let (port, asked) = host("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let answer = ask(&client(Reach::Loopback), &format!("http://localhost:{port}/a/b?c=d"), Some("e=f"))
        .expect("answered");
    assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, &b"{}"[..]));
    let asked = asked.join().expect("asked").to_ascii_lowercase();
    for line in [
        "post /a/b?c=d http/1.1\r\n",
        &format!("\r\nhost: localhost:{port}\r\n"),
        "\r\naccept: application/json\r\n",
        "\r\naccept-encoding: identity\r\n",
        "\r\nauthorization: bearer x\r\n",
        "\r\nuser-agent: sidegate/",
        "\r\ncontent-type: application/x-www-form-urlencoded\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} is not in {asked:?}");
    }
}

#[test]
fn oidc_11_an_answer_leads_nowhere() {
    for status in ["301 x", "302 x", "303 x", "307 x", "308 x"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(answered(&answer).err(), Some(Outage::Redirect), "{status}");
    }
}

#[test]
fn oidc_5_an_answer_is_bounded_and_not_compressed() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}", " ".repeat(2000));
    assert_eq!(answered(&long).err(), Some(Outage::TooLarge));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(2000));
    assert_eq!(answered(&endless).err(), Some(Outage::TooLarge));
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD));
    assert_eq!(answered(&head).err(), Some(Outage::Broken));
    for coding in ["gzip", "br", "identity, gzip"] {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 2\r\n\r\n{{}}");
        assert_eq!(answered(&answer).err(), Some(Outage::Compressed), "{coding}");
    }
}

#[test]
fn an_outage_is_told_from_an_answer() {
    for (answer, outage) in [
        ("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", Outage::Status(500)),
        ("HTTP/1.1 429 x\r\ncontent-length: 0\r\n\r\n", Outage::Status(429)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}", Outage::Broken),
        ("not http\r\n\r\n", Outage::Broken),
        ("", Outage::Broken),
    ] {
        assert_eq!(answered(answer).err(), Some(outage), "{answer:?}");
    }
    let answer = answered("HTTP/1.1 400 x\r\ncontent-length: 2\r\n\r\n{}").expect("an answer");
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let refused = ask(&client(Reach::Loopback), &format!("http://127.0.0.1:{port}/"), None).err();
    assert_eq!(refused, Some(Outage::Connect(std::io::ErrorKind::ConnectionRefused)));
}

#[test]
fn oa_9_only_what_was_allowed_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    for url in ["https://127.0.0.1", "https://localhost", "https://[::ffff:127.0.0.1]", "https://[::1]"] {
        let outage = ask(&client(Reach::Internet), &format!("{url}:{port}/"), None).err();
        assert_eq!(outage, Some(Outage::PrivateAddress), "{url}");
    }
    for url in ["https://169.254.169.254/", "https://10.0.0.1/", "https://[fd00:ec2::254]/"] {
        assert_eq!(ask(&client(Reach::Loopback), url, None).err(), Some(Outage::PrivateAddress), "{url}");
    }
    for url in ["http://127.0.0.1", "ftp://127.0.0.1"] {
        assert_eq!(
            ask(&client(Reach::Internet), &format!("{url}:{port}/"), None).err(),
            Some(Outage::Scheme),
            "{url}"
        );
    }
    assert_eq!(ask(&client(Reach::Loopback), "http://10.0.0.1/", None).err(), Some(Outage::Scheme));
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn a_host_without_a_trusted_certificate_is_told_nothing() {
    let (port, asked) = host("");
    let outage = ask(&client(Reach::Loopback), &format!("https://localhost:{port}/"), None).err();
    assert_eq!(outage, Some(Outage::Tls));
    let _ = asked.join();
}
