import { Tx } from './atomic';
import { manifest, type CheckAbout, type Connector } from './connectors';
import { refusal } from './errors';
import { Limiter, type Decision } from './limits';
import { bridge } from './native';
import type { Key, Schedule, WebhookEvent, WorkerReport } from './records';
import { options } from './values';
import {
  bytes, Connectors, Credits, Integrity, Jobs, Keys, Limits, pairs, Pipelines, Runs, Schedules, Standing, Webhooks, Workers,
  type Body, type Call, type Changes, type HeaderFields, type Waits, type WorkerOptions,
} from './verbs';

export * from './errors';
export * from './records';
export * from './connectors';
export { Decision, Limiter, RateLimit, type AskOutcome, type DecisionData, type Reason } from './limits';
export type { Credits as Amount, Instant, Span, Until } from './values';
export type {
  Asking, Body, Changes, Delivery, GrantTerms, HeaderFields, LinkedOperation, Paged, Waits, Who, WorkerOptions,
} from './verbs';

import {
  bindWorkflow, schedule, settled, Workflow,
  type CronOptions, type Settled, type Wf, type WorkflowOptions,
} from './workflow';

export { Tx } from './atomic';
export {
  Fatal, Place, Wf, Workflow,
  type CronOptions, type Enqueued, type EnqueueOptions, type RetryPolicy, type Settled, type StandardSchema, type StepContext, type StepOptions,
  type WorkflowOptions,
} from './workflow';

/** A webhook in the configuration: a secret, several, or all there is to say. */
export type WebhookConfig =
  | string
  | readonly string[]
  | { provider?: string; scheme?: Record<string, unknown>; secret?: string; secrets?: readonly string[]; tolerance?: string; keep?: string };

/** What an engine is made of. */
export interface LevqorOptions {
  /** Where the data lies: `sqlite://levqor.db`, `postgres://...`, `memory://`; `LEVQOR_URL` unless said otherwise. */
  url?: string;
  /** Redis for limits, claims and wake-ups; `LEVQOR_REDIS_URL` unless said otherwise. */
  redis?: string;
  /** Whose data to work on. */
  tenant?: string;
  /** Policies of limits, in words: one a line, `runs: 60/minute burst 10 by key`. */
  limits?: string;
  /** Limits on submitting runs, by name. */
  submitLimits?: Record<string, string>;
  /** Credentials that steps can name. */
  connections?: Record<string, Record<string, unknown>>;
  /** Secrets of webhooks, by the vendor's name or one of your own. */
  webhooks?: Record<string, WebhookConfig>;
  /** What the texts of API keys begin with. */
  keyPrefix?: string;
  /** Addresses of the inside that requests may reach. */
  allow?: readonly string[];
  /** Connectors that are written in TypeScript. */
  connectors?: readonly Connector[];
  /** Whether the vendors' connectors are there; they are unless told otherwise. */
  vendors?: boolean;
  /** A clock that stands at this time (milliseconds since 1970) until it is moved: for tests. */
  clock?: number;
  /** The largest pipeline or request text, in bytes. */
  maxBody?: number;
  /** The largest input of a run, in bytes. */
  maxPayload?: number;
}

/** What `start` takes. */
export interface StartOptions extends Omit<WorkerOptions, 'concurrency'> {
  /** How many jobs at the same time. */
  workers?: number;
  /** Lets the process end although workers wait for jobs. */
  unref?: boolean;
}

function config(given: LevqorOptions, shared: boolean): string {
  const { connectors = [], webhooks = {}, submitLimits, connections, ...rest } = given;
  // What an environment does not set is left out, and told when it is needed.
  const set = Object.fromEntries(Object.entries(webhooks).filter(([, value]) => value !== undefined));
  return JSON.stringify({
    redis: process.env.LEVQOR_REDIS_URL || undefined,
    ...options(rest),
    url: given.url ?? process.env.LEVQOR_URL ?? 'sqlite://levqor.db',
    submit_limits: submitLimits, connections, webhooks: set, connectors: connectors.map(manifest), shared,
  });
}

