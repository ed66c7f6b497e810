// ws as server and as client: what Autobahn's test suite asks of both, once directly and once through a site. All that
// either side sees must be the same: node ws.mjs [DIRECTORY]
// Under TLS on both ways if there is a directory, with app.pem and app.key from it.
// Prints the port of the server, then reads one line of JSON: { site, cookie }.
import assert from 'node:assert/strict';
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import WebSocket, { WebSocketServer } from 'ws';

const sum = (data) => createHash('sha256').update(data).digest('hex').slice(0, 16);
const ended = (ws) => new Promise((resolve) => ws.on('close', (code, reason) => resolve(`close ${code} ${reason}`)));
const show = (data) => (data.length > 100 ? `${data.length} bytes ${sum(data)}` : data.toString('latin1'));

// The app: what it saw of the latest connection is told in `seen`.
let seen;
const options = { noServer: true, maxPayload: 32 << 20, perMessageDeflate: { threshold: 0 } };
const servers = {
  '/echo': new WebSocketServer(options),
  '/plain': new WebSocketServer({ ...options, perMessageDeflate: false }),
  '/small': new WebSocketServer({ ...options, maxPayload: 1000 }),
};
const directory = process.argv[2];
const s = directory ? 's' : '';
const answer = (_, response) => response.end('no socket');
const app = directory
  ? https.createServer({ cert: readFileSync(`${directory}/app.pem`), key: readFileSync(`${directory}/app.key`) }, answer)
  : http.createServer(answer);
app.on('upgrade', (request, socket, head) => {
  const url = new URL(request.url, 'http://app');
  const server = servers[url.pathname];
  if (!server) {
    socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone');
    return;
  }
  server.handleUpgrade(request, socket, head, (peer) => {
    const log = [`query ${url.search}`, `protocol ${peer.protocol}`, `extensions ${Object.keys(peer.extensions)}`];
    seen = { log, closed: ended(peer).then((end) => log.push(end)) };
    peer.on('error', (error) => log.push(`error ${error.code}`));
    peer.on('ping', (data) => log.push(`ping ${show(data)}`));
    peer.on('pong', (data) => log.push(`pong ${show(data)}`));
    peer.on('message', (data, binary) => {
      log.push(`${binary ? 'binary' : 'text'} ${show(data)}`);
      const [order, ...words] = binary ? [] : data.toString().split(' ');
      if (order === 'close') peer.close(...(words.length ? [Number(words[0]), words.slice(1).join(' ')] : []));
      else if (order === 'terminate') peer.terminate();
      else if (order === 'ping') peer.ping(words.join(' '));
      else if (order === 'pieces') words.forEach((word, at) => peer.send(word, { fin: at === words.length - 1 }));
      else peer.send(data, { binary });
    });
  });
});
app.listen(0, '127.0.0.1');
await once(app, 'listening');
console.log(app.address().port);
const lines = createInterface({ input: process.stdin });
const [line] = await once(lines, 'line');
lines.close();
const { site, cookie } = JSON.parse(line);

// A frame as it stands on the wire, masked with zeros unless told otherwise.
const frame = (first, payload, masked = true) => {
  assert.ok(payload.length < 126);
  const head = masked ? [first, 0x80 | payload.length, 0, 0, 0, 0] : [first, payload.length];
  return Buffer.concat([Buffer.from(head), payload]);
};
const bytes = (...values) => Buffer.from(values);
const random = (length) => randomFillSync(Buffer.alloc(length));
const large = random(16 << 20);
const text = 'Grüße, 世界 🌍 '.repeat(100_000);

