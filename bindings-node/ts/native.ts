import { errorOf, refusal, caught, type ErrorData, type LevqorError } from './errors';

/** The compiled half. */
interface Native {
  version(): string;
  attach(deliver: (messages: string) => void): number;
  engine(config: string): number;
  tenant(handle: number, name: string): number;
  bind(handle: number, name: string, port: number, fn: number, about: string): void;
  verbs(): string[];
  start(port: number, handle: number, verb: number, args: string, canCancel: boolean): number | string;
  cancel(port: number, id: number): void;
  reply(port: number, id: number, ok: boolean, text: string): void;
  limiter(handle: number, name: string, quota: string): number;
  fields(array: Float64Array): boolean;
  take(limiter: number, key: string, cost: number): number;
  decision(name: string, quota: string, cost: number, admitted: boolean, remaining: number, resetAfter: number, retryAfter: number, reason: number, at: number): string;
  parseCredits(text: string): bigint;
  formatCredits(micro: bigint): string;
  securityHeaders(preset: string, nonce?: string | null): string;
  nonce(): string;
  parseKey(text: string, prefix?: string | null): string;
  credential(authorization?: string | null, apiKey?: string | null): string;
  scopesCover(given: string[], asked: string[]): boolean;
  verifyKeyNow(handle: number, text: string, scopes: string[]): string | null;
  webhook(name: string, config: string): number;
  verifyWebhook(webhook: number, headers: string, body: Buffer, now?: number | null): string;
  signWebhook(webhook: number, id: string, body: Buffer, now?: number | null): string;
  describeError(error: string): string;
  clientAddress(peer: string, forwarded: string[], proxies: string[]): string;
}

/** A function of this thread that the engine calls. */
export type HostFunction = (argument: any, signal: AbortSignal) => unknown;

interface Pending {
  resolve(value: any): void;
  reject(error: unknown): void;
  done?: () => void;
}

/** The longest time a timer takes. */
const FOREVER = 0x7fffffff;

/** The way from this thread to the engine and back. One per thread, shared by all copies of this package in it. */
export class Bridge {
  readonly native: Native;
  /** Where decisions of limiters are written. */
  readonly fields = new Float64Array(8);
  readonly #port: number;
  readonly #verbs: Map<string, number>;
  readonly #pending = new Map<number, Pending>();
  readonly #functions: HostFunction[] = [];
  readonly #names = new Map<string, number>();
  readonly #running = new Map<number, AbortController>();
  /** Keeps the process alive while somebody waits, and never else. */
  readonly #alive = setInterval(() => {}, FOREVER).unref();
  #holds = 0;

  constructor(native: Native) {
    this.native = native;
    this.#port = native.attach((messages) => this.#deliver(messages));
    this.#verbs = new Map(native.verbs().map((name, number) => [name, number]));
    native.fields(this.fields);
  }

