// What the engine keeps, as plain data. Names of fields are the engine's own, alike in every language; amounts of
// credits are decimal texts, instants are milliseconds since 1970.

/** What came of an operation on credits, and how the account stands after it. */
export interface LedgerAnswer {
  /** The grant, hold or transaction. */
  id: string;
  posted: string;
  held: string;
  overdraft: string;
  [more: string]: unknown;
}

/** How an account stands. */
export interface Balance {
  posted: string;
  held: string;
  available: string;
  spendable: string;
  [more: string]: unknown;
}

/** One line of a statement. */
export interface StatementLine {
  version: number;
  booked_at: number;
  kind: string;
  about: string;
  amount: string;
  after: string;
  txn: string;
}

/** Money that was paid. */
export interface Money {
  /** Minor units: 1999 with `EUR` is 19.99 euro. */
  minor: number;
  currency: string;
}

export type JobState = 'scheduled' | 'ready' | 'leased' | 'done' | 'dead' | 'cancelled';

/** A job in a queue. */
export interface Job<Result = unknown> {
  id: string;
  queue: string;
  handler: string;
  account: string | null;
  state: JobState;
  args: unknown;
  priority: number;
  attempt: number;
  max_attempts: number;
  result: Result | null;
  error: Record<string, unknown> | null;
  progress: unknown;
  captured: string;
  hold: string | null;
  cancel_asked: boolean;
  worker: string | null;
  run_at: number;
  created_at: number;
  started_at: number | null;
  ended_at: number | null;
}

/** A run of a pipeline. */
export interface Run<Result = unknown> {
  id: string;
  state: JobState;
  account: string | null;
  pipeline: string | null;
  result: Result | null;
  error: Record<string, unknown> | null;
  attempt: number;
  captured: string;
  run_at: number;
  created_at: number;
  started_at: number | null;
  ended_at: number | null;
  steps: Step[];
}

/** A step of a run. */
export interface Step {
  path: string;
  status: string;
  attempts: number;
  output: unknown;
  error: Record<string, unknown> | null;
  started_at: number;
  ended_at: number | null;
}

/** A run that was accepted. */
export interface Submitted {
  id: string;
  /** Whether this idempotency key had been submitted before, and this is the run of then. */
  replayed: boolean;
  held: string;
  headers: [string, string][];
}

/** What a worker did. */
export interface WorkerReport {
  done: number;
  failed: number;
  snoozed: number;
  cancelled: number;
  released: number;
  lost: number;
}

/** What is to be started, and when. */
export interface Schedule {
  id: string;
  when: { cron: string } | { every: number };
  zone?: string;
  jitter?: number;
  misfire?: 'skip' | 'once' | { all: number };
  grace?: number;
  overlap?: 'skip' | 'queue' | 'allow';
  starts_at?: number;
  ends_at?: number;
  keep?: number;
  target:
    | { kind: 'run'; account: string; pipeline: unknown; input?: unknown; tick_field?: string; hold?: string; queue?: string; priority?: number; max_attempts?: number }
    | { kind: 'job'; handler: string; args?: unknown; tick_field?: string; account?: string; queue?: string; priority?: number; max_attempts?: number };
}

/** A schedule and where it stands. */
export interface ScheduleView {
  schedule: Schedule;
  state: string;
  revision: number;
  next_tick: number | null;
  fires: number;
  running: string[];
  waiting: number;
  created_at: number;
  updated_at: number;
}

/** An API key, as it may be shown. */
export interface Key {
  id: string;
  name: string;
  account: string | null;
  scopes: string[];
  limit: string | null;
  expires_at: number | null;
  metadata: Record<string, unknown>;
  created_at: number;
  revoked_at: number | null;
  rotated_at: number | null;
  previous_until: number | null;
  last_used_at: number | null;
}

/** An API key with where it stands. */
export interface KeyView extends Key {
  state: 'active' | 'expired' | 'revoked';
}

/** A key with its text, which is told this once. */
export interface NewKey extends KeyView {
  key: string;
}

/** Something that happened at a vendor. */
export interface WebhookEvent<Data = any> {
  id: string;
  type: string;
  /** Milliseconds since 1970. */
  created: number | null;
  /** What it is about: Stripe's `data.object`, Slack's `event`, a Telegram message. */
  data: Data;
  /** The whole message. */
  body: any;
}

/** What an integrity run found. */
export interface IntegrityReport {
  id: string;
  verdict: string;
  passed: boolean;
  words: string;
  counts: Record<string, number>;
  checks: Record<string, unknown>[];
  exit_code: number;
  started: number;
  ended: number;
  evidence: { folder: string; number: number; sha256: string; signer: string } | null;
}

/** Where the data lies. */
export interface EngineInfo {
  version: string;
  store: string;
  store_version: string;
  place: string;
  durable: boolean;
  shared: boolean;
  clock_offset: number;
  tenant: string;
  connectors: string[];
}
