//! The table `sidegate_device`: the browsers that have signed a user in, by the hash of a secret that each
//! holds.

use crate::error::Fault;
use crate::id::{RowId, UserId};
use crate::secret::TokenHash;
use crate::store::row::Row;
use crate::store::{Store, Tx, fault};
use crate::time::Now;

/// A browser that has signed a user in.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// The hash of the secret that the browser holds; the same for all users of that browser.
    pub secret: TokenHash,
    /// When it first signed the user in.
    pub created: Now,
    /// When it last did.
    pub seen: Now,
    /// What it was then: browser and system, without versions.
    pub agent: String,
    /// Where it was then: the network's prefix, as `192.0.2.0/24`.
    pub network: String,
    /// The country of that network.
    pub country: Option<String>,
    /// The number of the operator of that network (autonomous system).
    pub asn: Option<i64>,
    /// Since when it is not trusted any more.
    pub revoked: Option<Now>,
}

const DEVICES_OF_USER: &str = r#"
    SELECT "id" AS "sidegate_device.id", "secret" AS "sidegate_device.secret",
           "createdAt" AS "sidegate_device.createdAt", "seenAt" AS "sidegate_device.seenAt",
           "agent" AS "sidegate_device.agent", "network" AS "sidegate_device.network",
           "country" AS "sidegate_device.country", "asn" AS "sidegate_device.asn",
           "revokedAt" AS "sidegate_device.revokedAt"
    FROM "sidegate_device" WHERE "userId" = $1 ORDER BY "seenAt" DESC, "id""#;

const DEVICE_ROTATE: &str = r#"UPDATE "sidegate_device" SET "secret" = $2 WHERE "secret" = $1"#;

/// Who is trusted again is trusted from now on: what was revoked stays in the log only.
const DEVICE_TRUST: &str = r#"
    INSERT INTO "sidegate_device"
        ("id", "secret", "userId", "createdAt", "seenAt", "agent", "network", "country", "asn")
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT ("secret", "userId") DO UPDATE SET
        "seenAt" = excluded."seenAt", "agent" = excluded."agent", "network" = excluded."network",
        "country" = excluded."country", "asn" = excluded."asn", "revokedAt" = NULL"#;

const DEVICES_TRIM: &str = r#"
    DELETE FROM "sidegate_device" WHERE "userId" = $1 AND "id" NOT IN
        (SELECT "id" FROM "sidegate_device" WHERE "userId" = $1 ORDER BY "seenAt" DESC, "id" LIMIT $2)"#;

const DEVICE_TRUSTED: &str = r#"
    SELECT 1 FROM "sidegate_device" JOIN "user" ON "user"."id" = "sidegate_device"."userId"
    WHERE "sidegate_device"."secret" = $1 AND "user"."email" = $2 AND "sidegate_device"."revokedAt" IS NULL"#;

/// No secret is empty.
const DEVICES_REVOKE_OF_USER: &str = r#"
    UPDATE "sidegate_device" SET "revokedAt" = $2
    WHERE "userId" = $1 AND "revokedAt" IS NULL AND "secret" <> COALESCE($3, '')"#;

const DEVICES_DELETE_STALE: &str = r#"
    DELETE FROM "sidegate_device" WHERE "id" IN
        (SELECT "id" FROM "sidegate_device" WHERE "seenAt" <= $1 ORDER BY "seenAt" LIMIT $2)"#;

fn device_of(row: &Row) -> Result<DeviceRow, Fault> {
    let id = row.name("sidegate_device.id");
    Ok(DeviceRow {
        secret: row.get("sidegate_device.secret", &id)?,
        created: row.get("sidegate_device.createdAt", &id)?,
        seen: row.get("sidegate_device.seenAt", &id)?,
        agent: row.get("sidegate_device.agent", &id)?,
        network: row.get("sidegate_device.network", &id)?,
        country: row.text("sidegate_device.country", &id)?,
        asn: row.get("sidegate_device.asn", &id)?,
        revoked: row.get("sidegate_device.revokedAt", &id)?,
    })
}

impl Store {
    /// Whether the browser that holds this secret is trusted with the user who has this address (in its canonical
    /// form).
    pub async fn device_trusted(&self, secret: TokenHash, email: &str) -> Result<bool, Fault> {
        on!(&self.read, pool => sqlx::query(DEVICE_TRUSTED)
            .bind(secret)
            .bind(email)
            .fetch_optional(pool)
            .await
            .map(|row| row.is_some()))
        .map_err(fault("looking for a device"))
    }
}

impl Tx {
    /// All browsers that have signed a user in, those that are not trusted any more too; the one seen last
    /// comes first.
    pub async fn devices_of_user(&mut self, user: &UserId) -> Result<Vec<DeviceRow>, Fault> {
        let rows: Vec<Row> = on!(&mut self.db, tx => sqlx::query(DEVICES_OF_USER)
            .bind(user)
            .fetch_all(&mut **tx)
            .await
            .map(|rows| rows.into_iter().map(Row::from).collect()))
        .map_err(fault("reading devices"))?;
        rows.iter().map(device_of).collect()
    }

    /// Gives a browser another secret, for all its users.
    pub async fn device_rotate(&mut self, old: TokenHash, new: TokenHash) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(DEVICE_ROTATE)
            .bind(old)
            .bind(new)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("changing the secret of a device"))
    }

    /// Trusts a browser with a user from now on, whatever was known of the two, and keeps the `most` browsers
    /// of the user that were seen last.
    pub async fn device_trust(&mut self, user: &UserId, device: &DeviceRow, most: u32) -> Result<(), Fault> {
        on!(&mut self.db, tx => sqlx::query(DEVICE_TRUST)
            .bind(RowId::random())
            .bind(device.secret)
            .bind(user)
            .bind(device.created)
            .bind(device.seen)
            .bind(&device.agent)
            .bind(&device.network)
            .bind(&device.country)
            .bind(device.asn)
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("trusting a device"))?;
        on!(&mut self.db, tx => sqlx::query(DEVICES_TRIM)
            .bind(user)
            .bind(i64::from(most))
            .execute(&mut **tx)
            .await
            .map(|_| ()))
        .map_err(fault("forgetting the oldest devices"))
    }

    /// Trusts none of a user's browsers any more, but for the one that holds `except`; returns how many were
    /// trusted.
    pub async fn devices_revoke_of_user(
        &mut self,
        user: &UserId,
        except: Option<TokenHash>,
        now: Now,
    ) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(DEVICES_REVOKE_OF_USER)
            .bind(user)
            .bind(now)
            .bind(except)
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("revoking devices"))
    }

    /// Removes up to `limit` browsers that were last seen at `before` or earlier, and returns how many.
    pub async fn devices_delete_stale(&mut self, before: Now, limit: u32) -> Result<u64, Fault> {
        on!(&mut self.db, tx => sqlx::query(DEVICES_DELETE_STALE)
            .bind(before)
            .bind(i64::from(limit))
            .execute(&mut **tx)
            .await
            .map(|done| done.rows_affected()))
        .map_err(fault("removing stale devices"))
    }
}
