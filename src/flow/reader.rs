//! In which language somebody reads: that of the browser with which they last signed in, so that mails whose cause
//! is somebody else's browser come in the language of their reader.

use crate::error::Fault;
use crate::http::visit::Visit;
use crate::id::UserId;
use crate::store::Tx;
use crate::ui::text::Language;

/// What `user` reads; of whom nothing is known, what this browser prefers.
pub(super) async fn language(tx: &mut Tx, user: &UserId, visit: &Visit) -> Result<Language, Fault> {
    let noted = tx.language_of_user(user).await?.and_then(|tag| Language::from_tag(&tag));
    Ok(noted.unwrap_or_else(|| Language::preferred(visit.language())))
}

/// Notes what `user` reads, for this is the user's own browser. One that asks for no language of ours, and a program,
/// changes nothing.
pub(super) async fn note(tx: &mut Tx, user: &UserId, visit: &Visit) -> Result<(), Fault> {
    match Language::asked_for(visit.language()) {
        Some(language) => tx.language_set(user, language.tag()).await,
        None => Ok(()),
    }
}
