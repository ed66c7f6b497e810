//! What clients do by HTTP/2 while it is looked whether all of it holds: with TLS or without, gRPC among it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::app::EVENTS;
use crate::app_h2::{MANY, collect, message};
use crate::churn::{expect, framed};
use crate::pattern;
use crate::servers::tls;
use crate::world::{House, Outcome, Person, Trouble, same};

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where all of them live.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
});

static TURN: AtomicUsize = AtomicUsize::new(0);

impl From<h2::Error> for Trouble {
    fn from(error: h2::Error) -> Self {
        match (error.is_io(), error.reason()) {
            (true, _) => Self::Broken("HTTP/2: the connection is lost".to_owned()),
            (_, Some(reason)) => Self::Broken(format!("HTTP/2: {reason:?}")),
            _ => Self::Broken(format!("HTTP/2: {error}")),
        }
    }
}

/// Does something with a connection.
fn with<F>(house: &House, what: impl FnOnce(Link) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let done =
        RUNTIME.block_on(async { timeout(PATIENCE, async { what(Link::new(house).await?).await }).await });
    done.unwrap_or_else(|_| Err(Trouble::Wrong("it hangs".to_owned())))
}

/// One connection of a client.
struct Link {
    origin: String,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Link {
    async fn new(house: &House) -> Result<Self, Trouble> {
        let stream = TcpStream::connect(house.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = match &house.http2 {
            None => {
                let (sender, connection) = h2::client::handshake(stream).await?;
                (sender, RUNTIME.spawn(async move { drop(connection.await) }))
            }
            Some(client) => {
                let connector = TlsConnector::from(client.clone());
                let stream = connector.connect(tls::name(house.address), stream).await?;
                let (sender, connection) = h2::client::handshake(stream).await?;
                (sender, RUNTIME.spawn(async move { drop(connection.await) }))
            }
        };
        Ok(Self { origin: house.origin(), sender, connection })
    }

    fn request(&self, method: Method, target: &str, person: &Person) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.origin))
            .header("accept", "application/json")
            .header("cookie", &person.cookie)
    }

    /// Begins a GET.
    async fn get(&self, target: &str, person: &Person) -> Result<Response<RecvStream>, Trouble> {
        let request = self.request(Method::GET, target, person).body(()).map_err(wrong)?;
        let mut sender = self.sender.clone().ready().await?;
        Ok(sender.send_request(request, true)?.0.await?)
    }

    /// The whole good answer.
    async fn whole(&self, target: &str, person: &Person) -> Result<(HeaderMap, Vec<u8>), Trouble> {
        let (head, mut body) = self.get(target, person).await?.into_parts();
        let body = collect(&mut body).await?;
        expect("GET by HTTP/2", head.status.as_u16(), 200, &body)?;
        Ok((head.headers, body))
    }
}

fn wrong(error: impl std::fmt::Display) -> Trouble {
    Trouble::Wrong(error.to_string())
}

fn target(path: &str) -> String {
    format!("{path}?{}", TURN.fetch_add(1, Ordering::Relaxed))
}

/// Many requests on one connection, ten at a time, of different people.
pub(crate) fn many(house: &House) -> Outcome {
    with(house, |link| async move {
        for _ in 0..20 {
            let asked = std::array::from_fn::<_, 10, _>(|_| {
                let (link, person, target) = (&link, house.somebody(), target("/x"));
                async move {
                    let (_, body) = link.whole(&target, person).await?;
                    same(&target, &body, pattern::said(&target, &person.id, b"").as_bytes())
                }
            });
            together(asked).await?;
        }
        Ok(())
    })
}

