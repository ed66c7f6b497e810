-- Sign-ins that wait for a code, and the browsers that have signed a user in.

CREATE TABLE IF NOT EXISTS "sidegate_pending_session" (
    "id" text NOT NULL PRIMARY KEY,
    "token" text NOT NULL UNIQUE,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
    "remember" integer NOT NULL,
    "rules" text NOT NULL,
    "callbackUrl" text,
    "provider" text,
    "code" text NOT NULL,
    "codeExpiresAt" date NOT NULL,
    "tries" int8 NOT NULL,
    "codes" int8 NOT NULL,
    "createdAt" date NOT NULL,
    "expiresAt" date NOT NULL,
    "address" text,
    "userAgent" text
);
CREATE INDEX IF NOT EXISTS "sidegate_pending_session_userId_idx" ON "sidegate_pending_session" ("userId");
CREATE INDEX IF NOT EXISTS "sidegate_pending_session_expiresAt_idx" ON "sidegate_pending_session" ("expiresAt");

-- A browser and a user are trusted together: a browser that two people use has two rows.
CREATE TABLE IF NOT EXISTS "sidegate_device" (
    "id" text NOT NULL PRIMARY KEY,
    "secret" text NOT NULL,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
    "createdAt" date NOT NULL,
    "seenAt" date NOT NULL,
    "agent" text NOT NULL,
    "network" text NOT NULL,
    "country" text,
    "asn" int8,
    "revokedAt" date
);
CREATE UNIQUE INDEX IF NOT EXISTS "sidegate_device_secret_userId_idx" ON "sidegate_device" ("secret", "userId");
CREATE INDEX IF NOT EXISTS "sidegate_device_userId_idx" ON "sidegate_device" ("userId");
CREATE INDEX IF NOT EXISTS "sidegate_device_seenAt_idx" ON "sidegate_device" ("seenAt");

ALTER TABLE "sidegate_auth_log" ADD COLUMN "detail" text;
