//! The rest of a request, sent on once its answer has begun, for as long as its session lasts.

use std::task::{Context, Poll};

use crate::proxy::ending::Ending;
use crate::proxy::response::Http1Body;

impl Http1Body {
    /// Sends on what has come of the request while nothing of the answer can be passed on. Ready once the session has
    /// ended: nothing more of the request is the app's, nor of the answer the client's.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        let cut = self.term.poll_cut(cx, &connection.deadline, self.pool.live());
        if self.upload.finished(connection) {
            self.upload.gather(cx);
        } else if cut.is_pending() {
            // What went wrong is found again by who asks for the next piece.
            let _ = self.upload.poll(cx, connection);
        }
        cut
    }

    /// Sends on what has come of the request before more of the answer is passed on.
    ///
    /// # Errors
    /// Why the answer does not go on either: the session has ended, or the client's body broke, and whatever the app
    /// still says of it answers no whole request.
    pub(super) fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if !self.upload.finished(connection) {
            if self.term.is_over(self.pool.now(), self.pool.live()) {
                return Err(Ending::Session);
            }
            if let Poll::Ready(Err(_)) = self.upload.poll(cx, connection) {
                return Err(Ending::Client);
            }
        }
        if self.upload.has_moved() {
            self.term.moved(&connection.deadline);
        }
        Ok(())
    }
}
