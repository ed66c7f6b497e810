-- Mails that were decided on and are to be sent. "recipient" is a keyed hash; "body" is sealed, and emptied at the end.

CREATE TABLE IF NOT EXISTS "sidegate_outbox" (
    "id" text NOT NULL PRIMARY KEY,
    "recipient" text NOT NULL,
    "body" text NOT NULL,
    "state" text NOT NULL,
    "attempts" int8 NOT NULL,
    "createdAt" timestamptz NOT NULL,
    "nextAt" timestamptz NOT NULL,
    "giveUpAt" timestamptz NOT NULL,
    "endedAt" timestamptz,
    "error" text
);
CREATE INDEX IF NOT EXISTS "sidegate_outbox_state_nextAt_idx" ON "sidegate_outbox" ("state", "nextAt");
CREATE INDEX IF NOT EXISTS "sidegate_outbox_recipient_createdAt_idx" ON "sidegate_outbox" ("recipient", "createdAt");
CREATE INDEX IF NOT EXISTS "sidegate_outbox_createdAt_idx" ON "sidegate_outbox" ("createdAt");
CREATE INDEX IF NOT EXISTS "sidegate_auth_log_at_idx" ON "sidegate_auth_log" ("at");
