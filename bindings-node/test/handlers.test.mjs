// Work written in JavaScript, done by the engine's worker.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fatal, Levqor, NotFound } from '../dist/index.mjs';
import { folder } from './kit.mjs';

const engines = [['memory', () => 'memory://'], ['sqlite', () => `sqlite://${folder()}/a.db`]];
const start = (lq) => lq.start({ workers: 4, poll: 20, unref: true });

for (const [name, url] of engines) {
  test(`${name}: a step that is done is not made again`, async () => {
    const lq = await Levqor.open({ url: url() });
    const made = { create: 0, send: 0 };
    const onboard = lq.workflow('onboard', { maxAttempts: 3, initial: 1, max: 5 }, async (wf, { email }) => {
      const user = await wf.step('create', ({ idempotencyKey }) => { made.create++; return { id: 7, email, key: idempotencyKey.length }; });
      for (const part of ['a', 'b']) await wf.step('part', () => part);
      await wf.progress({ user });
      if (wf.attempt === 1) throw new Error('the first attempt fails');
      await wf.step('send', { timeout: '5s' }, async () => { made.send++; });
      return { user: user.id, attempt: wf.attempt, account: wf.account };
    });
    await lq.credits.grant('acme', 10);
    const job = await onboard.enqueue({ email: 'a@b.c' }, { account: 'acme', hold: 4n });
    assert.equal((await lq.credits.balance('acme')).available, '6');
    await start(lq);
    const run = await onboard.wait(job.id);
    assert.deepEqual([run.state, run.result], ['done', { user: 7, attempt: 2, account: 'acme' }]);
    assert.deepEqual(made, { create: 1, send: 1 });
    assert.deepEqual((await lq.jobs.get(job.id)).progress, { user: { id: 7, email: 'a@b.c', key: 43 } });
    assert.equal((await lq.credits.balance('acme')).posted, '6');
    await lq.close();
  });

  test(`${name}: signals, sleeps, captures, snoozes`, async () => {
    const lq = await Levqor.open({ url: url() });
    const waits = lq.workflow('waits', async (wf) => {
      if (!(await wf.step('first', () => true))) throw new Error('never');
      const said = await wf.waitFor('go', '1m');
      const nothing = await wf.waitFor('other', 0);
      await wf.sleep('nap', 5);
      await wf.capture('1.5');
      return { said, nothing: nothing === undefined };
    });
    let snoozed = 0;
    const later = lq.workflow('later', async (wf) => {
      if (snoozed++ === 0) await wf.snooze(1);
      return wf.attempt;
    });
    await lq.credits.grant('acme', 10);
    await start(lq);
    const [a, b] = [await waits.enqueue(null, { account: 'acme', hold: 5 }), await later.enqueue(null)];
    await lq.jobs.signal(a.id, 'go', { n: 1 });
    assert.deepEqual((await waits.wait(a.id)).result, { said: { n: 1 }, nothing: true });
    assert.equal((await later.wait(b.id)).result, 1);
    assert.deepEqual(await lq.credits.balance('acme'), { posted: '8.5', held: '0', available: '8.5', spendable: '8.5' });
    await lq.close();
  });

  test(`${name}: what cannot help is not tried again, and a dead letter is redriven`, async () => {
    const lq = await Levqor.open({ url: url() });
    let tries = 0;
    let broken = true;
    const flaky = lq.workflow('flaky', { maxAttempts: 5, initial: 1, max: 2 }, async (wf) => {
      await wf.step('once', () => { tries++; });
      if (broken) throw new Fatal('wrong input');
      return 'well';
    });
    const steps = lq.workflow('steps', { maxAttempts: 1 }, async (wf) => {
      let made = 0;
      const n = await wf.step('tries', { retry: { maxAttempts: 3, initial: 1, max: 2 } }, () => { if (++made < 3) throw new Error('again'); return made; });
      try {
        await wf.step('own', () => { throw new RangeError('mine'); });
      } catch (e) {
        return { n, own: e instanceof RangeError };
      }
    });
    const slow = lq.workflow('slow', { maxAttempts: 1 }, (wf) => wf.step('s', { timeout: 10 }, ({ signal }) => new Promise((_, no) => signal.addEventListener('abort', () => no(signal.reason)))));
    await start(lq);
    const [a, b, c] = [await flaky.enqueue(1), await steps.enqueue(1), await slow.enqueue(1)];
    assert.equal((await flaky.wait(a.id)).state, 'dead');
    assert.deepEqual((await steps.wait(b.id)).result, { n: 3, own: true });
    assert.equal((await slow.wait(c.id)).error.code, 'step.timeout');
    assert.equal((await lq.jobs.dead()).length, 2);
    broken = false;
    await lq.jobs.redrive(a.id);
    assert.equal((await flaky.wait(a.id)).result, 'well');
    assert.equal(tries, 1);
    await assert.rejects(lq.jobs.redrive('job_00000000000000000000000000'), NotFound);
    await lq.close();
  });

  test(`${name}: unique jobs, batches, many in one commit, queues that pause`, async () => {
    const lq = await Levqor.open({ url: url() });
    const add = lq.workflow('add', async (_, { a, b }) => a + b);
    const sum = lq.workflow('sum', async (wf) => (await lq.jobs.list({ batch: wf.follows })).reduce((n, job) => n + job.result, 0));
    const [one, two] = [await add.enqueue({ a: 1, b: 1 }, { unique: 'k' }), await add.enqueue({ a: 1, b: 1 }, { unique: { key: 'k', for: '1m' } })];
    assert.deepEqual([two.id, two.duplicate], [one.id, true]);
    const batch = await add.enqueueBatch([{ a: 1, b: 2 }, { a: 3, b: 4 }], { then: { workflow: sum } });
    assert.equal((await lq.jobs.batch(batch)).total, 2);
    const same = await Promise.all([1, 2].map(() => add.enqueueMany([{ a: 5, b: 5 }, { a: 6, b: 6 }], { idempotencyKey: 'm' })));
    assert.deepEqual(same[0].map((j) => j.id), same[1].map((j) => j.id));
    await lq.jobs.limit('default', { running: 2, rate: '1000/second' });
    await lq.jobs.pause('slow');
    const held = await add.enqueue({ a: 0, b: 0 }, { queue: 'slow' });
    await lq.start({ workers: 4, poll: 20, unref: true, queues: ['default', 'slow'] });
    await lq.workers.works();
    for (let i = 0; i < 200; i++) if ((await lq.jobs.list({ handler: 'sum', state: 'done' })).length > 0) break; else await new Promise((r) => setTimeout(r, 20));
    const [follower] = await lq.jobs.list({ handler: 'sum' });
    assert.equal((await lq.jobs.wait(follower.id)).result, 10);
    assert.equal((await lq.jobs.get(held.id)).state, 'ready');
    assert.deepEqual((await lq.jobs.queues()).map((q) => [q.queue, q.paused]), [['default', false], ['slow', true]]);
    await lq.jobs.resume('slow');
    assert.equal((await lq.jobs.wait(held.id)).result, 0);
    await lq.close();
  });

  test(`${name}: everything of a transaction happens, or nothing`, async () => {
    const lq = await Levqor.open({ url: url() });
    const schema = { '~standard': { version: 1, vendor: 'test', validate: (v) => (typeof v?.n === 'number' ? { value: v } : { issues: [{ message: 'n is no number', path: ['n'] }] }) } };
    const work = lq.workflow('work', { input: schema }, async (_, { n }) => n);
    await lq.credits.grant('acme', 10);
    const both = () => lq.atomic({ idempotencyKey: 'k' }, (tx) => ({
      job: tx.enqueue(work, { n: 1 }, { account: 'acme', hold: 4n }), spent: tx.credits.spend('acme', 1), all: [tx.usage('web', 'e1', 'calls', 'acme', 1), tx.record('note', 'a', { b: 1 }, { version: 0 })],
    }));
    const [a, b] = [await both(), await both()];
    assert.deepEqual([a.job.id, a.spent.posted, a.all], [b.job.id, '9', [null, null]]);
    assert.deepEqual([a.job.replayed, b.job.replayed], [false, true]);
    await assert.rejects(lq.atomic({}, (tx) => { tx.credits.spend('acme', 1); tx.credits.spend('acme', 100); }), (e) => e.status === 402 && e.details.operation === 1);
    assert.equal((await lq.credits.balance('acme')).available, '5');
    await assert.rejects(lq.atomic({}, (tx) => tx.enqueue(work, { n: 'x' })), { code: 'input.invalid' });
    await assert.rejects(lq.atomic({}, async () => {}), { code: 'atomic.async' });
    await assert.rejects(work.enqueue({}), (e) => e.faults[0].at === '/n' && e.status === 422);
    await lq.close();
  });

  test(`${name}: a job that is called off stops its function; a stopping worker gives back`, async () => {
    const lq = await Levqor.open({ url: url() });
    let heard;
    const stopped = new Promise((done) => { heard = done; });
    const long = lq.workflow('long', (wf) => new Promise((_, no) => { wf.signal.addEventListener('abort', () => { heard(); no(wf.signal.reason); }); }));
    await lq.start({ workers: 2, poll: 20, lease: '2s', grace: 10, unref: true });
    const job = await long.enqueue(null);
    while ((await lq.jobs.get(job.id)).state !== 'leased') await new Promise((r) => setTimeout(r, 10));
    await lq.jobs.cancel(job.id);
    await stopped;
    assert.equal((await long.wait(job.id)).state, 'cancelled');
    assert.equal((await lq.stop()).cancelled, 1);
    await lq.close();
  });
}

