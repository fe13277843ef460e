// The engine from JavaScript: verbs, values, errors, waiting, sharing.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import * as esm from '../dist/index.mjs';
import { credential, formatCredits, Levqor, LevqorError, parseCredits, RateLimit, RateLimited, Unauthorized } from '../dist/index.mjs';
import { folder, home, outcome } from './kit.mjs';

const require = createRequire(import.meta.url);

test('both module systems have the same engine and the same classes', () => {
  const cjs = require('../dist/index.js');
  assert.equal(cjs.Levqor, esm.Levqor);
  assert.equal(cjs.LevqorError, esm.LevqorError);
});

test('amounts are bigints, whole numbers or texts, and never fractions of floating point', async () => {
  const lq = await Levqor.open({ url: 'memory://' });
  assert.equal((await lq.credits.grant('a', 100n)).posted, '100');
  assert.equal((await lq.credits.grant('a', 5)).posted, '105');
  assert.equal((await lq.credits.grant('a', '0.000001')).posted, '105.000001');
  for (const bad of [0.5, NaN, Infinity, 2 ** 53]) {
    await assert.rejects(async () => lq.credits.grant('a', bad), { code: 'amount.float' });
  }
  assert.equal(parseCredits('2.5'), 2_500_000n);
  assert.equal(formatCredits(-1n), '-0.000001');
  assert.throws(() => formatCredits(1n << 64n), { code: 'amount.overflow' });
});

test('what is asked twice under one key happens once', async () => {
  const lq = await Levqor.open({ url: `sqlite://${folder()}/a.db` });
  const answers = await Promise.all(Array.from({ length: 50 }, () => lq.credits.grant('a', 10n, { idempotencyKey: 'k' })));
  assert.equal(new Set(answers.map((a) => a.id)).size, 1);
  assert.equal((await lq.credits.balance('a')).posted, '10');
  await assert.rejects(lq.credits.grant('a', 11n, { idempotencyKey: 'k' }), { code: 'idempotency.mismatch', status: 409, name: 'Conflict' });
  await assert.rejects(lq.credits.spend('a', 11), (e) => e instanceof esm.InsufficientCredits && e.status === 402 && !e.retryable);
  await lq.close();
});

test('a misspelt option is refused', async () => {
  const lq = await Levqor.open({ url: 'memory://' });
  await assert.rejects(lq.credits.spend('a', 1, { idempotencykey: 'k' }), { code: 'argument.unknown' });
  assert.equal((await outcome(() => Levqor.open({ url: 'memory://', tennant: 'x' }))).error.class, 'ConfigError');
  // Configurations hold secrets: what is wrong with one does not show it.
  for (const webhooks of [{ stripe: 'whsec_', other: 'canary' }, { x: { secret: 'canary', provider: 7 } }, { standard: '%canary%' }]) {
    await assert.rejects(Levqor.open({ url: 'memory://', webhooks }), (e) => e.status === 500 && !JSON.stringify(e.toJSON()).includes('canary'));
  }
});

test('a signal gives up waiting', async () => {
  const lq = await Levqor.open({ url: `sqlite://${folder()}/a.db` });
  const job = await lq.jobs.enqueue('nobody', {});
  const controller = new AbortController();
  const began = Date.now();
  const waiting = lq.jobs.wait(job.id, { atMost: '1m', signal: controller.signal });
  setImmediate(() => controller.abort(new Error('enough')));
  await assert.rejects(waiting, /enough/);
  assert.ok(Date.now() - began < 5_000);
  await assert.rejects(lq.jobs.wait(job.id, { signal: AbortSignal.abort(new Error('never')) }), /never/);
  await lq.close();
});

