//! Everything a flow may need, wired once.

use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use crate::account::password::Passwords;
use crate::account::place::Geo;
use crate::config::mail::Transport;
use crate::config::{self, Config};
use crate::error::Fault;
use crate::gate::rules::Rules;
use crate::limit::Limits;
use crate::log::sink::Sink;
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::oauth::Providers;
use crate::oauth::provider::Provider;
use crate::proxy::reserved::IdentityNames;
use crate::secret::{Key, Purpose, Seal};
use crate::session::Sessions;
use crate::store::Store;
use crate::time::{Clock, Now};
use crate::token::Tokens;
use crate::ui::mails::Mails;
use crate::ui::{self, Posting, Setup, Ui};

/// The application: one per process, shared by both planes.
pub struct App {
    /// What was configured.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Users, sessions, accounts, the log.
    pub store: Store,
    /// Who is asking.
    pub sessions: Arc<Sessions>,
    /// What we sign.
    pub tokens: Arc<Tokens>,
    /// What a path needs.
    pub rules: Rules,
    /// Under which names nobody but us may say who is there.
    pub identity_names: IdentityNames,
    /// Password policy and hashing.
    pub passwords: Arc<Passwords>,
    /// How often something may be tried.
    pub limits: Limits,
    /// Where people can sign in besides here.
    pub providers: Providers,
    /// Tags the tokens of sign-ins that wait for their code.
    pub pending_key: Key,
    /// Hashes the codes of those sign-ins.
    pub code_key: Key,
    /// Where addresses are.
    pub geo: Geo,
    /// Proves that a browser signed an account in before.
    pub device_key: Key,
    /// Makes the state of flows at providers, and what ties them to a browser.
    pub flow_key: Key,
    /// Tags the one-time secrets that travel by mail.
    pub ticket_key: Key,
    /// The pages.
    pub ui: Ui,
    /// The words of the mails.
    pub mails: Mails,
    /// What carries mails away; `None` if mail is not configured.
    pub mailer: Option<Arc<Mailer>>,
    /// Names whom a mail goes to, where mails are counted.
    pub recipient_key: Key,
    /// Seals what the store keeps but may not show.
    pub seal: Seal,
    /// The runtime for everything that may take its time: flows, hashes, queries.
    pub office: Handle,
    /// What is counted of all that.
    pub metrics: Arc<Metrics>,
    /// Where lines of the access log go; without it, they are events.
    sink: OnceLock<Sink>,
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
        let metrics = Arc::new(Metrics::new(clock.now()));
        let providers = Providers::new(&config.providers, &metrics.providers);
        bind(&store, providers.iter(), clock.now()).await?;
        let sessions = Sessions::new(store.clone(), config.session, &config.secret, config.public.https);
        Ok(Arc::new(Self::wired(
            Parts {
                sessions,
                tokens,
                passwords: Passwords::new(&config.password),
                limits: Limits::new(&config.limits, &config.secret),
                providers,
                geo: geo(&config)?,
                mailer: config.mail.as_ref().map(Mailer::new).transpose()?,
                office: Handle::current(),
                metrics,
                sink: OnceLock::new(),
                clock,
                store,
            },
            config,
        )))
    }

    /// The same application under another configuration of the same store and secret: all is made anew, and what is
    /// remembered stays (sessions, keys, budgets, connections to the store). Nothing of it has an effect before it is
    /// served with: [`Self::bind`] comes last before that, and [`Sessions::take_over`] follows it.
    ///
    /// # Errors
    /// A [`Fault`] if a file that the configuration names cannot be used.
    pub fn under(&self, config: Config) -> Result<Arc<Self>, Fault> {
        let providers = Providers::new(&config.providers, &self.metrics.providers);
        let mailer = match (&self.mailer, &config.mail) {
            (Some(mailer), Some(mail)) => Some(mailer.under(mail)?),
            (None, Some(mail)) => Some(Mailer::new(mail)?),
            (_, None) => None,
        };
        let geo = geo(&config)?;
        let https = config.public.https;
        Ok(Arc::new(Self::wired(
            Parts {
                sessions: self.sessions.under(
                    config.session,
                    &config.secret,
                    https,
                    same_copies(&self.config, &config),
                ),
                tokens: self.tokens.under(&config),
                passwords: self.passwords.under(&config.password),
                limits: self.limits.under(&config.limits, &config.secret),
                providers,
                geo,
                mailer,
                office: self.office.clone(),
                metrics: Arc::clone(&self.metrics),
                sink: self.sink.clone(),
                clock: self.clock.clone(),
                store: self.store.clone(),
            },
            config,
        )))
    }

    /// Has the ids of its providers stand for them in the store, where they did not under the `earlier` configuration.
    /// This outlives the process, so everything else of the configuration has to be found good before.
    ///
    /// # Errors
    /// A [`Fault`] if the store knows better of a provider, or does not answer; then nothing has changed.
    pub async fn bind(&self, earlier: &Self) -> Result<(), Fault> {
        let known = |provider: &Provider| {
            earlier.providers.iter().any(|known| {
                !known.is_here() && (known.id(), known.issuer()) == (provider.id(), provider.issuer())
            })
        };
        bind(&self.store, self.providers.iter().filter(|provider| !known(provider)), self.clock.now()).await
    }

    fn wired(parts: Parts, config: Config) -> Self {
        Self {
            sessions: Arc::new(parts.sessions),
            tokens: Arc::new(parts.tokens),
            rules: rules(&config),
            identity_names: IdentityNames::new(&config.identity),
            passwords: Arc::new(parts.passwords),
            limits: parts.limits,
            providers: parts.providers,
            pending_key: config.secret.key(Purpose::Pending),
            code_key: config.secret.key(Purpose::Code),
            geo: parts.geo,
            device_key: config.secret.key(Purpose::Device),
            flow_key: config.secret.key(Purpose::Flow),
            ticket_key: config.secret.key(Purpose::Ticket),
            ui: ui(&config),
            mails: Mails::new(&config.public.name, &config.public.origin),
            mailer: parts.mailer.map(Arc::new),
            recipient_key: config.secret.key(Purpose::Recipient),
            seal: config.secret.seal(),
            office: parts.office,
            config: Arc::new(config),
            clock: parts.clock,
            store: parts.store,
            metrics: parts.metrics,
            sink: parts.sink,
        }
    }

    /// Has lines of the access log written there. Called before a server is started.
    pub fn log_to(&self, sink: Sink) {
        let _ = self.sink.set(sink);
    }

    /// Where they are written.
    pub fn log_sink(&self) -> Option<Sink> {
        self.sink.get().cloned()
    }
}

