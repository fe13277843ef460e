// Ten thousand inputs that nobody should send, to each entry point: none crashes, and each that is refused is
// refused by a typed error.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import {
  clientAddress, credential, formatCredits, Levqor, LevqorError, parseCredits, parseKey, scopesCover, securityHeaders, Webhook,
} from '../dist/index.mjs';
import { home } from './kit.mjs';

const N = 10_000;

/** The same numbers every time: a fault can be found again. */
function random(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const TEXTS = ['', ' ', '\0', 'lvq_', '{}', '[]', 'null', '1/minute', '60/minute burst 10', '-1', '0.1', '1e400', '🦀', '\ud800', 'a'.repeat(70_000), 't=1,v1=00', '../../etc/passwd', 'memory://', 'sqlite://', "'; drop table x; --", 'job_00000000000000000000000000', '2026-02-30T00:00:00Z', '10m', 'NaN', '__proto__', '\u202e', 'Bearer x'];

function value(below, depth = 0) {
  switch (below(depth > 2 ? 9 : 12)) {
    case 0: return undefined;
    case 1: return null;
    case 2: return below(2) === 0;
    case 3: return [0, -0, 1, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 53, 2 ** 31, -(2 ** 31), 1e308, 4294967296][below(13)];
    case 4: return [0n, 1n, -1n, 1n << 63n, 1n << 200n][below(5)];
    case 5: return TEXTS[below(TEXTS.length)];
    case 6: return String.fromCharCode(...Array.from({ length: below(40) }, () => below(0x10000)));
    case 7: return [new Date(NaN), new Date(0), Symbol('x'), () => 1, /x/, new Map(), new Uint8Array(3), Object.create(null)][below(8)];
    case 8: return Buffer.from(Array.from({ length: below(60) }, () => below(256)));
    case 9: return Array.from({ length: below(4) }, () => value(below, depth + 1));
    default: return Object.fromEntries(Array.from({ length: below(4) }, () => [TEXTS[below(TEXTS.length)].slice(0, 100), value(below, depth + 1)]));
  }
}

function tolerated(error, what) {
  if (error instanceof LevqorError) {
    assert.match(error.code, /^[a-z]+(\.[a-z_]+)*$/, what);
    assert.ok(error.status >= 400 && error.status < 600, what);
    assert.notEqual(error.kind, 'internal', `${what}: ${error}`);
    return;
  }
  assert.fail(`${what}: ${error?.stack ?? String(error)}`);
}

/** Calls a function that waits for nothing. */
function sync(name, act) {
  test(name, () => {
    const below = random(name.length * 7919);
    for (let i = 0; i < N; i++) {
      try {
        act(below);
      } catch (error) {
        tolerated(error, `${name} ${i}`);
      }
    }
  });
}

const args = (below, n) => Array.from({ length: n }, () => value(below));

sync('parseKey', (below) => parseKey(...args(below, 2)));
sync('parseCredits', (below) => parseCredits(value(below)));
sync('formatCredits', (below) => formatCredits(value(below)));
sync('securityHeaders', (below) => securityHeaders(['api', 'html', 'strict', value(below)][below(4)], value(below)));
sync('scopesCover', (below) => scopesCover(...args(below, 2)));
sync('credential', (below) => credential({ authorization: value(below), 'x-api-key': value(below) }));
sync('clientAddress', (below) => clientAddress(['127.0.0.1', '::1', value(below)][below(3)], [value(below)].flat(), ['10.0.0.0/8', String(TEXTS[below(TEXTS.length)])]));
sync('Webhook', (below) => new Webhook(['stripe', 'slack', 'x', value(below)][below(4)], [value(below), { secret: value(below), scheme: value(below) }][below(2)]));

const signed = new Webhook('stripe', 'whsec_test');
const shown = new Webhook('telegram', 'whsec_test');
sync('Webhook.verify', (below) => {
  const body = [value(below), '{"id":"evt_1"}', Buffer.from('{"id":'), '[]', 'a=b'][below(5)];
  const usable = typeof body === 'string' || body instanceof Uint8Array ? body : '';
  let headers = [['stripe-signature', String(TEXTS[below(TEXTS.length)])]];
  if (below(2)) headers = signed.sign(usable);
  if (below(4) === 0) headers = [['x-telegram-bot-api-secret-token', 'whsec_test']];
  [signed, shown][below(2)].verify(below(8) ? headers : value(below) ?? {}, usable, { now: below(4) ? undefined : value(below) });
});

const lq = Levqor.shared({ url: 'memory://malformed', limits: 'a: 5/minute by user' });

sync('tryLimit', (below) => lq.tryLimit(below(3) ? 'a' : value(below), ['5/minute', '5/minute burst 2', value(below)][below(3)], value(below), below(3) ? 1 : value(below)));
sync('verifyKeyNow', (below) => lq.verifyKeyNow(value(below), below(2) ? [] : value(below)));
sync('Levqor options', (below) => {
  const given = {};
  for (const name of ['redis', 'tenant', 'limits', 'keyPrefix', 'allow', 'maxBody', 'submitLimits', 'connections', 'webhooks', TEXTS[below(TEXTS.length)].slice(0, 50)]) if (below(3) === 0) given[name] = value(below);
  Levqor.shared({ url: 'memory://', ...given }).limiter('a', '1/minute').take('k');
});

// Verbs: each with arguments of its own names and wrong values, and with names that it does not have.
const native = createRequire(import.meta.url)(path.join(home, 'levqor.node'));
const rooms = new Map();
for (const verb of native.verbs()) {
  const room = verb.split('.')[0];
  rooms.set(room, [...(rooms.get(room) ?? []), verb]);
}
const NAMES = ['account', 'amount', 'hold', 'txn', 'grant', 'until', 'idempotency_key', 'limit', 'after', 'operations', 'who', 'asks', 'name', 'schedule', 'pipeline', 'input', 'job', 'jobs', 'job_id', 'run', 'id', 'key', 'scopes', 'headers', 'body_of', 'guard', 'token', 'context', 'ticket', 'ok', 'value', 'span', 'at_most', 'cost', 'expires', 'metadata', 'queue', 'limits', 'payload', 'from', 'to', 'at', 'by', 'terms', 'whole', 'weights', 'options'];
const HARMLESS = { account: 'a', amount: '1', who: { user: 'u' }, name: 'n', id: 'key_00000000000000000000000000', job_id: 'job_00000000000000000000000000', run: 'run_00000000000000000000000000', queue: 'q', hold: 'hold_00000000000000000000000000', at_most: 0, span: 1 };
// These wait, read files of the machine, or let go of the engine.
const LEFT_OUT = new Set(['engine.close', 'integrity.run', 'integrity.verify', 'connectors.call', 'worker.start', 'worker.drain', 'limits.wait', 'wf.sleep']);

for (const [room, verbs] of rooms) {
  test(`verbs of ${room}`, async () => {
    const { handle, port } = raw();
    const below = random(room.length * 104729);
    const mine = verbs.filter((v) => !LEFT_OUT.has(v));
    for (let i = 0; i < N && mine.length > 0; i++) {
      const verb = mine[below(mine.length)];
      const given = {};
      for (const name of NAMES) {
        const dice = below(12);
        if (dice === 0) given[name] = value(below);
        else if (dice < 5 && name in HARMLESS) given[name] = HARMLESS[name];
      }
      let text;
      try {
        text = below(50) ? JSON.stringify(given) ?? '' : String(TEXTS[below(TEXTS.length)]);
      } catch {
        text = '{"amount":1e999}';
      }
      const said = native.start(port, handle, native.verbs().indexOf(verb), text, false);
      // What lies in memory answers at once.
      if (typeof said === 'string' && said[0] === '!') {
        const error = JSON.parse(said.slice(1));
        assert.match(error.code, /^[a-z]+(\.[a-z_]+)*$/, verb);
        assert.notEqual(error.kind, 'internal', `${verb} ${i}: ${error.message}`);
      }
    }
  });
}

let made;
function raw() {
  made ??= { port: native.attach(() => {}), handle: native.engine(JSON.stringify({ url: 'memory://', shared: false })) };
  if (!made.open) {
    native.limiter(made.handle, 'opens', '1/minute');
    made.open = true;
  }
  return made;
}
test('numbers that stand for nothing', () => {
  const { handle, port } = raw();
  const below = random(1);
  for (let i = 0; i < N; i++) {
    const n = () => [0, 1, 7, 1e6, 2 ** 32 - 1][below(5)];
    const said = native.start(below(3) ? port : n() + 9, below(3) ? handle : n() + 9_999, n() + 9_999, '{}', below(2) === 0);
    assert.ok(typeof said === 'number' || said.startsWith('!') || said.startsWith('='));
    native.cancel(n(), n());
    native.reply(n(), n(), true, 'x');
    native.take(n() + 9_999, 'k', 1);
  }
});
