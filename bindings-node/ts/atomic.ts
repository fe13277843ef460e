import { refusal } from './errors';
import type { LedgerAnswer } from './records';
import { credits, options, someCredits, type Credits as Amount, type Instant, type Until } from './values';
import type { GrantTerms } from './verbs';
import { Place, request, type Enqueued, type EnqueueOptions, type Workflow } from './workflow';

/**
 * Collects operations for one commit. Nothing happens, and nothing is waited for, before all are collected; each
 * gives a place, whose answer is known once the commit is done.
 */
export class Tx {
  /** @internal */
  readonly operations: Record<string, unknown>[] = [];

  #add<T>(operation: Record<string, unknown>): Place<T> {
    this.operations.push(operation);
    return new Place<T>(this.operations.length - 1);
  }

  /** Operations on credits. */
  readonly credits = {
    grant: (account: string, amount: Amount, terms: GrantTerms = {}): Place<LedgerAnswer> =>
      this.#add({ op: 'grant', account, amount: credits(amount), terms: options(terms) }),
    spend: (account: string, amount: Amount): Place<LedgerAnswer> => this.#add({ op: 'spend', account, amount: credits(amount) }),
    hold: (account: string, amount: Amount, o: { expires?: Until } = {}): Place<LedgerAnswer> =>
      this.#add({ op: 'hold', account, amount: credits(amount), ...options(o) }),
    capture: (hold: string, o: { amount?: Amount; last?: boolean; overage?: 'reject' | 'allow' } = {}): Place<LedgerAnswer> =>
      this.#add({ op: 'capture', hold, ...options(o), amount: someCredits(o.amount) }),
    release: (hold: string): Place<LedgerAnswer> => this.#add({ op: 'release', hold }),
    refund: (txn: string, o: { amount?: Amount } = {}): Place<LedgerAnswer> =>
      this.#add({ op: 'refund', txn, amount: someCredits(o.amount) }),
    transfer: (from: string, to: string, amount: Amount): Place<LedgerAnswer> => this.#add({ op: 'transfer', from, to, amount: credits(amount) }),
  };

  /** A job; with `hold`, paid for from credits that are held in the same commit. */
  enqueue<Input>(workflow: Workflow<Input, any> | string, input: Input, o: Omit<EnqueueOptions, 'idempotencyKey' | 'signal'> = {}): Place<Enqueued> {
    if (typeof workflow === 'string') return this.#add({ op: 'enqueue', job: request(workflow, input, o) });
    const result = workflow.options.input?.['~standard'].validate(input);
    if (result instanceof Promise) {
      throw refusal('input.async_schema', 'the schema of this workflow is checked asynchronously', { hint: 'check the input before the transaction' });
    }
    if (result?.issues) {
      throw refusal('input.invalid', `the input is not what it must be: ${result.issues.map((i) => i.message).join('; ')}`);
    }
    return this.#add({ op: 'enqueue', job: workflow.request(input, o) });
  }

  /** Counts usage, once for its source and id. */
  usage(source: string, id: string, meter: string, account: string, value: number, o: { at?: Instant } = {}): Place<null> {
    return this.#add({ op: 'usage', source, id, meter, account, value, ...options(o) });
  }

  /** Writes a document of the host's own; `version` 0 if it must not be there yet. */
  record(kind: string, name: string, body: unknown, o: { version?: number } = {}): Place<null> {
    return this.#add({ op: 'record', kind, name, body, ...options(o) });
  }
}


