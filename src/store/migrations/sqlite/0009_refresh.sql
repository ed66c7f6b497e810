-- Refresh tokens, as hashes. Those of one session are a family and go with it. A token that was used keeps its
-- row: shown again, it is either a client that did not hear the answer or a thief.

CREATE TABLE IF NOT EXISTS "sidegate_refresh_token" (
    "token" text NOT NULL PRIMARY KEY,
    "sessionId" text NOT NULL REFERENCES "session" ("id") ON DELETE CASCADE,
    "parent" text,
    "generation" int8 NOT NULL,
    "issuedAt" date NOT NULL,
    "usedAt" date,
    "expiresAt" date NOT NULL
);
CREATE INDEX IF NOT EXISTS "sidegate_refresh_token_sessionId_idx" ON "sidegate_refresh_token" ("sessionId");
