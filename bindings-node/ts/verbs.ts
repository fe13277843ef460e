import { FullDecision, type Decision } from './limits';
import type {
  Balance, EngineInfo, IntegrityReport, Job, JobState, KeyView, LedgerAnswer, Money, NewKey, Run, Schedule, ScheduleView, StatementLine,
  Submitted, WebhookEvent, WorkerReport,
} from './records';
import { request, type Enqueued, type EnqueueOptions } from './workflow';
import { credits, options, someCredits, type Credits as Amount, type Instant, type Span, type Until } from './values';

/** Carries out a verb of an engine. */
export type Call = (verb: string, args: unknown, signal?: AbortSignal) => Promise<any>;

/** What every call that waits takes. */
export interface Waits {
  /** Gives up waiting. What the store was asked for may happen all the same: an idempotency key makes a repetition safe. */
  signal?: AbortSignal;
}

/** What every call that changes something takes. */
export interface Changes extends Waits {
  /** Makes it happen once, however often it is sent. */
  idempotencyKey?: string;
}

/** Which part of a long list. */
export interface Paged extends Waits {
  /** Only what comes behind this: the last id of the page before. */
  after?: string;
  limit?: number;
}

/** How credits are granted. */
export interface GrantTerms {
  priority?: number;
  category?: 'paid' | 'promo';
  effectiveAt?: Instant;
  expires?: Until;
  bookedAt?: Instant;
  paid?: Money;
  source?: string;
}

abstract class Room {
  /** @internal */
  constructor(protected readonly call: Call) {}
}

