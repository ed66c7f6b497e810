//! What browsers are told to forget of this site at a sign-out: `session.clear_on_sign_out`.

use serde::Deserialize;

/// Something that a browser keeps for a site (Clear Site Data §3.1).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clear {
    /// Answers that were kept.
    Cache,
    /// Cookies of the whole registrable domain.
    Cookies,
    /// What scripts keep.
    Storage,
}

/// All of it that is to be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClearSiteData {
    cache: bool,
    cookies: bool,
    storage: bool,
}

impl ClearSiteData {
    pub(super) fn of(list: &[Clear]) -> Self {
        let has = |what| list.contains(&what);
        Self { cache: has(Clear::Cache), cookies: has(Clear::Cookies), storage: has(Clear::Storage) }
    }

    /// The value of `Clear-Site-Data`; `None` if nothing is to be forgotten.
    pub fn header(self) -> Option<String> {
        let all = [(self.cache, "\"cache\""), (self.cookies, "\"cookies\""), (self.storage, "\"storage\"")];
        let named: Vec<&str> = all.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
        (!named.is_empty()).then(|| named.join(", "))
    }
}
