//! What is wrong with certificates is told whenever they are read, not only at a start.

use std::fs;

use crate::jobs::eventually;
use crate::ops::{Program, number};
use crate::support::child::limit_files;
use crate::support::upstream::Upstream;
use crate::tls::certificates;

/// A program with `first` among the certificates of the tests, looked at every second; and what puts others in its place.
fn serving(app: &Upstream, first: &str) -> (Program, impl Fn(&str) + use<>) {
    let program = Program::start(app.address, "");
    let at = program.directory.path().to_owned();
    let path = at.join("site").display().to_string();
    let put = move |name: &str| {
        for kind in ["pem", "key"] {
            let from = certificates().join(format!("{name}.{kind}"));
            fs::copy(from, at.join(format!("site.{kind}"))).expect("copied");
        }
    };
    put(first);
    let public = format!("[public]\nurl = \"http://{}\"", program.address);
    let tls = format!("[tls]\ncertificate = \"{path}.pem\"\nkey = \"{path}.key\"\nwatch = \"1s\"");
    program.edit(&public, &format!("{}\n{tls}", public.replace("http:", "https:")));
    assert!(program.reload().contains("was read again"));
    (program, put)
}

#[test]
fn certificates_for_another_name_are_told_of_at_a_reload_and_when_they_have_changed() {
    let app = Upstream::hello();
    let (program, put) = serving(&app, "renewed");
    let told = |times: usize| {
        let lines = program.lines();
        lines
            .iter()
            .filter(|line| line.contains("WARN") && line.contains("tls.certificate: is not for"))
            .count()
            == times
    };
    eventually("the reload tells it", || told(1));
    let seen = || {
        program.lines().iter().filter(|line| line.contains("the certificates have changed, and were")).count()
    };
    put("first");
    eventually("they are read", || seen() >= 1);
    assert!(told(1), "these are for it");
    let before = seen();
    put("second");
    eventually("they are read", || seen() > before);
    eventually("that is told too", || told(2));
    // What is wrong with a file is told with the place of its key, as it is at a start.
    fs::write(program.directory.path().join("site.key"), "").expect("written");
    let key = |line: &String| line.contains("sidegate.toml:") && line.contains(": tls.key: ");
    assert!(program.reload().lines().map(str::to_owned).any(|line| key(&line)));
    let stays = |line: &String| line.contains("those of before stay") && key(line);
    eventually("whoever looks tells it too", || program.lines().iter().any(stays));
}

#[test]
fn certificates_that_could_not_be_read_for_want_of_files_are_read_at_the_next_look() {
    let app = Upstream::hello();
    let (program, put) = serving(&app, "first");
    let counted = |outcome: &str| {
        let name = format!("sidegate_certificate_changes_total{{outcome=\"{outcome}\"}}");
        number(&program.told("/metrics").text(), &name)
    };
    assert_eq!((counted("applied"), counted("refused")), (0, 0));
    let limit = |files: &str| limit_files(program.process.id(), files);
    limit("3:");
    put("renewed");
    eventually("they are refused", || program.says("and those of before stay: "));
    limit("1024:");
    eventually("they are read", || program.says("the certificates have changed, and were"));
    assert!(counted("applied") == 1 && counted("refused") >= 1);
}
