//! What follows an unusual sign-in, and what that needs.

use std::path::PathBuf;

use crate::config::file::{RawGeo, RawUnusual};
use crate::config::problem::Problems;
use crate::config::unusual::{Geo, Mode, Unusual, Unverified, Way};

/// Without a word on it, it is balanced where mails can be sent and off where not.
pub(super) fn unusual(raw: &RawUnusual, mail: bool, p: &mut Problems) -> Unusual {
    let mode = raw.mode.unwrap_or(if mail { Mode::Balanced } else { Mode::Off });
    if mode != Mode::Off && !mail && !p.about("mail") {
        p.add(
            "unusual.mode",
            "asks for mails, and no mail server is configured",
            "write a section [mail], or `mode = \"off\"`",
        );
    }
    let strict = mode == Mode::Strict;
    if raw.apply_to.as_ref().is_some_and(|ways| !ways.contains(&Way::Password)) {
        p.add(
            "unusual.apply_to",
            "leaves out \"password\"",
            "write [\"password\"] or [\"password\", \"provider\"]; `mode = \"off\"` judges none",
        );
    }
    Unusual {
        mode,
        providers: raw.apply_to.as_ref().map_or(strict, |ways| ways.contains(&Way::Provider)),
        block_unverified: raw.unverified.map_or(strict, |what| what == Unverified::Block),
    }
}

pub(super) fn geo(raw: &RawGeo) -> Geo {
    let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
    Geo {
        country_file: path(&raw.country_file),
        asn_file: path(&raw.asn_file),
        anonymizers_file: path(&raw.anonymizers_file),
    }
}
