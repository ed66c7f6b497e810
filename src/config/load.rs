//! From the file, the environment and the command line to a configuration, or to all that is wrong with it.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use super::layers::{Given, Layers};
use super::problem::Problems;
use super::{Config, Database, authorities, check, secret, shape};
use crate::secret::RootSecret;

/// What a configuration is read from. Flags win over the environment, the environment over the file.
pub struct Sources {
    /// The TOML file; none is needed if the rest names the app.
    pub file: Option<PathBuf>,
    /// The environment: `SIDEGATE_SECTION__KEY` variables, and what `${NAME}` in the file stands for.
    pub env: Vec<(OsString, OsString)>,
    /// Values of the command line.
    pub flags: Flags,
    /// What becomes of a root secret that had to be made.
    pub new_secret: NewSecret,
}

/// Values of the command line.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--upstream`: `upstream.url`
    pub upstream: Option<String>,
    /// `--listen`: `listen.address`
    pub listen: Option<String>,
    /// `--store`: `store.url`
    pub store: Option<String>,
}

/// What becomes of a root secret that had to be made because none is given and none was kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NewSecret {
    /// It is kept in a file, for the next start.
    Keep,
    /// It is forgotten: who only looks at the configuration leaves no files.
    Leave,
}

/// Reads and checks the configuration. The error holds everything that is wrong with it; nothing
/// is written unless all is well.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    load_with(sources, |_, _| {})
}

/// The same, and `look` notes what is wrong with the files that it names. It may be shown a configuration with problems,
/// and is to leave out each section in which there are any ([`Problems::within`]).
///
/// # Errors
/// As for [`load()`].
pub fn load_with(sources: &Sources, look: impl FnOnce(&Config, &mut Problems)) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let layers = Layers::read(sources, &mut problems);
    meant(layers, problems, sources, look)
}

/// What the values mean; fails with all problems, those known before included.
pub(super) fn meant(
    mut layers: Layers,
    mut problems: Problems,
    sources: &Sources,
    look: impl FnOnce(&Config, &mut Problems),
) -> Result<Config, Problems> {
    if layers.unreadable {
        // All that a file would have said would be missed.
        problems.locate(|key| layers.places.of(key));
        return Err(problems);
    }
    let values = layers.table.clone();
    let mut raw = shape::shape(&mut layers, &mut problems);

    let url = secret::given("store.url", raw.store.url.take(), raw.store.url_file.as_deref(), &mut problems);
    raw.store.url = url.map(|url| url.to_string());
    let smtp = &mut raw.mail.smtp;
    let password = secret::given(
        "mail.smtp.password",
        smtp.password.take(),
        smtp.password_file.as_deref(),
        &mut problems,
    );
    smtp.password = password.map(|text| text.to_string());
    let key = if raw.secret_file.is_some() { "secret_file" } else { "secret" };
    let given = secret::given("secret", raw.secret.take(), raw.secret_file.as_deref(), &mut problems);
    let given = given.and_then(|text| secret::root(key, &text, &mut problems));
    let former = secret::former(&raw.former_secret_files, given.as_ref(), &mut problems);
    let make_one = given.is_none() && !problems.about("secret") && !problems.about("secret_file");

    for (i, provider) in raw.providers.iter_mut().enumerate() {
        let key = format!("providers[{i}].client_secret");
        let (value, file) = (provider.client_secret.take(), provider.client_secret_file.as_deref());
        provider.client_secret = secret::given(&key, value, file, &mut problems).map(|text| text.to_string());
    }

    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (secret, former) = match given {
        Some(secret) => (secret.after(former), Vec::new()),
        None => (secret::stand_in(), former),
    };
    let mut config = check::check(&raw, secret, cores, &mut problems);
    authorities::read(&mut config, &mut problems);
    look(&config, &mut problems);
    problems
        .none_or(config)
        .and_then(|config| if make_one { with_own_secret(config, former, sources) } else { Ok(config) })
        .map_err(|mut problems| {
            problems.locate(|key| layers.places.of(key));
            problems
        })
        .map(|config| Config { given: Given { values, places: layers.places }, ..config })
}

/// With the root secret that was kept earlier, or a new one.
fn with_own_secret(
    mut config: Config,
    former: Vec<RootSecret>,
    sources: &Sources,
) -> Result<Config, Problems> {
    let home = secret::home(&config.store.database, sources.file.as_deref());
    if let Database::Postgres(_) = config.store.database {
        let home = home.display();
        config.dangers.push(format!(
            "secret: is kept in {home} and must be the same on every replica; better give `secret_file`"
        ));
    }
    config.secret = Arc::new(secret::kept_or_new(&home, sources.new_secret)?.after(former));
    Ok(config)
}
