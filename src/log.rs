//! Log lines: text for people or one JSON object a line, always to standard error, by a thread of their own.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry, reload};

use crate::config::Log;
use crate::log::sink::Sink;

pub mod access;
pub mod sink;

/// Where the lines of this process go once it logs.
static SINK: OnceLock<Sink> = OnceLock::new();
/// The target of lines that tell of panics: they are written whatever the filter says.
const PANIC: &str = "panic";
/// The target of what the library for HTTP/2 says.
const HTTP2: &str = "h2";

/// Changes which lines are written while the program runs.
pub struct Levels(Box<dyn Fn(Targets) + Send + Sync>);

impl Levels {
    /// Writes what `config` asks for from now on.
    pub fn apply(&self, config: &Log) {
        (self.0)(filter(config));
    }
}

/// Sends the process's log lines, and what is to be said of panics, to standard error from now on. Nobody waits for
/// whoever reads them; the process must end by [`last_words`], which does. Where a subscriber is set already (tests
/// start many sites in one process) that one stays.
///
/// # Errors
/// If the thread that writes cannot be started.
pub fn start(config: &Log) -> io::Result<(Levels, Sink)> {
    let sink = Sink::start()?;
    let colours = !config.json && io::stderr().is_terminal();
    let (subscriber, levels) = subscriber(config, colours, sink.clone());
    if subscriber.try_init().is_ok() {
        let _ = SINK.set(sink.clone());
        panic::set_hook(Box::new(panicked));
    }
    Ok((levels, sink))
}

/// Writes `text` to standard error behind all lines, and waits for them: for two seconds at most if the process logs,
/// without end otherwise.
pub fn last_words(text: &str) {
    if let Some(sink) = SINK.get() {
        sink.finish();
        if !text.is_empty() {
            // There is room for it now.
            sink.hand_over(text.as_bytes().to_vec(), 1);
            sink.finish();
        }
    } else {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Tells of a panic what the standard library would.
fn panicked(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("?");
    // It may hold bytes of a client's.
    let said = info.payload_as_str().unwrap_or("?");
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(target: PANIC, "thread {name} panicked at {at}: {said:?}\n{backtrace}");
    } else {
        tracing::error!(target: PANIC, "thread {name} panicked at {at}: {said:?}");
    }
    // It ends the process.
    if name == "main" {
        last_words("");
    }
}

fn filter(config: &Log) -> Targets {
    // `config` has checked the filter; if it did not, silence would be the worse answer.
    let filter = config.filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let filter = filter.with_target(PANIC, LevelFilter::ERROR);
    // What a client does wrong in its frames is worth a line each to the library, and it can do that all the time.
    if filter.iter().any(|(target, _)| target.starts_with(HTTP2)) {
        return filter;
    }
    filter.with_target(HTTP2, LevelFilter::ERROR)
}

fn subscriber<W>(config: &Log, colours: bool, to: W) -> (Box<dyn Subscriber + Send + Sync>, Levels)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(config));
    let levels = Levels(Box::new(move |filter| drop(handle.reload(filter))));
    let lines = fmt::layer().with_ansi(colours).with_writer(to);
    if config.json {
        let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
        return (Box::new(registry().with(filter).with(lines)), levels);
    }
    (Box::new(registry().with(filter).with(lines)), levels)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::sink::tests::unread;

    fn lines(config: &Log) -> String {
        let (sink, read) = unread(8);
        let (subscriber, levels) = subscriber(config, false, sink);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(status = 200, "answered");
            tracing::debug!("not asked for");
            levels.apply(&Log { filter: "error".to_owned(), ..*config });
            tracing::info!("no longer asked for");
        });
        read()
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_at_their_top() {
        let text = lines(&Log {
            json: true,
            filter: "info".to_owned(),
            access: true,
            keep_sign_ins: Duration::ZERO,
        });
        let line: serde_json::Value = serde_json::from_str(&text).expect("one object");
        assert_eq!((&line["message"], &line["status"]), (&"answered".into(), &200.into()));
    }

    #[test]
    fn what_the_library_for_http_2_says_of_clients_is_heard_only_if_asked_for() {
        for (filter, heard) in [("info", false), ("info,h2=warn", true), ("info,h2::proto=warn", true)] {
            let (sink, read) = unread(8);
            let config =
                Log { json: false, filter: filter.to_owned(), access: true, keep_sign_ins: Duration::ZERO };
            let (subscriber, _levels) = subscriber(&config, false, sink);
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(target: "h2::proto::ping_pong", "a ping");
                tracing::warn!("ours");
            });
            let text = read();
            assert!(text.contains("a ping") == heard && text.contains("ours"), "{filter}: {text}");
        }
    }

    #[test]
    fn text_lines_are_one_for_each_event_that_the_filter_lets_through() {
        let text = lines(&Log {
            json: false,
            filter: "info".to_owned(),
            access: true,
            keep_sign_ins: Duration::ZERO,
        });
        assert!(text.contains("answered") && text.contains("status=200"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_panic_is_one_line_whatever_the_filter_says_and_whatever_bytes_it_tells_of() {
        let (sink, read) = unread(8);
        let config =
            Log { json: false, filter: "off".to_owned(), access: true, keep_sign_ins: Duration::ZERO };
        let (subscriber, _levels) = subscriber(&config, false, sink);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload_as_str().is_some_and(|said| said.starts_with("on purpose")) {
                panicked(info);
            } else {
                before(info);
            }
        }));
        tracing::subscriber::with_default(subscriber, || {
            panic::catch_unwind(|| panic!("on purpose\n forged")).expect_err("a panic");
        });
        drop(panic::take_hook());
        let text = read();
        assert!(text.contains("ERROR panic: thread ") && text.contains(r"on purpose\n forged"), "{text}");
        assert!(text.contains("src/log.rs:"), "{text}");
    }
}
