// The ops page: queues, dead letters, jobs, credits, limits, schedules, latency, integrity runs.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { LevqorError, refusal } from './errors';
import { json, readAll } from './http';
import { newNonce, securityHeaders, type Levqor } from './index';
import { page } from './ops-page';

/** Who may see the ops page, and what is on it. */
export interface OpsOptions<R = Request> {
  /** Says whether this request may see the page and act on it. There is no default: an open ops page is nobody's wish. */
  authorize: (request: R) => boolean | Promise<boolean>;
  /** What stands above the page. */
  title?: string;
  /** The pack that integrity runs check; what `lq.integrity.run` takes if left out. */
  pack?: string | Record<string, unknown>;
}

/** What the page shows. */
async function data(lq: Levqor): Promise<Record<string, unknown>> {
  const [info, counts, dead, jobs, schedules, queues, policies, totals, stats] = await Promise.all([
    lq.standing.info(), lq.jobs.counts(), lq.jobs.dead({ limit: 50 }), lq.jobs.list({ limit: 200 }), lq.schedules.list({ limit: 50 }),
    lq.jobs.queues(), lq.limits.policies(), lq.credits.totals(), lq.standing.stats(),
  ]);
  const short = jobs.map(({ id, queue, handler, account, state, attempt, max_attempts, created_at, started_at, ended_at, captured }) =>
    ({ id, queue, handler, account, state, attempt, max_attempts, created_at, started_at, ended_at, captured }));
  return { now: Date.now(), info, counts, dead, jobs: short, schedules, queues, policies, totals, stats };
}

/** Carries out what the page's buttons ask for. */
async function act(lq: Levqor, verb: string, given: any, pack: OpsOptions['pack']): Promise<unknown> {
  const text = (name: string): string => {
    const value = given?.[name];
    if (typeof value !== 'string' || value === '') throw refusal('argument.missing', `\`${name}\` is missing`, { at: name });
    return value;
  };
  switch (verb) {
    case 'redrive': return lq.jobs.redrive(text('id'));
    case 'redrive-all': return lq.jobs.redriveAll(given?.queue ? { queue: text('queue') } : {});
    case 'cancel': return lq.jobs.cancel(text('id'));
    case 'pause': return lq.jobs.pause(text('queue'));
    case 'resume': return lq.jobs.resume(text('queue'));
    case 'schedule': return given?.paused ? lq.schedules.pause(text('name')) : lq.schedules.resume(text('name'));
    case 'job': return lq.jobs.wait(text('id'), { atMost: 0 }).catch(() => lq.jobs.get(text('id')));
    case 'account': return { balance: await lq.credits.balance(text('account')), statement: await lq.credits.statement(text('account'), { limit: 20 }) };
    case 'integrity': return lq.integrity.run(pack);
    default: throw refusal('ops.unknown', 'there is nothing here', { kind: 'not_found', class: 'NotFound', status: 404 });
  }
}

interface Asked {
  method: string;
  /** What stands behind the page's own path. */
  verb: string;
  header(name: string): string | null | undefined;
  body(): Promise<Uint8Array>;
}

interface Answer {
  status: number;
  headers: [string, string][];
  body: string;
}

async function answer(lq: Levqor, o: OpsOptions<any>, allowed: boolean, asked: Asked): Promise<Answer> {
  const told = (status: number, value: unknown, type = 'application/json'): Answer => ({
    status, body: JSON.stringify(value ?? null), headers: [...securityHeaders('api'), ['Content-Type', type]],
  });
  try {
    if (!allowed) throw refusal('ops.denied', 'the ops page is not for you', { kind: 'denied', class: 'Forbidden', status: 403 });
    if (asked.method === 'GET' && asked.verb === 'data') return told(200, await data(lq));
    if (asked.method === 'GET' && asked.verb === '') {
      const nonce = newNonce();
      return { status: 200, body: page(o.title ?? 'Levqor', nonce), headers: [...securityHeaders('html', nonce), ['Content-Type', 'text/html; charset=utf-8'], ['Cache-Control', 'no-store']] };
    }
    if (asked.method === 'POST') {
      // Only our own page sends this: other sites' forms cannot.
      const site = asked.header('sec-fetch-site');
      if (asked.header('x-levqor-ops') !== '1' || (site && site !== 'same-origin')) {
        throw refusal('ops.foreign', 'this request does not come from the ops page', { kind: 'denied', class: 'Forbidden', status: 403 });
      }
      return told(200, await act(lq, asked.verb, json(await asked.body()), o.pack));
    }
    throw refusal('ops.unknown', 'there is nothing here', { kind: 'not_found', class: 'NotFound', status: 404 });
  } catch (error) {
    if (!(error instanceof LevqorError)) throw error;
    return told(error.status, error.problem(), 'application/problem+json');
  }
}

/** The last part of the path, if it is one of the page's own. */
function verbOf(path: string): string {
  const last = path.split('/').filter(Boolean).at(-1) ?? '';
  return ['data', 'redrive', 'redrive-all', 'cancel', 'pause', 'resume', 'schedule', 'job', 'account', 'integrity'].includes(last) ? last : '';
}

/** The ops page as a route handler, for `app/ops/[[...path]]/route.ts`: `export const { GET, POST } = ops(lq, { authorize })`. */
export function ops(lq: Levqor, o: OpsOptions): { GET: (request: Request) => Promise<Response>; POST: (request: Request) => Promise<Response> } {
  const handle = async (request: Request): Promise<Response> => {
    const { status, headers, body } = await answer(lq, o, await o.authorize(request), {
      method: request.method, verb: verbOf(new URL(request.url).pathname), header: (name) => request.headers.get(name),
      body: () => readAll(request.body as unknown as AsyncIterable<Uint8Array> | null, 64 << 10),
    });
    return new Response(body, { status, headers });
  };
  return { GET: handle, POST: handle };
}

/** The ops page as a middleware: `app.use('/ops', ops(lq, { authorize }))`. Put it before any parser of bodies. */
export function opsHandler(lq: Levqor, o: OpsOptions<IncomingMessage>): (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void) => void {
  return (req, res, next) => {
    const work = async () => {
      const { status, headers, body } = await answer(lq, o, await o.authorize(req), {
        method: req.method ?? 'GET', verb: verbOf((req.url ?? '/').split('?')[0] ?? '/'), header: (name) => req.headers[name] as string | undefined,
        body: () => readAll(req, 64 << 10),
      });
      res.statusCode = status;
      for (const [name, value] of headers) res.setHeader(name, value);
      res.end(body);
    };
    work().catch((error) => (next ? next(error) : res.destroy(error as Error)));
  };
}
