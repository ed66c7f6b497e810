// better-auth's own client, as it is on npm, against a site: node client.mjs http://127.0.0.1:PORT
import assert from 'node:assert/strict';
import { createAuthClient } from 'better-auth/client';

const origin = process.argv[2];
const email = 'ada@example.com';
const password = 'a long and private phrase';

// A browser around the client: keeps cookies and says where a request comes from.
function browser() {
  const cookies = new Map();
  const browse = async (url, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('origin', origin);
    headers.set('sec-fetch-site', 'same-origin');
    if (cookies.size) headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '));
    const response = await fetch(url, { ...init, headers });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    return response;
  };
  const client = createAuthClient({ baseURL: `${origin}/auth`, fetchOptions: { customFetchImpl: browse } });
  return { client, cookies, browse };
}

function good({ data, error }) {
  assert.equal(error, null);
  return data;
}

const { client, cookies, browse } = browser();
assert.equal(good(await client.getSession()), null);

const made = good(await client.signUp.email({ name: 'Ada', email, password }));
assert.equal(made.token, null);
assert.equal(made.user.email, email);
assert.ok(made.user.createdAt instanceof Date);

const short = await client.signUp.email({ name: 'Bob', email: 'bob@example.com', password: 'short' });
assert.equal(short.error.code, 'PASSWORD_TOO_SHORT');
assert.equal(short.error.status, 400);

const wrong = await client.signIn.email({ email, password: 'another phrase' });
assert.equal(wrong.data, null);
assert.equal(wrong.error.status, 401);
assert.equal(wrong.error.code, 'INVALID_EMAIL_OR_PASSWORD');
assert.ok(wrong.error.message);

const astray = await client.signIn.email({ email, password, callbackURL: 'https://evil.example/' });
assert.equal(astray.error.code, 'INVALID_CALLBACK_URL');

const signed = good(await client.signIn.email({ email, password }));
assert.equal(signed.redirect, false);
assert.equal(signed.user.id.length, 36);
assert.ok(![...cookies.values()].includes(signed.token));

const { session, user } = good(await client.getSession());
assert.deepEqual(user, signed.user);
assert.equal(session.userId, user.id);
assert.equal(session.token, signed.token);
assert.ok(session.expiresAt instanceof Date);

const other = browser();
good(await other.client.signIn.email({ email, password, rememberMe: false }));
const sessions = good(await client.listSessions());
assert.equal(sessions.length, 2);
const theirs = sessions.find(({ token }) => token !== session.token);
assert.deepEqual(good(await client.revokeSession({ token: theirs.token })), { status: true });
assert.equal(good(await other.client.getSession()), null);

good(await other.client.signIn.email({ email, password }));
assert.deepEqual(good(await client.revokeOtherSessions()), { status: true });
assert.equal(good(await other.client.getSession()), null);
assert.ok(good(await client.getSession()));

assert.deepEqual(good(await client.signOut()), { success: true });
assert.equal(cookies.size, 1, 'only the browser is remembered');
assert.equal(good(await client.getSession()), null);
assert.equal((await client.listSessions()).error.status, 401);

good(await client.signIn.email({ email, password }));
assert.deepEqual(good(await client.revokeSessions()), { status: true });
assert.equal(good(await client.getSession()), null);

// Through a provider, which sends the browser back at once.
assert.equal((await client.signIn.social({ provider: 'none' })).error.code, 'PROVIDER_NOT_FOUND');
const away = good(await client.signIn.social({ provider: 'corp', callbackURL: '/notes', disableRedirect: true }));
assert.equal(away.redirect, false);
const sent = await fetch(away.url, { redirect: 'manual' });
const back = await browse(sent.headers.get('location'), { redirect: 'manual' });
assert.equal(back.headers.get('location'), `${origin}/notes`);
const grace = good(await client.getSession()).user;
assert.equal(grace.email, 'grace@example.com');
const accounts = good(await client.listAccounts());
assert.equal(accounts.length, 1);
assert.equal(accounts[0].providerId, 'corp');
assert.equal(accounts[0].userId, grace.id);
const last = await client.unlinkAccount({ accountId: accounts[0].id });
assert.equal(last.error.code, 'FAILED_TO_UNLINK_LAST_ACCOUNT');
const link = good(await client.linkSocial({ provider: 'corp', disableRedirect: true }));
assert.ok(link.url.startsWith(away.url.split('?')[0]));
const out = good(await client.signOut());
assert.equal(out.success, true);
assert.ok(out.url.includes('id_token_hint='));
assert.equal(good(await client.getSession()), null);
console.log('all is well');
