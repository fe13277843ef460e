// Next.js: route handlers, server actions, webhooks, the proxy, instrumentation, the configuration.

import { LevqorError } from './errors';
import { fixedHeaders, pass, readAll, type Asked, type Guard, type Passed } from './http';
import { newNonce, securityHeaders, type Decision, type HeaderPreset, type Levqor, type StartOptions, type WebhookEvent } from './index';
import { checked, type StandardSchema } from './workflow';

export { ops, type OpsOptions } from './ops';
export type { Guard, LimitRule } from './http';

/** What a route's function is given. */
export interface RouteContext<Body> extends Passed<Body> {
  request: Request;
  /** The parts of the path in brackets. */
  params: Record<string, string | string[]>;
  /** Aborted when the client is gone. */
  signal: AbortSignal;
}

function askedOf(request: Request): Asked<Request> {
  return {
    original: request,
    header: (name) => request.headers.get(name) ?? undefined,
    peer: undefined,
    read: (most) => readAll(request.body as unknown as AsyncIterable<Uint8Array> | null, most, request.headers.get('content-length')),
  };
}

/** Adds header fields that an answer does not have. */
function withHeaders(response: Response, fields: Iterable<readonly [string, string]>): Response {
  const headers = new Headers(response.headers);
  for (const [name, value] of fields) if (!headers.has(name)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** Runs something for a request; errors of ours become problem documents, others are Next's. */
async function answered(guard: Guard<any, any>, run: (note: (decision: Decision) => void) => Promise<unknown>): Promise<Response> {
  const decisions: Decision[] = [];
  let response: Response;
  try {
    const value = await run((decision) => decisions.push(decision));
    response = value instanceof Response ? value : value === undefined ? new Response(null, { status: 204 }) : Response.json(value);
  } catch (error) {
    if (!(error instanceof LevqorError)) throw error;
    response = error.toResponse();
  }
  const limits = decisions.at(-1)?.headers ?? [];
  return withHeaders(response, [...limits, ...(guard.headers === false ? [] : fixedHeaders(guard.headers ?? 'api'))]);
}

/**
 * A route handler behind a key, limits and a schema. What it gives back is sent as JSON, unless it is a `Response`;
 * what it throws is a problem document, if it is an error of this package.
 */
export function route<Body = undefined>(
  lq: Levqor,
  guard: Guard<Body>,
  run: (cx: RouteContext<Body>) => unknown,
): (request: Request, context?: { params?: any }) => Promise<Response> {
  return (request, context) =>
    answered(guard, async (note) => {
      const passed = await pass(lq, guard, askedOf(request), note);
      return run({ ...passed, request, params: (await context?.params) ?? {}, signal: request.signal });
    });
}

/**
 * A route handler for a vendor's webhook: the message is proved, and worked on once over all processes. If the
 * function throws, the vendor is told to try again.
 */
export function webhook(lq: Levqor, name: string, run: (event: WebhookEvent) => unknown, o: { maxBody?: number } = {}): (request: Request) => Promise<Response> {
  return (request) =>
    answered({ headers: 'api' }, async () => {
      const body = await askedOf(request).read(o.maxBody ?? 1 << 20);
      await lq.webhooks.once(name, request.headers, body, async (event) => {
        await run(event);
        return null;
      });
    });
}

/** What came of a server action. */
export type ActionResult<T> = { ok: true; data: T } | { ok: false; problem: Record<string, unknown> };

/**
 * A server action behind limits and a schema. The first argument is checked; a form's fields become an object.
 * Errors of this package become values, since thrown ones do not reach the client whole.
 */
export function action<Input = any, Output = unknown>(
  lq: Levqor,
  guard: { input?: StandardSchema<Input>; limit?: Guard['limit']; trustedProxies?: readonly string[] },
  run: (input: Input, cx: { decision: Decision | undefined }) => Output | Promise<Output>,
): (...args: any[]) => Promise<ActionResult<Awaited<Output>>> {
  return async (...args) => {
    try {
      // With `useActionState` the state before comes first.
      const given = args.find((a) => typeof FormData !== 'undefined' && a instanceof FormData) ?? args[args.length - 1];
      const { headers } = await nextHeaders();
      const asked: Asked<Request> = {
        original: undefined as unknown as Request, header: (name) => headers.get(name) ?? undefined, peer: undefined,
        read: async () => new Uint8Array(),
      };
      const { decision } = await pass(lq, guard as Guard, asked, () => {});
      const input = await checked(guard.input, given instanceof FormData ? fields(given) : given, 'the input');
      return { ok: true, data: await run(input, { decision }) };
    } catch (error) {
      if (!(error instanceof LevqorError)) throw error;
      return { ok: false, problem: error.problem() };
    }
  };
}

function fields(form: FormData): Record<string, unknown> {
  const all: Record<string, unknown> = {};
  for (const name of new Set(form.keys())) {
    // What React adds for itself.
    if (name.startsWith('$ACTION_')) continue;
    const values = form.getAll(name);
    all[name] = values.length > 1 ? values : values[0];
  }
  return all;
}

async function nextHeaders(): Promise<{ headers: Headers }> {
  try {
    const { headers } = require('next/headers') as { headers(): Promise<Headers> };
    return { headers: await headers() };
  } catch {
    // Outside of a request: in a test.
    return { headers: new Headers() };
  }
}

/** Where the nonce of a request stands, for pages: `(await headers()).get('x-nonce')`. */
export const NONCE_HEADER = 'x-nonce';

/**
 * Next's proxy (`proxy.ts`): gives every page security headers with a nonce of its own. Next puts the nonce into
 * its own scripts. What must not be passed by, check in the handlers too: matchers skip server functions.
 */
export function proxy(o: { preset?: HeaderPreset; contentSecurityPolicy?: (policy: string, nonce: string) => string } = {}): (request: Request) => Response {
  return (request) => {
    const { NextResponse } = require('next/server') as { NextResponse: { next(init: object): Response } };
    const nonce = newNonce();
    const fields = securityHeaders(o.preset ?? 'html', nonce).map(([name, value]): [string, string] => {
      if (name !== 'Content-Security-Policy') return [name, value];
      // The development server compiles in the page and talks over a socket.
      const policy = process.env.NODE_ENV === 'development' ? value.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'") : value;
      return [name, o.contentSecurityPolicy?.(policy, nonce) ?? policy];
    });
    const headers = new Headers(request.headers);
    headers.set(NONCE_HEADER, nonce);
    headers.set('Content-Security-Policy', fields.find(([name]) => name === 'Content-Security-Policy')?.[1] ?? '');
    const response = NextResponse.next({ request: { headers } });
    for (const [name, value] of fields) response.headers.set(name, value);
    return response;
  };
}

/** Next's configuration with what this package needs: it is not bundled, since its compiled half is a file. */
export function withLevqor<C extends Record<string, any>>(config: C = {} as C): C {
  const external = new Set<string>(config.serverExternalPackages ?? []);
  external.add('levqor');
  return { poweredByHeader: false, ...config, serverExternalPackages: [...external] };
}

/**
 * `register` of `instrumentation.ts`: starts the workers in Node's process, once, and never in a build.
 *
 * ```ts
 * export const register = instrumentation(() => import('./lib/levqor'), { workers: 4 });
 * ```
 */
export function instrumentation(load: () => Promise<{ lq: Levqor }>, o: StartOptions = {}): () => Promise<void> {
  return async () => {
    if (process.env.NEXT_RUNTIME !== 'nodejs' || process.env.NEXT_PHASE === 'phase-production-build') return;
    const { lq } = await load();
    // The server keeps the process alive.
    await lq.start({ unref: true, ...o });
  };
}

/** `onRequestError` of `instrumentation.ts`: says what went wrong, with the code of an error of this package. */
export function onRequestError(error: unknown, request: { path?: string; method?: string }, context: { routePath?: string; routeType?: string }): void {
  const code = error instanceof LevqorError ? error.code : 'unhandled';
  const message = error instanceof Error ? error.message : String(error);
  process.emitWarning(`${request.method ?? ''} ${context.routePath ?? request.path ?? ''} failed: ${message}`, { type: 'LevqorRequestError', code });
}
