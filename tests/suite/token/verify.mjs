// Verifies a JSON Web Token as an app behind Sidegate would, with nothing but Node and the published keys.
// node verify.mjs KEYS-URL TOKEN ISSUER AUDIENCE NOW
import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";

const [url, token, issuer, audience, now] = process.argv.slice(2);
const { keys } = await (await fetch(url)).json();
const [head, body, signature, ...rest] = token.split(".");
assert.equal(rest.length, 0);
const read = (part) => JSON.parse(Buffer.from(part, "base64url").toString());
const header = read(head);
const key = keys.find((key) => key.kid === header.kid);
assert.ok(key, "the key is published");
assert.equal(key.alg, header.alg);
assert.equal(key.use, "sig");
const digest = { EdDSA: null, ES256: "sha256" }[header.alg];
assert.notEqual(digest, undefined, "a known algorithm");
const publicKey = createPublicKey({ key, format: "jwk" });
const good = verify(
  digest,
  Buffer.from(`${head}.${body}`),
  { key: publicKey, dsaEncoding: "ieee-p1363" },
  Buffer.from(signature, "base64url"),
);
assert.ok(good, "the signature is good");
const claims = read(body);
assert.equal(claims.iss, issuer);
assert.equal(claims.aud, audience);
assert.ok(claims.iat <= Number(now) && Number(now) < claims.exp, "it is good now");
process.stdout.write(JSON.stringify(claims));
