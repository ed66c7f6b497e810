//! The line of a request that opened a tunnel: it is written when that has ended.

use std::cell::Cell;
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
    /// Bytes that the tunnel has passed on to the client.
    passed: Rc<Cell<u64>>,
}

impl Opened {
    pub(super) fn new(
        access: Rc<Access>,
        begun: Moment,
        (line, told): (Vec<u8>, Told),
        passed: Rc<Cell<u64>>,
    ) -> Self {
        Self { access, begun, line, told, passed }
    }

    /// It has ended.
    pub(in crate::server) fn end(mut self, ended: Option<Ending>) {
        self.write(ended);
    }

    fn write(&mut self, ended: Option<Ending>) {
        let bytes = self.passed.get();
        let told = Told { bytes, took: self.begun.elapsed(), ended: ended.map(Ending::name), ..self.told };
        self.access.told(std::mem::take(&mut self.line), &told);
    }
}

/// One that has not ended by itself ends with its worker.
impl Drop for Opened {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.write(Some(Ending::Drain));
        }
    }
}

/// A tunnel has ended that was opened from this address.
pub(in crate::server) fn closed(opened: Option<Opened>, ended: Ended, peer: SocketAddr) {
    if let Some(error) = ended.error {
        tracing::debug!(%peer, %error, "tunnel ended");
    }
    if let Some(opened) = opened {
        opened.end(ended.by);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_tunnel_that_ends_with_its_worker_has_a_line_of_what_it_carried() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let told = Told {
            status: Some(101),
            decision: "forwarded",
            reason: None,
            bytes: 0,
            took: Duration::ZERO,
            upstream: None,
            grpc_status: None,
            ended: None,
        };
        let passed = Rc::<Cell<u64>>::default();
        let access = Rc::new(Access::new(false, None));
        let opened = Opened::new(access, Moment::now(), (b"request".to_vec(), told), Rc::clone(&passed));
        passed.set(7);
        tracing::subscriber::with_default(subscriber, || drop(opened));
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("text");
        assert!(text.contains(" bytes=7 ") && text.contains(" ended=drain"), "{text}");
    }
}
