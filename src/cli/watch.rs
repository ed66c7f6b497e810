//! A look at the files of certificates now and then: whoever renews them need tell nobody.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::config::Config;
use crate::config::tls::Tls;
use crate::server::Server;

/// What tells one state of a file from another; `None` if there is no such file. A link that leads elsewhere now leads
/// to another file, and a file that was renamed or may be read now has been changed too.
type State = Option<(u64, u64, u64, i64, i64)>;

/// The files as they were when they were last used.
pub(super) struct Watch {
    used: Vec<State>,
    /// As they were when they could not be.
    refused: Option<Vec<State>>,
}

impl Watch {
    /// As they are now. To be asked before they are read, so that no change goes unseen.
    pub(super) fn new(config: &Config) -> Self {
        Self { used: config.tls.iter().flat_map(Tls::files).map(state).collect(), refused: None }
    }

    /// Waits until it is time to look; for ever if nobody asked for it.
    pub(super) async fn wait(config: &Config) {
        match config.tls.as_ref().map_or(Duration::ZERO, |tls| tls.watch) {
            Duration::ZERO => std::future::pending().await,
            every => sleep(every).await,
        }
    }

    /// Looks, and has the server read what is another now. Files that cannot be used are read again at the next look, and
    /// told of, and counted, once: they are usually half of what is about to be there, or the system was short of something.
    pub(super) fn look(&mut self, app: &App, server: &Server) {
        let now = Self::new(&app.config);
        if now.used == self.used {
            return;
        }
        match server.renew_certificates() {
            Ok(()) => {
                *self = now;
                app.metrics.certificates_changed(true);
                tracing::info!("the certificates have changed, and were read again");
                server.dangers().iter().for_each(|danger| tracing::warn!("{danger}"));
            }
            Err(_) if self.refused.as_ref() == Some(&now.used) => {}
            Err(problems) => {
                self.refused = Some(now.used);
                app.metrics.certificates_changed(false);
                for line in app.config.located(problems).to_string().lines() {
                    tracing::error!("the certificates have changed, and those of before stay: {line}");
                }
            }
        }
    }
}

fn state(file: &Path) -> State {
    let of = fs::metadata(file).ok()?;
    Some((of.dev(), of.ino(), of.len(), of.ctime(), of.ctime_nsec()))
}
