// Express and whatever takes (req, res, next): also Connect and Polka.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { caught, LevqorError } from './errors';
import { fixedHeaders, pass, readAll, type Asked, type Guard, type Passed } from './http';
import { newNonce, securityHeaders, type HeaderPreset, type Levqor, type WebhookEvent } from './index';

export { opsHandler as ops, type OpsOptions } from './ops';
export type { Guard, LimitRule } from './http';

/** A request of Express, as far as it is looked at. */
export type ExpressRequest = IncomingMessage & { body?: unknown; levqor?: Passed<any> & { nonce?: string } };
type Next = (error?: unknown) => void;
/** A middleware. */
export type Middleware = (req: ExpressRequest, res: ServerResponse, next: Next) => void;

function askedOf(req: ExpressRequest): Asked<ExpressRequest> {
  return {
    original: req,
    header: (name) => {
      const value = req.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    peer: req.socket.remoteAddress,
    read: async (most) => {
      // Whoever parsed the body before us has used it up.
      if (req.body !== undefined) return Buffer.from(req.body instanceof Uint8Array ? req.body : typeof req.body === 'string' ? req.body : JSON.stringify(req.body));
      return readAll(req, most, req.headers['content-length']);
    },
  };
}

/** Lets requests pass that have a key, are within limits, and carry what they must: then `req.levqor` says what was found. */
export function guard<Body = unknown>(lq: Levqor, rules: Guard<Body, ExpressRequest>): Middleware {
  return (req, res, next) => {
    if (rules.headers !== false) for (const [name, value] of fixedHeaders(rules.headers ?? 'api')) res.setHeader(name, value);
    pass(lq, rules, askedOf(req), (decision) => decision.headers.forEach(([name, value]) => res.setHeader(name, value))).then(
      (passed) => {
        req.levqor = passed;
        if (rules.body) req.body = passed.body;
        next();
      },
      next,
    );
  };
}

/** Security headers; with `html` and `strict`, `req.levqor.nonce` marks what a page means to run. */
export function headers(preset: HeaderPreset = 'api'): Middleware {
  return (req, res, next) => {
    const nonce = preset === 'api' ? undefined : newNonce();
    for (const [name, value] of nonce ? securityHeaders(preset, nonce) : fixedHeaders(preset)) res.setHeader(name, value);
    req.levqor = { ...(req.levqor as Passed<any>), ...(nonce ? { nonce } : {}) };
    next();
  };
}

/**
 * A vendor's webhook: the message is proved, and worked on once over all processes. Put it before any parser of
 * bodies, or behind `express.raw({ type: '*\/*' })`.
 */
export function webhook(lq: Levqor, name: string, run: (event: WebhookEvent) => unknown, o: { maxBody?: number } = {}): Middleware {
  return (req, res, next) => {
    const work = async () => {
      const raw = req.body instanceof Uint8Array ? req.body : await askedOf(req).read(o.maxBody ?? 1 << 20);
      await lq.webhooks.once(name, req.headers, raw, async (event) => {
        await run(event);
        return null;
      });
      res.statusCode = 204;
      res.end();
    };
    work().catch(next);
  };
}

/** Answers with problem documents: put it last. Errors of others become one that tells nothing of them. */
export function problems(): (error: unknown, req: ExpressRequest, res: ServerResponse, next: Next) => void {
  return (error, _req, res, next) => {
    if (res.headersSent) return next(error);
    const known = error instanceof LevqorError;
    const told = known ? error : caught(undefined, 'internal');
    if (!known) process.emitWarning(error instanceof Error ? (error.stack ?? error.message) : String(error), { type: 'LevqorRequestError' });
    for (const [name, value] of told.headers) res.setHeader(name, value);
    if (told.retryAfter !== undefined && !res.hasHeader('Retry-After')) res.setHeader('Retry-After', Math.max(1, Math.ceil(told.retryAfter / 1000)));
    res.statusCode = told.status;
    res.setHeader('Content-Type', 'application/problem+json');
    res.end(JSON.stringify(told.problem()));
  };
}
