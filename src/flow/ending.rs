//! What ends when an account is no longer trusted to be in the right hands: everything by which somebody is in,
//! or could get in without proving once more who they are.

use crate::account::ticket::lifetime;
use crate::error::Fault;
use crate::id::{SessionId, UserId};
use crate::secret::TokenHash;
use crate::store::Tx;
use crate::store::tickets::TicketKind;
use crate::time::Now;

/// Ends all of it in the flow's own transaction, but for one session. Returns the tokens for
/// `Sessions::commit_ended`. Whatever else lets somebody in is ended here and nowhere else.
pub async fn end_all(
    tx: &mut Tx,
    user: &UserId,
    except: Option<&SessionId>,
) -> Result<Vec<TokenHash>, Fault> {
    // A sign-in that has begun is over before its session is looked for, or finds what has become of the user.
    tx.user_hold(user).await?;
    tx.tickets_withdraw(user).await?;
    tx.pendings_delete_of_user(user).await?;
    let mut ended = tx.sessions_delete_of_user(user, except).await?;
    // After the sessions: a session in which a token is made at this moment is held until the token is there.
    ended.extend(tx.personal_tokens_delete_of_user(user).await?);
    Ok(ended)
}

/// Ends all of it, and trusts no browser any more: whoever used them may not have been the owner. Returns the
/// tokens for `Sessions::commit_ended`.
pub(super) async fn end_all_and_distrust(
    tx: &mut Tx,
    user: &UserId,
    now: Now,
) -> Result<Vec<TokenHash>, Fault> {
    let ended = end_all(tx, user, None).await?;
    tx.devices_revoke_of_user(user, None, now).await?;
    tx.tickets_delete_of_user(user).await?;
    Ok(ended)
}

/// LK-3: removes the providers that were connected of late, by which whoever got in could come back; for as long
/// as the word about an unusual sign-in is good. What the user was made with stays. Returns the providers' ids.
pub(super) async fn remove_added(tx: &mut Tx, user: &UserId, now: Now) -> Result<Vec<String>, Fault> {
    tx.accounts_delete_added(user, now.minus(lifetime(TicketKind::NotMe))).await
}
