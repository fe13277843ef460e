// The package as others get it: its types, its exports, and what bundlers for elsewhere say of it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { folder, home } from './kit.mjs';

const require = createRequire(import.meta.url);
const bin = (name) => path.join(home, 'node_modules/.bin', name);

/** A project that has the package among its modules. */
function project(files) {
  const at = folder();
  mkdirSync(path.join(at, 'node_modules'));
  symlinkSync(home, path.join(at, 'node_modules/levqor'));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(at, name), text);
  return at;
}

test('publint and attw have nothing to say', () => {
  // Without the compiled half: only the shape is looked at.
  const bare = folder();
  cpSync(path.join(home, 'dist'), path.join(bare, 'dist'), { recursive: true });
  for (const file of ['package.json', 'README.md']) cpSync(path.join(home, file), path.join(bare, file));
  const lint = spawnSync(bin('publint'), ['--strict', '--pack', 'false'], { cwd: bare, encoding: 'utf8' });
  assert.equal(lint.status, 0, lint.stdout + lint.stderr);
  const types = spawnSync(bin('attw'), ['--pack', bare, '--profile', 'node16', '--format', 'ascii', '--no-color'], { cwd: bare, encoding: 'utf8', timeout: 120_000 });
  assert.equal(types.status, 0, types.stdout + types.stderr);
});

for (const [where, conditions] of [['the browser', ['browser']], ['the edge', ['edge-light', 'worker']], ['a worker of Cloudflare', ['workerd', 'worker']]]) {
  test(`a bundle for ${where} fails with a clear message`, async () => {
    const { build } = require('esbuild');
    for (const entry of ['levqor', 'levqor/next', 'levqor/express']) {
      const at = project({ 'a.js': `import { ${entry.endsWith('next') ? 'route as all' : entry.endsWith('express') ? 'guard as all' : 'Levqor as all'} } from '${entry}'; console.log(all);` });
      const result = await build({ entryPoints: [path.join(at, 'a.js')], bundle: true, write: false, platform: 'neutral', conditions, logLevel: 'silent', preserveSymlinks: true }).catch((e) => e);
      assert.match(result.errors.map((e) => e.text).join('\n'), /levqor runs in Node\.js only: import it from server code|only-instrumentation-on-the-edge.*"route"/);
    }
  });
}

test('code against the types compiles, and misuse does not', () => {
  const good = `
    import { Levqor, RateLimit, RateLimited, type Decision } from 'levqor';
    import { route, webhook } from 'levqor/next';
    const lq = Levqor.shared({ url: 'memory://', webhooks: { stripe: 's' } });
    const onboard = lq.workflow('onboard', { maxAttempts: 5 }, async (wf, input: { email: string }) => {
      const user = await wf.step('create', () => ({ id: 7, email: input.email }));
      await wf.step('welcome', { timeout: '30s' }, async ({ signal }) => { signal.throwIfAborted(); });
      return { user: user.id };
    });
    export const POST = route(lq, { key: { scopes: ['a'] }, limit: { name: 'runs', by: 'key', algorithm: RateLimit.tokenBucket(60, '1m', { burst: 10 }) } }, async ({ key, signal }) => {
      const { job } = await lq.atomic({ signal }, (tx) => ({ job: tx.enqueue(onboard, { email: 'a' }, { hold: 5n }) }));
      const id: string = job.id;
      return Response.json({ id, account: key?.account }, { status: 202 });
    });
    export const hook = webhook(lq, 'stripe', async (event) => { await lq.credits.grant(event.data.user, 500n, { idempotencyKey: event.id }); });
    export async function f(): Promise<number> {
      const d: Decision = lq.tryLimit('a', '1/minute', 'k');
      const run = await onboard.wait((await onboard.enqueue({ email: 'x' })).id);
      try { d.admit(); } catch (e) { if (e instanceof RateLimited) return e.retryAfter ?? 0; }
      return run.result?.user ?? 0;
    }
  `;
  const bad = `
    import { Levqor } from 'levqor';
    const lq = Levqor.shared({ urll: 'memory://' });
    const w = lq.workflow('w', async (_wf, input: { n: number }) => input.n);
    w.enqueue({ n: 'x' });
    lq.credits.grant('a', {});
    lq.keys.create({ scope: ['a'] });
  `;
  const options = (module, moduleResolution) => JSON.stringify({ compilerOptions: { strict: true, noEmit: true, target: 'ES2022', module, moduleResolution, skipLibCheck: false, types: ['node'], lib: ['ES2023', 'DOM', 'DOM.Iterable'], typeRoots: [path.join(home, 'node_modules/@types')] }, files: ['good.ts'] });
  for (const [module, resolution] of [['NodeNext', 'NodeNext'], ['ESNext', 'Bundler']]) {
    const at = project({ 'good.ts': good, 'bad.ts': bad, 'tsconfig.json': options(module, resolution), 'package.json': '{"type":"module"}' });
    const compile = (file) => spawnSync(bin('tsc'), ['-p', at, ...(file ? ['--listFilesOnly', 'false'] : [])], { cwd: at, encoding: 'utf8' });
    const said = compile();
    assert.equal(said.status, 0, said.stdout);
    writeFileSync(path.join(at, 'tsconfig.json'), options(module, resolution).replace('good.ts', 'bad.ts'));
    const errors = compile().stdout.split('\n').filter((l) => l.startsWith('bad.ts'));
    assert.equal(errors.length, 4, errors.join('\n'));
  }
});

test('what is exported stands in the manifest, and its version is the engine\'s', () => {
  const manifest = JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8'));
  for (const targets of Object.values(manifest.exports)) {
    const files = JSON.stringify(targets).match(/\.\/[^"]+/g);
    for (const file of files) assert.ok(readFileSync(path.join(home, file)).length > 0, file);
  }
  assert.equal(require('../dist/index.js').version(), manifest.version);
});