// Each case: where to, with which subprotocols and options, and what the client does.
const cases = {
  'empty messages': ['/echo', (ws) => (ws.send(''), ws.send(bytes()), 2)],
  'text and binary': ['/echo', (ws) => (ws.send('κόσμε'), ws.send(bytes(0, 255, 128, 10, 13)), 2)],
  'lengths at the borders': ['/echo', (ws) => {
    const lengths = [1, 125, 126, 127, 128, 65_535, 65_536, 65_537];
    lengths.forEach((length) => ws.send(Buffer.alloc(length, 0xfe)));
    return lengths.length;
  }],
  'a message of 16 MiB': ['/plain', (ws) => (ws.send(large), 1)],
  'a compressed message of 16 MiB': ['/echo', (ws) => (ws.send(large), 1)],
  'a long text': ['/echo', (ws) => (ws.send(text), 1)],
  'a message in many fragments': ['/plain', (ws) => {
    for (let at = 0; at < 1000; at += 1) ws.send(large.subarray(at, at + 100), { fin: at === 999 });
    return 1;
  }],
  'an answer in fragments': ['/plain', (ws) => (ws.send('pieces a b c d'), 1)],
  'a ping between fragments': ['/plain', (ws) => (ws.send('a', { fin: false }), ws.ping('now'), ws.send('b'), 1)],
  'pings and pongs': ['/echo', (ws) => {
    ws.ping('');
    ws.ping(Buffer.alloc(125, 7));
    ws.pong('unasked');
    ws.send('ping of the app');
    ws.send('end');
    return 1;
  }],
  'a fragmented ping': ['/plain', (ws) => (ws._socket.write(frame(0x09, bytes(1))), 0)],
  'a long ping': ['/plain', (ws) => (ws._socket.write(Buffer.concat([bytes(0x89, 0xfe, 0, 126, 0, 0, 0, 0), Buffer.alloc(126)])), 0)],
  'a reserved bit': ['/plain', (ws) => (ws._socket.write(frame(0xc1, bytes(65))), 0)],
  'a reserved opcode': ['/plain', (ws) => (ws._socket.write(frame(0x83, bytes(65))), 0)],
  'a reserved control opcode': ['/plain', (ws) => (ws._socket.write(frame(0x8b, bytes())), 0)],
  'an unmasked frame': ['/plain', (ws) => (ws._socket.write(frame(0x81, bytes(65), false)), 0)],
  'a continuation of nothing': ['/plain', (ws) => (ws._socket.write(frame(0x80, bytes(65))), 0)],
  'a message inside a message': ['/plain', (ws) => {
    ws._socket.write(Buffer.concat([frame(0x01, bytes(65)), frame(0x81, bytes(65))]));
    return 0;
  }],
  'bytes that are no UTF-8': ['/plain', (ws) => (ws._socket.write(frame(0x81, bytes(0xce, 0xba, 0xed, 0xa0, 0x80))), 0)],
  'a character cut by a fragment': ['/plain', (ws) => {
    ws._socket.write(Buffer.concat([frame(0x01, bytes(0xce)), frame(0x80, bytes(0xba))]));
    return 1;
  }],
  'a text that ends in a character': ['/plain', (ws) => (ws._socket.write(frame(0x81, bytes(0xce))), 0)],
  'data behind a close': ['/plain', (ws) => (ws._socket.write(Buffer.concat([frame(0x88, bytes(3, 232)), frame(0x81, bytes(65))])), 0)],
  'a close without a code': ['/plain', (ws) => (ws._socket.write(frame(0x88, bytes())), 0)],
  'a close of one byte': ['/plain', (ws) => (ws._socket.write(frame(0x88, bytes(3))), 0)],
  'a close with a code that is not allowed': ['/plain', (ws) => (ws._socket.write(frame(0x88, bytes(3, 237))), 0)],
  'a close with a reason that is no UTF-8': ['/plain', (ws) => (ws._socket.write(frame(0x88, bytes(3, 232, 0xff))), 0)],
  'a message that is too large': ['/small', (ws) => (ws.send(Buffer.alloc(1001)), 0)],
  'subprotocols': ['/echo?room=1', (ws) => (ws.send('x'), 1), ['chat', 'superchat']],
  'no compression wanted': ['/echo', (ws) => (ws.send('x'.repeat(1000)), 1), [], { perMessageDeflate: false }],
  'compression without takeover': ['/echo', (ws) => (ws.send('x'.repeat(1000)), ws.send('x'.repeat(1000)), 2), [], {
    perMessageDeflate: { clientNoContextTakeover: true, serverNoContextTakeover: true, threshold: 0 },
  }],
  'a client that goes away': ['/plain', (ws) => (ws._socket.destroy(), -1)],
  'an app that goes away': ['/plain', (ws) => (ws.send('terminate'), 0)],
  'nothing here': ['/nowhere', () => 0],
};
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
  cases[`the app closes with ${code}`] = ['/plain', (ws) => (ws.send(`close ${code} because é`), 0)];
  cases[`the client closes with ${code}`] = ['/plain', (ws) => (ws.close(code, 'because é'), 0)];
}

// What the client and the app saw of one case.
async function run(origin, [path, act, protocols = [], options = {}]) {
  seen = undefined;
  const ws = new WebSocket(`ws${s}://${origin}${path}`, protocols, {
    headers: { cookie, origin: `http${s}://${site}` },
    maxPayload: 32 << 20,
    perMessageDeflate: { threshold: 0 },
    ...options,
  });
  const log = [];
  let left = Infinity;
  ws.on('error', (error) => log.push(`error ${error.code ?? error.message}`));
  ws.on('ping', (data) => log.push(`ping ${show(data)}`));
  ws.on('pong', (data) => log.push(`pong ${show(data)}`));
  ws.on('open', () => {
    log.push(`protocol ${ws.protocol}`, `extensions ${ws.extensions}`);
    left = act(ws);
    if (left < 0) log.push('gone');
  });
  ws.on('message', (data, binary) => {
    log.push(`${binary ? 'binary' : 'text'} ${show(data)}`);
    left -= 1;
    if (left === 0) ws.close(1000);
  });
  log.push(await ended(ws));
  await seen?.closed;
  return { client: log, app: seen?.log };
}

const late = setTimeout(() => (console.log('it takes too long'), process.exit(1)), 120_000);
let count = 0;
for (const [name, one] of Object.entries(cases)) {
  late.refresh();
  const directly = await run(`127.0.0.1:${app.address().port}`, one);
  const through = await run(site, one);
  try {
    assert.deepEqual(through, directly);
    assert.ok(name === 'nothing here' || directly.app.length > 3, JSON.stringify(directly));
  } catch (error) {
    console.log(`${name}: ${error.message.replaceAll('\n', ' ')}`);
    process.exit(1);
  }
  count += 1;
}
console.log(`${count} cases are the same`);
process.exit(0);
