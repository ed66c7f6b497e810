-- Keys that sign tokens. The private half is sealed and the public one follows from it; the generation is
-- unique, so that of several replicas that want a new key one makes it.

CREATE TABLE IF NOT EXISTS "sidegate_signing_key" (
    "id" text NOT NULL PRIMARY KEY,
    "generation" int8 NOT NULL,
    "algorithm" text NOT NULL,
    "sealed" text NOT NULL,
    "createdAt" date NOT NULL,
    "activeFrom" date NOT NULL,
    "retiresAt" date
);
CREATE UNIQUE INDEX IF NOT EXISTS "sidegate_signing_key_generation_idx" ON "sidegate_signing_key" ("generation");
