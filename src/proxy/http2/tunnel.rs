//! `WebSocket`s to an app that speaks HTTP/2: a stream of their own where the app offers that (RFC 8441), a connection
//! of HTTP/1.1 where it does not.

use std::time::Duration;

use bytes::BytesMut;
use h2::ext::Protocol;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderValue, Method};

use crate::gate::Pass;
use crate::http::duplex::Duplex;
use crate::http::fields::Fields;
use crate::http::gathered::Received;
use crate::http::reply::Reply;
use crate::http::visit::Visit;
use crate::proxy::app_side::AppSide;
use crate::proxy::failure::Failed;
use crate::proxy::http2::body::{Calls, GoesOn};
use crate::proxy::http2::connections::Leased;
use crate::proxy::http2::given_up::Waiting;
use crate::proxy::http2::upload::{Source, Upload};
use crate::proxy::http2::{Asked, HeadFields, Http2, Trouble, answer, fields, head_fields, request};
use crate::proxy::pace::Pace;
use crate::proxy::term::Term;
use crate::proxy::upgrade::acceptance;
use crate::proxy::{Following, Proxy, Sending, Switch, is_websocket};

impl Http2 {
    /// Forwards a request that asks to leave HTTP.
    pub(super) async fn leave(
        &self,
        proxy: &Proxy,
        visit: &Visit,
        pass: Pass,
        sending: Sending,
    ) -> Result<Reply<Following>, Failed> {
        let websocket = visit.upgrade.as_ref().is_some_and(is_websocket);
        let accept = accept(&visit.headers);
        if !websocket || accept.is_none() {
            return proxy.forward_http1(visit, pass, sending).await;
        }
        let HeadFields { mut fields, apart } = head_fields(proxy, visit, &pass, None)?;
        let mut lease = match self.connections.stream(visit.now, (None, apart)).await? {
            Leased::Stream(lease) if lease.takes_tunnels() => lease,
            Leased::Stream(_) | Leased::Http1 => return proxy.forward_http1(visit, pass, sending).await,
        };
        fields.remove(SEC_WEBSOCKET_KEY);
        let mut request = request(&lease, visit, Method::CONNECT, fields)?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let (response, to) = lease.begin(request, false).map_err(|error| {
            lease.retire();
            lease.failed(Trouble::of(&error, true).failure)
        })?;
        let Sending { body, upgrade } = sending;
        let waiting = Waiting::new(self.connections.given_up(), (response, Upload::none(to)), false);
        let mut source = Source::new(body, 0, (Duration::ZERO, Pace::new(0, Duration::ZERO)), proxy);
        let mut term = Term::begin(pass.session().cloned(), (visit.now, proxy.ticker.now()));
        let asked = Asked { proxy, lease: &lease, term: &mut term, client: None };
        let received = asked.receive(waiting, &mut source).await;
        let (head, upload) = received.map_err(|trouble| lease.failed(trouble.failure))?;
        let Some(leaving) = upgrade.filter(|_| head.status().is_success()) else {
            let goes_on = GoesOn { lease, upload, source, term, calls: Calls::of(false) };
            return Ok(answer(proxy, &pass, head, goes_on));
        };
        lease.answered();
        // It has been taken up, and however it ends is none of what was given up.
        lease.ended();
        let instance = u16::try_from(lease.place()).ok();
        let (parts, receive) = head.into_parts();
        let mut fields = parts.headers;
        fields::clean(&mut fields);
        fields.extend(accept.map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
        let switch = Switch {
            fields: Fields::from(&fields),
            client: leaving,
            instance,
            upstream: AppSide::Http2(Box::new(Duplex::new(
                upload.into_stream(),
                Received::new(receive),
                lease,
            ))),
            unread: BytesMut::new(),
        };
        Ok(proxy.switch(visit, &pass, switch))
    }
}

/// The answer to the client's key (RFC 6455 §4.2.2), which HTTP/2 has no use for. `None` if there is no single key.
fn accept(headers: &Fields) -> Option<HeaderValue> {
    let mut keys = headers.get_all(&SEC_WEBSOCKET_KEY);
    let key = keys.next().filter(|key| key.as_bytes().len() == 24)?;
    if keys.next().is_some() {
        return None;
    }
    HeaderValue::from_str(&acceptance(key.as_bytes())).ok()
}
