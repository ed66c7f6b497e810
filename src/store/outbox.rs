//! The table `sidegate_outbox`: mails that a transaction decided on, until they are sent or given up.
//!
//! A line is claimed for a while by moving its next time into the future, in one conditional statement, so
//! that of several replicas one has it. What became of it is written only by who claimed it last.

use crate::error::Fault;
use crate::id::RowId;
use crate::store::row::Row;
use crate::store::{Store, Tx, fault};
use crate::time::Now;

/// A mail that is to be sent.
pub struct OutboxRow {
    /// Names it for good, also to the mail server.
    pub id: RowId,
    /// Whom it goes to, as a keyed hash.
    pub recipient: String,
    /// The sealed message.
    pub body: String,
    /// When it was decided on.
    pub created: Now,
    /// When it is given up.
    pub give_up: Now,
}

/// A mail that this caller alone may send, for a while.
pub struct Claimed {
    /// Names it.
    pub id: RowId,
    /// The sealed message.
    pub body: String,
    /// How often it was claimed, this time included.
    pub attempt: i64,
    /// When it is given up.
    pub give_up: Now,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mail server has it.
    Sent,
    /// It is tried again at this time.
    Again(Now),
    /// It is not tried again.
    GivenUp,
}

/// How many mails there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// To this recipient.
    pub to_recipient: u32,
    /// To anyone.
    pub in_all: u32,
}

const OUTBOX_INSERT: &str = r#"
    INSERT INTO "sidegate_outbox"
        ("id", "recipient", "body", "state", "attempts", "createdAt", "nextAt", "giveUpAt")
    VALUES ($1, $2, $3, 'waiting', 0, $4, $4, $5)"#;

/// How many since a time, counted no further than is asked.
const OUTBOX_COUNT: &str = r#"
    SELECT
        (SELECT COUNT(*) FROM (SELECT 1 FROM "sidegate_outbox"
            WHERE "recipient" = $1 AND "createdAt" > $2 LIMIT $3) AS "mine") AS "outbox.mine",
        (SELECT COUNT(*) FROM (SELECT 1 FROM "sidegate_outbox"
            WHERE "createdAt" > $2 LIMIT $4) AS "all") AS "outbox.all""#;

const OUTBOX_DUE: &str = r#"
    SELECT "id" AS "outbox.id" FROM "sidegate_outbox"
    WHERE "state" = 'waiting' AND "nextAt" <= $1 ORDER BY "nextAt" LIMIT $2"#;

const OUTBOX_WAITING: &str = r#"SELECT COUNT(*) FROM "sidegate_outbox" WHERE "state" = 'waiting'"#;

const OUTBOX_CLAIM: &str = r#"
    UPDATE "sidegate_outbox" SET "nextAt" = $3, "attempts" = "attempts" + 1
    WHERE "id" = $1 AND "state" = 'waiting' AND "nextAt" <= $2
    RETURNING "body" AS "outbox.body", "attempts" AS "outbox.attempts", "giveUpAt" AS "outbox.giveUpAt""#;

const OUTBOX_AGAIN: &str = r#"
    UPDATE "sidegate_outbox" SET "nextAt" = $3, "error" = $4
    WHERE "id" = $1 AND "attempts" = $2 AND "state" = 'waiting'"#;

const OUTBOX_END: &str = r#"
    UPDATE "sidegate_outbox" SET "state" = $3, "endedAt" = $4, "error" = $5, "body" = ''
    WHERE "id" = $1 AND "attempts" = $2 AND "state" = 'waiting'"#;

const OUTBOX_DELETE_ENDED: &str = r#"
    DELETE FROM "sidegate_outbox" WHERE "id" IN (
        SELECT "id" FROM "sidegate_outbox"
        WHERE ("state" = 'sent' AND "createdAt" <= $1) OR ("state" = 'failed' AND "createdAt" <= $2) LIMIT $3)"#;

