//! Log lines: text for people or one JSON object a line, always to standard error.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry, reload};

use crate::config::Log;

pub mod access;

/// Changes which lines are written while the program runs.
pub struct Levels(Box<dyn Fn(Targets) + Send + Sync>);

impl Levels {
    /// Writes what `config` asks for from now on.
    pub fn apply(&self, config: &Log) {
        (self.0)(filter(config));
    }
}

/// Sends the process's log lines to standard error from now on. Where a subscriber is set already
/// (tests start many sites in one process) that one stays.
pub fn start(config: &Log) -> Levels {
    let colours = !config.json && std::io::stderr().is_terminal();
    let (subscriber, levels) = subscriber(config, colours, std::io::stderr);
    let _already_started = subscriber.try_init();
    levels
}

fn filter(config: &Log) -> Targets {
    // `config` has checked the filter; if it did not, silence would be the worse answer.
    config.filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
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
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(config: &Log) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let (subscriber, levels) = subscriber(config, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(status = 200, "answered");
            tracing::debug!("not asked for");
            levels.apply(&Log { filter: "error".to_owned(), ..*config });
            tracing::info!("no longer asked for");
        });
        let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("log lines are UTF-8")
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
}
