//! The table `sidegate_ticket`: one-time secrets that were sent by mail, by the hash of their token.

use crate::error::Fault;
use crate::id::UserId;
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::users::{user_columns, user_of};
use crate::store::{Store, Tx, fault};
use crate::time::Now;
use crate::visitor::User;

/// What a ticket is good for, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKind {
    /// Proves the mailbox of an account.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Proves the mailbox that an account is to have.
    ChangeEmail,
    /// Deletes an account.
    DeleteAccount,
    /// Says that a sign-in was somebody else's.
    NotMe,
}

impl TicketKind {
    /// The text in the column, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::ResetPassword => "reset-password",
            Self::ChangeEmail => "change-email",
            Self::DeleteAccount => "delete-account",
            Self::NotMe => "not-me",
        }
    }
}

/// A ticket as it is stored.
pub struct TicketRow {
    /// The hash of its token.
    pub token: TokenHash,
    /// What it is good for.
    pub kind: TicketKind,
    /// Whose it is.
    pub user: UserId,
    /// The address that the user has; with another one the ticket is void, but for [`TicketKind::NotMe`].
    pub email: String,
    /// The address that the user wants to have.
    pub new_email: Option<String>,
    /// When it was issued.
    pub issued: Now,
    /// When it is void.
    pub expires: Now,
}

/// A ticket that is good: whose it is, and what came with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is.
    pub user: User,
    /// The address that it was sent to.
    pub email: String,
    /// The address that the user wants to have.
    pub new_email: Option<String>,
}

/// Bound to the address that the user had when it was issued.
const TICKET_BY_HASH: &str = concat!(
    r#"SELECT "sidegate_ticket"."newEmail" AS "sidegate_ticket.newEmail",
        "sidegate_ticket"."email" AS "sidegate_ticket.email", "#,
    user_columns!(),
    r#" FROM "sidegate_ticket" JOIN "user" ON "user"."id" = "sidegate_ticket"."userId"
        AND ("user"."email" = "sidegate_ticket"."email" OR "sidegate_ticket"."purpose" = 'not-me')
    WHERE "sidegate_ticket"."token" = $1 AND "sidegate_ticket"."purpose" = $2
        AND "sidegate_ticket"."expiresAt" > $3"#
);

impl Store {
    /// What a ticket is good for at `now`, without spending it.
    pub async fn ticket_by_hash(
        &self,
        token: TokenHash,
        kind: TicketKind,
        now: Now,
    ) -> Result<Option<Ticket>, Fault> {
        let row = on!(&self.read, pool => sqlx::query(TICKET_BY_HASH)
            .bind(token)
            .bind(kind.as_str())
            .bind(now)
            .fetch_optional(pool)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("reading a ticket"))?;
        let Some(row) = row else { return Ok(None) };
        let new_email = row.text("sidegate_ticket.newEmail", &token.handle())?;
        let email = row.get("sidegate_ticket.email", &token.handle())?;
        Ok(Some(Ticket { user: user_of(&row)?, email, new_email }))
    }
}

