//! What the product logs while the tests run. A line of level ERROR that no test announced fails the test
//! that finds it.

use std::fmt::Write as _;
use std::sync::{Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

static START: Once = Once::new();
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ANNOUNCED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keep;

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{} {}:{}", event.metadata().level(), event.metadata().target(), line.0);
        if *event.metadata().level() == Level::ERROR {
            ERRORS.lock().expect("no panic").push(text.clone());
        }
        if event.metadata().target().starts_with("sidegate") || event.metadata().target() == "access" {
            LINES.lock().expect("no panic").push(text);
        }
    }
}

/// Begins to listen; called by every site.
pub(crate) fn start() {
    START.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Keep);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    });
}

/// Errors that contain this text are expected.
pub(crate) fn announce(text: &str) {
    ANNOUNCED.lock().expect("no panic").push(text.to_owned());
}

/// Errors that nobody announced; each is given out once.
pub(crate) fn unannounced() -> Vec<String> {
    let announced = ANNOUNCED.lock().expect("no panic").clone();
    let errors = std::mem::take(&mut *ERRORS.lock().expect("no panic"));
    errors.into_iter().filter(|error| !announced.iter().any(|text| error.contains(text))).collect()
}

/// Whether any line logged so far contains this text.
pub(crate) fn mentions(text: &str) -> bool {
    LINES.lock().expect("no panic").iter().any(|line| line.contains(text))
}
