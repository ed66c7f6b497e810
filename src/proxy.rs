//! Forwards one judged request to the app and its answer back: the order of work, and nothing else.
//!
//! **Invariant:** nothing is sent to the app without a [`Pass`], and the identity is written after everything
//! that came from the client.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, STRICT_TRANSPORT_SECURITY, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;

use crate::config::Config;
use crate::config::upstream::Protocol;
use crate::gate::Pass;
use crate::http::body::RequestBody;
use crate::http::fields::Fields;
use crate::http::reply::{Reply, Said};
use crate::http::visit::Visit;
use crate::metrics::worker::Worker;
use crate::session::live::Live;

mod app_side;
pub mod body;
pub mod connect;
pub mod ending;
pub mod failure;
pub mod headers;
pub mod health;
mod http2;
pub mod instances;
mod interim;
pub mod pace;
pub mod pem;
pub mod reserved;
pub mod response;
mod term;
pub mod ticker;
pub mod upgrade;
mod upload;
mod upstream;
mod websocket;

use app_side::AppSide;
use body::UpstreamBody;
use connect::Connector;
use failure::{Failed, Failure};
use headers::{Framing, HeadWriter};
use http2::Http2;
use instances::Instances;
use pace::Pace;
use response::Http1Body;
use term::Term;
use ticker::Ticker;
use upgrade::{Open, Tunnel};
use upload::Upload;
use upstream::{Connection, Pool};

/// The way to the app, one per worker.
pub struct Proxy {
    config: Arc<Config>,
    head_writer: Rc<HeadWriter>,
    pool: Rc<Pool>,
    /// There if HTTP/2 is spoken to the app.
    http2: Option<Http2>,
    ticker: Ticker,
    live: Arc<Live>,
    counts: Arc<Worker>,
    /// What answers by TLS tell browsers of https, unless the app does. Where a proxy in front ends TLS, that is the
    /// proxy's to say.
    hsts: Option<HeaderValue>,
}

/// What a worker's way to the app is made of, besides its configuration.
pub struct Means {
    /// Makes connections.
    pub connector: Connector,
    /// Where they lead.
    pub instances: Arc<Instances>,
    /// Measures patience.
    pub ticker: Ticker,
    /// Ends what must end with its session.
    pub live: Arc<Live>,
    /// Counts.
    pub counts: Arc<Worker>,
}

/// What the client sends behind the head.
pub struct Sending {
    /// The body.
    pub body: RequestBody,
    /// The connection itself, if the request asks to leave HTTP.
    pub upgrade: Option<Leaving>,
}

/// What is to become a tunnel on the client's side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// The connection.
    Http1,
    /// A stream of HTTP/2, where 200 stands for 101 (RFC 8441 §5).
    Http2,
}

impl Leaving {
    /// Whether an answer with this status would be taken for the tunnel itself: to `CONNECT` every success says that
    /// it is open (RFC 9110 §9.3.6), and what follows would be read as frames.
    fn is_opened_by(self, status: StatusCode) -> bool {
        self == Self::Http2 && status.is_success()
    }
}

/// What follows the head of an answer.
pub enum Following {
    /// A body.
    Body(UpstreamBody),
    /// Bytes in both directions, on the client's connection or stream.
    Tunnel(Box<Tunnel>),
}

/// What an answer is the answer to.
struct Asked<'a> {
    visit: &'a Visit,
    pass: Pass,
    /// The client's connection, if the request asked to leave HTTP.
    upgrade: Option<Leaving>,
    term: Term,
}

/// Two connections that are to be left to each other.
struct Switch {
    /// The fields of the answer.
    fields: Fields,
    client: Leaving,
    upstream: AppSide,
    instance: Option<u16>,
    /// What the app sent behind its answer.
    unread: BytesMut,
}

