-- Which provider an id in `account.providerId` stands for: subjects of one mean nobody at another.

CREATE TABLE IF NOT EXISTS "sidegate_provider" (
    "id" text NOT NULL PRIMARY KEY,
    "issuer" text NOT NULL,
    "createdAt" date NOT NULL
);
