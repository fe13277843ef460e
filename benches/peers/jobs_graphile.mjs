// graphile-worker on Postgres: jobs that do nothing. `default` takes and completes jobs one by one, `batched` has a
// local queue of 500 and completes in batches, as its documentation advises for speed.
import { COUNT, figure, nowMs, peer, POSTGRES, quantile, until } from "./figures.mjs";

const { run, runMigrations, makeWorkerUtils, Logger } = await peer("graphile-worker");
const mode = process.argv[2];
const logger = new Logger(() => () => {});
const worker = { connectionString: POSTGRES, concurrentJobs: 24, maxPoolSize: 25 };
if (mode === "batched") Object.assign(worker, { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 });
const options = { preset: { worker: { ...worker, logger } }, noHandleSignals: true };
const say = (name, value, unit) => figure("jobs", `graphile-worker, ${mode}`, "graphile-worker", name, value, unit);

let done = 0;
const starts = [];
const taskList = {
  noop: () => void done++,
  stamp: ({ at }) => (starts.push(nowMs() - at), void done++),
};

await runMigrations(options);
const utils = await makeWorkerUtils(options);
const specs = Array.from({ length: COUNT }, (_, n) => ({ identifier: "noop", payload: { n } }));

const begin = nowMs();
for (let at = 0; at < COUNT; at += 1000) await utils.addJobs(specs.slice(at, at + 1000));
const enqueued = nowMs() - begin;

const startOfWork = nowMs();
const runner = await run({ ...options, taskList });
await until(() => done >= COUNT);
// What is done must be so in the database, too.
const left = () => utils.withPgClient((c) => c.query("select count(*)::int as n from graphile_worker._private_jobs"));
while ((await left()).rows[0].n > 0);
const worked = nowMs() - startOfWork;
say("end to end, Postgres", (COUNT / (enqueued + worked)) * 1e3, "jobs/s");
say("enqueue in bulk, Postgres", (COUNT / enqueued) * 1e3, "jobs/s");

for (let i = 0; i < 200; i++) {
  await new Promise((r) => setTimeout(r, 5));
  const before = done;
  await utils.addJob("stamp", { at: nowMs() });
  await until(() => done > before);
}
say("enqueue to start p50, Postgres", quantile(starts, 0.5), "ms");
say("enqueue to start p99, Postgres", quantile(starts, 0.99), "ms");
await runner.stop();

const few = Math.min(COUNT, 1000);
let start = nowMs();
for (let i = 0; i < few; i++) await utils.addJob("noop", { i });
say("enqueue one by one, 1 caller, Postgres", (few / (nowMs() - start)) * 1e3, "jobs/s");
start = nowMs();
await Promise.all(
  Array.from({ length: 64 }, async () => {
    for (let i = 0; i < Math.ceil(few / 16); i++) await utils.addJob("noop", { i });
  }),
);
say("enqueue one by one, 64 callers, Postgres", ((64 * Math.ceil(few / 16)) / (nowMs() - start)) * 1e3, "jobs/s");
await utils.release();
process.exit(0);
