//! Hands spans on to a collector: OTLP over HTTP with JSON bodies, in batches, never in anybody's way.
//!
//! Spans that find no room in the queue, and batches that the collector does not take, are counted and lost.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::App;
use crate::config::problem::Problems;
use crate::config::trace::Trace;
use crate::config::upstream::UpstreamTls;
use crate::metrics::Metrics;
use crate::proxy::connect::Connector;
use crate::trace::{Span, Tracing, hex};

/// Spans that wait to be handed on.
const QUEUE: usize = 4096;
/// Spans of one request to the collector.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer of the collector that is looked at, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;
/// How long the end of the process waits for the last spans.
const FAREWELL: Duration = Duration::from_secs(3);

/// What hands spans on, until nothing is left that could make any.
pub(super) struct Exporter {
    task: JoinHandle<()>,
    office: Handle,
}

impl Exporter {
    /// Begins, if there is a collector, and says where workers leave their spans.
    ///
    /// # Errors
    /// If TLS cannot be spoken.
    pub(super) fn start(app: &App) -> Result<Option<(Tracing, Self)>, Problems> {
        let Some(config) = app.config.trace.clone() else { return Ok(None) };
        let connector = Connector::new(&UpstreamTls::default())?;
        let (to, from) = channel(QUEUE);
        let tracing = Tracing { to, share: config.share };
        let collector = Collector { config, connector, metrics: Arc::clone(&app.metrics) };
        let task = app.office.spawn(collector.run(from));
        Ok(Some((tracing, Self { task, office: app.office.clone() })))
    }

    /// Whether nothing more will come.
    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// Hands on what is left, now that no worker makes any more. Blocks the calling thread.
    pub(super) fn finish(self) {
        let Self { task, office } = self;
        if office.block_on(async { timeout(FAREWELL, task).await }).is_err() {
            tracing::warn!("the last spans are lost: they were not handed on within {FAREWELL:?}");
        }
    }
}

struct Collector {
    config: Trace,
    connector: Connector,
    metrics: Arc<Metrics>,
}

impl Collector {
    async fn run(self, mut from: Receiver<Span>) {
        let mut failing = false;
        loop {
            let mut spans = Vec::with_capacity(BATCH);
            if from.recv_many(&mut spans, BATCH).await == 0 {
                return;
            }
            // For as long as more come in time.
            let _ = timeout(GATHER, async {
                while spans.len() < BATCH && from.recv_many(&mut spans, BATCH).await > 0 {}
            })
            .await;
            let count = spans.len() as u64;
            let outcome = match timeout(PATIENCE, self.send(&spans)).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {PATIENCE:?}")),
            };
            self.metrics.spans[usize::from(outcome.is_err())].add(count);
            // Said once, and not for every batch.
            match &outcome {
                Err(why) if !failing => {
                    tracing::warn!("spans are lost: the collector does not take them: {why}");
                }
                Ok(()) if failing => tracing::info!("the collector takes spans again"),
                Err(_) | Ok(()) => {}
            }
            failing = outcome.is_err();
        }
    }

    async fn send(&self, spans: &[Span]) -> io::Result<()> {
        let body = self.body(spans).to_string();
        let stream = self.connector.open(&self.config.target).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.config.path)
            .header(HOST, &self.config.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let _ = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
            match status {
                StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(()),
                status => Err(io::Error::other(format!("it answers {status}"))),
            }
        };
        // The connection is driven beside the exchange; that it ends first does not end the exchange.
        let driven = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            outcome = exchange => outcome,
            never = driven => never,
        }
    }

    /// The request of OTLP's trace service, in its JSON form: ids as hex, 64-bit numbers as text.
    fn body(&self, spans: &[Span]) -> Value {
        let spans: Vec<Value> = spans.iter().map(span).collect();
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        json!({ "resourceSpans": [{
            "resource": { "attributes": [
                text("service.name", &self.config.service),
                text("service.version", env!("CARGO_PKG_VERSION")),
            ] },
            "scopeSpans": [{
                "scope": { "name": "sidegate", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }] })
    }
}

/// One span, with the attributes that OpenTelemetry's conventions for HTTP servers name.
fn span(span: &Span) -> Value {
    /// `SPAN_KIND_SERVER`
    const SERVER: u8 = 2;
    /// `STATUS_CODE_ERROR`
    const ERROR: u8 = 2;
    let begun = u64::try_from(span.begun.millis()).unwrap_or(0).saturating_mul(1_000_000);
    let number = |value: u64| json!({ "intValue": value.to_string() });
    let text = |value: &str| json!({ "stringValue": value });
    let mut attributes = vec![
        json!({ "key": "http.request.method", "value": text(span.name()) }),
        json!({ "key": "url.path", "value": text(&span.path) }),
        json!({ "key": "sidegate.decision", "value": text(span.decision) }),
    ];
    if let Some(route) = &span.route {
        attributes.push(json!({ "key": "http.route", "value": text(route) }));
    }
    if let Some(status) = span.status {
        attributes.push(json!({ "key": "http.response.status_code", "value": number(status.into()) }));
    }
    if let Some(nanos) = span.upstream_nanos {
        attributes.push(json!({ "key": "sidegate.upstream_duration_ns", "value": number(nanos) }));
    }
    let mut value = json!({
        "traceId": hex(&span.context.trace),
        "spanId": hex(&span.context.span),
        "name": span.name(),
        "kind": SERVER,
        "startTimeUnixNano": begun.to_string(),
        "endTimeUnixNano": begun.saturating_add(span.nanos).to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.context.parent {
        value["parentSpanId"] = hex(&parent).into();
    }
    if span.status.is_some_and(|status| status >= 500) {
        value["status"] = json!({ "code": ERROR });
    }
    value
}
