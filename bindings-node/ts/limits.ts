import { errorOf, refusal, type ErrorData, type LevqorError } from './errors';
import { bridge, type Bridge } from './native';

/** Why a limit refused. */
export type Reason = 'exceeded' | 'too_costly' | 'blocked' | 'unavailable' | 'denied';

const REASONS: readonly (Reason | undefined)[] = [undefined, 'exceeded', 'too_costly', 'blocked', 'unavailable', 'denied'];

/** What came of one limit of a decision. */
export interface AskOutcome {
  name: string;
  quota: string;
  admitted: boolean;
  limit: number;
  remaining: number;
  reset_after: number;
  retry_after: number | null;
  reason: Reason | null;
}

/** A decision as the engine tells it. */
export interface DecisionData {
  admitted: boolean;
  asks: AskOutcome[];
  limit: number;
  remaining: number;
  reset_after: number;
  retry_after: number | null;
  ready_after?: number;
  reason: Reason | null;
  degraded: boolean;
  at: number;
  shadow?: AskOutcome[];
  headers: [string, string][];
  explain: string;
  error: ErrorData | null;
}

/** Whether a call may go on. A refusal is a value: look at `admitted`, or call `admit()`. */
export abstract class Decision {
  /** Whether the call may go on. */
  abstract readonly admitted: boolean;
  /** Units per period of the limit that binds most. */
  abstract readonly limit: number;
  /** Units that are left of it. */
  abstract readonly remaining: number;
  /** Milliseconds until it is full again. */
  abstract readonly resetAfter: number;
  /** Milliseconds until the same call passes; `undefined` if it did, or never will. */
  abstract readonly retryAfter: number | undefined;
  /** Why it was refused. */
  abstract readonly reason: Reason | undefined;
  /** When it was decided, milliseconds since 1970. */
  abstract readonly at: number;

  protected abstract data(): DecisionData;

  /** The same as `admitted`. */
  get success(): boolean {
    return this.admitted;
  }
  /** When the limit is full again, milliseconds since 1970. */
  get reset(): number {
    return this.at + this.resetAfter;
  }
  /** Decided without the shared store, by the policy for when it is down. */
  get degraded(): boolean {
    return this.data().degraded;
  }
  /** Every limit that was asked. */
  get asks(): readonly AskOutcome[] {
    return this.data().asks;
  }
  /** What policies in a dry run would have said. */
  get shadow(): readonly AskOutcome[] {
    return this.data().shadow ?? [];
  }
  /** The header fields: `X-RateLimit-*`, `RateLimit-Policy`, `RateLimit`, and `Retry-After` of a refusal. */
  get headers(): readonly (readonly [string, string])[] {
    return this.data().headers;
  }
  /** The decision in words, for people who wonder why. */
  explain(): string {
    return this.data().explain;
  }
  /** The refusal as an error; `undefined` if the call may go on. */
  error(): LevqorError | undefined {
    const { error } = this.data();
    return error ? errorOf(error) : undefined;
  }
  /** Itself if the call may go on; throws the refusal if not. */
  admit(): this {
    const error = this.admitted ? undefined : this.error();
    if (error) throw error;
    return this;
  }
  toJSON(): DecisionData {
    return this.data();
  }
}

/** A decision that was waited for. */
export class FullDecision extends Decision {
  readonly #data: DecisionData;
  constructor(data: DecisionData) {
    super();
    this.#data = data;
  }
  protected override data(): DecisionData {
    return this.#data;
  }
  get admitted(): boolean {
    return this.#data.admitted;
  }
  get limit(): number {
    return this.#data.limit;
  }
  get remaining(): number {
    return this.#data.remaining;
  }
  get resetAfter(): number {
    return this.#data.reset_after;
  }
  get retryAfter(): number | undefined {
    return this.#data.retry_after ?? undefined;
  }
  get reason(): Reason | undefined {
    return this.#data.reason ?? undefined;
  }
  get at(): number {
    return this.#data.at;
  }
}

/** A decision of a limiter: six numbers; everything else is worked out when it is asked for. */
class QuickDecision extends Decision {
  readonly #limiter: Limiter;
  readonly #cost: number;
  readonly #retry: number;
  readonly #reason: number;
  #full: DecisionData | undefined;

  constructor(
    limiter: Limiter,
    cost: number,
    readonly admitted: boolean,
    readonly remaining: number,
    readonly resetAfter: number,
    retry: number,
    reason: number,
    readonly at: number,
  ) {
    super();
    this.#limiter = limiter;
    this.#cost = cost;
    this.#retry = retry;
    this.#reason = reason;
  }
  get limit(): number {
    return this.data().limit;
  }
  get retryAfter(): number | undefined {
    return this.#retry < 0 ? undefined : this.#retry;
  }
  get reason(): Reason | undefined {
    return REASONS[this.#reason];
  }
  protected override data(): DecisionData {
    return (this.#full ??= JSON.parse(
      bridge().now((native) =>
        native.decision(this.#limiter.name, this.#limiter.quota, this.#cost, this.admitted, this.remaining, this.resetAfter, this.#retry, this.#reason, this.at),
      ),
    ));
  }
}

/** One limit made ready for many keys: asked in well under a microsecond, without waiting. */
export class Limiter {
  readonly name: string;
  readonly quota: string;
  readonly #handle: () => number;
  #bridge: Bridge | undefined;
  #number = 0;
  #take: (limiter: number, key: string, cost: number) => number = () => 2;
  #fields = new Float64Array(8);

  /** @internal */
  constructor(name: string, quota: string, handle: () => number) {
    this.name = name;
    this.quota = quota;
    this.#handle = handle;
  }

  /** Takes what the call costs, if the limit lets it pass. Throws where limits lie in a store: wait there, with `lq.limit`. */
  take(key: string, cost = 1): Decision {
    if (this.#bridge === undefined) this.#prepare();
    const fields = this.#fields;
    const said = this.#take(this.#number, key, cost);
    if (said > 1) throw refusal('argument.invalid', 'a key is a text', { at: 'key' });
    return new QuickDecision(this, cost, said === 1, fields[0]!, fields[1]!, fields[2]!, fields[3]!, fields[4]!);
  }

  /** The same, as nothing but yes or no. */
  passes(key: string, cost = 1): boolean {
    if (this.#bridge === undefined) this.#prepare();
    const said = this.#take(this.#number, key, cost);
    if (said > 1) throw refusal('argument.invalid', 'a key is a text', { at: 'key' });
    return said === 1;
  }

  #prepare(): void {
    const found = bridge();
    this.#number = found.now((native) => native.limiter(this.#handle(), this.name, this.quota));
    this.#take = found.native.take;
    this.#fields = found.fields;
    this.#bridge = found;
  }
}

/** How a window is counted, in words. */
function quota(units: number, per: string, more: string): string {
  return `${units} per ${per}${more}`;
}

/** Quotas in words: what limits take. */
export const RateLimit = {
  /** A burst at once, then a steady rate. */
  tokenBucket: (units: number, per: string, { burst }: { burst?: number } = {}) => quota(units, per, burst === undefined ? '' : ` burst ${burst}`),
  /** So many in each window that begins at a multiple of its length. */
  fixedWindow: (units: number, per: string) => quota(units, per, ' fixed'),
  /** So many in any window, estimated from two counts. */
  slidingWindow: (units: number, per: string) => quota(units, per, ' sliding'),
  /** So many in any window, exactly. */
  slidingLog: (units: number, per: string) => quota(units, per, ' log'),
  /** So many at a time, each for at most so long. */
  concurrent: (units: number, lease: string) => quota(units, lease, ' concurrent'),
} as const;