test('limits: fast, in words, over policies, as errors', async () => {
  const lq = await Levqor.open({ url: 'memory://', limits: 'runs: 2/minute by user\nip: 100/minute by ip' });
  const limiter = lq.limiter('api', RateLimit.tokenBucket(60, '1m', { burst: 2 }));
  assert.deepEqual([1, 2, 3].map(() => limiter.take('k').admitted), [true, true, false]);
  const refused = limiter.take('k');
  assert.equal(refused.reason, 'exceeded');
  assert.ok(refused.retryAfter > 0 && refused.reset > Date.now() && refused.limit === 60);
  assert.match(Object.fromEntries(refused.headers)['RateLimit'], /^"api";r=0;t=\d+$/);
  assert.throws(() => refused.admit(), (e) => e instanceof RateLimited && e.retryAfter > 0 && e.problem().status === 429);
  assert.equal(limiter.take('x'.repeat(8_000)).admitted, true);
  assert.equal(limiter.take('another key of 600 characters'.padEnd(600, '\u{1f600}')).remaining, 1);
  assert.equal(limiter.take('k', 1_000_000).reason, 'too_costly');
  assert.throws(() => limiter.take(7), { code: 'argument.invalid' });
  const who = { user: 'ann', ip: '198.51.100.7' };
  assert.deepEqual([await lq.limits.take(who), await lq.limits.take(who), await lq.limits.take(who)].map((d) => d.admitted), [true, true, false]);
  await lq.limits.reset(who);
  assert.equal((await lq.limits.peek(who)).remaining, 2);
  // In a store they have to be waited for.
  const stored = await Levqor.open({ url: `sqlite://${folder()}/a.db` });
  assert.throws(() => stored.tryLimit('a', '1/minute', 'k'), { code: 'limits.must_wait' });
  assert.deepEqual([(await stored.limit('a', '1/minute', 'k')).admitted, (await stored.limit('a', '1/minute', 'k')).admitted], [true, false]);
  await stored.close();
});

test('keys: made, verified from memory, rotated, revoked', async () => {
  const lq = await Levqor.open({ url: `sqlite://${folder()}/a.db`, keyPrefix: 'acme_test' });
  const made = await lq.keys.create({ name: 'ci', account: 'acme', scopes: ['runs:*'], limit: '2/minute', expires: '30d', metadata: { a: [1] } });
  assert.match(made.key, /^acme_test_/);
  assert.equal(lq.verifyKeyNow(made.key), undefined);
  assert.equal((await lq.keys.verify(made.key, ['runs:write'])).account, 'acme');
  assert.equal(lq.verifyKeyNow(made.key, ['runs:write']).id, made.id);
  assert.throws(() => lq.verifyKeyNow(made.key, ['ops']), { code: 'key.scope_missing', status: 403, name: 'Forbidden' });
  assert.throws(() => lq.verifyKeyNow('acme_test_x'), (e) => e instanceof Unauthorized && e.status === 401);
  assert.deepEqual([(await lq.keys.limit(made.key)).admitted, (await lq.keys.limit(made.key)).admitted, (await lq.keys.limit(made.key)).admitted], [true, true, false]);
  const next = await lq.keys.rotate(made.id, { overlap: '1h' });
  await lq.keys.verify(made.key);
  await lq.keys.verify(next.key);
  await lq.keys.revoke(made.id);
  await assert.rejects(lq.keys.verify(next.key), { code: 'key.revoked' });
  const listed = await lq.keys.list({ account: 'acme', ended: true });
  assert.equal(listed[0].state, 'revoked');
  assert.ok(!JSON.stringify(listed).includes(made.key.slice(40)));
  assert.throws(() => credential({}), { code: 'key.missing', status: 401 });
  await lq.close();
});

test('a webhook is worked on once, and again after a failure', async () => {
  const url = `sqlite://${folder()}/a.db`;
  const webhooks = { stripe: ['new', 'old'] };
  const [a, b] = [await Levqor.open({ url, webhooks }), await Levqor.open({ url, webhooks })];
  const body = JSON.stringify({ id: 'evt_1', type: 'invoice.paid', created: 1, data: { object: { n: 1 } } });
  const headers = await a.webhooks.sign('stripe', body);
  assert.equal(a.verifyWebhook('stripe', Object.fromEntries(headers), Buffer.from(body)).data.n, 1);
  let calls = 0;
  await assert.rejects(a.webhooks.once('stripe', headers, body, () => { calls++; throw new Error('down'); }), /down/);
  const outcomes = await Promise.allSettled([a, b, a, b].map((lq) => lq.webhooks.once('stripe', headers, body, async ({ id }) => { calls++; return { id }; })));
  assert.equal(calls, 2);
  for (const o of outcomes) assert.ok(o.status === 'fulfilled' ? o.value.id === 'evt_1' : o.reason.code === 'webhook.busy', JSON.stringify(o));
  assert.deepEqual(await b.webhooks.once('stripe', headers, body, () => assert.fail('again')), { id: 'evt_1' });
  assert.throws(() => a.verifyWebhook('stripe', headers, `${body} `), { code: 'webhook.signature_invalid', status: 400, name: 'WebhookRejected' });
  assert.throws(() => a.verifyWebhook('paypal', headers, body), { code: 'webhook.unknown' });
  await a.close();
  await b.close();
});