impl Proxy {
    /// A worker's way to the app.
    pub fn new(config: Arc<Config>, means: Means) -> Self {
        let Means { connector, instances, ticker, live, counts } = means;
        let head_writer = Rc::new(HeadWriter::new(&config));
        let settings = config.upstream.clone();
        let pool = Rc::new(Pool::new(
            settings.clone(),
            connector.clone(),
            Arc::clone(&instances),
            ticker.clone(),
            (Arc::clone(&live), Arc::clone(&counts)),
        ));
        let http2 = (settings.protocol != Protocol::Http1)
            .then(|| Http2::new(settings, connector, instances, ticker.clone(), Rc::clone(&pool)));
        let hsts = config.hsts.as_deref().filter(|_| config.tls.is_some());
        let hsts = hsts.and_then(|hsts| HeaderValue::from_str(hsts).ok());
        Self { config, head_writer, pool, http2, ticker, live, counts, hsts }
    }

    /// Lets go of idle connections: another one has taken its place. Requests under way come to their end.
    pub fn retire(&self) {
        self.pool.retire();
        if let Some(http2) = &self.http2 {
            http2.retire();
        }
    }

    /// Closes connections that have been idle for too long; called at every tick.
    pub fn sweep(&self) {
        self.pool.sweep();
        if let Some(http2) = &self.http2 {
            http2.sweep();
        }
    }

    /// Closes all connections that are idle.
    pub fn shed(&self) {
        self.pool.shed();
        if let Some(http2) = &self.http2 {
            http2.shed();
        }
    }

    /// The name of an instance of the app, where there are several.
    pub fn instance(&self, place: u16) -> Option<&str> {
        self.pool.instance(place)
    }

    /// Forwards the request and returns the head of the answer, the body following as the client takes it.
    pub async fn forward(
        &self,
        visit: &Visit,
        pass: Pass,
        sending: Sending,
    ) -> Result<Reply<Following>, Failed> {
        match &self.http2 {
            None => self.forward_http1(visit, pass, sending).await,
            // Boxed: it need not be carried along where it is not spoken.
            Some(http2) => Box::pin(http2.forward(self, visit, pass, sending)).await,
        }
    }

    async fn forward_http1(
        &self,
        visit: &Visit,
        pass: Pass,
        sending: Sending,
    ) -> Result<Reply<Following>, Failed> {
        let Sending { body, upgrade } = sending;
        let client = body.client();
        let framing = framing(body.size_hint().exact(), visit);
        let limit = self.config.limits.body;
        if matches!(framing, Framing::Length(length) if length > limit) {
            return Err(Failure::DeclaredTooLarge.into());
        }
        let mut upload = match framing {
            Framing::None | Framing::Length(0) => Upload::head_only(),
            Framing::Length(_) | Framing::Chunked => Upload::with_body(upload::Body {
                incoming: body,
                framing,
                passed: 0,
                limit,
                patience: Some(self.config.limits.body_idle),
                deadline: self.ticker.deadline(),
                pace: self.pace_of(false),
                head_writer: Rc::clone(&self.head_writer),
            }),
        }
        .of(client.clone());
        // Asked now: of a body that has been sent nothing is left to be seen.
        let repeatable = upload.repeatable() && headers::idempotent(&visit.method);
        let mut kept = true;
        let mut term = Term::begin(pass.session().cloned(), (visit.now, self.ticker.now()));
        loop {
            let mut connection = self.pool.connection(visit.now, kept).await?;
            connection.out = self.pool.buffers().to_write();
            self.head_writer.write(&mut connection.out, visit, &pass, framing);
            match self.exchange(&mut connection, &mut upload, visit, &mut term).await {
                Ok(head) if upgrade.as_ref().is_some_and(|it| it.is_opened_by(head.status)) => {
                    return Err(connection.failed(Failure::NotSwitched));
                }
                Ok(head) => {
                    self.pool.heard(&connection);
                    let asked = Asked { visit, pass, upgrade, term };
                    return Ok(self.answer(asked, head, connection, upload));
                }
                // The app had closed an idle connection while the request was on its way: one more try on a
                // new connection, if it can do no harm (RFC 9112 §9.3.1).
                Err(Failure::Closed { untouched: true }) if connection.reused() && repeatable => {
                    upload = Upload::head_only().of(client.clone());
                    kept = false;
                }
                Err(failure) => {
                    if failure.of_the_app() {
                        self.pool.broke(&connection, term.at(self.ticker.now()), failure.reason());
                    }
                    return Err(connection.failed(failure));
                }
            }
        }
    }

