//! A client that speaks HTTP/2: hyper's, or single frames.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

pub(crate) use crate::support::frame::{answered, frame, get, goaway, preface, read_frame};
use crate::support::raw::PATIENCE;
use crate::support::upstream::Upstream;

/// A connection with prior knowledge.
pub(crate) struct H2 {
    runtime: Runtime,
    sender: SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
}

/// A body that comes piece by piece.
struct Pieces(UnboundedReceiver<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

/// An answer, whole.
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl H2 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, connection) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2")
        });
        runtime.spawn(connection);
        Self { runtime, sender }
    }

    /// The answer to a request, its body as it comes.
    pub(crate) fn begin(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let sent = self.sender.send_request(request.map(http_body_util::BodyExt::boxed_unsync));
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, sent).await.expect("in time") })
    }

    /// Begins a request whose body is sent piece by piece, and that may be answered meanwhile.
    pub(crate) fn stream(
        &mut self,
        request: Request<()>,
    ) -> (UnboundedSender<Frame<Bytes>>, impl Future<Output = hyper::Result<Response<Incoming>>> + use<>)
    {
        let (sender, receiver) = unbounded_channel();
        (sender, self.sender.send_request(request.map(|()| Pieces(receiver).boxed_unsync())))
    }

    /// The whole answer to a request.
    pub(crate) fn ask(&mut self, request: Request<Full<Bytes>>) -> Whole {
        let response = self.begin(request).expect("an answer");
        let (parts, body) = response.into_parts();
        let collected = self.block_on(body.collect()).expect("a body");
        Whole {
            status: parts.status.as_u16(),
            headers: parts.headers,
            trailers: collected.trailers().cloned(),
            body: collected.to_bytes().to_vec(),
        }
    }

    /// Has something go on beside all else.
    pub(crate) fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.runtime.spawn(future)
    }

    /// Runs something beside the connection.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
    }

    /// Whether the connection still takes requests.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// Sends these bytes and reads until the other side ends the connection. Fails if it does not.
pub(crate) fn until_ended(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // It may be ended while we still write.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it was not ended"),
        Ok(_) | Err(_) => answer,
    }
}

/// An app of single frames: `script` sees every frame of a connection but those of the greeting, which is answered.
pub(crate) fn frames(
    script: impl Fn(usize, &mut TcpStream, (u8, u8, u32, Vec<u8>)) -> bool + Send + Sync + 'static,
) -> Upstream {
    frames_after(|_| {}, script)
}

/// The same; each connection is greeted once `gate` lets it.
pub(crate) fn frames_after(
    gate: impl Fn(usize) + Send + Sync + 'static,
    script: impl Fn(usize, &mut TcpStream, (u8, u8, u32, Vec<u8>)) -> bool + Send + Sync + 'static,
) -> Upstream {
    let number = AtomicUsize::new(0);
    Upstream::listening(move |mut stream| {
        let number = number.fetch_add(1, Ordering::SeqCst) + 1;
        gate(number);
        let mut preface = [0; 24];
        if stream.read_exact(&mut preface).is_err() {
            return;
        }
        let _ = stream.write_all(&frame(4, 0, 0, b""));
        let mut greeted = false;
        while let Some(got) = read_frame(&mut stream) {
            match got.0 {
                4 if got.1 == 0 => drop(stream.write_all(&frame(4, 1, 0, b""))),
                6 if !greeted => {
                    greeted = true;
                    let _ = stream.write_all(&frame(6, 1, 0, &got.3));
                }
                _ if !script(number, &mut stream, got) => break,
                _ => {}
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    })
}