test('connectors and checks written here are like all others', async () => {
  const lq = await Levqor.open({
    url: 'memory://', vendors: false, connections: { shop: { token: 't' } },
    connectors: [{
      name: 'shop',
      actions: {
        price: { input: { type: 'object', required: ['sku'] }, sideEffect: 'read', call: async ({ sku }, cx) => ({ sku, key: cx.idempotencyKey.length, token: cx.connection?.values.token ?? null }) },
        fail: { call: () => { throw new TypeError('canary'); } },
      },
    }],
  });
  assert.deepEqual((await lq.connectors.invoke('shop.price', { sku: 'a' }, { connection: 'shop' })).data, { sku: 'a', key: 43, token: 't' });
  await assert.rejects(lq.connectors.invoke('shop.price', {}), (e) => e instanceof LevqorError && e.status === 422);
  await assert.rejects(lq.connectors.invoke('shop.fail'), { code: 'handler.failed' });
  const pipeline = { version: 1, name: 'p', steps: [{ id: 'a', action: 'shop.price', input: { sku: { $ref: 'input.sku' } } }], output: { $ref: 'steps.a.output.sku' } };
  const run = await lq.runs.submit('acme', pipeline, { sku: 'b' });
  await lq.workers.drain();
  assert.equal((await lq.runs.status(run.id)).result, 'b');
  lq.check('invoices.issued', { title: 'Invoices' }, async ({ attempt }) => ({ summary: `looked ${attempt} times`, findings: [] }));
  lq.check('invoices.late', {}, () => { throw new Error('no'); });
  const report = await lq.integrity.run(undefined, { evidence: `${folder()}/evidence`, key: `${folder()}/key.pem` });
  assert.equal(report.passed, false);
  assert.deepEqual(report.checks.map((c) => c.id).sort(), ['invoices.issued', 'invoices.late']);
  assert.equal((await lq.integrity.verify(report.evidence.folder)).ok, true);
});

test('shared engines are one, in every copy of the package; others share its connections', async () => {
  const url = `sqlite://${folder()}/a.db`;
  const a = Levqor.shared({ url });
  // A copy of the JavaScript, as a bundler or a hot reload makes it.
  const copies = Array.from({ length: 20 }, () => {
    for (const name of Object.keys(require.cache)) if (name.includes(`${path.sep}dist${path.sep}`)) delete require.cache[name];
    return require('../dist/index.js');
  });
  assert.notEqual(copies[0].Levqor, copies[1].Levqor);
  await a.credits.grant('a', 1);
  for (const copy of copies) {
    const lq = copy.Levqor.shared({ url, limits: `n: ${1 + (copies.indexOf(copy) % 2)}/minute` });
    assert.equal((await lq.credits.balance('a')).posted, '1');
    const error = await lq.credits.spend('a', 2).catch((e) => e);
    assert.ok(error instanceof copies[0].InsufficientCredits && error instanceof LevqorError);
  }
  if (process.platform === 'linux') {
    const open = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 200; i++) await copies[i % 20].Levqor.shared({ url, limits: `n: ${1 + (i % 2)}/minute` }).credits.balance('a');
    assert.ok(readdirSync('/proc/self/fd').length <= open + 2, 'no connections of their own');
  }
  await a.close();
});

const script = (text) => spawnSync(process.execPath, ['--input-type=module', '-e', text], { cwd: home, encoding: 'utf8', timeout: 60_000 });

