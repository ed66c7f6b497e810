// grpc-js as server and as client, with a site between them: node grpc.mjs [DIRECTORY]
// Under TLS on both ways if there is a directory, with app.pem and app.key from it, which second.pem vouches for.
// Prints the port of the server, then reads one line of JSON: { site, origin, cookie, bearer, me }.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as grpc from '@grpc/grpc-js';

const directory = process.argv[2];
const file = (name) => readFileSync(`${directory}/${name}`);
const credentials = directory
  ? {
      server: grpc.ServerCredentials.createSsl(null, [{ private_key: file('app.key'), cert_chain: file('app.pem') }]),
      client: grpc.credentials.createSsl(file('second.pem')),
    }
  : { server: grpc.ServerCredentials.createInsecure(), client: grpc.credentials.createInsecure() };

const same = (bytes) => bytes;
const method = (path, requestStream, responseStream) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const service = (prefix) => ({
  unary: method(`${prefix}/Unary`, false, false),
  fail: method(`${prefix}/Fail`, false, false),
  slow: method(`${prefix}/Slow`, false, false),
  down: method(`${prefix}/Down`, false, true),
  up: method(`${prefix}/Up`, true, false),
  both: method(`${prefix}/Both`, true, true),
});

// The app.
const cancelled = { down: 0, slow: 0 };
const trailer = (sum) => {
  const trailer = new grpc.Metadata();
  trailer.set('x-sum', String(sum));
  return trailer;
};
const seen = (call) => JSON.stringify({
  user: call.metadata.get('x-user-id'),
  cookie: call.metadata.get('cookie'),
  mine: call.metadata.get('x-mine'),
  binary: call.metadata.get('x-mine-bin').map(String),
  left: call.getDeadline() === Infinity ? null : call.getDeadline() - Date.now(),
});
const app = {
  unary(call, answer) {
    const initial = new grpc.Metadata();
    initial.set('x-initial', 'yes');
    call.sendMetadata(initial);
    const text = call.request.toString() === 'who' ? seen(call) : call.request;
    answer(null, Buffer.from(text), trailer(call.request.length));
  },
  fail: (call, answer) =>
    answer({ code: grpc.status.FAILED_PRECONDITION, details: 'not now: é', metadata: trailer(9) }),
  slow(call) {
    call.on('cancelled', () => (cancelled.slow += 1));
  },
  down(call) {
    const [count, size] = call.request.toString().split(' ').map(Number);
    call.on('cancelled', () => (cancelled.down += 1));
    for (let number = 0; number < count; number += 1) call.write(Buffer.alloc(size, number % 256));
    if (size > 0) call.end(trailer(count));
  },
  up(call, answer) {
    let sum = 0;
    call.on('data', (message) => (sum += message.length));
    call.on('end', () => answer(null, Buffer.from(String(sum)), trailer(sum)));
  },
  both(call) {
    call.on('data', (message) => call.write(message));
    call.on('end', () => call.end(trailer(1)));
  },
};
const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 });
server.addService(service('/notes.Notes'), app);
const bound = new Promise((resolve, reject) => {
  server.bindAsync('127.0.0.1:0', credentials.server, (error, port) =>
    error ? reject(error) : resolve(port));
});
console.log(await bound);

const lines = createInterface({ input: process.stdin });
const [line] = await once(lines, 'line');
lines.close();
const { site, origin, cookie, bearer, me } = JSON.parse(line);
server.addService(service(`/api/${me}`), app);
server.addService(service('/api/somebody-else'), app);

// The client.
const Client = (prefix) =>
  new (grpc.makeGenericClientConstructor(service(prefix), 'notes'))(site, credentials.client, {
    'grpc.max_receive_message_length': -1,
  });
const metadata = (fields) => {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
};
const signed = () => metadata({ cookie, 'x-user-id': 'u2', x_user_id: 'u3', 'x-mine': '7', 'x-mine-bin': Buffer.from('bin') });
// The outcome of a call with one answer.
const outcome = (begin) =>
  new Promise((resolve) => {
    const got = {};
    const call = begin((error, answer) => Object.assign(got, { error, answer }));
    call.on('metadata', (initial) => (got.initial = initial));
    call.on('status', (status) => setImmediate(() => resolve({ ...got, status })));
    got.call = call;
  });
// All messages of a call with many, and how it ended.
const all = async (call) => {
  const messages = [];
  call.on('data', (message) => messages.push(message));
  call.on('error', () => {});
  const ended = new Promise((resolve) => call.on('status', resolve));
  call.resume();
  const status = await ended;
  return { messages, status };
};
const until = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
};

// One thing after the other; what does not end in time is a failure too.
const step = async (name, run) => {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('takes too long')), 30_000).unref());
  try {
    await Promise.race([run(), late]);
  } catch (error) {
    console.log(`${name}: ${error.stack.replaceAll('\n', ' ')}`);
    process.exit(1);
  }
};

