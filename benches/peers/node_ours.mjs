// What the Node.js package costs, on this machine: one JSON line per figure. Build it first, optimised:
//   (cd bindings-node && npm ci --ignore-scripts && node scripts/build.mjs --profile release) && node benches/peers/node_ours.mjs

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { createRequire } from 'node:module';

const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../bindings-node');
const require = createRequire(import.meta.url);
const { Levqor, Webhook } = require(path.join(home, 'dist/index.js'));
const scratch = mkdtempSync(path.join(tmpdir(), 'levqor-bench-'));
const print = (figure, value, unit, goal) => console.log(JSON.stringify({ figure, value: Number(value.toPrecision(3)), unit, ...(goal === undefined ? {} : { goal }) }));

/** The median of seven rounds, microseconds per call. */
function median(rounds) {
  return rounds.sort((a, b) => a - b)[rounds.length >> 1];
}
function timed(n, act) {
  const rounds = [];
  for (let round = 0; round < 8; round++) {
    const began = process.hrtime.bigint();
    act(n);
    rounds.push(Number(process.hrtime.bigint() - began) / 1000 / n);
  }
  return median(rounds.slice(1));
}
async function timedAsync(n, act) {
  const rounds = [];
  for (let round = 0; round < 8; round++) {
    const began = process.hrtime.bigint();
    await act(n);
    rounds.push(Number(process.hrtime.bigint() - began) / 1000 / n);
  }
  return median(rounds.slice(1));
}

const memory = Levqor.shared({ url: 'memory://' });
const limiter = memory.limiter('bench', '1000000000/second');
const keys = Array.from({ length: 100_000 }, (_, i) => `user-${i}`);
let admitted = 0;
print('limiter, hot key, a decision', timed(500_000, (n) => { for (let i = 0; i < n; i++) admitted += limiter.take('user-1').admitted ? 1 : 0; }), 'us', 0.35);
print('limiter, hot key, yes or no', timed(500_000, (n) => { for (let i = 0; i < n; i++) admitted += limiter.passes('user-1') ? 1 : 0; }), 'us', 0.35);
print('limiter, 100,000 keys, a decision', timed(500_000, (n) => { for (let i = 0; i < n; i++) admitted += limiter.take(keys[(i * 7919) % 100_000]).admitted ? 1 : 0; }), 'us', 0.6);

const made = await memory.keys.create({ account: 'acme', scopes: ['runs:*'] });
await memory.keys.verify(made.key);
print('API key, verified a moment ago', timed(20_000, (n) => { for (let i = 0; i < n; i++) if (memory.verifyKeyNow(made.key) === undefined) memory.keys.verify(made.key); }), 'us');
const stripe = new Webhook('stripe', 'whsec_x');
const body = JSON.stringify({ id: 'evt_1', type: 'a', created: 1, data: { object: { a: 'x'.repeat(1000) } } });
const headers = stripe.sign(body);
print('Stripe webhook, signature and event of 1 KB', timed(20_000, (n) => { for (let i = 0; i < n; i++) stripe.verify(headers, body); }), 'us', 10.8);

const stored = await Levqor.open({ url: `sqlite://${scratch}/a.db` });
await memory.credits.grant('a', 1);
await stored.credits.grant('a', 1);
const one = (lq) => timedAsync(2_000, async (n) => { for (let i = 0; i < n; i++) await lq.credits.balance('a'); });
const hundred = (lq) => timedAsync(20_000, async (n) => { for (let i = 0; i < n; i += 100) await Promise.all(Array.from({ length: 100 }, () => lq.credits.balance('a'))); });
print('promise, one after another, in memory', await one(memory), 'us', 35);
print('Promise.all of 100, per call, in memory', await hundred(memory), 'us', 5);
print('promise, one after another, a balance in SQLite', await one(stored), 'us');
print('Promise.all of 100, per call, a balance in SQLite', await hundred(stored), 'us');
print('grants in SQLite, 64 at once', 1e6 / (await timedAsync(6_400, async (n) => { for (let i = 0; i < n; i += 64) await Promise.all(Array.from({ length: 64 }, () => stored.credits.grant('b', 1))); })), 'per second');

const jobs = await Levqor.open({ url: 'memory://' });
const noop = jobs.workflow('noop', async () => null);
const steps = jobs.workflow('steps', async (wf) => { for (let i = 0; i < 3; i++) await wf.step(`s${i}`, () => i); });
for (const [name, workflow] of [['no-op jobs in JavaScript, in memory', noop], ['jobs of three steps in JavaScript, in memory', steps]]) {
  await workflow.enqueueMany(Array.from({ length: 2_000 }, () => ({})));
  const began = process.hrtime.bigint();
  await jobs.workers.drain({ concurrency: 64 });
  print(name, 2_000 / (Number(process.hrtime.bigint() - began) / 1e9), 'per second');
}
await jobs.close();

const needed = [];
for (let i = 0; i < 7; i++) {
  const said = spawnSync(process.execPath, ['-e', `const t = process.hrtime.bigint(); require(${JSON.stringify(path.join(home, 'dist/index.js'))}).version(); console.log(Number(process.hrtime.bigint() - t) / 1e6)`], { encoding: 'utf8' });
  needed.push(Number(said.stdout));
}
print('require and load the compiled half', median(needed), 'ms', 40);

// As it is shipped: without symbols, packed.
const addon = path.join(scratch, 'levqor.node');
copyFileSync(path.join(home, 'levqor.node'), addon);
spawnSync('strip', [addon]);
print('compiled half, stripped', statSync(addon).size / 1e6, 'MB');
print('compiled half, packed', gzipSync(readFileSync(addon), { level: 9 }).length / 1e6, 'MB', 9);

await stored.close();
rmSync(scratch, { recursive: true, force: true });
if (admitted === 0) process.exitCode = 1;
