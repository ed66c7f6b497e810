//! What does it cost to read a path and to decide on a request?
//!
//! ```text
//! cargo bench --bench gate                     # nanoseconds
//! cargo bench --bench gate -- --instructions   # user instructions, under valgrind
//! cargo bench --bench gate -- owner            # only the measures with this word
//! ```
//!
//! The path is given as the HTTP parser gives it; a measure of `Path::parse` includes the clone of that
//! handle.

use http::uri::PathAndQuery;
use sidegate::gate::{self, Verdict};
use sidegate::http::path::Path;
use sidegate::refusal::Refusal;
use sidegate::visitor::Visitor;

#[path = "support/inputs.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod inputs;
#[path = "support/micro.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod micro;

use inputs::{known, rules, target, visit};
use micro::Micro;

const ORDINARY: &str = "/projects/42/items?page=2&order=name";
const ESCAPED: &str = "/files/annual%20report%202026.pdf";
/// More readings than anybody should have to judge: refused before there is anything to decide on.
const HOSTILE: &str = "/open/..%252fapi/%75ser;v=1/../..%5c//x/%2e%2e/y";
/// Readings that are judged differently: the first is public, another is not.
const AMBIGUOUS: &str = "/section3/..%252fapi/%75ser;v=1/x";
const OWN: &str = "/api/0b0f1c52-6a7e-4d55-9b1c-2f6f3a4d8e90/items";
const FOREIGN: &str = "/api/0b0f1c52-6a7e-4d55-9b1c-2f6f3a4d8e91/items";

fn main() {
    let micro = Micro::from_args();
    for (name, text) in [("ordinary", ORDINARY), ("with escapes", ESCAPED), ("hostile", HOSTILE)] {
        micro.measure(&format!("Path::parse, {name}"), || {
            let target: PathAndQuery = target(text);
            move || Path::parse(target.clone()).is_ok()
        });
    }
    for count in [0, 10, 100] {
        decide(
            &micro,
            &format!("decide, signed in, {count} rules, none matches"),
            (count, ORDINARY, known),
            forwards,
        );
    }
    decide(
        &micro,
        "decide, public by the last of 10 rules",
        (10, "/section9/logo.svg", || Visitor::Stranger),
        forwards,
    );
    decide(&micro, "decide, own owner path", (10, OWN, known), forwards);
    decide(&micro, "decide, foreign owner path", (10, FOREIGN, known), |verdict| {
        matches!(verdict, Verdict::Refuse(Refusal::Forbidden))
    });
    decide(&micro, "decide, stranger", (10, ORDINARY, || Visitor::Stranger), |verdict| {
        matches!(verdict, Verdict::AskToSignIn)
    });
    decide(&micro, "decide, signed in, path with escapes", (10, ESCAPED, known), forwards);
    decide(&micro, "decide, signed in, hostile path", (10, AMBIGUOUS, known), |verdict| {
        matches!(verdict, Verdict::Refuse(Refusal::AmbiguousPath))
    });
}

fn forwards(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Forward(_))
}

/// Measures the decision on a path under so many rules, after a look whether it is the one that is meant.
fn decide(
    micro: &Micro,
    name: &str,
    (count, path, visitor): (usize, &'static str, fn() -> Visitor),
    expected: impl Fn(&Verdict) -> bool,
) {
    micro.measure(name, || {
        let (rules, visit) = (rules(count), visit(target(path), visitor()));
        assert!(expected(&gate::decide(&rules, &visit).verdict), "{name}: another verdict");
        move || gate::decide(&rules, &visit)
    });
}
