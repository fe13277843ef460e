/** What went wrong, as data: what crosses the border between languages. */
export interface ErrorData {
  kind: string;
  code: string;
  message: string;
  class: string;
  status: number;
  retryable: boolean;
  at?: string;
  hint?: string;
  retry_after?: number;
  effect?: 'none' | 'unknown' | 'done';
  faults?: Fault[];
  headers?: [string, string][];
  details?: Record<string, unknown>;
  problem?: Record<string, unknown>;
}

/** One fault among several, of an input that is refused with all of them. */
export interface Fault {
  /** JSON pointer into the input. */
  at: string;
  code: string;
  message: string;
}

const BRAND = Symbol.for('levqor.error');

/**
 * What every failed call throws. `instanceof` holds across copies of this package (hot reload, CommonJS beside
 * ES modules).
 */
export class LevqorError extends Error {
  /** The stable name of the cause, like `ledger.insufficient_credits`. */
  readonly code: string;
  /** The class of the error, like `insufficient`. */
  readonly kind: string;
  /** The HTTP status that fits. */
  readonly status: number;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** Milliseconds after which it may pass; `undefined` where that is not known. */
  readonly retryAfter: number | undefined;
  /** What to do about it. */
  readonly hint: string | undefined;
  /** Where it was wrong. */
  readonly at: string | undefined;
  /** What the failed call left behind at the other side. */
  readonly effect: 'none' | 'unknown' | 'done';
  /** Every fault of a refused input. */
  readonly faults: readonly Fault[];
  /** Machine-readable details. */
  readonly details: Readonly<Record<string, unknown>>;
  /** HTTP headers that belong to an answer with this error. */
  readonly headers: readonly (readonly [string, string])[];
  readonly #problem: Record<string, unknown> | undefined;
  /** The message without the place. */
  readonly #plain: string;

  constructor(data: ErrorData) {
    super(data.at ? `${data.message} (at ${data.at})` : data.message);
    this.#plain = data.message;
    this.code = data.code;
    this.kind = data.kind;
    this.status = data.status;
    this.retryable = data.retryable;
    this.retryAfter = data.retry_after;
    this.hint = data.hint;
    this.at = data.at;
    this.effect = data.effect ?? 'none';
    this.faults = data.faults ?? [];
    this.details = data.details ?? {};
    this.headers = data.headers ?? [];
    this.#problem = data.problem;
    Object.defineProperty(this, BRAND, { value: data.class });
    Object.defineProperty(this, 'name', { value: data.class, configurable: true });
  }

  /** The problem document of RFC 9457 (`application/problem+json`). */
  problem(): Record<string, unknown> {
    return {
      ...(this.#problem ?? {
        type: `urn:levqor:error:${this.code}`, title: this.#plain, status: this.status, code: this.code, retryable: this.retryable,
        ...(this.hint ? { detail: this.hint } : {}), ...(this.at ? { at: this.at } : {}),
        ...(this.faults.length > 0 ? { errors: this.faults } : {}),
      }),
    };
  }

  /** The problem document as the answer to a request. */
  toResponse(headers: Iterable<readonly [string, string]> = []): Response {
    const all = new Headers(this.headers.map(([name, value]): [string, string] => [name, value]));
    for (const [name, value] of headers) all.set(name, value);
    all.set('Content-Type', 'application/problem+json');
    if (this.retryAfter !== undefined && !all.has('Retry-After')) all.set('Retry-After', String(Math.max(1, Math.ceil(this.retryAfter / 1000))));
    return new Response(JSON.stringify(this.problem()), { status: this.status, headers: all });
  }

  /** The error as data. */
  toJSON(): ErrorData {
    const given = <K extends string, V>(name: K, value: V | undefined): Partial<Record<K, V>> =>
      value === undefined ? {} : ({ [name]: value } as Record<K, V>);
    return {
      kind: this.kind, code: this.code, message: this.#plain, class: this.name, status: this.status, retryable: this.retryable,
      effect: this.effect, details: { ...this.details }, headers: this.headers.map(([n, v]) => [n, v]), faults: [...this.faults],
      ...given('at', this.at), ...given('hint', this.hint), ...given('retry_after', this.retryAfter),
    };
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return false;
    const brand = (value as Record<symbol, unknown>)[BRAND];
    return typeof brand === 'string' && (this === LevqorError || brand === this.className);
  }

  /** The name by which copies of this class know each other. */
  protected static get className(): string {
    return this.name;
  }
}

/** The input is wrong; the same input will always be wrong. */
export class InvalidInput extends LevqorError {}
/** The thing asked for does not exist. */
export class NotFound extends LevqorError {}
/** The state does not allow it. */
export class Conflict extends LevqorError {}
/** Not enough credits. */
export class InsufficientCredits extends LevqorError {}
/** A limit refused it. */
export class RateLimited extends LevqorError {}
/** Credentials are missing, wrong or expired. */
export class Unauthorized extends LevqorError {}
/** Who asks may not do this. */
export class Forbidden extends LevqorError {}
/** A message does not prove where it came from. */
export class WebhookRejected extends LevqorError {}
/** This build or backend cannot do it. */
export class Unsupported extends LevqorError {}
/** The configuration is wrong. */
export class ConfigError extends LevqorError {}
/** Something outside is down or overloaded. */
export class Unavailable extends LevqorError {}
/** It took too long. */
export class Timeout extends LevqorError {}
/** Stored or received data is not what it must be. */
export class Corrupt extends LevqorError {}
/** A fault of the engine. */
export class InternalError extends LevqorError {}

const CLASSES = {
  InvalidInput, NotFound, Conflict, InsufficientCredits, RateLimited, Unauthorized, Forbidden, WebhookRejected, Unsupported,
  ConfigError, Unavailable, Timeout, Corrupt, InternalError,
};
// Names that a minifier cannot change.
for (const [name, value] of Object.entries(CLASSES)) Object.defineProperty(value, 'name', { value: name });

/** The error that data describes. */
export function errorOf(data: ErrorData): LevqorError {
  const Class = CLASSES[data.class as keyof typeof CLASSES] ?? LevqorError;
  const error = new Class(data);
  Error.captureStackTrace?.(error, errorOf);
  return error;
}

/** An error of this side of the border. */
export function refusal(code: string, message: string, more: Partial<ErrorData> = {}): LevqorError {
  return errorOf({ kind: 'invalid', class: 'InvalidInput', status: 422, retryable: false, code, message, ...more });
}

/** What was thrown, as an error of ours. What a caller's function threw keeps its cause, and is not echoed. */
export function caught(value: unknown, code = 'handler.failed'): LevqorError {
  if (value instanceof LevqorError) return value;
  const message = value instanceof Error ? `${value.name}: ${value.message}` : 'a function threw something that is no error';
  const error = refusal(code, message, { kind: 'internal', class: 'InternalError', status: 500 });
  (error as { cause?: unknown }).cause = value;
  return error;
}
