-- One-time secrets that were sent by mail: one of each purpose for a user, by the hash of its token.

CREATE TABLE IF NOT EXISTS "sidegate_ticket" (
    "token" text NOT NULL PRIMARY KEY,
    "purpose" text NOT NULL,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
    "email" text NOT NULL,
    "newEmail" text,
    "createdAt" timestamptz NOT NULL,
    "expiresAt" timestamptz NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS "sidegate_ticket_userId_purpose_idx" ON "sidegate_ticket" ("userId", "purpose");
CREATE INDEX IF NOT EXISTS "sidegate_ticket_expiresAt_idx" ON "sidegate_ticket" ("expiresAt");
