//! Instances that die, fall ill, break off, and come back.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::h2::{answered, frames, goaway};
use crate::support::nginx::Nginx;
use crate::support::site::Plan;
use crate::support::stage::Stage;
use crate::support::upstream::{Upstream, ok};

/// Asked often, and believed at once.
const CHECKS: &str =
    "path = \"/healthz\"\ninterval = \"100ms\"\nhealthy = 1\nunhealthy = 1\ntimeout = \"20s\"";

/// A site in front of these.
fn before(nginxes: [&Nginx; 2]) -> Plan {
    let [one, two] = nginxes.map(|nginx| format!("http://{}", nginx.address));
    Stage::plan().set("upstream", &format!("url = \"{one}\"\nmore = [\"{two}\"]"))
}

/// Who answers; it must be answered.
fn who(stage: &Stage) -> String {
    let answer = stage.ask(stage.signed("GET /x HTTP/1.1", ""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// Asks until it is so, with a little time in between.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let became = (0..1000).any(|_| {
        thread::sleep(Duration::from_millis(20));
        so()
    });
    assert!(became, "never: {what}");
}

#[test]
fn an_instance_that_is_killed_costs_no_request_without_effect_and_serves_again_when_it_is_back() {
    let (mut one, two) = (Nginx::start("one"), Nginx::start("two"));
    let stage = Stage::on(before([&one, &two]).set("upstream.health", CHECKS));
    for _ in 0..2 {
        until("both serve", || who(&stage) == "one" && who(&stage) == "two");
        one.kill();
        assert!((0..50).all(|_| who(&stage) == "two"));
        one.begin();
        until("it serves again", || {
            stage.site.pass(Duration::from_secs(1));
            who(&stage) == "one"
        });
    }
}

#[test]
fn without_being_asked_an_instance_that_was_killed_is_tried_again_after_its_rest() {
    let (mut one, two) = (Nginx::start("one"), Nginx::start("two"));
    let stage = Stage::on(before([&one, &two]));
    one.kill();
    assert!((0..20).all(|_| who(&stage) == "two"));
    one.begin();
    // The clock stands still, and with it the rest.
    assert!((0..10).all(|_| who(&stage) == "two"));
    stage.site.pass(Duration::from_secs(5));
    assert!((0..10).filter(|_| who(&stage) == "one").count() > 2);
}

#[test]
fn an_instance_that_says_that_it_is_not_well_is_left_alone_until_it_is() {
    let (one, two) = (Nginx::start("one"), Nginx::start("two"));
    let stage = Stage::on(before([&one, &two]).set("upstream.health", CHECKS));
    one.ill(true);
    until("only the other serves", || (0..10).all(|_| who(&stage) == "two"));
    assert!((0..50).all(|_| who(&stage) == "two"));
    one.ill(false);
    until("it serves again", || who(&stage) == "one");
}

