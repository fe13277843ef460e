import { refusal } from './errors';

/** Credits: a bigint or a whole number of credits, or a decimal text like `"2.5"`. Never a fraction of floating point. */
export type Credits = bigint | number | string;
/** An instant: a `Date`, milliseconds since 1970, or RFC 3339 text. */
export type Instant = Date | number | string;
/** A span: a text with units like `"10m"`, or milliseconds. */
export type Span = string | number;
/** When something ends: a `Date`, milliseconds since 1970, RFC 3339 text, or a span from its beginning like `"30d"`. */
export type Until = Date | number | string;

/** Credits as the engine reads them. */
export function credits(amount: Credits, at = 'amount'): string {
  if (typeof amount === 'bigint') return amount.toString();
  if (typeof amount === 'string') return amount;
  if (Number.isSafeInteger(amount)) return String(amount);
  throw refusal('amount.float', 'an amount of credits is never a fraction of floating point', {
    at, hint: 'give a bigint, a whole number, or a text like "2.5"',
  });
}

export function someCredits(amount: Credits | undefined, at = 'amount'): string | undefined {
  return amount === undefined ? undefined : credits(amount, at);
}

const NAMES = new Map<string, string>();

/** `idempotencyKey` as `idempotency_key`: how the engine calls its options. */
function snake(name: string): string {
  let known = NAMES.get(name);
  if (known === undefined) {
    known = name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
    NAMES.set(name, known);
  }
  return known;
}

/** Options as the engine calls them. Dates that are no date are refused here, where they are still known as such. */
export function options(given: object | undefined): Record<string, unknown> {
  const all: Record<string, unknown> = {};
  if (given === undefined || given === null) return all;
  if (typeof given !== 'object') throw refusal('argument.invalid', 'the options are not an object');
  for (const [name, value] of Object.entries(given)) {
    if (name === 'signal' || value === undefined) continue;
    if (typeof value === 'number' && !Number.isFinite(value)) throw refusal('argument.invalid', `the option ${name} is no number`, { at: name });
    if (value instanceof Date && Number.isNaN(value.getTime())) throw refusal('argument.invalid', `the option ${name} is no date`, { at: name });
    all[snake(name)] = value;
  }
  return all;
}
