//! The app behind the site, speaking HTTP/2: records what arrived, and answers as the test tells it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio_rustls::TlsAcceptor;

/// One request, to be answered.
pub(crate) struct Call {
    pub(crate) head: Parts,
    pub(crate) body: RecvStream,
    pub(crate) reply: SendResponse<Bytes>,
}

/// The head of a request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
}

impl Arrived {
    /// All values under a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
    }
}

type Script = dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A server of HTTP/2 that answers as a closure does.
pub(crate) struct App2 {
    pub(crate) address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    connections: Arc<AtomicUsize>,
    /// Its connections end with it.
    runtime: Option<Runtime>,
}

impl App2 {
    /// Answers every request with what `script` does, on connections made by `builder`.
    pub(crate) fn with<F>(builder: Builder, script: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(builder, None, Arc::new(move |call| Box::pin(script(call))))
    }

    /// The same under TLS.
    pub(crate) fn encrypted<F>(tls: TlsAcceptor, script: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(Builder::new(), Some(tls), Arc::new(move |call| Box::pin(script(call))))
    }

    /// Answers `hello` to everything.
    pub(crate) fn hello() -> Self {
        Self::with(Builder::new(), |call| async move { call.say("hello") })
    }

    fn start(builder: Builder, tls: Option<TlsAcceptor>, script: Arc<Script>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let arrived = Arc::<Mutex<Vec<Arrived>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (noted, counted) = (Arc::clone(&arrived), Arc::clone(&connections));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (builder, script, noted) = (builder.clone(), Arc::clone(&script), Arc::clone(&noted));
                let tls = tls.clone();
                Handle::current().spawn(async move {
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => serve(stream, builder, &script, &noted).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, builder, &script, &noted).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, arrived, connections, runtime: Some(runtime) }
    }

    /// The lines of `[upstream]` that lead here.
    pub(crate) fn toml(&self) -> String {
        format!("url = \"http://{}\"\nprotocol = \"h2c\"", self.address)
    }

    /// Everything that arrived so far.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("no panic").clone()
    }

    /// The only request that arrived.
    pub(crate) fn only(&self) -> Arrived {
        let mut all = self.arrived();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for App2 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    builder: Builder,
    script: &Arc<Script>,
    arrived: &Mutex<Vec<Arrived>>,
) {
    let Ok(mut server) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, reply))) = server.accept().await {
        let (head, body) = request.into_parts();
        let leave = head.headers.contains_key("x-go-away");
        arrived.lock().expect("no panic").push(Arrived {
            method: head.method.to_string(),
            uri: head.uri.to_string(),
            headers: head.headers.clone(),
        });
        if leave {
            server.graceful_shutdown();
        }
        Handle::current().spawn(script(Call { head, body, reply }));
    }
}

impl Call {
    /// Answers 200 with this text.
    pub(crate) fn say(mut self, text: &'static str) {
        if let Ok(mut body) = self.reply.send_response(Response::new(()), false) {
            let _ = body.send_data(Bytes::from_static(text.as_bytes()), true);
        }
    }

    /// Begins an answer of this type, to be continued.
    pub(crate) fn begin(&mut self, content_type: &'static str) -> SendStream<Bytes> {
        let head = Response::builder().header("content-type", content_type).body(()).expect("a response");
        self.reply.send_response(head, false).expect("the stream is open")
    }

    /// The whole body, and its trailers.
    pub(crate) async fn collect(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        let mut all = Vec::new();
        while let Some(Ok(data)) = self.body.data().await {
            let _ = self.body.flow_control().release_capacity(data.len());
            all.extend_from_slice(&data);
        }
        (all, self.body.trailers().await.ok().flatten())
    }
}