impl Store {
    /// How many mails are to be sent.
    pub async fn outbox_waiting(&self) -> Result<u64, Fault> {
        let count: i64 = on!(&self.read, pool => sqlx::query_scalar(OUTBOX_WAITING).fetch_one(pool).await)
            .map_err(fault("counting mails"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The ids of mails whose time has come, the oldest first.
    pub async fn outbox_due(&self, now: Now, limit: u32) -> Result<Vec<RowId>, Fault> {
        let rows: Vec<Row> = on!(&self.read, pool => sqlx::query(OUTBOX_DUE)
            .bind(now)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("looking for mails to be sent"))?;
        rows.iter().map(|row| row.get("outbox.id", "?")).collect()
    }
}

impl Tx {
    /// Adds a mail, which is sent once this transaction is committed.
    pub async fn outbox_insert(&mut self, mail: &OutboxRow) -> Result<(), Fault> {
        self.mails += 1;
        on!(&mut self.db, tx => sqlx::query(OUTBOX_INSERT)
            .bind(&mail.id)
            .bind(&mail.recipient)
            .bind(&mail.body)
            .bind(mail.created)
            .bind(mail.give_up)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("adding a mail"))
    }

    /// How many mails were decided on since then, counted up to `caps` of each kind.
    pub async fn outbox_count(&mut self, recipient: &str, since: Now, caps: Counts) -> Result<Counts, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(OUTBOX_COUNT)
            .bind(recipient)
            .bind(since)
            .bind(i64::from(caps.to_recipient))
            .bind(i64::from(caps.in_all))
            .fetch_one(&mut **tx)
            .await
            .map(Row::from))
        .map_err(fault("counting mails"))?;
        let count = |column| row.get::<i64>(column, "?").map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Ok(Counts { to_recipient: count("outbox.mine")?, in_all: count("outbox.all")? })
    }

    /// Claims a mail until `until`; `None` if somebody else has it or it has ended.
    pub async fn outbox_claim(&mut self, id: &RowId, now: Now, until: Now) -> Result<Option<Claimed>, Fault> {
        let row = on!(&mut self.db, tx => sqlx::query(OUTBOX_CLAIM)
            .bind(id)
            .bind(now)
            .bind(until)
            .fetch_optional(&mut **tx)
            .await
            .map(|row| row.map(Row::from)))
        .map_err(fault("claiming a mail"))?;
        row.map(|row| {
            Ok(Claimed {
                id: id.clone(),
                body: row.get("outbox.body", id.as_str())?,
                attempt: row.get("outbox.attempts", id.as_str())?,
                give_up: row.get("outbox.giveUpAt", id.as_str())?,
            })
        })
        .transpose()
    }

    /// Notes what became of an attempt. False if somebody else has claimed the mail meanwhile, or it is gone.
    pub async fn outbox_note(
        &mut self,
        claimed: &Claimed,
        outcome: Outcome,
        error: Option<&str>,
        now: Now,
    ) -> Result<bool, Fault> {
        let state = match outcome {
            Outcome::Again(at) => {
                return on!(&mut self.db, tx => sqlx::query(OUTBOX_AGAIN)
                    .bind(&claimed.id)
                    .bind(claimed.attempt)
                    .bind(at)
                    .bind(error)
                    .execute(&mut **tx)
                    .await
                    .map(|done| done.rows_affected() == 1))
                .map_err(fault("putting a mail off"));
            }
            Outcome::Sent => "sent",
            Outcome::GivenUp => "failed",
        };
        on!(&mut self.db, tx => sqlx::query(OUTBOX_END)
            .bind(&claimed.id)
            .bind(claimed.attempt)
            .bind(state)
            .bind(now)
            .bind(error)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected() == 1))
        .map_err(fault("ending a mail"))
    }

    /// Deletes up to `limit` lines of mails that were sent, or given up, and made before these times.
    pub async fn outbox_delete_ended(&mut self, sent: Now, failed: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(OUTBOX_DELETE_ENDED)
            .bind(sent)
            .bind(failed)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("deleting old mails"))
    }
}
