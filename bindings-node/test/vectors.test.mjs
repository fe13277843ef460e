// The golden vectors: the same cases, with the same answers, as in Rust and Python.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  credential, errorOf, Levqor, LevqorError, parseKey, scopesCover, securityHeaders, Webhook,
} from '../dist/index.mjs';
import * as all from '../dist/index.mjs';
import { outcome, vectors } from './kit.mjs';
import { createHash } from 'node:crypto';

test('keys are read alike', async () => {
  const { texts, refused, scopes } = vectors('keys');
  for (const { prefix, text, id, hash } of texts) {
    assert.equal(parseKey(text, prefix), id);
    assert.equal(createHash('sha256').update(text).digest('base64url'), hash);
  }
  for (const { prefix, text, error, about } of refused) assert.deepEqual(await outcome(() => parseKey(text, prefix)), { error }, about);
  for (const { given, asked, passes } of scopes) assert.equal(scopesCover(given, asked), passes);
  assert.equal(credential({ Authorization: `Bearer ${texts[0].text}` }), texts[0].text);
});

test('webhooks are verified alike', async () => {
  const { verify, sign, refused } = vectors('signatures');
  for (const { name, webhook, config, headers, body, now_ms, expect } of verify) {
    const told = await outcome(() => {
      const event = new Webhook(webhook, config).verify(headers, body, { now: now_ms });
      return { id: event.id, type: event.type, created: event.created, ...('data' in expect ? { data: event.data } : {}) };
    });
    assert.deepEqual(told.value ?? told, expect, name);
  }
  for (const { webhook, config, id, at_ms, body, headers } of sign) {
    assert.deepEqual(new Webhook(webhook, config).sign(body, { id, now: at_ms }), headers);
  }
  for (const { webhook, config, error } of refused) {
    assert.equal((await outcome(() => new Webhook(webhook, config))).error?.code, error, JSON.stringify(config));
  }
});

test('security headers are the same', async () => {
  const { cases, refused } = vectors('headers');
  for (const { preset, nonce, headers } of cases) assert.deepEqual(securityHeaders(preset, nonce ?? undefined), headers);
  for (const nonce of refused) assert.equal((await outcome(() => securityHeaders('html', nonce))).error?.code, 'headers.bad_nonce');
});

test('errors become the same exceptions', async () => {
  const lq = Levqor.shared({ url: 'memory://vectors' });
  for (const { error, class: name, status, retryable, problem } of vectors('errors').cases) {
    // What the engine makes of it is what it would throw.
    const described = JSON.parse((await import('node:module')).createRequire(import.meta.url)('../levqor.node').describeError(JSON.stringify(error)));
    const thrown = errorOf(described);
    assert.deepEqual([thrown.name, thrown.status, thrown.retryable, thrown.code], [name, status, retryable, error.code]);
    assert.ok(thrown instanceof LevqorError && thrown instanceof all[name] && thrown instanceof Error);
    assert.deepEqual(thrown.problem(), problem);
    assert.equal(thrown.toResponse().status, status);
  }
  assert.ok(lq);
});

test('limits decide alike', async () => {
  const { cases } = vectors('limits');
  assert.ok(cases.length >= 12);
  const root = await Levqor.open({ url: 'memory://', clock: 0 });
  for (const [i, { name, steps }] of cases.entries()) {
    const lq = root.tenant(`vector-${i}`);
    for (const { at_ms, asks, expect } of steps) {
      await root.standing.setTime(at_ms);
      const given = asks.map(({ patience_ms, taken_ms, until_ms, ...ask }) => ({
        ...ask, ...(patience_ms === undefined ? {} : { wait: patience_ms }), ...(taken_ms ?? until_ms ? { at: taken_ms ?? until_ms } : {}),
      }));
      const d = await lq.limits.ask(given);
      const told = {
        admitted: d.admitted, reason: d.reason ?? null, retry_after_ms: d.retryAfter ?? null,
        asks: d.asks.map((a) => ({ name: a.name, admitted: a.admitted, remaining: a.remaining, reset_after_ms: a.reset_after, retry_after_ms: a.retry_after, reason: a.reason })),
        headers: Object.fromEntries(d.headers),
      };
      const { ready_after_ms = 0, ...rest } = expect;
      const same = Object.fromEntries(Object.keys(rest).map((k) => [k, k === 'asks' ? told.asks.map((a, n) => Object.fromEntries(Object.keys(rest.asks[n]).map((f) => [f, a[f]]))) : told[k]]));
      assert.deepEqual(same, rest, name);
      assert.equal(d.toJSON().ready_after ?? 0, ready_after_ms, name);
    }
    // The fast way says the same of a limit that is asked alone, from the beginning.
    const [first] = steps;
    if (first.asks.length === 1 && !first.asks[0].op) {
      const { name: limit, key, quota, cost = 1 } = first.asks[0];
      await root.standing.setTime(first.at_ms);
      const d = root.tenant(`quick-${i}`).tryLimit(limit, quota, key, cost);
      assert.deepEqual([d.admitted, d.reason ?? null, d.retryAfter ?? null], [first.expect.admitted, first.expect.reason, first.expect.retry_after_ms], name);
      assert.deepEqual(Object.fromEntries(d.headers), first.expect.headers, name);
    }
  }
});

