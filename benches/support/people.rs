//! People at the doors of one Sidegate, each busy as soon as the last answer is there.

use std::path::Path;
use std::thread;
use std::time::Instant;

use crate::database::Database;
use crate::servers::process;
use crate::servers::running::Plan;

/// A Sidegate with one worker on this database, in front of nothing: nobody is ever sent on to the app.
pub(crate) fn plan<'a>(
    binary: &'a Path,
    database: &Database,
    sections: &'a str,
) -> std::io::Result<Plan<'a>> {
    Ok(Plan {
        binary,
        cores: None,
        callgrind: false,
        certificate: None,
        workers: 1,
        files: None,
        upstream: process::free_address()?,
        protocol: "http1",
        store: format!("url = \"{}\"", database.url()),
        sections,
    })
}

/// What so many people, each told its number, found out; or what the first of them failed at.
pub(crate) fn together<T: Send>(
    people: usize,
    person: impl Fn(usize) -> Result<Vec<T>, String> + Sync,
) -> Result<Vec<T>, String> {
    let lists: Result<Vec<Vec<T>>, String> = thread::scope(|scope| {
        let person = &person;
        let people: Vec<_> = (0..people).map(|number| scope.spawn(move || person(number))).collect();
        people.into_iter().map(|person| person.join().expect("nobody panics")).collect()
    });
    Ok(lists?.into_iter().flatten().collect())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
