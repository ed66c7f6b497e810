-- What better-auth leaves out: one account per identity, expiry without a scan, and the log of sign-ins.

CREATE UNIQUE INDEX IF NOT EXISTS "sidegate_account_providerId_accountId_idx" ON "account" ("providerId", "accountId");
CREATE INDEX IF NOT EXISTS "sidegate_session_expiresAt_idx" ON "session" ("expiresAt");

-- No foreign key: history outlives the user.
CREATE TABLE IF NOT EXISTS "sidegate_auth_log" (
    "id" text NOT NULL PRIMARY KEY,
    "userId" text,
    "action" text NOT NULL,
    "at" date NOT NULL,
    "success" integer NOT NULL,
    "error" text,
    "address" text,
    "userAgent" text
);
CREATE INDEX IF NOT EXISTS "sidegate_auth_log_userId_at_idx" ON "sidegate_auth_log" ("userId", "at");