/**
 * The engine. Nothing is opened before it is needed: making one touches no file and no socket.
 *
 * ```ts
 * const lq = Levqor.shared({ url: 'sqlite://levqor.db' });
 * await lq.credits.grant('acme', 100n);
 * ```
 */
export class Levqor {
  readonly credits: Credits;
  readonly runs: Runs;
  readonly jobs: Jobs;
  readonly pipelines: Pipelines;
  readonly schedules: Schedules;
  readonly keys: Keys;
  readonly webhooks: Webhooks;
  readonly limits: Limits;
  readonly connectors: Connectors;
  readonly integrity: Integrity;
  readonly workers: Workers;
  readonly standing: Standing;

  readonly #make: () => number;
  readonly #options: LevqorOptions;
  readonly #limiters = new Map<string, Limiter>();
  readonly #verifiers = new Map<string, number>();
  readonly #workflows = new Map<string, Workflow<any, any>>();
  readonly #schedules = new Map<string, Schedule>();
  readonly #call: Call;
  #number: number | undefined;
  #held = false;

  private constructor(given: LevqorOptions, make: (own: LevqorOptions) => number) {
    this.#options = given;
    this.#make = () => make(given);
    const call: Call = (verb, args, signal) => {
      let handle: number;
      try {
        handle = this.#handle();
      } catch (error) {
        return Promise.reject(error);
      }
      return bridge().call(handle, verb, args, signal);
    };
    this.#call = call;
    this.credits = new Credits(call);
    this.runs = new Runs(call);
    this.jobs = new Jobs(call);
    this.pipelines = new Pipelines(call);
    this.schedules = new Schedules(call);
    this.keys = new Keys(call);
    this.webhooks = new Webhooks(call);
    this.limits = new Limits(call);
    this.connectors = new Connectors(call);
    this.integrity = new Integrity(call);
    this.workers = new Workers(call);
    this.standing = new Standing(call);
  }

  /** An engine of one's own, opened. */
  static async open(given: LevqorOptions = {}): Promise<Levqor> {
    const made = new Levqor(given, engineOf(false));
    await made.standing.open();
    return made;
  }

  /**
   * The engine of these options in this process: the same one after a hot reload, in every copy of this package
   * and in every worker thread. Engines of other options on the same store share its connections.
   */
  static shared(given: LevqorOptions = {}): Levqor {
    return new Levqor(given, engineOf(true));
  }

