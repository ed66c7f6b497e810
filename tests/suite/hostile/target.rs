//! Hosts and request targets that are not ours or not one thing.

use http::Request;
use http_body_util::Full;

use crate::support::h2::H2;
use crate::support::stage::Stage;

#[test]
fn t_1_path_16_and_smug_5_there_is_exactly_one_host_and_it_is_one() {
    let stage = Stage::new();
    let cookie = format!("Cookie: {}\r\n", stage.cookie);
    let host = stage.host().to_owned();
    for hosts in [
        String::new(),
        "Host:\r\n".to_owned(),
        format!("Host: {host}\r\nHost: {host}\r\n"),
        format!("Host: {host}\r\nHost: evil.test\r\n"),
        format!("Host: evil.test\r\nhost: {host}\r\n"),
        format!("Host: {host}, {host}\r\n"),
        format!("Host: u@{host}\r\n"),
        format!("Host: {host}/x\r\n"),
        format!("Host: {host}?x\r\n"),
        format!("Host: {host}#x\r\n"),
        format!("Host: {host}\\x\r\n"),
        "Host: 127.0.0.1:0\r\n".to_owned(),
        "Host: 127.0.0.1:99999\r\n".to_owned(),
        "Host: 127.0.0.1:+80\r\n".to_owned(),
        "Host: 127.0.0.1:8 0\r\n".to_owned(),
        "Host: [::1\r\n".to_owned(),
        "Host: \u{e9}\r\n".to_owned(),
    ] {
        stage.rejects(format!("GET /x HTTP/1.1\r\n{hosts}{cookie}\r\n"), &[400]);
    }
}

#[test]
fn path_11_path_13_another_host_is_misdirected_whatever_it_looks_like() {
    let plan = Stage::plan().public("https://app.example.org");
    let site = plan.start();
    let ask = |host: &str| {
        let request = format!("GET /auth/ok HTTP/1.1\r\nHost: {host}\r\n\r\n");
        crate::support::raw::ask(site.address, request).status
    };
    for host in ["app.example.org", "APP.Example.ORG", "app.example.org:443"] {
        assert_eq!(ask(host), 200, "{host}");
    }
    for host in [
        "evilapp.example.org",
        "app.example.org.evil.test",
        "example.org",
        "x.app.example.org",
        "app.example.org:80",
        "app.example.org:8443",
        "127.0.0.1",
        "localhost",
    ] {
        assert_eq!(ask(host), 421, "{host}");
    }
}

#[test]
fn t_2_the_absolute_form_must_name_us_and_is_never_forwarded() {
    let stage = Stage::new();
    let origin = stage.site.origin.clone();
    let arrived = stage.arrives(stage.signed(&format!("GET {origin}/x?y HTTP/1.1"), ""));
    assert_eq!((arrived.line.as_str(), arrived.header("host")), ("GET /x?y HTTP/1.1", Some(stage.host())));
    let host = stage.host().to_owned();
    for target in [
        "http://evil.test/x".to_owned(),
        format!("https://{host}/x"),
        format!("ftp://{host}/x"),
        format!("http://u:p@{host}/x"),
        format!("http://{host}@evil.test/x"),
        "http://127.0.0.1/x".to_owned(),
        "http:///x".to_owned(),
        format!("//{host}@evil/x\u{7f}"),
    ] {
        stage.rejects(stage.signed(&format!("GET {target} HTTP/1.1"), ""), &[400]);
    }
}

#[test]
fn t_3_and_path_16_only_the_origin_form_is_served() {
    let stage = Stage::new();
    for target in ["*", "x", "evil.test:80", "api/x", "?x", "..", "@x", ":80"] {
        for method in ["GET", "OPTIONS"] {
            stage.rejects(stage.signed(&format!("{method} {target} HTTP/1.1"), ""), &[400]);
        }
    }
}

#[test]
fn t_3_and_f_19_connect_and_trace_are_not_served() {
    let stage = Stage::new();
    for line in ["CONNECT evil.test:443 HTTP/1.1", "CONNECT 127.0.0.1:22 HTTP/1.1", "TRACE /x HTTP/1.1"] {
        stage.rejects(stage.signed(line, ""), &[405]);
    }
}

#[test]
fn f_19_request_lines_that_are_none_are_refused() {
    let stage = Stage::new();
    for line in [
        "GET /x",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET\t/x\tHTTP/1.1",
        " GET /x HTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x y HTTP/1.1",
        "GET /x http/1.1",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x HTTP/9.9",
        "GET /x HTTP/1",
        "GET /x XTTP/1.1",
        "G(T /x HTTP/1.1",
    ] {
        stage.rejects(stage.signed(line, ""), &[400, 505]);
    }
    let mut raw = stage.connect();
    // HTTP/2 from here on, and whoever says no more has said nothing.
    let rest = raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").end().rest().expect("it ends");
    assert!(!rest.starts_with(b"HTTP/"), "{rest:?}");
    assert!(stage.site.upstream.arrived().is_empty() && stage.site.is_well());
}

