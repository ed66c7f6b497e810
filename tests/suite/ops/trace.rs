//! W3C Trace Context through us, and spans at a real collector.

use serde_json::Value;

use super::{Program, number, told};
use crate::jobs::eventually;
use crate::support::database::Database;
use crate::support::site::{Plan, Site};
use crate::support::upstream::{Upstream, ok};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn plan() -> Plan {
    Site::on(Database::sqlite()).rule("/open/**", "public").set("admin", "address = \"127.0.0.1:0\"")
}

fn traced(collector: &Upstream, more: &str) -> Site {
    let lines = format!("otlp_endpoint = \"http://{}\"\n{more}", collector.address);
    plan().set("trace", &lines).start()
}

fn collector() -> Upstream {
    Upstream::answering(ok("{}"))
}

/// All spans that a collector has.
fn spans(collector: &Upstream) -> Vec<Value> {
    let mut spans = Vec::new();
    for arrived in collector.arrived() {
        assert_eq!(arrived.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(arrived.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&arrived.body).expect("JSON");
        let resource = &body["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "sidegate");
        spans.extend(resource["scopeSpans"][0]["spans"].as_array().expect("spans").clone());
    }
    spans
}

fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    let attributes = span["attributes"].as_array().expect("attributes");
    &attributes.iter().find(|a| a["key"] == key).unwrap_or_else(|| panic!("{key} in {span}"))["value"]
}

/// Sends one request and returns what the app was told of its trace.
fn pass(site: &Site, headers: &[(&str, &str)]) -> (Option<String>, Option<String>) {
    let mut visitor = site.stranger();
    let mut ask = visitor.ask("GET", "/open/x?secret=1");
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    assert_eq!(ask.send().status, 200);
    let arrived = site.upstream.arrived().last().expect("it came").clone();
    let get = |name| arrived.header(name).map(str::to_owned);
    (get("traceparent"), get("tracestate"))
}

#[test]
fn without_a_collector_what_a_caller_says_passes_as_it_is() {
    let site = plan().start();
    assert_eq!(pass(&site, &[]), (None, None));
    for parent in [PARENT, "nonsense"] {
        let told = pass(&site, &[("traceparent", parent), ("tracestate", "a=b")]);
        assert_eq!(told, (Some(parent.to_owned()), Some("a=b".to_owned())));
    }
}

#[test]
fn a_valid_trace_is_taken_up_and_the_collector_hears_of_our_part() {
    let collector = collector();
    let site = traced(&collector, "");
    let (parent, state) = pass(&site, &[("traceparent", PARENT), ("tracestate", "a=b")]);
    assert_eq!(state.as_deref(), Some("a=b"));
    let parent = parent.expect("it is handed on");
    let parts: Vec<&str> = parent.split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01"));
    assert_ne!(parts[2], "00f067aa0ba902b7", "the app's caller is we");
    eventually("the span arrives", || !spans(&collector).is_empty());
    let span = &spans(&collector)[0];
    assert_eq!((&span["traceId"], &span["spanId"]), (&parts[1].into(), &parts[2].into()));
    assert_eq!((&span["parentSpanId"], &span["kind"]), (&"00f067aa0ba902b7".into(), &2.into()));
    assert_eq!(
        (&span["name"], attribute(span, "url.path")),
        (&"GET".into(), &serde_json::json!({ "stringValue": "/open/x" }))
    );
    assert_eq!(attribute(span, "http.response.status_code")["intValue"], "200");
    assert_eq!(attribute(span, "sidegate.decision")["stringValue"], "forwarded");
    assert_eq!(attribute(span, "http.route")["stringValue"], "/open/**");
    let time = |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time");
    assert!(time("startTimeUnixNano") < time("endTimeUnixNano"));
    assert!(!span.to_string().contains("secret"), "{span}");
}

#[test]
fn without_a_valid_trace_another_begins_and_the_state_of_none_is_dropped() {
    let collector = collector();
    let site = traced(&collector, "");
    let (first, state) = pass(&site, &[("traceparent", "00-zz"), ("tracestate", "a=b")]);
    assert_eq!(state, None);
    let (second, _) = pass(&site, &[("traceparent", PARENT), ("traceparent", PARENT)]);
    let (first, second) = (first.expect("one begins"), second.expect("one begins"));
    assert!(first[3..35] != second[3..35] && !second.contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    eventually("both arrive", || spans(&collector).len() == 2);
    assert!(spans(&collector).iter().all(|span| span["parentSpanId"].is_null()));
}

#[test]
fn what_is_not_sampled_is_handed_on_and_told_to_nobody() {
    let collector = collector();
    let mut site = traced(&collector, "sample = 0.0");
    // A stranger cannot have it recorded.
    let (parent, _) = pass(&site, &[("traceparent", PARENT)]);
    assert!(parent.expect("it is handed on").ends_with("-00"));
    site.stop();
    assert!(spans(&collector).is_empty());
}

#[test]
fn a_trusted_proxy_decides_and_the_last_spans_are_handed_on_at_the_end() {
    let collector = collector();
    let lines = format!("otlp_endpoint = \"http://{}\"\nsample = 0.0", collector.address);
    let mut site = plan().set("trace", &lines).set("proxies", "trusted = [\"127.0.0.1/32\"]").start();
    for _ in 0..20 {
        assert!(pass(&site, &[("traceparent", PARENT)]).0.expect("it is handed on").ends_with("-01"));
    }
    site.stop();
    assert_eq!(spans(&collector).len(), 20);
}

#[test]
fn the_end_waits_for_the_last_spans_and_no_longer_with_an_admin_listener_too() {
    let app = Upstream::hello();
    let collector = collector();
    let lines = format!(
        "[trace]\notlp_endpoint = \"http://{}\"\n[[rules]]\npath = \"/open/**\"\naccess = \"public\"\n",
        collector.address
    );
    let mut program = Program::start(app.address, &lines);
    assert_eq!(program.told("/readyz").status, 200);
    assert_eq!(program.visitor().get("/open/x").status, 200);
    // The exporter of an earlier configuration ends with it.
    assert!(program.reload().contains("was read again"));
    assert_eq!(program.visitor().get("/open/x").status, 200);
    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(0));
    assert_eq!(spans(&collector).len(), 2);
    assert!(!program.says("the last spans are lost"), "{}", program.lines().join("\n"));
}

#[test]
fn a_collector_that_does_not_answer_costs_spans_and_no_request() {
    let collector = Upstream::listening(|stream| {
        std::thread::sleep(std::time::Duration::from_mins(1));
        drop(stream);
    });
    let site = traced(&collector, "");
    for _ in 0..50 {
        pass(&site, &[]);
    }
    drop(collector);
    let gone = crate::serve::free_port();
    let site = plan().set("trace", &format!("otlp_endpoint = \"http://{gone}\"")).start();
    for _ in 0..10 {
        pass(&site, &[]);
    }
    eventually("they are counted as lost", || {
        let text = told(site.admin(), "/metrics").text();
        number(&text, "sidegate_spans_total{outcome=\"lost\"}") == 10
    });
}