/// What an application is wired of besides its configuration.
struct Parts {
    store: Store,
    clock: Clock,
    sessions: Sessions,
    tokens: Tokens,
    passwords: Passwords,
    limits: Limits,
    providers: Providers,
    geo: Geo,
    mailer: Option<Mailer>,
    office: Handle,
    metrics: Arc<Metrics>,
    sink: OnceLock<Sink>,
}

/// Whether copies of sessions in memory are the same under both: how long they live, and the assertion that goes with
/// each.
fn same_copies(one: &Config, other: &Config) -> bool {
    one.session == other.session
        && one.identity.assertion == other.identity.assertion
        && one.public.origin == other.public.origin
}

fn ui(config: &Config) -> Ui {
    Ui::new(Setup {
        name: &config.public.name,
        mount: config.mount(),
        min_length: config.password.min_length,
        sign_up_open: config.sign_up.open,
        mail: posting(config),
        deletion: config.accounts.delete,
        providers: buttons(config),
    })
}

/// What becomes of mails.
fn posting(config: &Config) -> Posting {
    match config.mail.as_ref().map(|mail| &mail.transport) {
        None => Posting::Nowhere,
        Some(Transport::Smtp(_)) => Posting::Server,
        Some(Transport::Catcher) => Posting::Catcher,
    }
}

/// Holds the configured providers against those whose accounts are stored under their ids: what one calls its people
/// must not open the accounts of another's. Without any, the store is not asked.
async fn bind<'p>(
    store: &Store,
    providers: impl Iterator<Item = &'p Provider>,
    now: Now,
) -> Result<(), Fault> {
    let mut providers = providers.filter(|provider| !provider.is_here()).peekable();
    if providers.peek().is_none() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for provider in providers {
        let (id, issuer) = (provider.id(), provider.issuer());
        if let Err(bound) = tx.provider_bind(id, (issuer, provider.formerly()), now).await? {
            let what = format!(
                "accounts under the id {id:?} are of {bound} and not of {issuer}: give it another `id`, or, if it is \
                 the same provider under another name, write `formerly = {bound:?}`"
            );
            return Err(Fault::new("looking at [[providers]]", what));
        }
    }
    tx.commit().await
}

/// The providers as the pages show them.
fn buttons(config: &Config) -> Vec<ui::Provider> {
    let button = |of: &config::provider::Provider| ui::Provider {
        id: of.id.clone(),
        name: of.name.clone(),
        kind: of.kind,
    };
    config.providers.iter().map(button).collect()
}

/// Where addresses are.
fn geo(config: &Config) -> Result<Geo, Fault> {
    Geo::open(&config.geo)
        .map_err(|problems| Fault::new("opening the geo files", config.located(problems).to_string()))
}

/// The rules of a configuration, as the gate reads them.
pub fn rules(config: &Config) -> Rules {
    let mut mounts = config.paths.clone();
    mounts.sort_by_key(|mount| Reverse(mount.len()));
    let rules = &config.access.rules;
    Rules {
        capitals: rules.iter().any(|rule| rule.pattern.to_string().bytes().any(|b| b.is_ascii_uppercase())),
        mounts,
        rules: rules.clone(),
        hide_existence: config.access.hide_existence,
        origin: config.public.origin.clone(),
        forward_auth: config.forward_auth,
        origins: config.access.origins.clone(),
        cross_site_writes: config.access.cross_site_writes,
    }
}