#[test]
fn f_19_methods_are_forwarded_with_their_case_and_open_nothing_in_another_one() {
    let stage = Stage::on(
        Stage::plan().toml("[[rules]]\npath = \"/open/**\"\nmethods = [\"GET\"]\naccess = \"public\"\n"),
    );
    stage.arrives(stage.strange("GET /open/x HTTP/1.1", ""));
    stage.denies(stage.strange("get /open/x HTTP/1.1", ""), &[401]);
    for method in ["get", "PURGE", "M-SEARCH", "x"] {
        let line = format!("{method} /x HTTP/1.1");
        assert_eq!(stage.arrives(stage.signed(&line, "")).line, line);
    }
}

#[test]
fn t_6_targets_and_heads_have_a_largest_size() {
    let stage = Stage::new();
    let target = |length: usize| format!("GET /{} HTTP/1.1", "x".repeat(length - 1));
    assert_eq!(stage.arrives(stage.signed(&target(8192), "")).line, target(8192));
    stage.rejects(stage.signed(&target(8193), ""), &[414]);
    stage.rejects(stage.signed(&target(30_000), ""), &[414]);
    stage.rejects(stage.signed("GET /x HTTP/1.1", &format!("X: {}\r\n", "x".repeat(40_000))), &[431]);
    stage.rejects(stage.signed("GET /x HTTP/1.1", &format!("X: {}\r\n", "x".repeat(500_000))), &[431]);
    let many = |count: usize| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(stage.arrives(stage.signed("GET /x HTTP/1.1", &many(90))).own_fields().len(), 90);
    stage.rejects(stage.signed("GET /x HTTP/1.1", &many(101)), &[431]);
}

#[test]
fn t_6_targets_and_heads_may_be_as_large_as_was_chosen_by_either_http() {
    for (limits, target, head) in [("", 8192, 32_768), ("target = 300\nhead = \"16KiB\"", 300, 16_384)] {
        let stage = Stage::on(Stage::plan().set("limits", limits));
        let path = |length: usize| format!("/{}", "x".repeat(length - 1));
        let mut client = H2::connect(stage.site.address);
        let mut by_http_2 = |path: &str, more: usize| {
            let request = Request::get(format!("{}{path}", stage.site.origin))
                .header("cookie", &stage.cookie)
                .header("x-more", "x".repeat(more));
            client.ask(request.body(Full::default()).expect("a request")).status
        };
        let line = |path: &str| format!("GET {path} HTTP/1.1");
        assert_eq!(stage.arrives(stage.signed(&line(&path(target)), "")).line, line(&path(target)));
        stage.rejects(stage.signed(&line(&path(target + 1)), ""), &[414]);
        assert_eq!((by_http_2(&path(target), 1), by_http_2(&path(target + 1), 1)), (200, 414), "{limits}");

        // By HTTP/1.1 to the byte.
        let padded = |size: usize| {
            let bare = stage.signed("GET /x HTTP/1.1", "X-More: \r\n").len();
            stage.signed("GET /x HTTP/1.1", &format!("X-More: {}\r\n", "x".repeat(size - bare)))
        };
        stage.arrives(padded(head));
        stage.rejects(padded(head + 1), &[431]);
        // HTTP/2 counts 32 bytes more for each field (RFC 9113 §6.5.2).
        assert_eq!((by_http_2("/x", head - 1000), by_http_2("/x", head)), (200, 431), "{limits}");
        assert!(stage.site.is_well());
    }
}

#[test]
fn r_7_and_t_6_as_many_header_fields_as_were_chosen_come_through_and_one_more_is_431() {
    // `Host` and `Cookie` are two of them.
    for (limits, most) in [("", 100), ("headers = 40", 40), ("headers = 256", 256)] {
        let stage = Stage::on(Stage::plan().set("limits", limits));
        let many = |count: usize| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<Vec<_>>().concat();
        let arrived = stage.arrives(stage.signed("GET /x HTTP/1.1", &many(most - 2)));
        assert_eq!(arrived.own_fields().len(), most - 2);
        stage.rejects(stage.signed("GET /x HTTP/1.1", &many(most - 1)), &[431]);
        let mut client = H2::connect(stage.site.address);
        let mut ask = |fields: usize, crumbs: usize| {
            let mut request =
                Request::get(format!("{}/x", stage.site.origin)).header("cookie", &stage.cookie);
            for i in 0..fields {
                request = request.header(format!("x-{i}"), "1");
            }
            for i in 0..crumbs {
                request = request.header("cookie", format!("c{i}=1"));
            }
            client.ask(request.body(Full::default()).expect("a request")).status
        };
        assert_eq!((ask(most - 2, 0), ask(most - 1, 0)), (200, 431), "by HTTP/2");
        assert_eq!(ask(most - 2, 60), 200, "cookies that come one by one are one field");
    }
}
