-- Families of refresh tokens: all that came from one sign-in, which go with its session. The two that are
-- known are the newest and the one that it replaced; any other one of the family was used long ago.

CREATE TABLE IF NOT EXISTS "sidegate_refresh_family" (
    "id" text NOT NULL PRIMARY KEY,
    "sessionId" text NOT NULL REFERENCES "session" ("id") ON DELETE CASCADE,
    "current" text NOT NULL,
    "previous" text,
    "generation" int8 NOT NULL,
    "createdAt" timestamptz NOT NULL,
    "rotatedAt" timestamptz NOT NULL,
    "expiresAt" timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS "sidegate_refresh_family_sessionId_idx" ON "sidegate_refresh_family" ("sessionId");