  /** The names of all verbs. */
  get verbs(): string[] {
    return [...this.#verbs.keys()];
  }

  /** Carries out a verb. */
  call(handle: number, verb: string, args: unknown, signal?: AbortSignal): Promise<any> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    let begun: number | string;
    try {
      const number = this.#verbs.get(verb);
      if (number === undefined) throw refusal('verb.unknown', `there is no verb ${verb}`);
      begun = this.native.start(this.#port, handle, number, encode(args), signal !== undefined);
    } catch (error) {
      return Promise.reject(translated(error));
    }
    if (typeof begun === 'string') {
      return begun.charCodeAt(0) === 61 /* = */ ? Promise.resolve(JSON.parse(begun.slice(1))) : Promise.reject(errorOf(JSON.parse(begun.slice(1))));
    }
    const id = begun;
    return new Promise((resolve, reject) => {
      const pending: Pending = { resolve, reject };
      if (signal) {
        const abort = () => {
          if (!this.#settle(id)) return;
          this.native.cancel(this.#port, id);
          reject(signal.reason);
        };
        signal.addEventListener('abort', abort, { once: true });
        pending.done = () => signal.removeEventListener('abort', abort);
      }
      this.#pending.set(id, pending);
      this.hold();
    });
  }

  /** Carries out something that waits for nothing, with errors of ours. */
  now<T>(act: (native: Native) => T): T {
    try {
      return act(this.native);
    } catch (error) {
      throw translated(error);
    }
  }

  /** Makes a function known to an engine, in the place of the one that had its name. */
  bind(handle: number, name: string, fn: HostFunction, about: unknown = {}): void {
    const known = this.#names.get(`${handle} ${name}`);
    const place = known ?? this.#functions.length;
    this.#functions[place] = fn;
    this.#names.set(`${handle} ${name}`, place);
    this.now((native) => native.bind(handle, name, this.#port, place, encode(about)));
  }

  /** Keeps the process alive until as many releases. */
  hold(): void {
    if (this.#holds++ === 0) this.#alive.ref();
  }

  release(): void {
    if (--this.#holds === 0) this.#alive.unref();
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (!pending) return undefined;
    this.#pending.delete(id);
    pending.done?.();
    this.release();
    return pending;
  }

  #deliver(messages: string): void {
    for (const message of JSON.parse(messages)) {
      const [what] = message;
      if (what === 'call') this.#run(message[1], message[2], message[3]);
      else if (what === 'stop') this.#running.get(message[1])?.abort();
      else {
        const pending = this.#settle(what);
        if (message[1]) pending?.resolve(message[2]);
        else pending?.reject(errorOf(message[2]));
      }
    }
  }

  #run(id: number, fn: number, argument: unknown): void {
    const controller = new AbortController();
    this.#running.set(id, controller);
    const reply = (ok: boolean, value: unknown) => {
      this.#running.delete(id);
      let text: string;
      try {
        text = encode(value ?? null);
      } catch (error) {
        ok = false;
        text = JSON.stringify(wire(caught(error)));
      }
      this.native.reply(this.#port, id, ok, text);
    };
    // A promise of its own, so that what is thrown at once and what is thrown later go one way.
    Promise.resolve()
      .then(() => this.#functions[fn]?.(argument, controller.signal))
      .then((value) => reply(true, value), (error) => reply(false, wire(caught(error))));
  }
}

/** An error as the engine reads it. */
export function wire(error: LevqorError): Record<string, unknown> {
  const { kind, code, message, at, hint, retry_after, effect, faults, details, status, retryable } = error.toJSON();
  return { kind, code, message, at, hint, retry_after, effect, faults, details, status, retryable };
}

/** JSON, or an error that says what is none. */
function encode(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch (error) {
    throw refusal('argument.invalid', `an argument is no plain data: ${(error as Error).message}`);
  }
}

/** What the compiled half threw, as an error of ours. */
function translated(error: unknown): unknown {
  const message = error instanceof Error ? error.message : '';
  if (message.startsWith('!')) {
    return errorOf(JSON.parse(message.slice(1)) as ErrorData);
  }
  // What Node says of a value of the wrong type.
  if (error instanceof Error && typeof (error as { code?: unknown }).code === 'string' && /Expected|InvalidArg|GenericFailure/.test(String((error as unknown as { code: string }).code))) {
    return refusal('argument.invalid', message || 'an argument has the wrong type');
  }
  return error;
}

function load(): Native {
  try {
    // A static path, so that bundlers and tracers see the file.
    return require('../levqor.node') as Native;
  } catch (error) {
    if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error;
  }
  const name = `@levqor/${process.platform}-${process.arch}${process.platform === 'linux' ? '-gnu' : ''}`;
  try {
    return require(name) as Native;
  } catch (cause) {
    const error = refusal('node.no_addon', `levqor has no compiled half for ${process.platform} ${process.arch}`, {
      kind: 'unsupported', class: 'Unsupported', status: 501, hint: `install ${name}, or build the addon with \`npm run build\``,
    });
    (error as { cause?: unknown }).cause = cause;
    throw error;
  }
}

const VERSION = '0.1.0';
const PLACE = Symbol.for(`levqor.bridge.${VERSION}`);

/** The bridge of this thread. The compiled half is loaded when it is first needed. */
export function bridge(): Bridge {
  const place = globalThis as unknown as Record<symbol, Bridge | undefined>;
  return (place[PLACE] ??= new Bridge(load()));
}
