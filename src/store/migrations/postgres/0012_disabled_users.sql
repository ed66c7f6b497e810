-- Users whom whoever runs the site keeps out, for as long as they are here.

CREATE TABLE IF NOT EXISTS "sidegate_disabled_user" (
    "userId" text NOT NULL PRIMARY KEY REFERENCES "user" ("id") ON DELETE CASCADE,
    "at" timestamptz NOT NULL
);