test('a workflow is tried without an engine at work', async () => {
  const lq = Levqor.shared({ url: 'memory://' });
  const work = lq.workflow('tried', async (wf, n) => (await wf.step('a', () => n * 2)) + 1);
  assert.equal(await work.test(20), 41);
});

test('a workflow that is defined again takes the place of the one before', async () => {
  const lq = Levqor.shared({ url: 'memory://' });
  for (const version of [1, 2, 3]) {
    const again = Levqor.shared({ url: 'memory://' });
    const work = again.workflow('hot', async () => version);
    const job = await work.enqueue(null);
    await again.workers.drain();
    assert.equal((await work.wait(job.id)).result, version);
  }
  await lq.close();
});

test('what is scheduled fires', async () => {
  const lq = await Levqor.open({ url: 'memory://', clock: Date.parse('2026-03-01T00:00:30Z') });
  const nightly = lq.cron('nightly', '0 2 * * *', { tz: 'Europe/London', misfire: 'once' }, async (_, input) => input);
  await lq.start({ unref: true, schedules: false, queues: ['none'] });
  assert.equal((await lq.schedules.get('nightly')).next_tick, Date.parse('2026-03-01T02:00:00Z'));
  await lq.standing.setTime('2026-03-01T02:00:01Z');
  assert.equal((await lq.schedules.fireDue()).fired, 1);
  await lq.workers.drain();
  const [job] = await lq.jobs.list({ handler: nightly.name });
  assert.equal(job.state, 'done');
  await lq.close();
});
