/** A JSON Schema. */
export type Schema = Record<string, unknown> | boolean;

/** Where a call of an action stands. */
export interface ActionContext {
  action: string;
  tenant: string;
  run: string | null;
  step: string;
  /** Equal over all attempts of one call: hand it on, so that the work is done once. */
  idempotencyKey: string;
  /** Milliseconds. */
  timeout: number;
  /** The connection's name and values, if the step names one. */
  connection: { name: string; values: Record<string, unknown> } | null;
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal;
}

/** One action of a connector. */
export interface Action<Input = any> {
  title?: string;
  description?: string;
  input?: Schema;
  output?: Schema;
  /** What it does at the other side; `write` unless said otherwise. */
  sideEffect?: 'read' | 'write' | 'destructive';
  /** What a repetition does; `none` means that nobody knows. */
  idempotency?: 'natural' | 'key' | 'input' | 'none';
  call(input: Input, cx: ActionContext): unknown;
}

/** A connector that is written in TypeScript: it becomes what every other connector is. */
export interface Connector {
  name: string;
  title?: string;
  description?: string;
  docs?: string;
  settings?: Record<string, string>;
  actions: Record<string, Action>;
}

/** A connector, with its type checked. */
export function defineConnector(connector: Connector): Connector {
  return connector;
}

/** What a connector is and can do, as data. */
export function manifest(connector: Connector): Record<string, unknown> {
  const { name, title = name, description = title, docs = null, settings = {}, actions } = connector;
  return {
    name, title, description, docs, auth: [], budgets: [],
    settings: Object.entries(settings).map(([n, d]) => ({ name: n, description: d })),
    actions: Object.entries(actions).map(([called, action]) => ({
      name: called, title: action.title ?? called, description: action.description ?? action.title ?? called,
      input: action.input ?? { type: 'object' }, output: action.output ?? {},
      side_effect: action.sideEffect ?? 'write', idempotency: action.idempotency ?? 'none', scopes: [],
    })),
  };
}

/** What a check may say: a sentence, findings, facts. */
export interface Outcome {
  summary?: string;
  findings?: Record<string, unknown>[];
  facts?: Record<string, unknown>;
}

/** What a check is about. */
export interface CheckAbout {
  title?: string;
  group?: string;
  category?: string;
  objective?: string;
  severity?: string;
  controls?: string[];
  requires?: string[];
}