test('cron expressions tick alike', async () => {
  const { cases, refused } = vectors('cron');
  const lq = await Levqor.open({ url: 'memory://', clock: 0 });
  for (const { about, expression, zone, from, next } of cases) {
    await lq.standing.setTime(from);
    await lq.schedules.put({ id: 'case', when: { cron: expression }, zone, target: { kind: 'job', handler: 'x' } });
    const ticks = await lq.schedules.next('case', 5);
    assert.deepEqual(ticks, next.map((t) => Date.parse(t)), `${about}: ${expression} in ${zone}`);
    await lq.schedules.delete('case');
  }
  for (const cron of refused) {
    const said = await outcome(() => lq.schedules.put({ id: 'bad', when: { cron }, target: { kind: 'job', handler: 'x' } }));
    assert.equal(said.error?.code, 'schedule.bad_cron', cron);
  }
});

test('pipelines are taken or refused with every fault', async () => {
  const { catalog, pipelines } = vectors('pipeline');
  const connectors = new Map();
  for (const [full, { input, output }] of Object.entries(catalog.actions)) {
    const [name, action] = full.split('.');
    const connector = connectors.get(name) ?? { name, actions: {} };
    connector.actions[action] = { input, output, call: () => null };
    connectors.set(name, connector);
  }
  const lq = await Levqor.open({
    url: 'memory://', vendors: false, connectors: [...connectors.values()], connections: Object.fromEntries(catalog.connections.map((c) => [c, {}])),
  });
  for (const { name, pipeline, expect } of pipelines) {
    let told = 'ok';
    try {
      // JavaScript has one kind of number: what hangs on how one is written goes as text.
      await lq.pipelines.check(name === 'an integer written as a double' ? JSON.stringify(pipeline).replace('"max_attempts":3', '"max_attempts":3.0') : pipeline);
    } catch (e) {
      assert.equal(e.code, 'pipeline.invalid', name);
      const faults = new Map(e.faults.map(({ at, code }) => [JSON.stringify([at, code]), { at, code }]));
      told = { faults: [...faults.values()].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.code < b.code ? -1 : 1)) };
    }
    assert.deepEqual(told, expect, name);
  }
});

/** The verbs of the credits' vectors. */
class Play {
  names = new Map();
  constructor(lq, clock) {
    Object.assign(this, { lq, clock });
  }

  until = (value) => (typeof value === 'number' ? `${value}ms` : value);

  terms({ account, amount, ...terms }) {
    const names = { effective_at: 'effectiveAt', booked_at: 'bookedAt' };
    return Object.fromEntries(Object.entries(terms).map(([k, v]) => [names[k] ?? k, k === 'expires' ? this.until(v) : v]));
  }

