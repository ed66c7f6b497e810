//! What does it cost to write the head of a forwarded request, and to keep out what a client may not send?
//!
//! ```text
//! cargo bench --bench headers                     # nanoseconds
//! cargo bench --bench headers -- --instructions   # user instructions, under valgrind
//! ```
//!
//! The request is a browser's navigation: twelve fields, four cookies, one of them ours.

use sidegate::proxy::headers::{Framing, HeadWriter};
use sidegate::proxy::reserved::Reserved;
use sidegate::visitor::Visitor;

#[path = "support/inputs.rs"]
mod inputs;
#[path = "support/micro.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod micro;

use inputs::{config, known, pass, rules, target, visit};
use micro::Micro;

fn main() {
    let micro = Micro::from_args();
    head(&micro, "HeadWriter::write, signed in", ("/projects/42/items?page=2", known), true);
    head(&micro, "HeadWriter::write, public path", ("/section0/logo.svg", || Visitor::Stranger), false);
    for name in
        ["accept", "user-agent", "x-requested-with", "x-forwarded-for", "x-user-id", "X_User.Id", "cookie"]
    {
        micro.measure(&format!("Reserved::covers, {name}"), || {
            let reserved = Reserved::new(&config().identity);
            move || reserved.covers(std::hint::black_box(name.as_bytes()), false)
        });
    }
}

fn head(micro: &Micro, name: &str, (path, visitor): (&'static str, fn() -> Visitor), identity: bool) {
    micro.measure(name, || {
        let writer = HeadWriter::new(&config());
        let visit = visit(target(path), visitor());
        let pass = pass(&rules(1), &visit);
        let mut head = Vec::with_capacity(4096);
        writer.write(&mut head, &visit, &pass, Framing::None);
        let text = String::from_utf8_lossy(&head);
        assert!(
            text.contains("\r\nx-user-id: ") == identity && !text.contains("sidegate="),
            "not the head:\n{text}"
        );
        move || {
            head.clear();
            writer.write(&mut head, &visit, &pass, Framing::None);
            head.len()
        }
    });
}
