-- Personal access tokens, by the hash of each. What they are limited to is a list of path patterns with spaces
-- between; without one they are good for every path.

CREATE TABLE IF NOT EXISTS "sidegate_personal_token" (
    "id" text NOT NULL PRIMARY KEY,
    "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
    "token" text NOT NULL UNIQUE,
    "name" text NOT NULL,
    "lastFour" text NOT NULL,
    "paths" text,
    "readOnly" boolean NOT NULL,
    "createdAt" timestamptz NOT NULL,
    "expiresAt" timestamptz NOT NULL,
    "usedAt" timestamptz
);
CREATE INDEX IF NOT EXISTS "sidegate_personal_token_userId_idx" ON "sidegate_personal_token" ("userId");
CREATE INDEX IF NOT EXISTS "sidegate_personal_token_expiresAt_idx" ON "sidegate_personal_token" ("expiresAt");