    /// How fast the body has to come; as slowly as it may where it is a `conversation`, in which silences are nothing odd.
    fn pace_of(&self, conversation: bool) -> Pace {
        let limits = &self.config.limits;
        Pace::new(if conversation { 0 } else { limits.min_rate }, limits.min_rate_grace)
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        upload: &mut Upload,
        visit: &Visit,
        term: &mut Term,
    ) -> Result<response::Head, Failure> {
        if !upload.repeatable() {
            // The first piece of the body is usually there one turn later; head and piece then leave in one
            // write.
            tokio::task::yield_now().await;
            std::future::poll_fn(|cx| std::task::Poll::Ready(upload.poll_first_piece(cx, connection)))
                .await?;
        }
        let head = response::receive(connection, upload, &visit.method, (&self.pool, term)).await?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            upgrade::check(visit, &head)?;
        }
        Ok(head)
    }

    fn answer(
        &self,
        mut asked: Asked<'_>,
        head: response::Head,
        connection: Box<Connection>,
        upload: Upload,
    ) -> Reply<Following> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = asked.upgrade.take()
        {
            self.pool.answered(&connection);
            let instance = connection.instance();
            let Connection { stream, unread, .. } = *connection;
            let upstream = AppSide::Http1(stream);
            let switch = Switch { fields: head.fields, client, upstream, instance, unread };
            return self.switch(asked.visit, &asked.pass, switch);
        }
        let limits = &self.config.limits;
        let pace = Pace::new(limits.min_rate, limits.min_rate_grace);
        let (signed_in, instance) = (asked.pass.session().is_some(), connection.instance());
        let (status, passed, body) =
            Http1Body::new(connection, (Rc::clone(&self.pool), pace), upload, head, asked.term);
        let body = Following::Body(UpstreamBody::Http1(body));
        let mut reply = Reply { passed, instance, ..Reply::new(status, Said::default(), body) };
        self.add(&mut reply, signed_in);
        reply
    }

    /// What is added to every answer of the app's that does not say it itself.
    fn add(&self, reply: &mut Reply<Following>, signed_in: bool) {
        reply.private = signed_in;
        if let Some(hsts) = &self.hsts
            && !reply.says(&STRICT_TRANSPORT_SECURITY)
        {
            reply.headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }

    /// Answers 101, or 200 to HTTP/2, and leaves the two connections to each other.
    fn switch(&self, visit: &Visit, pass: &Pass, switch: Switch) -> Reply<Following> {
        let Switch { mut fields, client, upstream, instance, unread } = switch;
        let tunnel = Box::new(Tunnel {
            upstream,
            unread,
            websocket: visit.upgrade.as_ref().is_some_and(is_websocket),
            silence: self.ticker.deadline(),
            watch: self.ticker.deadline(),
            patience: self.config.limits.tunnel_idle,
            line: pass.session().map(|session| self.live.open(session)),
            passed: Rc::default(),
            _open: Open::new(&self.counts),
        });
        let following = Following::Tunnel(tunnel);
        // What is no message any more has no length (RFC 9110 §8.6).
        fields.remove(&CONTENT_LENGTH);
        if client == Leaving::Http2 {
            fields.remove(&SEC_WEBSOCKET_ACCEPT);
            return Reply {
                passed: fields,
                instance,
                ..Reply::new(StatusCode::OK, Said::default(), following)
            };
        }
        let mut headers = Said::default();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = &visit.upgrade {
            headers.insert(UPGRADE, protocol.clone());
        }
        Reply { passed: fields, instance, ..Reply::new(StatusCode::SWITCHING_PROTOCOLS, headers, following) }
    }
}

/// Whether a protocol to go on with is that of RFC 6455.
fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// How the request's body is delimited towards the app.
fn framing(exact: Option<u64>, visit: &Visit) -> Framing {
    match exact {
        Some(0) if !sends_body(&visit.method) && !visit.headers.contains_key(&CONTENT_LENGTH) => {
            Framing::None
        }
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

/// Whether a request with this method says its length even if it is nothing (RFC 9110 §8.6).
fn sends_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