/// Waits for all of them, each of which goes on while the others do.
async fn together<F: Future<Output = Outcome>>(all: [F; 10]) -> Outcome {
    let mut all = all.map(|one| (Some(Box::pin(one)), Ok(())));
    std::future::poll_fn(|cx| {
        for (one, outcome) in &mut all {
            if let Some(Poll::Ready(done)) = one.as_mut().map(|one| one.as_mut().poll(cx)) {
                (*one, *outcome) = (None, done);
            }
        }
        if all.iter().any(|(one, _)| one.is_some()) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().try_for_each(|(_, outcome)| outcome)
}

pub(crate) fn large(house: &House) -> Outcome {
    with(house, |link| async move {
        let (person, target) = (house.somebody(), target("/large"));
        let (head, body) = link.whole(&target, person).await?;
        same(&target, head.get("x-said").map_or(b"", |said| said.as_bytes()), person.id.as_bytes())?;
        same(&target, &body, pattern::large(pattern::number(&target)))
    })
}

/// Streams that are given up in the middle, and one after them that is not.
pub(crate) fn given_up(house: &House) -> Outcome {
    with(house, |link| async move {
        for _ in 0..10 {
            let answer = link.get("/large", house.somebody()).await?;
            if let Some(some) = answer.into_body().data().await {
                some?;
            }
        }
        let (person, target) = (house.somebody(), target("/x"));
        let (_, body) = link.whole(&target, person).await?;
        same(&target, &body, pattern::said(&target, &person.id, b"").as_bytes())
    })
}

pub(crate) fn events(house: &House) -> Outcome {
    with(house, |link| async move {
        let (person, target) = (house.somebody(), target("/events"));
        let (_, body) = link.whole(&target, person).await?;
        let wanted: String = (0..EVENTS).map(|number| pattern::event(&target, &person.id, number)).collect();
        same(&target, &body, wanted.as_bytes())
    })
}

/// A `WebSocket` in a stream (RFC 8441).
pub(crate) fn tunnel(house: &House) -> Outcome {
    with(house, |link| async move {
        let person = house.somebody();
        let request = link.request(Method::CONNECT, "/socket", person).header("sec-websocket-version", "13");
        let request = request.extension(Protocol::from_static("websocket")).body(()).map_err(wrong)?;
        let mut sender = link.sender.clone().ready().await?;
        let (answer, mut send) = sender.send_request(request, false)?;
        let (head, mut body) = answer.await?.into_parts();
        expect("handshake by HTTP/2", head.status.as_u16(), 200, b"")?;
        for number in 0..50 {
            let said = framed(&pattern::large(number)[..1000]);
            send.send_data(said.clone().into(), false)?;
            same("what a WebSocket says", &take(&mut body, said.len()).await?, &said)?;
        }
        Ok(send.send_data(Bytes::new(), true)?)
    })
}

/// So many bytes of a body.
async fn take(body: &mut RecvStream, count: usize) -> Result<Vec<u8>, Trouble> {
    let mut came = Vec::new();
    while came.len() < count {
        let data =
            body.data().await.ok_or_else(|| Trouble::Broken("a stream ended too early".to_owned()))??;
        body.flow_control().release_capacity(data.len())?;
        came.extend_from_slice(&data);
    }
    Ok(came)
}

/// All four shapes of calls.
pub(crate) fn grpc(house: &House) -> Outcome {
    with(house, |link| async move {
        let number = TURN.fetch_add(1, Ordering::Relaxed);
        let piece = |at: usize| message(&pattern::large(number + at)[..3000]);
        let one = piece(0);
        let all = (0..10).map(piece).collect::<Vec<_>>().concat();
        let sum = message(pattern::sum(&all).as_bytes());
        for (shape, pieces, wanted) in [
            ("Unary", 1, one.to_vec()),
            ("Up", 10, sum.to_vec()),
            ("Down", 1, one.repeat(MANY)),
            ("Both", 10, all.clone()),
        ] {
            call(&link, house.somebody(), shape, ((0..pieces).map(piece).collect(), wanted)).await?;
        }
        Ok(())
    })
}

async fn call(link: &Link, person: &Person, shape: &str, what: (Vec<Bytes>, Vec<u8>)) -> Outcome {
    let (pieces, wanted) = what;
    let request = link.request(Method::POST, &format!("/soak.Soak/{shape}"), person);
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let mut sender = link.sender.clone().ready().await?;
    let (answer, mut send) = sender.send_request(request.body(()).map_err(wrong)?, false)?;
    let (mut came, mut body) = (Vec::new(), None);
    if shape == "Both" {
        let response = answer.await?;
        status(shape, response.headers(), response.status().as_u16())?;
        let stream = body.insert(response.into_body());
        for piece in pieces {
            let length = piece.len();
            send.send_data(piece, false)?;
            came.extend(take(stream, length).await?);
        }
        end(&mut send)?;
    } else {
        for piece in pieces {
            send.send_data(piece, false)?;
        }
        end(&mut send)?;
        let response = answer.await?;
        status(shape, response.headers(), response.status().as_u16())?;
        body = Some(response.into_body());
    }
    let Some(mut body) = body else { return Ok(()) };
    came.extend(collect(&mut body).await?);
    let trailers = body.trailers().await?;
    let Some(trailers) = trailers else {
        return Err(Trouble::Wrong(format!("{shape}: no trailers behind {} bytes", came.len())));
    };
    status(shape, &trailers, 200)?;
    same(shape, &came, &wanted)?;
    let said =
        |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    same(shape, said("grpc-status").as_bytes(), b"0")?;
    same(shape, said("x-said").as_bytes(), person.id.as_bytes())?;
    same(shape, said("x-sent").as_bytes(), wanted.len().to_string().as_bytes())
}

fn end(send: &mut SendStream<Bytes>) -> Outcome {
    Ok(send.send_data(Bytes::new(), true)?)
}

/// What a head or trailers say of the call: UNAVAILABLE is trouble of its own kind.
fn status(shape: &str, fields: &HeaderMap, status: u16) -> Outcome {
    if status != 200 {
        return Err(Trouble::Wrong(format!("gRPC {shape}: {status}")));
    }
    match fields.get("grpc-status").map(http::HeaderValue::as_bytes) {
        None | Some(b"0") => Ok(()),
        Some(b"14") => Err(Trouble::Broken("gRPC: UNAVAILABLE".to_owned())),
        Some(other) => {
            Err(Trouble::Wrong(format!("gRPC {shape}: status {}", String::from_utf8_lossy(other))))
        }
    }
}
