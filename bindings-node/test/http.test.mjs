// Routes, webhooks, actions, the ops page, Express: over real requests.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import * as express from '../dist/express.mjs';
import { Levqor } from '../dist/index.mjs';
import { action, instrumentation, onRequestError, ops, route, webhook, withLevqor } from '../dist/next.mjs';

const object = { '~standard': { version: 1, vendor: 'test', validate: (v) => (typeof v?.email === 'string' ? { value: { email: v.email } } : { issues: [{ message: 'email is missing', path: ['email'] }] }) } };
const post = (body, headers = {}) => new Request('https://app.example/api/run', { method: 'POST', body, headers });

async function engine(more = {}) {
  return Levqor.open({ url: 'memory://', webhooks: { stripe: 'whsec_x' }, ...more });
}

test('a route: key, limit, body, idempotency, headers', async () => {
  const lq = await engine();
  const POST = route(lq, { key: { scopes: ['runs:write'] }, limit: { name: 'runs', quota: '2/minute', by: 'key' }, body: object, idempotency: 'required' },
    async ({ body, key, idempotencyKey, params }) => ({ email: body.email, account: key.account, idempotencyKey, id: params.id }));
  const { key } = await lq.keys.create({ account: 'acme', scopes: ['runs:*'] });
  const good = { authorization: `Bearer ${key}`, 'idempotency-key': 'k1' };
  const first = await POST(post('{"email":"a@b","more":1}', good), { params: Promise.resolve({ id: '7' }) });
  assert.deepEqual([first.status, await first.json()], [200, { email: 'a@b', account: 'acme', idempotencyKey: 'k1', id: '7' }]);
  assert.equal(first.headers.get('x-ratelimit-remaining'), '1');
  assert.match(first.headers.get('content-security-policy'), /default-src 'none'/);
  for (const [request, status, code] of [
    [post('{}'), 401, 'key.missing'],
    [post('{}', { 'x-api-key': `${key}x` }), 401, 'key.malformed'],
    [post('{}', good), 422, 'input.invalid'],
    [post('{"email":"a"}', good), 429, 'limits.exceeded'],
  ]) {
    const answer = await POST(request);
    const problem = await answer.json();
    assert.deepEqual([answer.status, problem.code, answer.headers.get('content-type')], [status, code, 'application/problem+json']);
    if (status === 401) assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
    if (status === 429) assert.ok(Number(answer.headers.get('retry-after')) > 0);
  }
  const other = await lq.keys.create({ scopes: ['x'] });
  assert.equal((await POST(post('{}', { authorization: `Bearer ${other.key}` }))).status, 403);
  const free = route(lq, { body: object, maxBody: 20 }, () => undefined);
  assert.deepEqual([(await free(post('{"email":"a"}'))).status, (await free(post('{'))).status, (await free(post(`{"email":"${'a'.repeat(50)}"}`))).status], [204, 400, 413]);
  await assert.rejects(route(lq, {}, () => { throw new RangeError('mine'); })(post('')), RangeError);
});

test('addresses are taken from the proxies that are trusted', async () => {
  const lq = await engine();
  const GET = route(lq, { limit: { name: 'ip', quota: '1/minute', by: 'ip' }, trustedProxies: ['10.0.0.0/8'] }, () => 'ok');
  const from = async (hops) => (await GET(post('', { 'x-forwarded-for': hops }))).status;
  assert.deepEqual([await from('203.0.113.1, 10.0.0.1'), await from('1.1.1.1, 203.0.113.1, 10.0.0.1')], [200, 429]);
  assert.equal(await from('203.0.113.2'), 200);
  assert.deepEqual([await from('2001:db8::1'), await from('2001:db8::2')], [200, 429]);
  assert.equal((await GET(post(''))).status, 422);
});

test('a webhook is answered 204 once and again, 400 if it is not genuine', async () => {
  const lq = await engine();
  let seen = 0;
  const POST = webhook(lq, 'stripe', async (event) => { seen++; if (seen === 1) throw new Error('down'); assert.equal(event.data.n, 1); });
  const body = JSON.stringify({ id: 'evt_9', type: 'a', created: 1, data: { object: { n: 1 } } });
  const send = async (text = body) => POST(post(text, Object.fromEntries(await lq.webhooks.sign('stripe', body))));
  await assert.rejects(send(), /down/);
  assert.deepEqual([(await send()).status, (await send()).status, seen], [204, 204, 2]);
  const forged = await send(`${body} `);
  assert.deepEqual([forged.status, (await forged.json()).code], [400, 'webhook.signature_invalid']);
});

test('an action gives values, and problems as values', async () => {
  const lq = await engine();
  const save = action(lq, { input: object, limit: { name: 'save', quota: '2/minute', by: 'all' } }, async ({ email }) => email.length);
  const form = new FormData();
  form.set('email', 'a@b');
  form.set('$ACTION_ID_x', '');
  assert.deepEqual([await save(form), await save(null, form)], [{ ok: true, data: 3 }, { ok: true, data: 3 }]);
  assert.equal((await save({ email: 'x' })).problem.status, 429);
});

