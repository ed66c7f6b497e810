-- Whether the session outlives the browser. Nullable, so that better-auth can go on writing the table.

ALTER TABLE "session" ADD COLUMN "sidegateRemember" integer;
