//! Everything a flow may need, wired once.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::account::password::Passwords;
use crate::config::Config;
use crate::error::Fault;
use crate::gate::rules::Rules;
use crate::limit::Limits;
use crate::secret::{Key, Purpose};
use crate::session::Sessions;
use crate::store::Store;
use crate::time::Clock;
use crate::token::Tokens;
use crate::ui::Ui;

/// The application: one per process, shared by both planes.
pub struct App {
    /// What was configured.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Users, sessions, accounts, the log.
    pub store: Store,
    /// Who is asking.
    pub sessions: Sessions,
    /// What we sign.
    pub tokens: Tokens,
    /// What a path needs.
    pub rules: Rules,
    /// Password policy and hashing.
    pub passwords: Passwords,
    /// How often something may be tried.
    pub limits: Limits,
    /// Proves that a browser signed an account in before.
    pub device_key: Key,
    /// The pages.
    pub ui: Ui,
    /// The runtime for everything that may take its time: flows, hashes, queries.
    pub office: Handle,
}

impl App {
    /// Opens the store and wires everything. Runs on the office's runtime.
    ///
    /// # Errors
    /// A [`Fault`] if the store cannot be opened.
    pub async fn start(config: Config, clock: Clock) -> Result<Arc<Self>, Fault> {
        let store = Store::open(&config.store, &clock).await?;
        let tokens = Tokens::new(store.clone(), &config);
        tokens.start(clock.now()).await?;
        Ok(Arc::new(Self {
            sessions: Sessions::new(store.clone(), config.session, &config.secret, config.public.https),
            tokens,
            rules: rules(&config),
            passwords: Passwords::new(&config.password),
            limits: Limits::new(&config.limits, &config.secret),
            device_key: config.secret.key(Purpose::Device),
            ui: Ui::new(&config.public.name, config.mount(), config.password.min_length, config.sign_up.open),
            office: Handle::current(),
            config: Arc::new(config),
            clock,
            store,
        }))
    }
}

/// The rules of a configuration, as the gate reads them.
pub fn rules(config: &Config) -> Rules {
    let rules = &config.access.rules;
    Rules {
        capitals: rules.iter().any(|rule| rule.pattern.to_string().bytes().any(|b| b.is_ascii_uppercase())),
        mounts: config.paths.clone(),
        rules: rules.clone(),
        hide_existence: config.access.hide_existence,
        origin: config.public.origin.clone(),
    }
}
