//! What the demo's provider remembers of people who chose somebody to be: codes and access tokens.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Person;
use crate::secret;
use crate::time::Now;

/// Lifetime of a code.
const CODE: Duration = Duration::from_mins(1);
/// Lifetime of an access token.
const ACCESS: Duration = Duration::from_mins(5);
/// Most of either that are kept.
const MOST: usize = 1000;

/// Somebody was chosen for a request.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) person: &'static Person,
    pub(super) challenge: String,
    pub(super) nonce: Option<String>,
}

/// All that still counts, by code and by access token, with its end.
#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<String, (Grant, Now)>,
    access: HashMap<String, (Grant, Now)>,
}

impl Grants {
    /// A code that can be exchanged once.
    pub(super) fn code(&mut self, grant: Grant, now: Now) -> String {
        keep(&mut self.codes, grant, now, CODE)
    }

    /// What a code stands for; it does so only once.
    pub(super) fn redeem(&mut self, code: &str, now: Now) -> Option<Grant> {
        self.codes.remove(code).filter(|(_, end)| now < *end).map(|(grant, _)| grant)
    }

    /// An access token.
    pub(super) fn access(&mut self, grant: Grant, now: Now) -> String {
        keep(&mut self.access, grant, now, ACCESS)
    }

    /// Whose access token this is.
    pub(super) fn holder(&self, token: &str, now: Now) -> Option<&'static Person> {
        self.access.get(token).filter(|(_, end)| now < *end).map(|(grant, _)| grant.person)
    }
}

fn keep(kept: &mut HashMap<String, (Grant, Now)>, grant: Grant, now: Now, lifetime: Duration) -> String {
    kept.retain(|_, (_, end)| now < *end);
    if kept.len() >= MOST {
        kept.clear();
    }
    let name = URL_SAFE_NO_PAD.encode(secret::random::<32>());
    kept.insert(name.clone(), (grant, now.plus(lifetime)));
    name
}
