// The page itself: one document without anything from elsewhere. What it shows comes as JSON, and is put into the
// page as text, never as markup.

const STYLE = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16181d;--dim:#667085;--line:#e4e7ec;--go:#2563eb;--bad:#c0362c;--good:#18794e}
@media(prefers-color-scheme:dark){:root{--bg:#0f1115;--card:#171a21;--ink:#e8eaf0;--dim:#98a2b3;--line:#2a2f3a;--go:#7aa2ff;--bad:#ff8a80;--good:#6fd3a3}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header{display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap;padding:1.2rem clamp(1rem,4vw,2.5rem);border-bottom:1px solid var(--line);background:var(--card)}
h1{font-size:1.15rem;margin:0}h2{font-size:1rem;margin:0 0 .6rem}header small,.dim{color:var(--dim)}
main{padding:1.2rem clamp(1rem,4vw,2.5rem);display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));align-items:start}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem 1.1rem;min-width:0}section.wide{grid-column:1/-1}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}th{text-align:left;color:var(--dim);font-weight:500}
th,td{padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child td{border:0}td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}.tiles{display:flex;gap:.6rem;flex-wrap:wrap}.tile{flex:1 1 7rem;border:1px solid var(--line);border-radius:10px;padding:.6rem .8rem}
.tile b{display:block;font-size:1.4rem;font-variant-numeric:tabular-nums}button,input{font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:8px;padding:.3rem .7rem}
button{cursor:pointer;border-color:var(--go);color:var(--go)}button:disabled{opacity:.5;cursor:default}.bad{color:var(--bad)}.good{color:var(--good)}
form{display:flex;gap:.5rem;flex-wrap:wrap;margin-bottom:.6rem}#said{min-height:1.5em}svg{width:100%;height:auto;display:block}
`;

const SCRIPT = `
const base = location.pathname.replace(/\\/$/, '');
const at = (id) => document.getElementById(id);
const el = (tag, props, ...kids) => { const e = Object.assign(document.createElement(tag), props || {}); e.append(...kids.filter((k) => k != null)); return e; };
const when = (ms) => ms ? new Date(ms).toLocaleString() : '-';
const say = (text, bad) => { at('said').textContent = text; at('said').className = bad ? 'bad' : 'dim'; };
async function send(verb, body) {
  const answer = await fetch(base + '/' + verb, { method: 'POST', headers: { 'x-levqor-ops': '1', 'content-type': 'application/json' }, body: JSON.stringify(body || {}) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.title || answer.statusText);
  return value;
}
const button = (label, verb, body, done) => {
  const b = el('button', { type: 'button', textContent: label });
  b.onclick = async () => { b.disabled = true; try { await send(verb, body); say(done); await load(); } catch (e) { say(e.message, true); b.disabled = false; } };
  return b;
};
function table(place, heads, rows, none) {
  if (!rows.length) return at(place).replaceChildren(el('p', { className: 'dim', textContent: none }));
  const body = rows.map((cells) => el('tr', null, ...cells.map((c) => {
    const td = el('td', typeof c === 'number' ? { className: 'n' } : null);
    td.append(c instanceof Node ? c : String(c == null ? '-' : c)); return td;
  })));
  at(place).replaceChildren(el('div', { className: 'scroll' }, el('table', null, el('thead', null, el('tr', null, ...heads.map((h) => el('th', { textContent: h })))), el('tbody', null, ...body))));
}
const code = (text) => el('code', { textContent: text });
function plot(jobs) {
  const done = jobs.filter((j) => j.started_at && j.ended_at).map((j) => ({ t: j.ended_at, ms: Math.max(1, j.ended_at - j.started_at), bad: j.state === 'dead' }));
  const place = at('latency');
  if (done.length < 2) return place.replaceChildren(el('p', { className: 'dim', textContent: 'Plotted once jobs have ended.' }));
  const ns = 'http://www.w3.org/2000/svg', make = (tag, a, text) => { const e = document.createElementNS(ns, tag); for (const k in a) e.setAttribute(k, a[k]); if (text) e.textContent = text; return e; };
  const svg = make('svg', { viewBox: '0 0 640 220', role: 'img', 'aria-label': 'how long jobs took' });
  const t0 = Math.min(...done.map((d) => d.t)), t1 = Math.max(...done.map((d) => d.t), t0 + 1), top = Math.log10(Math.max(10, ...done.map((d) => d.ms)));
  const x = (t) => 50 + (t - t0) / (t1 - t0) * 575, y = (ms) => 190 - Math.log10(ms) / top * 170;
  for (let p = 0; p <= top; p++) { svg.append(make('line', { x1: 50, x2: 630, y1: y(10 ** p), y2: y(10 ** p), stroke: 'currentColor', opacity: .12 }), make('text', { x: 44, y: y(10 ** p) + 4, 'text-anchor': 'end', 'font-size': 11, fill: 'currentColor', opacity: .6 }, p < 3 ? 10 ** p + ' ms' : 10 ** (p - 3) + ' s')); }
  for (const d of done) svg.append(make('circle', { cx: x(d.t), cy: y(d.ms), r: 3, class: d.bad ? 'bad' : 'good', fill: 'currentColor', opacity: .7 }));
  const sorted = done.map((d) => d.ms).sort((a, b) => a - b), q = (p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
  svg.append(make('text', { x: 50, y: 212, 'font-size': 11, fill: 'currentColor', opacity: .6 }, new Date(t0).toLocaleTimeString()), make('text', { x: 625, y: 212, 'text-anchor': 'end', 'font-size': 11, fill: 'currentColor', opacity: .6 }, new Date(t1).toLocaleTimeString()));
  place.replaceChildren(svg, el('p', { className: 'dim', textContent: done.length + ' jobs: half within ' + q(.5) + ' ms, 95 % within ' + q(.95) + ' ms' }));
}
async function load() {
  const answer = await fetch(base + '/data'), d = await answer.json();
  if (!answer.ok) return say(d.title, true);
  at('info').textContent = d.info.store + ' ' + d.info.store_version + ', tenant ' + d.info.tenant + ', version ' + d.info.version;
  const sum = (state) => d.counts.filter((c) => c.state === state).reduce((a, c) => a + c.count, 0);
  at('tiles').replaceChildren(...[['ready', 'waiting'], ['scheduled', 'scheduled'], ['leased', 'running'], ['dead', 'dead letters']].map(([state, label]) =>
    el('div', { className: 'tile' }, el('b', { textContent: sum(state), className: state === 'dead' && sum(state) ? 'bad' : '' }), el('span', { className: 'dim', textContent: label }))));
  const paused = new Set(d.queues.filter((q) => q.paused).map((q) => q.queue));
  const names = [...new Set([...d.counts.map((c) => c.queue), ...d.queues.map((q) => q.queue)])].sort();
  const count = (q, s) => (d.counts.find((c) => c.queue === q && c.state === s) || { count: 0 }).count;
  table('queues', ['queue', 'waiting', 'running', 'dead', ''], names.map((q) => [q, count(q, 'ready') + count(q, 'scheduled'), count(q, 'leased'), count(q, 'dead'),
    paused.has(q) ? button('resume', 'resume', { queue: q }, q + ' goes on') : button('pause', 'pause', { queue: q }, q + ' is paused')]), 'No queue has jobs.');
  table('dead', ['job', 'handler', 'account', 'attempts', 'why', ''], d.dead.map((j) => [code(j.id), j.handler, j.account, j.attempt + '/' + j.max_attempts,
    (j.error && (j.error.message || j.error.code)) || '-', button('redrive', 'redrive', { id: j.id }, j.id + ' is ready again')]), 'No dead letters.');
  at('all').hidden = d.dead.length < 2;
  table('jobs', ['job', 'state', 'handler', 'account', 'cost', 'made', ''], d.jobs.slice(0, 25).map((j) => [code(j.id), el('span', { className: j.state === 'dead' ? 'bad' : j.state === 'done' ? 'good' : '', textContent: j.state }), j.handler, j.account, j.captured, when(j.created_at),
    ['ready', 'scheduled', 'leased'].includes(j.state) ? button('cancel', 'cancel', { id: j.id }, j.id + ' is called off') : '']), 'No jobs yet.');
  table('schedules', ['schedule', 'next', 'fired', ''], d.schedules.map((s) => [s.schedule.id, when(s.next_tick), s.fires,
    s.state === 'paused' ? button('resume', 'schedule', { name: s.schedule.id, paused: false }, s.schedule.id + ' goes on') : button('pause', 'schedule', { name: s.schedule.id, paused: true }, s.schedule.id + ' is paused')]), 'No schedules.');
  table('limits', ['limit', 'quota'], d.policies.map((p) => [p.name + (p.dry_run ? ' (dry run)' : ''), code(typeof p.quota === 'string' ? p.quota : JSON.stringify(p.quota))]), 'No limits.');
  table('totals', ['credits', ''], Object.entries(d.totals).map(([name, value]) => [name.replaceAll('_', ' '), el('code', { textContent: value })]), 'Nothing granted yet.');
  table('stats', ['action', 'outcome', 'calls'], d.stats.flatMap((s) => Object.entries(s.outcomes || {}).filter(([, n]) => n).map(([o, n]) => [s.connector + '.' + s.action, o, Number(n) || String(n)])), 'No connector was called in this process.');
  plot(d.jobs);
}
at('redrive-all').onclick = async () => { try { const done = await send('redrive-all'); say(done.jobs.length + ' jobs are ready again'); await load(); } catch (e) { say(e.message, true); } };
at('look').onsubmit = async (event) => {
  event.preventDefault();
  try {
    const a = await send('account', { account: at('account').value });
    table('statement', ['when', 'what', 'amount', 'balance'], a.statement.map((l) => [when(l.booked_at), l.kind, el('code', { textContent: l.amount }), el('code', { textContent: l.after })]), 'Nothing ever happened on it.');
    say('available: ' + a.balance.available + ', held: ' + a.balance.held);
  } catch (e) { say(e.message, true); }
};
at('check').onclick = async () => {
  at('check').disabled = true; say('checking');
  try {
    const r = await send('integrity');
    table('report', ['check', 'status', 'what'], r.checks.map((c) => [c.id, el('span', { className: c.status === 'pass' ? 'good' : c.status === 'fail' ? 'bad' : '', textContent: c.status }), c.summary || (c.findings && c.findings[0] && c.findings[0].message) || '']), 'Nothing was checked.');
    say(r.words, !r.passed);
  } catch (e) { say(e.message, true); }
  at('check').disabled = false;
};
load().catch((e) => say(e.message, true)); setInterval(() => document.hidden || load().catch(() => {}), 5000);
`;

/** The document, for a nonce that the answer's policy names. */
export function page(title: string, nonce: string): string {
  const safe = title.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const section = (id: string, heading: string, wide = false, more = '') => `<section${wide ? ' class="wide"' : ''}><h2>${heading}</h2>${more}<div id="${id}"></div></section>`;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
<title>${safe} ops</title><style nonce="${nonce}">${STYLE}</style></head><body>
<header><h1>${safe} ops</h1><small id="info"></small><span id="said" class="dim" role="status"></span></header><main>
<section class="wide"><div class="tiles" id="tiles"></div></section>
${section('dead', 'Dead letters', true, '<p id="all" hidden><button type="button" id="redrive-all">redrive all</button></p>')}
${section('queues', 'Queues')}${section('latency', 'How long jobs took')}${section('jobs', 'Jobs', true)}${section('schedules', 'Schedules')}
${section('totals', 'Credits', false)}${section('statement', 'Account', false, '<form id="look"><input id="account" name="account" placeholder="account" aria-label="account" required><button>show</button></form>')}
${section('limits', 'Limits')}${section('stats', 'Connectors')}${section('report', 'Integrity', true, '<p><button type="button" id="check">run the checks</button></p>')}
</main><script nonce="${nonce}">${SCRIPT}</script></body></html>
`;
}