/// One statement, so that of two that are issued at the same time one is left.
const TICKET_INSERT: &str = r#"
    INSERT INTO "sidegate_ticket" ("token", "purpose", "userId", "email", "newEmail", "createdAt", "expiresAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT ("userId", "purpose") DO UPDATE SET
        "token" = excluded."token", "email" = excluded."email", "newEmail" = excluded."newEmail",
        "createdAt" = excluded."createdAt", "expiresAt" = excluded."expiresAt""#;

const NOT_ME_STANDS: &str = r#"
    SELECT 1 FROM "sidegate_ticket"
    WHERE "userId" = $1 AND "purpose" = $2 AND "email" <> $3 AND "expiresAt" > $4"#;

const TICKET_TAKE: &str = r#"
    DELETE FROM "sidegate_ticket"
    WHERE "token" = $1 AND "purpose" = $2 AND "expiresAt" > $3 AND EXISTS
        (SELECT 1 FROM "user" WHERE "user"."id" = "sidegate_ticket"."userId"
            AND ("user"."email" = "sidegate_ticket"."email" OR "sidegate_ticket"."purpose" = 'not-me'))
    RETURNING "userId" AS "sidegate_ticket.userId", "email" AS "sidegate_ticket.email", "newEmail" AS "sidegate_ticket.newEmail""#;

const TICKETS_DELETE_OF_USER: &str = r#"
    DELETE FROM "sidegate_ticket" WHERE "userId" = $1 AND NOT ("purpose" = $2
        AND "email" <> (SELECT "user"."email" FROM "user" WHERE "user"."id" = $1))"#;

const TICKETS_WITHDRAW: &str = r#"DELETE FROM "sidegate_ticket" WHERE "userId" = $1 AND "purpose" <> $2"#;

const TICKETS_DELETE_EXPIRED: &str = r#"
    DELETE FROM "sidegate_ticket" WHERE "expiresAt" <= $1 AND "token" IN
        (SELECT "token" FROM "sidegate_ticket" WHERE "expiresAt" <= $1 ORDER BY "expiresAt" LIMIT $2)"#;

impl Tx {
    /// Stores a ticket; an earlier one of the same user and kind is void.
    pub async fn ticket_insert(&mut self, ticket: &TicketRow) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(TICKET_INSERT)
            .bind(ticket.token)
            .bind(ticket.kind.as_str())
            .bind(&ticket.user)
            .bind(&ticket.email)
            .bind(&ticket.new_email)
            .bind(ticket.issued)
            .bind(ticket.expires)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("storing a ticket"))
    }

    /// Whether a [`TicketKind::NotMe`] is good at `now` that went to another address than this one of the user.
    pub async fn not_me_stands(&mut self, user: &UserId, email: &str, now: Now) -> Result<bool, Fault> {
        on!(&mut self.db, tx => sqlx::query(NOT_ME_STANDS)
            .bind(user)
            .bind(TicketKind::NotMe.as_str())
            .bind(email)
            .bind(now)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.is_some()))
        .map_err(fault("looking for a ticket"))
    }

    /// Spends a ticket: whoever is first gets what it is good for, everyone else `None`.
    pub async fn ticket_take(
        &mut self,
        token: TokenHash,
        kind: TicketKind,
        now: Now,
    ) -> Result<Option<Ticket>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(TICKET_TAKE)
            .bind(token)
            .bind(kind.as_str())
            .bind(now)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("spending a ticket"))?;
        let Some(row) = row else { return Ok(None) };
        let id = token.handle();
        let user: UserId = row.get("sidegate_ticket.userId", &id)?;
        let new_email = row.text("sidegate_ticket.newEmail", &id)?;
        let email = row.get("sidegate_ticket.email", &id)?;
        let user = self.user_by_id(&user).await?;
        Ok(user.map(|user| Ticket { user, email, new_email }))
    }

    /// Voids all tickets of a user, but for [`TicketKind::NotMe`] that went to an address which they had before: who has
    /// the mailbox of the present one may have given it to the account.
    pub async fn tickets_delete_of_user(&mut self, user: &UserId) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(TICKETS_DELETE_OF_USER)
            .bind(user)
            .bind(TicketKind::NotMe.as_str())
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("voiding tickets"))
    }

    /// Voids what was begun by mail for a user. The word that a sign-in was somebody else's stays good: whoever has
    /// got in must not be able to take it from the owner.
    pub async fn tickets_withdraw(&mut self, user: &UserId) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(TICKETS_WITHDRAW)
            .bind(user)
            .bind(TicketKind::NotMe.as_str())
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("voiding tickets"))
    }

    /// Removes up to `limit` tickets that have expired at `now`, and returns how many.
    pub async fn tickets_delete_expired(&mut self, now: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(TICKETS_DELETE_EXPIRED)
            .bind(now)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing expired tickets"))
    }
}
