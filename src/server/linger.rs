//! How a connection ends whose client may still be sending.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long is listened to a client that has been answered and is still sending.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Ends our side and reads away what the client still sends: to close at once would reset the connection, and
/// the client could lose the answer before it has read it (RFC 9112 §9.6).
pub(super) async fn linger(socket: impl AsyncRead + AsyncWrite + Unpin) {
    linger_for(LINGER, socket).await;
}

/// The same, listening for this long.
pub(super) async fn linger_for(time: Duration, mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let read_away = async {
        socket.shutdown().await?;
        let mut buffer = [0; 4096];
        while socket.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the client hears of it or not, the connection is over.
    let _ = timeout(time, read_away).await;
}