test('nothing is opened before it is needed', () => {
  const at = path.join(folder(), 'never.db');
  const said = script(`
    import { Levqor } from './dist/index.mjs';
    const lq = Levqor.shared({ url: 'sqlite://${at}', webhooks: { stripe: undefined } });
    lq.workflow('w', async () => {}); lq.cron('c', '* * * * *', {}, async () => {}); lq.limiter('a', '1/minute'); lq.tenant('x');
    const { route, webhook, action, ops, proxy, withLevqor } = await import('./dist/next.mjs');
    route(lq, { key: true }, () => {}); webhook(lq, 'stripe', () => {}); action(lq, {}, () => {}); ops(lq, { authorize: () => true }); proxy(); withLevqor({});
    console.log(process._getActiveHandles().filter((h) => h.constructor.name !== 'Socket' && h.constructor.name !== 'WriteStream').length);
  `);
  assert.deepEqual([said.status, said.stdout.trim(), said.stderr], [0, '0', '']);
  assert.equal(existsSync(at), false);
});

test('a process ends by itself, without closing anything', () => {
  const at = path.join(folder(), 'a.db');
  const said = script(`
    import { Levqor } from './dist/index.mjs';
    const lq = Levqor.shared({ url: 'sqlite://${at}' });
    await lq.credits.grant('a', 1n);
    lq.workflow('w', async () => 1);
    await lq.start({ unref: true });
    console.log((await lq.credits.balance('a')).posted);
  `);
  assert.deepEqual([said.status, said.stdout.trim(), said.stderr], [0, '1', '']);
});

test('two hundred worker threads have one engine', { timeout: 240_000 }, () => {
  const at = path.join(folder(), 'a.db');
  const said = script(`
    import { Worker } from 'node:worker_threads';
    import { readdirSync } from 'node:fs';
    const code = \`
      const { Levqor } = require(${JSON.stringify(path.join(home, "dist/index.js"))});
      const lq = Levqor.shared({ url: 'sqlite://${at}?limits=memory' });
      (async () => {
        await lq.credits.grant('a', 1);
        require('node:worker_threads').parentPort.postMessage(lq.tryLimit('one', '50/hour', 'k').admitted);
      })();
    \`;
    let admitted = 0, most = 0;
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 20 }, () => new Promise((done, failed) => {
        const worker = new Worker(code, { eval: true });
        worker.on('message', (yes) => { admitted += yes ? 1 : 0; });
        worker.on('error', failed);
        worker.on('exit', (status) => (status === 0 ? done() : failed(new Error('exit ' + status))));
      })));
      if (process.platform === 'linux') most = Math.max(most, readdirSync('/proc/self/fd').filter(() => true).length);
    }
    const { Levqor } = await import('./dist/index.mjs');
    const lq = Levqor.shared({ url: 'sqlite://${at}?limits=memory' });
    console.log(JSON.stringify({ posted: (await lq.credits.balance('a')).posted, admitted, few: most < 80 }));
  `);
  assert.equal(said.stderr, '');
  assert.deepEqual([said.status, JSON.parse(said.stdout)], [0, { posted: '200', admitted: 50, few: true }]);
});

test('a thread that ends leaves nobody waiting', () => {
  const said = script(`
    import { Worker } from 'node:worker_threads';
    import { Levqor } from './dist/index.mjs';
    const worker = new Worker(\`
      const { Levqor } = require(${JSON.stringify(path.join(home, "dist/index.js"))});
      const lq = Levqor.shared({ url: 'memory://' });
      lq.workflow('w', () => new Promise(() => { require('node:worker_threads').parentPort.postMessage('at it'); }));
      lq.jobs.wait('job_00000000000000000000000000').catch(() => {});
      lq.start();
    \`, { eval: true });
    const lq = Levqor.shared({ url: 'memory://' });
    const job = await lq.jobs.enqueue('w', {}, { maxAttempts: 1 });
    await new Promise((heard) => worker.once('message', heard));
    await worker.terminate();
    const { error } = await lq.jobs.wait(job.id, { atMost: '30s' });
    console.log(error.code);
    await lq.close();
  `);
  assert.deepEqual([said.stderr, said.stdout.trim(), said.status], ['', 'node.thread_gone', 0]);
});

test('every verb of the engine is a method here', () => {
  const native = require('../levqor.node');
  const sources = ['verbs.ts', 'index.ts', 'workflow.ts', 'atomic.ts'].map((f) => execFileSync('cat', [path.join(home, 'ts', f)], { encoding: 'utf8' })).join('\n');
  const missing = native.verbs().filter((verb) => !sources.includes(`'${verb}'`));
  assert.deepEqual(missing, []);
  assert.equal(new Set(native.verbs()).size, native.verbs().length);
});