  async call(op, a, key) {
    const { credits } = this.lq;
    const o = key === undefined || key === null ? {} : { idempotencyKey: key };
    switch (op) {
      case 'grant': return credits.grant(a.account, a.amount, { ...this.terms(a), ...o });
      case 'spend': return credits.spend(a.account, a.amount, o);
      case 'hold': return credits.hold(a.account, a.amount, { ...(a.expires === undefined ? {} : { expires: this.until(a.expires) }), ...o });
      case 'capture': return credits.capture(a.hold, { amount: a.amount, last: a.last, overage: a.overage, ...o });
      case 'release': return credits.release(a.hold, o);
      case 'extend': return credits.extend(a.hold, this.until(a.until), o);
      case 'refund': return credits.refund(a.txn, { amount: a.amount, ...(a.regrant_days === undefined ? {} : { onExpired: { regrant: a.regrant_days } }), ...o });
      case 'clawback': return credits.clawback(a.grant, a.refunded, o);
      case 'transfer': return credits.transfer(a.from, a.to, a.amount, o);
      case 'overdraft': return credits.overdraft(a.account, a.limit, o);
      case 'freeze': return credits.freeze(a.account, a.frozen, o);
      case 'linked': return credits.linked(a.ops.map(({ op: one, args: { account, amount, expires, ...rest } }) => ({
        op: one, account, amount, ...(one === 'grant' ? { terms: this.terms({ ...rest, ...(expires === undefined ? {} : { expires }) }) } : expires === undefined ? {} : { expires: this.until(expires) }),
      })), o);
      case 'balance': return credits.balance(a.account);
      case 'balance_at': return credits.balanceAt(a.account, a.booked ?? a.recorded, { by: a.booked ? 'booked' : 'recorded' });
      case 'grants': return Object.fromEntries((await credits.grants(a.account, { usedUp: a.used_up })).map((g) => [g.id, g.remaining]));
      case 'statement': {
        const lines = [];
        for (let after = 0; ; ) {
          const page = await credits.statement(a.account, { since: a.from, until: a.to, after, limit: 2 });
          lines.push(...page.map((l) => [l.kind, l.amount, l.after]));
          if (page.length < 2) return lines;
          after = page[1].version;
        }
      }
      case 'totals': return credits.totals();
      case 'audit': {
        const { sum, violations } = await credits.audit();
        return { sum, sound: violations.length === 0, violations };
      }
      case 'rollover': return credits.rollover(a.ending, a.overage, a.granted, { least: a.min, most: a.max });
      case 'split': return (await credits.split(Number(a.whole), a.weights)).map(String);
      default: throw new Error(`there is no verb ${op}`);
    }
  }

  resolve(args = {}) {
    return Object.fromEntries(Object.entries(args).map(([k, v]) => [k, ['hold', 'txn', 'grant'].includes(k) && this.names.has(v) ? this.names.get(v)[0] : v]));
  }

  async step(step, place) {
    if (step.at) await this.clock(step.at);
    if (step.op === 'parallel') return this.parallel(step, place);
    let answer;
    try {
      answer = await this.call(step.op, this.resolve(step.args), step.key);
    } catch (e) {
      assert.equal(e.code, step.error, `${place}: ${e}`);
      return;
    }
    assert.equal(step.error, undefined, place);
    if (step.as) this.names.set(step.as, [answer.id]);
    if (!('expect' in step)) return;
    let { expect } = step;
    if (expect !== null && typeof expect === 'object' && !Array.isArray(expect)) {
      expect = Object.fromEntries(Object.entries(expect).map(([k, v]) => [k, this.names.has(v) ? this.names.get(v)[0] : v]));
      answer = Object.fromEntries(Object.keys(expect).map((k) => [k, step.op === 'grants' ? answer[this.names.get(k)[0]] : answer[k]]));
    }
    assert.deepEqual(answer, expect, place);
  }

  async parallel({ tasks, times, for_each, call, expect, as }, place) {
    const each = for_each ? this.names.get(for_each) : Array(times).fill(null);
    const counts = {};
    const ids = [];
    const queue = [...each];
    await Promise.all(Array.from({ length: tasks }, async () => {
      while (queue.length > 0) {
        const one = queue.shift();
        const args = Object.fromEntries(Object.entries(call.args).map(([k, v]) => [k, v === '{each}' ? one : v]));
        try {
          ids.push((await this.call(call.op, args, call.key)).id);
          counts.ok = (counts.ok ?? 0) + 1;
        } catch (e) {
          counts[e.code] = (counts[e.code] ?? 0) + 1;
        }
      }
    }));
    if ('answers' in expect) counts.answers = new Set(ids).size;
    if (as) this.names.set(as, ids);
    assert.deepEqual(counts, expect, place);
  }
}

test('credits come out alike', async () => {
  const { scenarios } = vectors('credits');
  const root = await Levqor.open({ url: 'memory://', clock: 0 });
  for (const [i, { name, steps }] of scenarios.entries()) {
    const play = new Play(root.tenant(`vector-${i}`), (at) => root.standing.setTime(at));
    await root.standing.setTime(0);
    for (const [n, step] of steps.entries()) await play.step(step, `${name}, step ${n}`);
  }
});
