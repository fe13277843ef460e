// What the tests share.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

export const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** The golden vectors of a name: equal in every language. */
export function vectors(name) {
  return JSON.parse(readFileSync(path.join(home, '../tests/vectors', `${name}.json`), 'utf8'));
}

/** A folder of its own, removed at the end. */
export function folder() {
  const made = mkdtempSync(path.join(tmpdir(), 'levqor-node-'));
  after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** What came of a call: its value, or what the error tells. */
export async function outcome(act) {
  try {
    return { value: await act() };
  } catch (e) {
    return { error: { code: e.code, status: e.status, class: e.name } };
  }
}
