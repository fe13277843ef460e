// Asks MDN's HTTP Observatory what it thinks of the security headers in tests/vectors/headers.json. On demand:
//   npm install --no-save --prefix target/observatory @mdn/mdn-http-observatory@1.4.8 && node scripts/observatory.mjs
// The answer of the grader is what the vectors expect; the tests compare what the engine sends with the vectors.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '..');
const home = process.argv[2] ?? path.join(root, 'target/observatory');
const require = createRequire(path.join(home, 'index.js'));
const folder = path.join(home, 'node_modules/@mdn/mdn-http-observatory/src');
// The package brings the browsers' preload list by a download of its own; our example is on none.
const preload = path.join(folder, '../conf/hsts-preload.json');
if (!existsSync(preload)) writeFileSync(preload, '{}');
const load = (file) => import(pathToFileURL(path.join(folder, file)).href);
const { AxiosHeaders } = require('axios');
const { Requests } = await load('types.js');
const { Session } = await load('retriever/session.js');
const { ALL_TESTS } = await load('constants.js');
const { getGradeForScore, getScoreModifier } = await load('grader/grader.js');
const { MINIMUM_SCORE_FOR_EXTRA_CREDIT } = await load('grader/charts.js');

/** The site that sends these headers with a page, without cookies and scripts, and redirects http to https. */
function site(fields, html) {
  const host = 'app.example';
  const requests = new Requests(host);
  const response = () => ({
    headers: new AxiosHeaders({ 'Content-Type': 'text/html', ...Object.fromEntries(fields) }),
    request: { headers: new AxiosHeaders() },
    status: 200,
    statusText: 'OK',
    verified: true,
    data: html,
    config: { headers: new AxiosHeaders() },
  });
  for (const name of ['auto', 'cors', 'http', 'https']) requests.responses[name] = response();
  requests.responses.httpRedirects = [
    { url: new URL(`http://${host}/`), status: 301 },
    { url: new URL(`https://${host}/`), status: 200 },
  ];
  requests.responses.httpsRedirects = [{ url: new URL(`https://${host}/`), status: 200 }];
  requests.resources.path = html;
  requests.session = new Session(new URL(`https://${host}/`));
  requests.session.url = new URL(`https://${host}/`);
  return requests;
}

/** Score, grade and results, as the grader's own scan puts them together. */
function grade(fields, html = '<!doctype html><html><head></head><body></body></html>') {
  const requests = site(fields, html);
  const results = ALL_TESTS.map((test) => test(requests).result);
  const modifiers = results.map(getScoreModifier);
  const uncurved = 100 + modifiers.filter((m) => m < 0).reduce((a, b) => a + b, 0);
  const all = 100 + modifiers.reduce((a, b) => a + b, 0);
  return { results, ...getGradeForScore(uncurved >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? all : uncurved) };
}

const { cases } = JSON.parse(readFileSync(path.join(root, 'tests/vectors/headers.json'), 'utf8'));
let wrong = 0;
for (const { preset, nonce, headers, observatory } of cases) {
  const { score, grade: letter, results } = grade(headers);
  const right = score === observatory.score && letter === observatory.grade;
  if (!right) wrong += 1;
  console.log(`${right ? 'ok   ' : 'WRONG'} ${preset}${nonce ? ' with nonce' : ''}: ${score} ${letter}`);
  if (!right) console.log(`      expected ${observatory.score} ${observatory.grade}; ${results.join(' ')}`);
}
// What a page can add: a cookie as it should be, and scripts with integrity.
const page = '<!doctype html><html><head><script src="/a.js" integrity="sha384-x" crossorigin="anonymous"></script></head></html>';
const strict = cases.find((c) => c.preset === 'strict' && c.nonce);
for (const [what, result] of [['nothing sent at all', grade([])], ['strict, scripts with integrity', grade(strict.headers, page)]]) {
  console.log(`      ${what}: ${result.score} ${result.grade}`);
}
process.exitCode = wrong ? 1 : 0;
