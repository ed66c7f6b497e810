//! Log lines: text for people or one JSON object a line, always to standard error.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Log;

/// Sends the process's log lines to standard error from now on. Where a subscriber is set already
/// (tests start many sites in one process) that one stays.
pub fn start(config: &Log) {
    let colours = !config.json && std::io::stderr().is_terminal();
    let _already_started = subscriber(config, colours, std::io::stderr).try_init();
}

fn subscriber<W>(config: &Log, colours: bool, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // `config` has checked the filter; if it did not, silence would be the worse answer.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(to);
    if config.json {
        Box::new(lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
    } else {
        Box::new(lines.finish())
    }
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
        tracing::subscriber::with_default(subscriber(config, false, move || writer.clone()), || {
            tracing::info!(status = 200, "answered");
            tracing::debug!("not asked for");
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
