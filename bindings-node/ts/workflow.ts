import { caught, LevqorError, refusal, type ErrorData } from './errors';
import { bridge, wire } from './native';
import type { Run, Schedule } from './records';
import { credits, options, someCredits, type Credits, type Instant, type Span } from './values';
import type { Call, Changes, Waits } from './verbs';

/** A schema of any library that speaks Standard Schema (Zod, Valibot, ArkType, ...). */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined }[] };

/** Checks a value by its schema; throws every fault. */
export async function checked<T>(schema: StandardSchema<T> | undefined, value: unknown, what: string): Promise<T> {
  if (schema === undefined) return value as T;
  const result = await schema['~standard'].validate(value);
  if (result.issues === undefined) return result.value;
  const faults = result.issues.map((issue) => ({
    at: (issue.path ?? []).map((p) => `/${String(typeof p === 'object' ? p.key : p).replace(/~/g, '~0').replace(/\//g, '~1')}`).join(''),
    code: 'schema', message: issue.message,
  }));
  throw refusal('input.invalid', `${what} is not what it must be: ${faults.map((f) => `${f.at || '/'} ${f.message}`).join('; ')}`, { faults, at: faults[0]?.at });
}

/** How often something is tried, and how long the waits between are. */
export interface RetryPolicy {
  /** Attempts in all, the first included. */
  maxAttempts?: number;
  /** The shortest wait. */
  initial?: Span;
  /** The longest wait. */
  max?: Span;
}

/** How a handler's jobs are treated. */
export interface WorkflowOptions<Input> extends RetryPolicy {
  /** What its input must be. */
  input?: StandardSchema<Input>;
  /** How long one attempt may take. */
  timeout?: Span;
  /** The queue of its jobs. */
  queue?: string;
}

/** How one job is enqueued. */
export interface EnqueueOptions extends Changes {
  queue?: string;
  account?: string;
  /** Holds credits of the account until the job ends: then they are captured, or released if it failed. */
  hold?: Credits;
  /** 0 is served first, 255 last. */
  priority?: number;
  runAt?: Instant;
  delay?: Span;
  maxAttempts?: number;
  /** Dropped if another job has this key that waits, runs, or was enqueued less than `for` ago. */
  unique?: string | { key: string; for?: Span };
  /** Waits until no more came for `quiet`, and then runs with the last input. */
  debounce?: { key: string; quiet: Span; atMost?: Span };
  /** Jobs with the same key share the queue's limits per key. */
  concurrencyKey?: string;
}

/** A job that was enqueued. */
export interface Enqueued {
  id: string;
  /** Whether another job had its unique key: then this is that job. */
  duplicate: boolean;
  /** Whether its idempotency key had been used before. */
  replayed: boolean;
  hold: string | null;
}

/** How a step is treated. */
export interface StepOptions {
  /** Whether and how it is tried again before its error reaches the handler; not at all unless said. */
  retry?: RetryPolicy;
  /** How long one attempt may take. */
  timeout?: Span;
  /** Never made twice, not even after a crash in the middle of it. */
  atMostOnce?: boolean;
}

/** What a step's function is given. */
export interface StepContext {
  /** Equal for every attempt at this step of this job: for a provider that takes an idempotency key. */
  idempotencyKey: string;
  /** Aborted when the step took too long or the job is over. */
  signal: AbortSignal;
}

/** Thrown out of a handler or step: no other attempt can help. */
export class Fatal extends Error {
  readonly retryable = false;
}
Object.defineProperty(Fatal, 'name', { value: 'Fatal' });

/** What a handler threw, as the engine takes it: an error that is not ours may pass, unless it says it does not. */
export function failure(error: unknown): LevqorError {
  if (error instanceof LevqorError) return error;
  const said = (error as { retryable?: unknown } | null)?.retryable;
  const known = caught(error);
  const data = { ...known.toJSON(), retryable: said !== false } satisfies ErrorData;
  const told = refusal(known.code, known.message, data);
  (told as { cause?: unknown }).cause = error;
  return told;
}

interface Begun {
  done?: unknown;
  ticket: number;
  wait: number;
  timeout: number | null;
  idempotencyKey: string;
}

interface Given {
  context: number;
  input: unknown;
  id: string;
  attempt: number;
  maxAttempts: number;
  handler: string;
  queue: string;
  account: string | null;
  tenant: string;
  follows: string | null;
}

/** The context of a job, for its handler. */
export class Wf {
  /** The job's id. */
  readonly id: string;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly queue: string;
  /** Who pays. */
  readonly account: string | null;
  readonly tenant: string;
  /** The batch that this job follows, if it follows one. */
  readonly follows: string | null;
  /** Aborted when the job is not this handler's any more: it was called off, its lease was lost, the worker stops. */
  readonly signal: AbortSignal;
  readonly #context: number;
  readonly #call: Call;