#[test]
fn where_no_instance_is_well_clients_hear_503_at_once_and_when_to_come_back() {
    let well = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&well);
    let app = Upstream::with(move |arrived, stream| {
        let answer = if arrived.line.contains("healthz") && !says.load(Ordering::SeqCst) {
            ok("no").replace("200 OK", "500 No")
        } else {
            ok("hello")
        };
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let checks = CHECKS.replace("unhealthy = 1", "unhealthy = 3");
    let stage = Stage::on(Stage::plan().upstream(app).set("upstream.health", &checks));
    let questions =
        || stage.site.upstream.arrived().into_iter().filter(|arrived| arrived.line.contains("healthz"));
    until("it is asked", || questions().count() > 0);
    let question = questions().next().expect("one");
    assert_eq!(
        (question.line.as_str(), question.header("host")),
        ("GET /healthz HTTP/1.1", Some(stage.host()))
    );
    assert_eq!((question.header("x-user-id"), question.header("cookie")), (None, None));

    let asked = questions().count();
    well.store(false, Ordering::SeqCst);
    let get = stage.signed("GET /x HTTP/1.1", "");
    until("it is found ill", || stage.ask(&get).status == 503);
    assert!(questions().count() >= asked + 3, "three bad answers, not one");
    let refused = stage.ask(&get);
    assert_eq!((refused.status, refused.code().as_str()), (503, "UPSTREAM_UNAVAILABLE"));
    assert!(refused.header("retry-after").is_some());
    let forwarded =
        || stage.site.upstream.arrived().iter().filter(|arrived| arrived.line.contains("/x")).count();
    let before = forwarded();
    for _ in 0..5 {
        let grpc =
            stage.signed("POST /x HTTP/1.1", "Content-Type: application/grpc\r\nContent-Length: 0\r\n");
        let answer = stage.ask(grpc);
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
    }
    assert_eq!(forwarded(), before, "an app that cannot work is spared");
    well.store(true, Ordering::SeqCst);
    until("it is well again", || stage.ask(&get).status == 200);
}

#[test]
fn an_instance_that_was_ill_is_believed_after_as_many_good_answers_in_a_row_as_were_chosen() {
    // Ill, then well now and then but never three times in a row, then well.
    let bad = |number: usize| number < 2 || (number < 12 && number % 3 == 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let app = Upstream::with(move |arrived, stream| {
        let ill = arrived.line.contains("/healthz") && bad(counted.fetch_add(1, Ordering::SeqCst));
        let answer = if ill { ok("no").replace("200 OK", "500 No") } else { ok("hello") };
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let checks = CHECKS.replace("healthy = 1\nunhealthy = 1", "healthy = 3\nunhealthy = 1");
    let stage = Stage::on(Stage::plan().upstream(app).set("upstream.health", &checks));
    let get = stage.signed("GET /x HTTP/1.1", "");
    until("it is found ill", || stage.ask(&get).status == 503);
    until("it is found well", || stage.ask(&get).status == 200);
    // The last bad answer is the eleventh.
    let count = asked.load(Ordering::SeqCst);
    assert!(count >= 14, "it was believed after {count} answers");
}

#[test]
fn an_instance_that_breaks_off_again_and_again_rests_and_one_request_tries_it() {
    let broken = Upstream::with(|_, stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    let good = Upstream::hello();
    let lines = format!("more = [\"http://{}\"]\nfailures = 3", good.address);
    let stage = Stage::on(Stage::plan().upstream(broken).set("upstream", &lines));
    let failed = |count: usize| {
        let get = stage.signed("GET /x HTTP/1.1", "");
        (0..count).filter(|_| stage.ask(&get).status == 502).count()
    };
    assert_eq!(failed(30), 3, "then it rests");
    assert_eq!(stage.site.upstream.arrived().len(), 3, "and no request was sent twice");
    stage.site.pass(Duration::from_secs(5));
    assert_eq!(failed(30), 1, "one tries it");
    assert_eq!(good.arrived().len(), 56);
}

#[test]
fn what_an_instance_answers_itself_does_not_speak_against_it() {
    let busy = Upstream::answering(ok("busy").replace("200 OK", "503 Busy"));
    let good = Upstream::hello();
    let lines = format!("more = [\"http://{}\"]\nfailures = 1", good.address);
    let stage = Stage::on(Stage::plan().upstream(busy).set("upstream", &lines));
    let get = stage.signed("GET /x HTTP/1.1", "");
    let refused = (0..40).filter(|_| stage.ask(&get).status == 503).count();
    assert!((10..=30).contains(&refused), "{refused} of 40");
}

/// Whether it is well for as long as some checks take.
fn stays_well(app: &str) {
    let stage = Stage::on(Stage::plan().set("upstream", app).set("upstream.health", CHECKS));
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(50));
        assert_eq!(stage.ask(stage.signed("GET /x HTTP/1.1", "")).status, 200);
    }
}

#[test]
fn an_app_that_gives_early_hints_before_it_says_that_it_is_well_is_well() {
    let app = Upstream::with(|arrived, stream| {
        if arrived.line.contains("/healthz") {
            let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        }
        let _ = stream.write_all(ok("hello").as_bytes());
    });
    stays_well(&format!("url = \"http://{}\"", app.address));
}

#[test]
fn an_app_that_says_goodbye_with_its_answer_by_http_2_is_well() {
    let app = frames(|_, stream, (kind, _, of, _)| {
        if kind == 1 {
            let _ = stream.write_all(&[answered(of), goaway(of)].concat());
        }
        kind != 1
    });
    stays_well(&format!("url = \"http://{}\"\nprotocol = \"h2c\"", app.address));
}