/** Prepaid credits. */
export class Credits extends Room {
  /** Gives credits to an account; the answer's `id` is the grant's. */
  grant = (account: string, amount: Amount, { idempotencyKey, signal, ...terms }: GrantTerms & Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.grant', { account, amount: credits(amount), terms: options(terms), idempotency_key: idempotencyKey }, signal);
  /** Spends credits at once. */
  spend = (account: string, amount: Amount, o: Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.spend', { account, amount: credits(amount), ...options(o) }, o.signal);
  /** Reserves credits; the answer's `id` is the hold's. */
  hold = (account: string, amount: Amount, o: { expires?: Until } & Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.hold', { account, amount: credits(amount), ...options(o) }, o.signal);
  /** Spends from a hold, all of it if no amount is said, and releases the rest unless `last` is false. */
  capture = (hold: string, o: { amount?: Amount; last?: boolean; overage?: 'reject' | 'allow' } & Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.capture', { hold, ...options(o), amount: someCredits(o.amount) }, o.signal);
  /** Gives a hold back. */
  release = (hold: string, o: Changes = {}): Promise<LedgerAnswer> => this.call('credits.release', { hold, ...options(o) }, o.signal);
  /** Gives a hold a new end. */
  extend = (hold: string, until: Until, o: Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.extend', { hold, until, ...options(o) }, o.signal);
  /** Gives back what a spend or a capture took. */
  refund = (txn: string, o: { amount?: Amount; onExpired?: 'expire' | { regrant: number } } & Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.refund', { txn, ...options(o), amount: someCredits(o.amount) }, o.signal);
  /** Takes back what a grant gave, because money was paid back. */
  clawback = (grant: string, refunded: Money, o: Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.clawback', { grant, refunded, ...options(o) }, o.signal);
  /** Moves credits between accounts. */
  transfer = (from: string, to: string, amount: Amount, o: Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.transfer', { from, to, amount: credits(amount), ...options(o) }, o.signal);
  /** Lets an account owe so much. */
  overdraft = (account: string, limit: Amount, o: Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.overdraft', { account, limit: credits(limit, 'limit'), ...options(o) }, o.signal);
  /** Lets nothing more be drawn from an account, or lets it be again. */
  freeze = (account: string, frozen = true, o: Changes = {}): Promise<LedgerAnswer> =>
    this.call('credits.freeze', { account, frozen, ...options(o) }, o.signal);
  /** Carries out operations together or not at all: `[{op: 'spend', account, amount}, ...]`. */
  linked = (operations: LinkedOperation[], o: Changes = {}): Promise<LedgerAnswer[]> =>
    this.call('credits.linked', { operations: operations.map(operation), ...options(o) }, o.signal);
  /** How an account stands. */
  balance = (account: string, o: Waits = {}): Promise<Balance> => this.call('credits.balance', { account }, o.signal);
  /** How an account stood. */
  balanceAt = (account: string, at: Instant, o: { by?: 'booked' | 'recorded' } & Waits = {}): Promise<string> =>
    this.call('credits.balance_at', { account, at, ...options(o) }, o.signal);
  /** What happened on an account. */
  statement = (account: string, o: { since?: Instant; until?: Instant; after?: number; limit?: number } & Waits = {}): Promise<StatementLine[]> =>
    this.call('credits.statement', { account, ...options(o) }, o.signal);
  /** The grants of an account. */
  grants = (account: string, o: { usedUp?: boolean } & Waits = {}): Promise<Record<string, unknown>[]> =>
    this.call('credits.grants', { account, ...options(o) }, o.signal);
  /** A hold by its id. */
  findHold = (hold: string, o: Waits = {}): Promise<Record<string, unknown>> => this.call('credits.find_hold', { hold }, o.signal);
  /** What all accounts did together. */
  totals = (o: Waits = {}): Promise<Record<string, string>> => this.call('credits.totals', {}, o.signal);
  /** Folds in what has begun or run out. Never needed for a right answer. */
  sweep = (o: Waits = {}): Promise<number> => this.call('credits.sweep', {}, o.signal);
  /** Splits a whole number by weights: the parts sum to it, and differ by at most 1 from their exact shares. */
  split = (whole: number, weights: number[], o: Waits = {}): Promise<number[]> => this.call('credits.split', { whole, weights }, o.signal);
  /** What an account begins its next period with. */
  rollover = (ending: Amount, overage: Amount, granted: Amount, o: { least: Amount; most: Amount } & Waits): Promise<string> =>
    this.call(
      'credits.rollover',
      { ending: credits(ending), overage: credits(overage), granted: credits(granted), least: credits(o.least), most: credits(o.most) },
      o.signal,
    );
  /** Proves the whole ledger. */
  audit = (o: Waits = {}): Promise<{ sum: number; violations: unknown[]; entries: number; [more: string]: unknown }> =>
    this.call('credits.audit', {}, o.signal);
}

/** One of several operations on credits that happen together. */
export type LinkedOperation =
  | { op: 'grant'; account: string; amount: Amount; terms?: GrantTerms }
  | { op: 'spend'; account: string; amount: Amount }
  | { op: 'hold'; account: string; amount: Amount; expires?: Until }
  | { op: 'capture'; hold: string; amount?: Amount; last?: boolean; overage?: 'reject' | 'allow' }
  | { op: 'release'; hold: string }
  | { op: 'extend'; hold: string; until: Until }
  | { op: 'refund'; txn: string; amount?: Amount; onExpired?: 'expire' | { regrant: number } }
  | { op: 'clawback'; grant: string; refunded: Money }
  | { op: 'transfer'; from: string; to: string; amount: Amount }
  | { op: 'overdraft'; account: string; limit: Amount }
  | { op: 'freeze'; account: string; frozen?: boolean };

function operation(given: LinkedOperation): Record<string, unknown> {
  const all = options(given);
  if ('amount' in given) all.amount = someCredits(given.amount);
  if ('limit' in given) all.limit = credits(given.limit, 'limit');
  if ('terms' in given) all.terms = options(given.terms);
  return all;
}

/** Runs of pipelines. */
export class Runs extends Room {
  /** Submits a run of a pipeline, or of one that is registered under a name. */
  submit = (
    account: string,
    pipeline: unknown,
    input: unknown = {},
    o: { hold?: Amount; queue?: string; priority?: number; runAt?: Instant; maxAttempts?: number } & Changes = {},
  ): Promise<Submitted> => this.call('runs.submit', { account, pipeline, input, ...options(o), hold: someCredits(o.hold, 'hold') }, o.signal);
  /** Where a run stands. */
  status = <R = unknown>(run: string, o: Waits = {}): Promise<Run<R>> => this.call('runs.status', { run }, o.signal);
  /** Waits until a run has ended; a minute at most unless said otherwise. */
  wait = <R = unknown>(run: string, o: { atMost?: Span } & Waits = {}): Promise<Run<R>> => this.call('runs.wait', { run, ...options(o) }, o.signal);
  /** Calls a run off. */
  cancel = (run: string, o: Waits = {}): Promise<Job> => this.call('runs.cancel', { run }, o.signal);
  /** Puts a dead run back to where it failed. */
  retry = (run: string, o: Waits = {}): Promise<Job> => this.call('runs.retry', { run }, o.signal);
  /** Runs, newest first. */
  list = (o: { account?: string; state?: JobState } & Paged = {}): Promise<Run[]> => this.call('runs.list', options(o), o.signal);
}

/** Jobs: look at them, call them off, bring them back. */
export class Jobs extends Room {
  /** Puts a job for a handler of any language into its queue. */
  enqueue = (handler: string, input: unknown, o: EnqueueOptions = {}): Promise<Enqueued> =>
    this.call('jobs.enqueue', { job: request(handler, input, o) }, o.signal);
  get = <R = unknown>(id: string, o: Waits = {}): Promise<Job<R>> => this.call('jobs.get', { job_id: id }, o.signal);
  /** Waits until a job has ended; a minute at most unless said otherwise. */
  wait = <R = unknown>(id: string, o: { atMost?: Span } & Waits = {}): Promise<Run<R>> => this.call('jobs.wait', { job_id: id, ...options(o) }, o.signal);
  /** Jobs, newest first. */
  list = (o: { state?: JobState; queue?: string; account?: string; handler?: string; batch?: string } & Paged = {}): Promise<Job[]> =>
    this.call('jobs.list', options(o), o.signal);
  /** The dead letters, newest first. */
  dead = (o: Paged = {}): Promise<Job[]> => this.call('jobs.dead', options(o), o.signal);
  /** How many jobs stand in each queue and state. */
  counts = (o: Waits = {}): Promise<{ queue: string; state: JobState; count: number }[]> => this.call('jobs.counts', {}, o.signal);
  /** Calls a job off: at once if it waits, at its worker's next heartbeat if it runs. */
  cancel = (id: string, o: Waits = {}): Promise<Job> => this.call('jobs.cancel', { job_id: id }, o.signal);
  /** Tells a job something that it waits for, or will wait for. */
  signal = (id: string, name: string, payload: unknown = null, o: Waits = {}): Promise<Job> =>
    this.call('jobs.signal', { job_id: id, name, payload }, o.signal);
  /** Puts a dead or cancelled job back to where it failed: done steps stay done. */
  redrive = (id: string, o: Waits = {}): Promise<Job> => this.call('jobs.redrive', { job_id: id }, o.signal);
  /** Brings dead letters back: those of a queue, account or handler, or that failed with a code. */
  redriveAll = (o: { queue?: string; account?: string; handler?: string; code?: string; atMost?: number } & Waits = {}): Promise<{ jobs: string[]; refused: [string, unknown][] }> =>
    this.call('jobs.redrive_all', options(o), o.signal);
  /** How a batch stands. */
  batch = (id: string, o: Waits = {}): Promise<Record<string, unknown>> => this.call('jobs.batch', { id }, o.signal);
  /** Takes nothing more from a queue, in all processes. */
  pause = (queue: string, o: Waits = {}): Promise<null> => this.call('jobs.pause', { queue }, o.signal);
  resume = (queue: string, o: Waits = {}): Promise<null> => this.call('jobs.resume', { queue }, o.signal);
  /** Gives a queue limits over all workers of all processes. */
  limit = (queue: string, limits: { running?: number; perKey?: number; rate?: string; ratePerKey?: string }, o: Waits = {}): Promise<null> =>
    this.call('jobs.limit', { queue, limits: options(limits) }, o.signal);
  /** The queues that were told something. */
  queues = (o: Waits = {}): Promise<{ queue: string; paused: boolean; limits: Record<string, unknown> }[]> => this.call('jobs.queues', {}, o.signal);
}

/** Pipelines. */
export class Pipelines extends Room {
  /** Checks a pipeline, or the JSON text of one; the error holds every fault. */
  check = (pipeline: unknown, o: Waits = {}): Promise<{ name: string; digest: string }> => this.call('pipelines.check', { pipeline }, o.signal);
  /** Keeps a pipeline under its name. */
  register = (pipeline: unknown, o: Waits = {}): Promise<{ name: string; digest: string }> =>
    this.call('pipelines.register', { pipeline }, o.signal);
}

/** Schedules. */
export class Schedules extends Room {
  /** Declares a schedule: makes it, or edits the one of its name. */
  put = (schedule: Schedule, o: Waits = {}): Promise<{ view: ScheduleView; changed: boolean }> => this.call('schedules.put', { schedule }, o.signal);
  get = (name: string, o: Waits = {}): Promise<ScheduleView> => this.call('schedules.get', { name }, o.signal);
  list = (o: Paged = {}): Promise<ScheduleView[]> => this.call('schedules.list', options(o), o.signal);
  pause = (name: string, o: Waits = {}): Promise<ScheduleView> => this.call('schedules.pause', { name }, o.signal);
  resume = (name: string, o: Waits = {}): Promise<ScheduleView> => this.call('schedules.resume', { name }, o.signal);
  delete = (name: string, o: Waits = {}): Promise<null> => this.call('schedules.delete', { name }, o.signal);
  /** Starts its job now, beside its ticks. */
  runNow = (name: string, o: Changes = {}): Promise<string> => this.call('schedules.run_now', { name, ...options(o) }, o.signal);
  backfill = (name: string, since: Instant, until: Instant, o: Waits = {}): Promise<Record<string, number>> =>
    this.call('schedules.backfill', { name, since, until }, o.signal);
  /** A schedule's history, newest first. */
  history = (name: string, o: { before?: number; limit?: number } & Waits = {}): Promise<Record<string, unknown>[]> =>
    this.call('schedules.history', { name, ...options(o) }, o.signal);
  /** Its next ticks, milliseconds since 1970. */
  next = (name: string, count = 5, o: Waits = {}): Promise<number[]> => this.call('schedules.next', { name, count }, o.signal);
  /** Fires what is due, as workers do. */
  fireDue = (o: Waits = {}): Promise<{ fired: number; next_due: number | null }> => this.call('schedules.fire_due', {}, o.signal);
}

/** API keys. */
export class Keys extends Room {
  /** Makes a key. Its text is in the answer and nowhere else. */
  create = (
    o: { name?: string; account?: string; scopes?: string[]; limit?: string; expires?: Until; metadata?: Record<string, unknown> } & Waits = {},
  ): Promise<NewKey> => this.call('keys.create', options(o), o.signal);
  /** The key of a text, if it may pass and has the scopes. */
  verify = (key: string, scopes: string[] = [], o: Waits = {}): Promise<KeyView> => this.call('keys.verify', { key, scopes }, o.signal);
  /** Gives a key another text; the one before passes too, for as long as `overlap` says. */
  rotate = (id: string, o: { overlap?: Span } & Waits = {}): Promise<NewKey> => this.call('keys.rotate', { id, ...options(o) }, o.signal);
  /** Refuses a key from now on; other processes do so within a second. */
  revoke = (id: string, o: Waits = {}): Promise<KeyView> => this.call('keys.revoke', { id }, o.signal);
  get = (id: string, o: Waits = {}): Promise<KeyView> => this.call('keys.get', { id }, o.signal);
  /** Keys in the order they were made, without their texts. */
  list = (o: { account?: string; ended?: boolean } & Paged = {}): Promise<KeyView[]> => this.call('keys.list', options(o), o.signal);
  /** Asks the key's own limit; `null` if it has none. */
  limit = (key: string, o: { cost?: number } & Waits = {}): Promise<Decision | null> =>
    this.call('keys.limit', { key, ...options(o) }, o.signal).then((d) => d && new FullDecision(d));
  /** Writes down the last uses that are not written yet. */
  flush = (o: Waits = {}): Promise<null> => this.call('keys.flush', {}, o.signal);
}

/** Header fields, in any of the forms that Node and the web have. */
export type HeaderFields = Headers | Iterable<readonly [string, string]> | Record<string, string | readonly string[] | undefined>;

/** Header fields as a list of pairs. */
export function pairs(headers: HeaderFields): [string, string][] {
  if (headers === null || typeof headers !== 'object') return [];
  if (Symbol.iterator in headers) return [...headers].map(([name, value]) => [String(name), String(value)]);
  const all: [string, string][] = [];
  for (const [name, value] of Object.entries(headers as Record<string, string | readonly string[] | undefined>)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) all.push([name, String(one)]);
  }
  return all;
}

/** The bytes of a message. */
export type Body = string | Uint8Array | ArrayBuffer;

/** The body of a message as a verb takes it. */
function bodyOf(body: Body): string {
  return typeof body === 'string' ? `utf8:${body}` : `hex:${bytes(body).toString('hex')}`;
}

export function bytes(body: Body): Buffer {
  if (typeof body === 'string') return Buffer.from(body);
  return body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : Buffer.from(body);
}

/** A message that was proved. */
export interface Delivery<Data = any> {
  name: string;
  event: WebhookEvent<Data>;
  /** Proves whose turn it is; `null` of a message that was worked on before. */
  token: string | null;
  /** What came of it then. */
  outcome: unknown;
  /** @internal */
  guard: string;
}

/** Webhooks of others: proved, and worked on once. */
export class Webhooks extends Room {
  /** Proves a message, without a guard against replays. */
  verify = (name: string, headers: HeaderFields, body: Body, o: Waits = {}): Promise<WebhookEvent> =>
    this.call('webhooks.verify', { name, headers: pairs(headers), body_of: bodyOf(body) }, o.signal);
  /** Proves a message, and says whether to work on it. */
  begin = (name: string, headers: HeaderFields, body: Body, o: { atWork?: Span } & Waits = {}): Promise<Delivery> =>
    this.call('webhooks.begin', { name, headers: pairs(headers), body_of: bodyOf(body), ...options(o) }, o.signal);
  /** The work is done: the message is never worked on again. */
  finish = (d: Delivery, outcome: unknown = null, o: Waits = {}): Promise<null> =>
    d.token === null ? Promise.resolve(null) : this.call('webhooks.finish', { name: d.name, guard: d.guard, token: d.token, outcome }, o.signal);
  /** The work failed: the vendor's next try begins it anew. */
  abandon = (d: Delivery, o: Waits = {}): Promise<null> =>
    d.token === null ? Promise.resolve(null) : this.call('webhooks.abandon', { name: d.name, guard: d.guard, token: d.token }, o.signal);
  /** Signs a message as the vendor would: for tests. */
  sign = (name: string, body: Body, o: { id?: string } & Waits = {}): Promise<[string, string][]> =>
    this.call('webhooks.sign', { name, body_of: bodyOf(body), ...options(o) }, o.signal);
  /** The names that the engine was given. */
  names = (o: Waits = {}): Promise<string[]> => this.call('webhooks.names', {}, o.signal);

  /** Proves a message and works on it once: the outcome is that of the first time that went well. */
  async once<R>(name: string, headers: HeaderFields, body: Body, work: (event: WebhookEvent) => R | Promise<R>, o: { atWork?: Span } & Waits = {}): Promise<R> {
    const delivery = await this.begin(name, headers, body, o);
    if (delivery.token === null) return delivery.outcome as R;
    let outcome: R;
    try {
      outcome = await work(delivery.event);
    } catch (error) {
      // The claim runs out by itself if it cannot be given back.
      await this.abandon(delivery).catch(() => {});
      throw error;
    }
    await this.finish(delivery, outcome ?? null);
    return outcome;
  }
}

/** Who asks: what policies count by, with its value. */
export type Who = Record<string, string>;

/** How policies are asked. */
export interface Asking extends Waits {
  tier?: string;
  cost?: number;
  /** Quotas for this subject alone, by the policy's name. */
  quotas?: Record<string, string>;
  /** Only these policies. */
  only?: string[];
}

/** Limits by the names of policies. */
export class Limits extends Room {
  #decide = (verb: string, who: Who, o: Asking & Record<string, unknown> = {}): Promise<Decision> =>
    this.call(verb, { who, ...options(o) }, o.signal).then((d) => new FullDecision(d));
  /** Takes what the call costs, if every policy lets it pass. */
  take = (who: Who, o: Asking = {}): Promise<Decision> => this.#decide('limits.take', who, { ...o });
  /** What `take` would say, without taking. */
  peek = (who: Who, o: Asking = {}): Promise<Decision> => this.#decide('limits.peek', who, { ...o });
  /** Takes what the call costs even if it does not fit. */
  charge = (who: Who, o: Asking = {}): Promise<Decision> => this.#decide('limits.charge', who, { ...o });
  /** Gives what the call costs back. */
  refund = (who: Who, o: Asking = {}): Promise<Decision> => this.#decide('limits.refund', who, { ...o });
  /** Forgets what the subject used, and lifts its blocks. */
  reset = (who: Who, o: { only?: string[] } & Waits = {}): Promise<Decision> => this.#decide('limits.reset', who, { ...o });
  /** Refuses the subject for a time. */
  block = (who: Who, span: Span, o: { only?: string[] } & Waits = {}): Promise<Decision> => this.#decide('limits.block', who, { ...o, span });
  /** Lifts a block. */
  unblock = (who: Who, o: { only?: string[] } & Waits = {}): Promise<Decision> => this.#decide('limits.unblock', who, { ...o });
  /** Takes, and waits until the call may go on, if that is no longer than `atMost`. */
  wait = (who: Who, atMost: Span, o: Asking = {}): Promise<Decision> => this.#decide('limits.wait', who, { ...o, atMost });
  /** Several limits at once, in words. */
  ask = (asks: { name: string; key: string; quota: string; cost?: number; op?: string; at?: Instant; wait?: Span }[], o: Waits = {}): Promise<Decision> =>
    this.call('limits.ask', { asks }, o.signal).then((d) => new FullDecision(d));
  /** The policies that the engine has. */
  policies = (o: Waits = {}): Promise<{ name: string; quota: string; dry_run: boolean }[]> => this.call('limits.policies', {}, o.signal);
}

/** Connectors: actions of vendors and of the host. */
export class Connectors extends Room {
  /** Carries out one action now. */
  invoke = <R = any>(
    action: string,
    input: unknown = {},
    o: { connection?: string; timeout?: Span } & Changes = {},
  ): Promise<{ data: R; attempts: number }> => this.call('connectors.call', { action, input, ...options(o) }, o.signal);
  /** What there is, and what it can do. */
  manifests = (o: Waits = {}): Promise<Record<string, any>[]> => this.call('connectors.manifests', {}, o.signal);
}

/** Integrity runs. */
export class Integrity extends Room {
  /** Runs the checks of a pack (a path or plain data) and of the host. */
  run = (
    pack?: string | Record<string, unknown>,
    o: { select?: string[]; evidence?: string; key?: string; formats?: string[] } & Waits = {},
  ): Promise<IntegrityReport> => this.call('integrity.run', { pack, ...options(o) }, o.signal);
  /** Whether evidence is what was signed. */
  verify = (folder: string, o: { key?: string; head?: string } & Waits = {}): Promise<{ ok: boolean; problems: unknown[]; [more: string]: unknown }> =>
    this.call('integrity.verify', { folder, ...options(o) }, o.signal);
  /** The checks of this build. */
  checks = (o: Waits = {}): Promise<{ id: string; about: Record<string, unknown> }[]> => this.call('integrity.checks', {}, o.signal);
}

/** How a worker works. */
export interface WorkerOptions {
  queues?: string[];
  concurrency?: number;
  lease?: Span;
  grace?: Span;
  poll?: Span;
  /** Whether it also fires schedules; it does unless told otherwise. */
  schedules?: boolean;
}

/** Workers on the engine's threads, one of each name in this process. */
export class Workers extends Room {
  /** Begins to work. `false` if the worker of this name works already. */
  start = (o: WorkerOptions & { name?: string } = {}): Promise<boolean> => {
    const { name, ...rest } = o;
    return this.call('worker.start', { name, options: options(rest) });
  };
  /** Takes nothing more, lets what runs come to its end, gives the rest back. */
  stop = (name?: string): Promise<WorkerReport | null> => this.call('worker.stop', { name });
  works = (name?: string): Promise<boolean> => this.call('worker.works', { name });
  /** Works until nothing is left that is due. */
  drain = (o: WorkerOptions & Waits = {}): Promise<WorkerReport> => this.call('worker.drain', { options: options(o) }, o.signal);
}

/** How the engine stands. */
export class Standing extends Room {
  open = (): Promise<EngineInfo> => this.call('engine.open', {});
  info = (): Promise<EngineInfo> => this.call('engine.info', {});
  now = (): Promise<number> => this.call('engine.now', {});
  /** Moves the clock of an engine that was opened with `clock`: for tests. */
  setTime = (at: Instant): Promise<null> => this.call('engine.set_time', { at });
  /** For Prometheus. */
  metrics = (): Promise<string> => this.call('engine.metrics', {});
  /** What actions of connectors were called for in this process. */
  stats = (): Promise<Record<string, any>[]> => this.call('engine.stats', {});
  close = (): Promise<null> => this.call('engine.close', {});
}