  /** @internal */
  constructor(given: Given, signal: AbortSignal, call: Call) {
    this.#context = given.context;
    this.#call = call;
    this.id = given.id;
    this.attempt = given.attempt;
    this.maxAttempts = given.maxAttempts;
    this.queue = given.queue;
    this.account = given.account;
    this.tenant = given.tenant;
    this.follows = given.follows;
    this.signal = signal;
  }

  #do(verb: string, args: Record<string, unknown>): Promise<any> {
    return this.#call(verb, { context: this.#context, ...args });
  }

  /**
   * Makes a step, or tells what it came to when it was made before. What it gives is kept as JSON.
   *
   * The same name may be used again, in a loop: the second use is another step.
   */
  step<T>(name: string, make: (cx: StepContext) => T | Promise<T>): Promise<T>;
  step<T>(name: string, how: StepOptions, make: (cx: StepContext) => T | Promise<T>): Promise<T>;
  async step<T>(name: string, a: StepOptions | ((cx: StepContext) => T | Promise<T>), b?: (cx: StepContext) => T | Promise<T>): Promise<T> {
    const [how, make] = typeof a === 'function' ? [{}, a] : [a, b];
    if (typeof make !== 'function') throw refusal('argument.invalid', `the step ${name} has no function`);
    const { retry, ...rest } = how;
    let begun: Begun = await this.#do('wf.begin', { name, options: { ...options(rest), ...(retry ? { retry: options(retry) } : {}) } });
    for (;;) {
      if ('done' in begun) return begun.done as T;
      if (begun.wait > 0) await new Promise((resolve) => setTimeout(resolve, begun.wait));
      let ok = true;
      let value: unknown;
      let thrown: unknown;
      try {
        value = (await this.#attempt(name, begun, make)) ?? null;
      } catch (error) {
        ok = false;
        thrown = error;
        value = wire(failure(error));
      }
      try {
        begun = await this.#do('wf.end', { ticket: begun.ticket, ok, value });
      } catch (error) {
        // The step's own error comes back as it was thrown, for handlers that look at it.
        if (!ok && error instanceof LevqorError && error.code === (value as { code: string }).code) throw thrown;
        throw error;
      }
    }
  }

  async #attempt<T>(name: string, begun: Begun, make: (cx: StepContext) => T | Promise<T>): Promise<T> {
    const { timeout, idempotencyKey } = begun;
    if (timeout === null) return make({ idempotencyKey, signal: this.signal });
    let timer: NodeJS.Timeout | undefined;
    const late = new AbortController();
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = refusal('step.timeout', `the step ${name} took longer than ${timeout} ms`, { kind: 'timeout', class: 'Timeout', status: 504, retryable: true });
        late.abort(error);
        reject(error);
      }, timeout);
    });
    try {
      return await Promise.race([make({ idempotencyKey, signal: AbortSignal.any([this.signal, late.signal]) }), over]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits so long. A longer wait outlives the process: the handler is left by an error, which it must let through. */
  sleep(name: string, span: Span): Promise<void> {
    return this.#do('wf.sleep', { name, span });
  }

  /** Waits for a signal, at most so long; `undefined` if none came. One that came before is not lost. */
  async waitFor<T = unknown>(name: string, atMost: Span): Promise<T | undefined> {
    const heard = await this.#do('wf.signal', { name, at_most: atMost });
    return heard === null ? undefined : heard.value;
  }

  /** Says how far the job is: any JSON. */
  progress(progress: unknown): Promise<void> {
    return this.#do('wf.progress', { progress });
  }

  /** How much of the job's hold is due when it ends well; all of it unless this is said. The rest is released. */
  capture(amount: Credits): Promise<void> {
    return this.#do('wf.capture', { amount: credits(amount) });
  }

  /** Puts the job away until later, without using up an attempt. Never returns. */
  snooze(span: Span): Promise<never> {
    return this.#do('wf.snooze', { span }) as Promise<never>;
  }
}

/** A request as the engine takes it. */
export function request(handler: string, input: unknown, o: EnqueueOptions = {}): Record<string, unknown> {
  const { unique, debounce, hold, ...rest } = o;
  return {
    handler, input: input ?? null, ...options(rest), hold: someCredits(hold, 'hold'),
    ...(unique === undefined ? {} : { unique: typeof unique === 'string' ? { key: unique } : unique }),
    ...(debounce === undefined ? {} : { debounce: options(debounce) }),
  };
}

/** Work that is done by workers: its function, and how its jobs are enqueued. */
export class Workflow<Input = any, Output = unknown> {
  readonly #call: Call;

  /** @internal */
  constructor(
    readonly name: string,
    readonly options: WorkflowOptions<Input>,
    readonly run: (wf: Wf, input: Input) => Output | Promise<Output>,
    call: Call,
  ) {
    this.#call = call;
  }

  /** @internal */
  request(input: Input, o: EnqueueOptions): Record<string, unknown> {
    return request(this.name, input, { ...(this.options.queue ? { queue: this.options.queue } : {}), ...o });
  }

  /** Puts a job into its queue. With an idempotency key, once, however often it is sent. */
  async enqueue(input: Input, o: EnqueueOptions = {}): Promise<Enqueued> {
    await checked(this.options.input, input, 'the input');
    return this.#call('jobs.enqueue', { job: this.request(input, o) }, o.signal);
  }

  /** Puts many jobs into their queues, all or none. */
  async enqueueMany(inputs: readonly Input[], { idempotencyKey, signal, ...o }: EnqueueOptions = {}): Promise<Enqueued[]> {
    for (const input of inputs) await checked(this.options.input, input, 'the input');
    return this.#call('jobs.enqueue_many', { jobs: inputs.map((input) => this.request(input, o)), idempotency_key: idempotencyKey }, signal);
  }

  /** Enqueues jobs that belong together, and one that follows when all of them have ended. Gives the batch's id. */
  async enqueueBatch(
    inputs: readonly Input[],
    o: { then?: { workflow: Workflow<any, any>; input?: unknown }; always?: boolean } & Changes = {},
  ): Promise<string> {
    const { then, always, idempotencyKey, signal } = o;
    for (const input of inputs) await checked(this.options.input, input, 'the input');
    const args = {
      jobs: inputs.map((input) => this.request(input, {})), always, idempotency_key: idempotencyKey,
      then: then && then.workflow.request(then.input ?? null, {}),
    };
    return this.#call('jobs.enqueue_batch', args, signal);
  }

  /** Waits until a job has ended. */
  wait(id: string, o: { atMost?: Span } & Waits = {}): Promise<Run<Awaited<Output>>> {
    return this.#call('jobs.wait', { job_id: id, ...options(o) }, o.signal);
  }

  /** Carries the function out here and now, for tests: steps are made and forgotten. */
  async test(input: Input, wf: Partial<Wf> = {}): Promise<Awaited<Output>> {
    const signal = new AbortController().signal;
    const bare = {
      id: 'job_test', attempt: 1, maxAttempts: 1, queue: 'default', account: null, tenant: 'default', follows: null, signal,
      step: async (_: string, a: unknown, b?: unknown) => ((typeof a === 'function' ? a : b) as (cx: StepContext) => unknown)({ idempotencyKey: 'test', signal }),
      sleep: async () => {}, waitFor: async () => undefined, progress: async () => {}, capture: async () => {},
      snooze: async () => { throw refusal('job.suspended', 'the job was put away'); },
      ...wf,
    };
    return await this.run(bare as unknown as Wf, await checked(this.options.input, input, 'the input'));
  }
}

/** Makes a workflow's function known to an engine. */
export function bindWorkflow(handle: number, workflow: Workflow<any, any>, call: Call): void {
  const { input: schema, queue: _, timeout, ...retry } = workflow.options;
  const about = { retry: options(retry), ...(timeout === undefined ? {} : { timeout }) };
  bridge().bind(
    handle,
    `handler:${workflow.name}`,
    async (given: Given, signal) => {
      try {
        const input = await checked(schema, given.input, 'the input');
        return await workflow.run(new Wf(given, signal, call), input);
      } catch (error) {
        throw failure(error);
      }
    },
    about,
  );
}

/** A schedule that starts a workflow. */
export interface CronOptions extends Omit<Partial<Schedule>, 'id' | 'when' | 'target'> {
  tz?: string;
  input?: unknown;
  account?: string;
  queue?: string;
}

export function schedule(name: string, expression: string, o: CronOptions): Schedule {
  const { tz, input, account, queue, ...rest } = o;
  return {
    id: name, when: { cron: expression }, ...(tz ? { zone: tz } : {}), ...rest,
    target: { kind: 'job', handler: name, args: input ?? {}, ...(account ? { account } : {}), ...(queue ? { queue } : {}) },
  };
}

/** A place in a commit to be, whose answer is known once it is done. */
export class Place<T> {
  declare readonly answer: T;
  /** @internal */
  constructor(readonly index: number) {}
}

/** What places are once they are done. */
export type Settled<T> = T extends Place<infer A> ? A : T extends object ? { [K in keyof T]: Settled<T[K]> } : T;

/** @internal */
export function settled(value: unknown, answers: readonly unknown[]): unknown {
  if (value instanceof Place) return answers[value.index];
  if (Array.isArray(value)) return value.map((v) => settled(v, answers));
  if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, settled(v, answers)]));
  }
  return value;
}


