// Builds the package: the compiled half (`--profile NAME`, or none with `--no-cargo`), the TypeScript, and the
// ES module beside each CommonJS entry.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const has = (flag) => process.argv.includes(flag);
const value = (flag) => process.argv[process.argv.indexOf(flag) + 1];

function run(command, args, options = {}) {
  const { status, error, stdout } = spawnSync(command, args, { cwd: home, stdio: 'inherit', ...options });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
  return stdout;
}

if (!has('--no-cargo')) {
  const profile = has('--profile') ? value('--profile') : 'dev';
  run('cargo', ['build', '-p', 'levqor-node', '--profile', profile]);
  const meta = JSON.parse(run('cargo', ['metadata', '--format-version', '1', '--no-deps'], { stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 }));
  const folder = path.join(meta.target_directory, profile === 'dev' ? 'debug' : profile);
  const name = { darwin: 'liblevqor_node.dylib', win32: 'levqor_node.dll' }[process.platform] ?? 'liblevqor_node.so';
  // In the place of the old one, not over it: a process may have that mapped.
  copyFileSync(path.join(folder, name), path.join(home, 'levqor.node.new'));
  renameSync(path.join(home, 'levqor.node.new'), path.join(home, 'levqor.node'));
}

rmSync(path.join(home, 'dist'), { recursive: true, force: true });
mkdirSync(path.join(home, 'dist'));
run(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', 'tsconfig.json']);

// The ES module of an entry hands on what the CommonJS one has: one module, whichever way it is loaded.
for (const entry of ['index', 'next', 'express'].filter((e) => existsSync(path.join(home, 'dist', `${e}.js`)))) {
  const names = Object.keys(require(path.join(home, 'dist', `${entry}.js`))).filter((n) => n !== '__esModule' && n !== 'default');
  const lines = [`import all from './${entry}.js';`, `export const {`, ...names.map((n) => `  ${n},`), `} = all;`, ''];
  writeFileSync(path.join(home, 'dist', `${entry}.mjs`), lines.join('\n'));
  writeFileSync(path.join(home, 'dist', `${entry}.d.mts`), `export * from './${entry}.js';\n`);
}
// What bundlers are given for browsers and edge runtimes: they fail with this text.
writeFileSync(
  path.join(home, 'dist/elsewhere.mjs'),
  "import 'levqor runs in Node.js only: import it from server code (not from the browser, and not with the edge runtime)';\n",
);
// Next compiles `instrumentation.ts` for its edge runtime too. Whoever imports more there is told by this file's name.
writeFileSync(
  path.join(home, 'dist/only-instrumentation-on-the-edge.mjs'),
  'export const onRequestError = () => {};\nexport const instrumentation = () => async () => {};\n',
);
console.log(`built: ${readdirSync(path.join(home, 'dist')).length} files in dist`);