  /** The same engine working on another tenant's data. */
  tenant(name: string): Levqor {
    return new Levqor({ ...this.#options, tenant: name }, () => bridge().now((native) => native.tenant(this.#handle(), name)));
  }

  #handle(): number {
    if (this.#number === undefined) {
      this.#number = this.#make();
      for (const workflow of this.#workflows.values()) bindWorkflow(this.#number, workflow, this.#call);
    }
    return this.#number;
  }

  /**
   * Work that workers do: `lq.workflow('onboard', async (wf, input) => ...)`. A workflow that is defined again
   * takes the place of the one of its name. Nothing is opened.
   */
  workflow<Input = any, Output = unknown>(name: string, run: (wf: Wf, input: Input) => Output | Promise<Output>): Workflow<Input, Output>;
  workflow<Input = any, Output = unknown>(
    name: string,
    how: WorkflowOptions<Input>,
    run: (wf: Wf, input: Input) => Output | Promise<Output>,
  ): Workflow<Input, Output>;
  workflow<Input, Output>(
    name: string,
    a: WorkflowOptions<Input> | ((wf: Wf, input: Input) => Output | Promise<Output>),
    b?: (wf: Wf, input: Input) => Output | Promise<Output>,
  ): Workflow<Input, Output> {
    const [how, run] = typeof a === 'function' ? [{}, a] : [a, b];
    if (typeof run !== 'function') throw refusal('argument.invalid', `the workflow ${name} has no function`);
    const made = new Workflow<Input, Output>(name, how, run, this.#call);
    this.#workflows.set(name, made);
    if (this.#number !== undefined) bindWorkflow(this.#number, made, this.#call);
    return made;
  }

  /** Work at set times: fired once over all processes. The schedule is declared when the engine is started. */
  cron<Output>(name: string, expression: string, o: CronOptions, run: (wf: Wf, input: any) => Output | Promise<Output>): Workflow<any, Output> {
    this.#schedules.set(name, schedule(name, expression, o));
    return this.workflow(name, run);
  }

  /**
   * Carries out everything that `collect` asks for in one commit, or nothing. `collect` waits for nothing; what it
   * gives back is given back with the answers in their places.
   *
   * ```ts
   * const { job } = await lq.atomic({ idempotencyKey }, (tx) => ({ job: tx.enqueue(onboard, input, { account, hold: 5n }) }));
   * ```
   */
  async atomic<T>(o: Changes, collect: (tx: Tx) => T): Promise<Settled<T>> {
    const tx = new Tx();
    const shape = collect(tx);
    if (shape instanceof Promise) throw refusal('atomic.async', 'the function of a transaction waits for nothing: it only collects');
    const done = await this.#call('atomic.commit', { operations: tx.operations, idempotency_key: o.idempotencyKey }, o.signal);
    return settled(shape, done.answers) as Settled<T>;
  }

  /** One limit made ready for many keys: the fast way to ask. */
  limiter(name: string, quota: string): Limiter {
    const known = `${name}\n${quota}`;
    let limiter = this.#limiters.get(known);
    if (limiter === undefined) {
      limiter = new Limiter(name, quota, () => this.#handle());
      this.#limiters.set(known, limiter);
    }
    return limiter;
  }

  /** Asks one limit for one key, without waiting. Throws where limits lie in a store. */
  tryLimit(name: string, quota: string, key: string, cost = 1): Decision {
    return this.limiter(name, quota).take(key, cost);
  }

  /** Asks one limit for one key, wherever limits lie. */
  limit(name: string, quota: string, key: string, o: { cost?: number } & Waits = {}): Promise<Decision> {
    return this.limits.ask([{ name, quota, key, ...(o.cost === undefined ? {} : { cost: o.cost }) }], o);
  }

  /** Proves a webhook's message, without waiting and without a guard against replays. */
  verifyWebhook(name: string, headers: HeaderFields, body: Body, o: { now?: number | Date } = {}): WebhookEvent {
    let number = this.#verifiers.get(name);
    if (number === undefined) {
      const given = this.#options.webhooks?.[name];
      if (given === undefined) {
        throw refusal('webhook.unknown', `there is no webhook \`${name}\``, {
          kind: 'config', class: 'ConfigError', status: 500, hint: 'give the engine its secret under this name',
        });
      }
      number = bridge().now((native) => native.webhook(name, JSON.stringify(given)));
      this.#verifiers.set(name, number);
    }
    return verified(number, headers, body, o.now);
  }

  /** A key that was verified a moment ago, without waiting; `undefined` if it has to be looked up. */
  verifyKeyNow(key: string, scopes: string[] = []): Key | undefined {
    const text = bridge().now((native) => native.verifyKeyNow(this.#handle(), key, scopes));
    return text === null ? undefined : JSON.parse(text);
  }

  /** A check of the host's own: `lq.integrity.run()` runs it beside those of a pack. */
  check(id: string, about: CheckAbout, run: (cx: { attempt: number; live: boolean; now: number; signal: AbortSignal }) => unknown): void {
    bridge().bind(this.#handle(), `check:${id}`, (cx, signal) => run({ ...cx, signal }), about);
  }

  /** Opens the engine, if it is not open. */
  async open(): Promise<this> {
    await this.standing.open();
    return this;
  }

  /**
   * Begins to take jobs and to fire schedules. A second time does nothing, also in another copy or thread. The
   * process stays alive until `stop`, unless it is told otherwise.
   */
  async start(o: StartOptions = {}): Promise<boolean> {
    const { workers, unref, ...rest } = o;
    for (const declared of this.#schedules.values()) await this.schedules.put(declared);
    const began = await this.workers.start({ ...rest, ...(workers === undefined ? {} : { concurrency: workers }) });
    if (began && !unref && !this.#held) {
      this.#held = true;
      bridge().hold();
    }
    return began;
  }

  /** Takes nothing more, lets what runs come to its end, gives the rest back. */
  async stop(): Promise<WorkerReport | null> {
    try {
      return await this.workers.stop();
    } finally {
      if (this.#held) {
        this.#held = false;
        bridge().release();
      }
    }
  }

  /** Stops workers and lets go of the store. The next call opens it anew. */
  async close(): Promise<void> {
    await this.stop();
    await this.standing.close();
    this.#limiters.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Makes an engine's number, and its connectors' functions known. */
function engineOf(shared: boolean): (given: LevqorOptions) => number {
  return (given) => {
    const found = bridge();
    const text = config(given, shared);
    const number = found.now((native) => native.engine(text));
    for (const connector of given.connectors ?? []) {
      found.bind(number, `connector:${connector.name}`, (cx, signal) => {
        const { input, ...rest } = cx;
        return connector.actions[cx.action]?.call(input, { ...rest, signal });
      });
    }
    return number;
  };
}

function verified(number: number, headers: HeaderFields, body: Body, now?: number | Date): WebhookEvent {
  const at = now === undefined ? null : Number(now);
  return JSON.parse(bridge().now((native) => native.verifyWebhook(number, JSON.stringify(pairs(headers)), bytes(body), at)));
}

/** Knows how one vendor signs, and with which secrets; needs no engine. */
export class Webhook {
  readonly #number: number;

  constructor(name: string, given: WebhookConfig) {
    this.#number = bridge().now((native) => native.webhook(name, JSON.stringify(given) ?? 'null'));
  }

  /** The event of a message. Throws if it is not genuine or not fresh. */
  verify(headers: HeaderFields, body: Body, o: { now?: number | Date } = {}): WebhookEvent {
    return verified(this.#number, headers, body, o.now);
  }

  /** The headers of a message that is signed as the vendor would. */
  sign(body: Body, o: { id?: string; now?: number | Date } = {}): [string, string][] {
    const at = o.now === undefined ? null : Number(o.now);
    return JSON.parse(bridge().now((native) => native.signWebhook(this.#number, o.id ?? '', bytes(body), at)));
  }
}

/** The presets of security headers. */
export type HeaderPreset = 'api' | 'html' | 'strict';

/** The security headers of a preset. Inline scripts and styles run with the nonce only. */
export function securityHeaders(preset: HeaderPreset, nonce?: string): [string, string][] {
  return JSON.parse(bridge().now((native) => native.securityHeaders(preset, nonce ?? null)));
}

/** A new nonce: for one answer. */
export function newNonce(): string {
  return bridge().native.nonce();
}

/** The id of a key's text, without looking it up. Throws if it is not formed like a key. */
export function parseKey(text: string, prefix?: string): string {
  return bridge().now((native) => native.parseKey(text, prefix ?? null));
}

/** Whether scopes that were given cover those that are asked for. */
export function scopesCover(given: string[], asked: string[]): boolean {
  return bridge().now((native) => native.scopesCover(given, asked));
}

/** The key that a request carries: of `Authorization: Bearer ...`, or else of `X-API-Key`. */
export function credential(headers: HeaderFields): string {
  const all = new Map(pairs(headers).map(([name, value]) => [name.toLowerCase(), value]));
  return bridge().now((native) => native.credential(all.get('authorization') ?? null, all.get('x-api-key') ?? null));
}

/** Reads credits written as a decimal text; gives millionths of a credit. */
export function parseCredits(text: string): bigint {
  return bridge().now((native) => native.parseCredits(text));
}

/** Writes millionths of a credit as a decimal text. */
export function formatCredits(micro: bigint): string {
  return bridge().now((native) => native.formatCredits(micro));
}

/** The client's address behind proxies that are trusted, and the key it is limited by (IPv6 by its /64 network). */
export function clientAddress(peer: string, forwardedFor: string[] = [], proxies: readonly string[] = []): { address: string; key: string } {
  return JSON.parse(bridge().now((native) => native.clientAddress(peer, forwardedFor, [...proxies])));
}

/** The version of the engine. */
export function version(): string {
  return bridge().native.version();
}