const notes = Client('/notes.Notes');
await step('unary', async () => {
  const { answer, initial, status } = await outcome((done) => notes.unary(Buffer.from('hello'), signed(), done));
  assert.equal(String(answer), 'hello');
  assert.deepEqual(initial.get('x-initial'), ['yes']);
  assert.equal(status.code, grpc.status.OK);
  assert.deepEqual(status.metadata.get('x-sum'), ['5']);
});
await step('deadline passes', async () => {
  const until = { deadline: Date.now() + 60_000 };
  const { answer } = await outcome((done) => notes.unary(Buffer.from('who'), signed(), until, done));
  const { left, ...rest } = JSON.parse(String(answer));
  assert.deepEqual(rest, { user: [me], cookie: [], mine: ['7'], binary: ['bin'] });
  assert.ok(left > 30_000 && left <= 60_000, `grpc-timeout came through: ${left}`);
});
await step('bearer', async () => {
  const { answer } = await outcome((done) => notes.unary(Buffer.from('who'), metadata({ authorization: `Bearer ${bearer}` }), done));
  assert.deepEqual(JSON.parse(String(answer)).user, [me]);
});
await step('down', async () => {
  const { messages, status } = await all(notes.down(Buffer.from('300 20000'), signed()));
  assert.equal(status.code, grpc.status.OK);
  assert.deepEqual(status.metadata.get('x-sum'), ['300']);
  assert.ok(messages.length === 300 && messages.every((m, i) => m.length === 20_000 && m[0] === i % 256));
});
await step('up', async () => {
  const { answer, status } = await outcome((done) => {
    const call = notes.up(signed(), done);
    for (let number = 0; number < 300; number += 1) call.write(Buffer.alloc(10_000));
    call.end();
    return call;
  });
  assert.equal(String(answer), '3000000');
  assert.deepEqual(status.metadata.get('x-sum'), ['3000000']);
});
await step('both', async () => {
  // Each turn waits for the other side: nothing is held back.
  const call = notes.both(signed());
  for (let turn = 0; turn < 50; turn += 1) {
    call.write(Buffer.from(`turn ${turn}`));
    const [echo] = await once(call, 'data');
    assert.equal(String(echo), `turn ${turn}`);
  }
  // All is written before anything is read.
  call.pause();
  for (let number = 0; number < 400; number += 1) call.write(Buffer.alloc(20_000, 1));
  call.end();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const { messages, status } = await all(call);
  assert.equal(status.code, grpc.status.OK);
  assert.equal(messages.reduce((sum, message) => sum + message.length, 0), 8_000_000);
});
await step('large', async () => {
  const large = Buffer.alloc(5_000_000, 3);
  const { answer } = await outcome((done) => notes.unary(large, signed(), done));
  assert.ok(large.equals(answer));
});
await step('failure', async () => {
  const { error, status } = await outcome((done) => notes.fail(Buffer.alloc(0), signed(), done));
  assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
  assert.equal(status.details, 'not now: é');
  assert.deepEqual(status.metadata.get('x-sum'), ['9']);
});
await step('many at once', async () => {
  const calls = Array.from({ length: 400 }, (_, number) =>
    outcome((done) => notes.unary(Buffer.from(`call ${number}`), signed(), done)));
  (await Promise.all(calls)).forEach(({ answer }, number) => assert.equal(String(answer), `call ${number}`));
});
await step('deadline', async () => {
  const soon = { deadline: Date.now() + 3000 };
  const { error } = await outcome((done) => notes.slow(Buffer.alloc(0), signed(), soon, done));
  assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  await until(() => cancelled.slow === 1);
});
await step('cancellation', async () => {
  const call = notes.down(Buffer.from('1 0'), signed());
  call.on('error', () => {});
  await once(call, 'data');
  call.cancel();
  await until(() => cancelled.down === 1);
});
// What is refused never reaches the app, whichever shape the call has, and at once.
const refused = async (client, fields, code) => {
  const begun = Date.now();
  const shapes = await Promise.all([
    outcome((done) => client.unary(Buffer.from('x'), metadata(fields), done)),
    outcome((done) => client.up(metadata(fields), done)),
    all(client.down(Buffer.from('1 1'), metadata(fields))),
    all(client.both(metadata(fields))),
  ]);
  shapes.forEach(({ status }) => assert.equal(status.code, code, JSON.stringify(status)));
  return Date.now() - begun;
};
await step('refusals', async () => {
  await refused(notes, {}, grpc.status.UNAUTHENTICATED);
  await refused(notes, { cookie: 'sidegate=none' }, grpc.status.UNAUTHENTICATED);
  await refused(notes, { authorization: 'Bearer none' }, grpc.status.UNAUTHENTICATED);
  await refused(Client('/api/somebody-else'), { cookie }, grpc.status.PERMISSION_DENIED);
  await refused(Client('/closed.Notes'), { cookie }, grpc.status.PERMISSION_DENIED);
});
await step('owner', async () => {
  const mine = Client(`/api/${me}`);
  const { answer } = await outcome((done) => mine.unary(Buffer.from('mine'), metadata({ cookie }), done));
  assert.equal(String(answer), 'mine');
});
await step('sign-out', async () => {
  // A sign-out ends calls that are under way, and says why.
  const down = notes.down(Buffer.from('1 0'), signed());
  const both = notes.both(signed());
  const up = outcome((done) => notes.up(signed(), done));
  both.write(Buffer.from('x'));
  await Promise.all([once(down, 'data'), once(both, 'data')]);
  const ends = Promise.all([all(down), all(both), up]);
  const headers = { cookie, origin, 'sec-fetch-site': 'same-origin' };
  const out = await fetch(`${origin}/auth/sign-out`, { method: 'POST', headers });
  assert.equal(out.status, 200);
  for (const { status } of await ends) assert.equal(status.code, grpc.status.UNAUTHENTICATED, JSON.stringify(status));
});
console.log('all is well');
process.exit(0);
