//! What is known when somebody has proved who they are: the browser, its place, and how the account was used.

use crate::account::agent;
use crate::account::place::{self, Place};
use crate::account::unusual::{self, CHANGES_WITHIN, GUESSES_WITHIN, Judgement, Proof, Sighting, Signs};
use crate::app::App;
use crate::config::unusual::Mode;
use crate::error::Error;
use crate::flow::entry::{By, Proved, shown};
use crate::http::visit::Visit;
use crate::refusal::Refusal;
use crate::store::Tx;
use crate::store::auth_log::{Action, Logged};
use crate::store::devices::DeviceRow;

/// Lines of the log that are looked at.
const LINES: u32 = 500;

/// Where the browser of this visit is, and what it is.
pub(super) fn here(app: &App, visit: &Visit) -> Sighting {
    Sighting {
        at: visit.now,
        agent: agent::family(visit.agent(), visit.platform()),
        place: app.geo.place(visit.client),
    }
}

/// Judges the sign-in; `None` if none is judged here.
pub(super) async fn judge(
    app: &App,
    visit: &Visit,
    tx: &mut Tx,
    Proved { user, by, .. }: Proved<'_>,
    here: &Sighting,
) -> Result<Option<Judgement>, Error> {
    let config = app.config.unusual;
    if config.mode == Mode::Off {
        return Ok(None);
    }
    let devices = tx.devices_of_user(&user.id).await?;
    let logged = tx.auth_log_last_sign_in(&user.id).await?;
    let lines = tx.auth_log_since(&user.id, visit.now.minus(CHANGES_WITHIN), LINES).await?;
    let secret = shown(app, visit).secret.map(|secret| secret.hash());
    let trusted: Vec<&DeviceRow> = devices.iter().filter(|device| device.revoked.is_none()).collect();
    let known = trusted.iter().find(|device| Some(device.secret) == secret).map(|device| device.seen);
    // What the log keeps of a browser is less than what is seen of it now, so that is compared.
    let elsewhere = |line: &&Logged| {
        let network = line.address.as_deref().and_then(|text| text.parse().ok()).map(place::network);
        network.as_deref() != Some(&here.place.network)
            || agent::family(line.agent.as_deref(), None) != agent::family(visit.agent(), None)
    };
    let guesses_since = visit.now.minus(GUESSES_WITHIN);
    let guess = |line: &&Logged| line.at > guesses_since && is_guess(line);
    let signs = Signs {
        applies: !matches!(by, By::Provider(_)) || config.providers,
        proof: match by {
            By::Password => Proof::Password,
            By::Mailbox => Proof::Mailbox,
            By::Provider(_) => Proof::Provider,
        },
        known,
        trusted: trusted.iter().map(|device| sighting(app, device)).collect(),
        never: devices.is_empty() && logged.is_none(),
        created: user.created,
        last: devices.first().map(|device| device.seen).max(logged),
        guesses: lines.iter().filter(guess).filter(elsewhere).count(),
        changed_elsewhere: lines.iter().any(|line| is_change(line) && elsewhere(&line)),
        here: here.clone(),
    };
    Ok(Some(unusual::judge(config.mode, &signs)))
}

/// A browser as it was last seen.
fn sighting(app: &App, device: &DeviceRow) -> Sighting {
    let place = Place {
        network: device.network.clone(),
        country: device.country.clone(),
        asn: device.asn.and_then(|asn| u32::try_from(asn).ok()),
        fix: app.geo.fix_of(&device.network),
    };
    Sighting { at: device.seen, agent: device.agent.clone(), place }
}

/// Whether the password was wrong.
fn is_guess(line: &Logged) -> bool {
    line.action == Action::SignIn.as_str()
        && line.error.as_deref() == Some(Refusal::InvalidCredentials.code())
}

/// Whether the password or the address was changed.
fn is_change(line: &Logged) -> bool {
    line.success && ["password-reset", "password-change", "email-change"].contains(&line.action.as_str())
}
