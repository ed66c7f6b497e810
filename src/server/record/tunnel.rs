//! The line of a request that opened a tunnel: it is written when that has ended.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::log::access::{Access, Told};
use crate::proxy::ending::Ending;
use crate::proxy::upgrade::Ended;
use crate::time::Moment;

/// What is written down of a tunnel: the line of the request that opened it.
pub(in crate::server) struct Opened {
    access: Rc<Access>,
    begun: Moment,
    line: Vec<u8>,
    told: Told,
}

impl Opened {
    pub(super) fn new(access: Rc<Access>, begun: Moment, line: Vec<u8>, told: Told) -> Self {
        Self { access, begun, line, told }
    }

    /// It has ended, and so much was passed on to the client.
    pub(in crate::server) fn end(mut self, bytes: u64, ended: Option<Ending>) {
        self.write(bytes, ended);
    }

    fn write(&mut self, bytes: u64, ended: Option<Ending>) {
        let told = Told { bytes, took: self.begun.elapsed(), ended: ended.map(Ending::name), ..self.told };
        self.access.told(std::mem::take(&mut self.line), &told);
    }
}

/// One that has not ended by itself ends with its worker.
impl Drop for Opened {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.write(0, Some(Ending::Drain));
        }
    }
}

/// A tunnel has ended that was opened from this address.
pub(in crate::server) fn closed(opened: Option<Opened>, ended: Ended, peer: SocketAddr) {
    if let Some(error) = ended.error {
        tracing::debug!(%peer, %error, "tunnel ended");
    }
    if let Some(opened) = opened {
        opened.end(ended.bytes, ended.by);
    }
}
