import { LevqorError, refusal } from './errors';
import {
  clientAddress, credential, securityHeaders, type Decision, type HeaderPreset, type KeyView, type Levqor,
} from './index';
import { checked, type StandardSchema } from './workflow';

/** One limit of a route. */
export interface LimitRule<R = Request> {
  /** Its name, as clients see it. */
  name: string;
  /** What is counted: the API key, its account, the client's address, everybody together, or what a function says. */
  by?: 'key' | 'account' | 'ip' | 'all' | ((request: R) => string | undefined | Promise<string | undefined>);
  /** How much is allowed: `60/minute burst 10`, or what `RateLimit` writes. */
  quota?: string;
  /** The same, by another name. */
  algorithm?: string;
  /** How many units a call costs. */
  cost?: number | ((request: R) => number);
}

/** What a request has to pass, and what it is given. */
export interface Guard<Body = unknown, R = Request> {
  /** An API key, with these scopes. */
  key?: boolean | { scopes?: string[]; optional?: boolean };
  /** Limits, each decided for itself in this order. */
  limit?: LimitRule<R> | readonly LimitRule<R>[];
  /** What the body must be (Zod, Valibot, ... by Standard Schema). */
  body?: StandardSchema<Body>;
  /** The largest body, in bytes; 1 MiB unless said otherwise. */
  maxBody?: number;
  /** Whether the header `Idempotency-Key` has to be there. */
  idempotency?: 'required' | 'optional';
  /** Security headers of the answer; `api` unless said otherwise. */
  headers?: HeaderPreset | false;
  /** Proxies whose word about an address counts: addresses and networks; `LEVQOR_TRUSTED_PROXIES` unless said otherwise. */
  trustedProxies?: readonly string[];
}

/** What a guard found out about a request. */
export interface Passed<Body = unknown> {
  key: KeyView | undefined;
  body: Body;
  idempotencyKey: string | undefined;
  /** The last decision. */
  decision: Decision | undefined;
}

/** A request, however the framework has it. */
export interface Asked<R> {
  original: R;
  header(name: string): string | undefined;
  /** The address that is connected to us, if that is known. */
  peer: string | undefined;
  read(most: number): Promise<Uint8Array>;
}

const MISSES = new WeakSet<Levqor>();

/** Decides one limit: at once where limits lie in memory, else in the store. */
async function decide(lq: Levqor, name: string, quota: string, key: string, cost: number): Promise<Decision> {
  if (!MISSES.has(lq)) {
    try {
      return lq.tryLimit(name, quota, key, cost);
    } catch (error) {
      if (!(error instanceof LevqorError) || error.code !== 'limits.must_wait') throw error;
      MISSES.add(lq);
    }
  }
  return lq.limit(name, quota, key, { cost });
}

function trusted(guard: Guard<any, any>): readonly string[] {
  return guard.trustedProxies ?? (process.env.LEVQOR_TRUSTED_PROXIES ?? '').split(',').map((p) => p.trim()).filter(Boolean);
}

/** Whom limits `by: 'ip'` count: the nearest address that is no trusted proxy, IPv6 by its /64 network. */
export function addressOf<R>(asked: Asked<R>, guard: Guard<any, any>): string {
  const hops = (asked.header('x-forwarded-for') ?? '').split(',').map((hop) => hop.trim()).filter(Boolean);
  // Without a connection to look at, the last hop is who the server in front of us was connected to.
  const peer = asked.peer ?? hops.pop();
  if (peer === undefined) throw refusal('request.no_address', 'the address of the client is not known', { hint: 'count by another thing than `ip`' });
  return clientAddress(peer, hops.length > 0 ? [hops.join(', ')] : [], trusted(guard)).key;
}

/** Lets a request pass, or throws why not. `note` is told of every decision, so that its headers are sent either way. */
export async function pass<Body, R>(lq: Levqor, guard: Guard<Body, R>, asked: Asked<R>, note: (decision: Decision) => void): Promise<Passed<Body>> {
  let key: KeyView | undefined;
  const wanted = guard.key === true ? {} : guard.key || undefined;
  if (wanted) {
    const given: Record<string, string | undefined> = { authorization: asked.header('authorization'), 'x-api-key': asked.header('x-api-key') };
    if (!wanted.optional || given.authorization || given['x-api-key']) {
      const text = credential(given);
      key = (lq.verifyKeyNow(text, wanted.scopes) as KeyView | undefined) ?? (await lq.keys.verify(text, wanted.scopes));
      if (key.limit) {
        const own = await lq.keys.limit(text);
        if (own) {
          note(own);
          own.admit();
        }
      }
    }
  }
  let decision: Decision | undefined;
  for (const rule of [guard.limit ?? []].flat() as LimitRule<R>[]) {
    const by = rule.by ?? (key ? 'key' : 'ip');
    const who = typeof by === 'function' ? await by(asked.original)
      : by === 'key' ? key?.id
      : by === 'account' ? key?.account ?? undefined
      : by === 'ip' ? addressOf(asked, guard) : '';
    if (who === undefined) continue;
    const quota = rule.quota ?? rule.algorithm;
    if (quota === undefined) throw refusal('limits.invalid_quota', `the limit \`${rule.name}\` has no quota`, { kind: 'config', class: 'ConfigError', status: 500 });
    const cost = typeof rule.cost === 'function' ? rule.cost(asked.original) : rule.cost ?? 1;
    decision = await decide(lq, rule.name, quota, who, cost);
    note(decision);
    decision.admit();
  }
  const idempotencyKey = asked.header('idempotency-key');
  if (guard.idempotency === 'required' && !idempotencyKey) {
    throw refusal('idempotency.missing', 'the request has no Idempotency-Key', { status: 400, hint: 'send one that is equal over all tries of one request' });
  }
  const body = guard.body ? await checked(guard.body, json(await asked.read(guard.maxBody ?? 1 << 20)), 'the body') : (undefined as Body);
  return { key, body, idempotencyKey, decision };
}

/** A body as JSON. */
export function json(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw refusal('body.invalid', 'the body is not JSON', { status: 400 });
  }
}

/** The error of a body that is too large. */
export function tooLarge(most: number): LevqorError {
  return refusal('body.too_large', `the body has more than ${most} bytes`, { status: 413 });
}

/** Reads a stream of bytes, and no more of it than is allowed. */
export async function readAll(stream: AsyncIterable<Uint8Array> | null, most: number, length?: string | null): Promise<Uint8Array> {
  if (length && Number(length) > most) throw tooLarge(most);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream ?? []) {
    size += part.length;
    if (size > most) throw tooLarge(most);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const PRESETS = new Map<HeaderPreset, [string, string][]>();

/** The security headers of a preset without a nonce. */
export function fixedHeaders(preset: HeaderPreset): [string, string][] {
  let known = PRESETS.get(preset);
  if (known === undefined) {
    known = securityHeaders(preset);
    PRESETS.set(preset, known);
  }
  return known;
}
