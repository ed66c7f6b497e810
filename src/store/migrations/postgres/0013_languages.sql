-- The language in which a user reads, as of the last sign-in with a browser.

CREATE TABLE IF NOT EXISTS "sidegate_language" (
    "userId" text NOT NULL PRIMARY KEY REFERENCES "user" ("id") ON DELETE CASCADE,
    "language" text NOT NULL
);
