-- Signing in through providers: flows on their way, what a session owes to a provider, and logout tokens seen.

-- No token in clear: "state" and "browser" are hashes, "verifier" is sealed.
CREATE TABLE IF NOT EXISTS "sidegate_oauth_flow" (
    "state" text NOT NULL PRIMARY KEY,
    "providerId" text NOT NULL,
    "purpose" text NOT NULL,
    "browser" text NOT NULL,
    "verifier" text NOT NULL,
    "nonce" text NOT NULL,
    "redirectURI" text NOT NULL,
    "callbackURL" text,
    "errorCallbackURL" text,
    "newUserCallbackURL" text,
    "userId" text REFERENCES "user" ("id") ON DELETE CASCADE,
    "sessionId" text,
    "remember" integer NOT NULL,
    "createdAt" date NOT NULL,
    "expiresAt" date NOT NULL,
    "usedAt" date
);
CREATE INDEX IF NOT EXISTS "sidegate_oauth_flow_expiresAt_idx" ON "sidegate_oauth_flow" ("expiresAt");

-- Goes with the session. "idToken" is sealed.
CREATE TABLE IF NOT EXISTS "sidegate_session_provider" (
    "sessionId" text NOT NULL PRIMARY KEY REFERENCES "session" ("id") ON DELETE CASCADE,
    "providerId" text NOT NULL,
    "issuer" text NOT NULL,
    "subject" text NOT NULL,
    "sid" text,
    "idToken" text
);
CREATE INDEX IF NOT EXISTS "sidegate_session_provider_subject_idx"
    ON "sidegate_session_provider" ("providerId", "subject");
CREATE INDEX IF NOT EXISTS "sidegate_session_provider_sid_idx" ON "sidegate_session_provider" ("providerId", "sid");

CREATE TABLE IF NOT EXISTS "sidegate_logout_token" (
    "token" text NOT NULL PRIMARY KEY,
    "expiresAt" date NOT NULL
);
CREATE INDEX IF NOT EXISTS "sidegate_logout_token_expiresAt_idx" ON "sidegate_logout_token" ("expiresAt");