test('Next is configured, and workers start in its server only', async () => {
  assert.deepEqual(withLevqor({ serverExternalPackages: ['x'], a: 1 }), { poweredByHeader: false, serverExternalPackages: ['x', 'levqor'], a: 1 });
  const lq = await engine();
  let loaded = 0;
  const register = instrumentation(async () => { loaded++; return { lq }; }, { workers: 2 });
  for (const [runtime, phase, works] of [['edge', '', false], ['nodejs', 'phase-production-build', false], ['nodejs', '', true]]) {
    Object.assign(process.env, { NEXT_RUNTIME: runtime, NEXT_PHASE: phase });
    await register();
    assert.equal(await lq.workers.works(), works);
  }
  assert.equal(loaded, 1);
  delete process.env.NEXT_RUNTIME;
  const warned = new Promise((done) => process.once('warning', done));
  onRequestError(new Error('x'), { method: 'GET', path: '/a' }, { routePath: '/a' });
  assert.match((await warned).message, /GET \/a failed: x/);
  await lq.close();
});

test('the ops page shows and acts, for those who may', async () => {
  const lq = await engine();
  const dead = lq.workflow('dead', { maxAttempts: 1 }, async () => { throw new Error('<script>alert(1)</script>'); });
  const job = await dead.enqueue({}, { account: 'acme' });
  await lq.workers.drain();
  const { GET, POST } = ops(lq, { authorize: (request) => request.headers.get('cookie') === 'ops=1', title: 'Shop & <Co>' });
  const at = (path, init = {}) => new Request(`https://app.example/ops/${path}`, { ...init, headers: { cookie: 'ops=1', ...init.headers } });
  assert.equal((await GET(new Request('https://app.example/ops'))).status, 403);
  const page = await GET(at(''));
  const html = await page.text();
  const nonce = /'nonce-([^']+)'/.exec(page.headers.get('content-security-policy'))[1];
  assert.ok(html.includes(`<script nonce="${nonce}">`) && html.includes('Shop &#38; &#60;Co&#62;'));
  assert.equal(html.match(/<script/g).length, 1);
  const data = await (await GET(at('data'))).json();
  assert.deepEqual([data.dead[0].id, data.counts, data.info.store], [job.id, [{ queue: 'default', state: 'dead', count: 1 }], 'memory']);
  const act = (verb, body, headers = { 'x-levqor-ops': '1' }) => POST(at(verb, { method: 'POST', body: JSON.stringify(body), headers }));
  assert.equal((await act('redrive', { id: job.id }, {})).status, 403);
  assert.equal((await act('redrive', { id: job.id }, { 'x-levqor-ops': '1', 'sec-fetch-site': 'cross-site' })).status, 403);
  assert.equal((await (await act('redrive', { id: job.id })).json()).state, 'ready');
  for (const [verb, body, status] of [['pause', { queue: 'default' }, 200], ['resume', { queue: 'default' }, 200], ['cancel', { id: job.id }, 200], ['account', { account: 'acme' }, 200], ['redrive-all', {}, 200], ['redrive', {}, 422], ['nothing', {}, 404]]) {
    assert.equal((await act(verb, body)).status, status, verb);
  }
});

test('Express: guards, webhooks, problems, the ops page', async () => {
  const lq = await engine();
  const chain = (...all) => (req, res) => {
    const next = (i) => (error) => {
      if (error) return express.problems()(error, req, res, () => res.destroy());
      all[i] ? all[i](req, res, next(i + 1)) : res.end(JSON.stringify({ account: req.levqor.key?.account, body: req.body }));
    };
    next(0)();
  };
  const routes = {
    '/api': chain(express.guard(lq, { key: true, limit: { name: 'api', quota: '2/minute' }, body: object })),
    '/hook': chain(express.webhook(lq, 'stripe', () => {})),
    '/page': chain(express.headers('html')),
    '/ops': chain(express.ops(lq, { authorize: () => true })),
    '/broken': chain((_req, _res, next) => next(new Error('canary'))),
  };
  const server = createServer((req, res) => routes[req.url.split('?')[0]](req, res));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  after(() => server.close());
  const base = `http://127.0.0.1:${server.address().port}`;
  const { key } = await lq.keys.create({ account: 'acme' });
  const call = (path, init) => fetch(base + path, { ...init, headers: { connection: 'close', ...init?.headers } });
  const good = { method: 'POST', headers: { 'x-api-key': key }, body: '{"email":"a"}' };
  const [a, b, c] = [await call('/api', good), await call('/api', good), await call('/api', good)];
  assert.deepEqual(await a.json(), { account: 'acme', body: { email: 'a' } });
  assert.deepEqual([b.headers.get('x-ratelimit-remaining'), c.status, c.headers.get('content-type')], ['0', 429, 'application/problem+json']);
  assert.equal((await call('/api')).status, 401);
  const body = '{"id":"evt_1","type":"a"}';
  assert.equal((await call('/hook', { method: 'POST', body, headers: Object.fromEntries(await lq.webhooks.sign('stripe', body)) })).status, 204);
  assert.match((await call('/page')).headers.get('content-security-policy'), /'nonce-/);
  assert.match(await (await call('/ops')).text(), /Dead letters/);
  const warned = new Promise((done) => process.once('warning', done));
  const broken = await call('/broken');
  assert.deepEqual([broken.status, (await broken.text()).includes('canary')], [500, false]);
  await warned;
});
