// BullMQ on a private Redis, whose appendfsync is the argument (`everysec` or `always`): jobs that do nothing.
import { COUNT, figure, nowMs, peer, quantile, REDIS, until } from "./figures.mjs";

const { Queue, Worker } = await peer("bullmq");
const policy = process.argv[2];
const { hostname: host, port } = new URL(REDIS);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const say = (name, value, unit) => figure("jobs", `BullMQ on Redis, appendfsync ${policy}`, "bullmq", name, value, unit);

const queue = new Queue("bench", { connection, defaultJobOptions: { removeOnComplete: true } });
await queue.waitUntilReady();

const begin = nowMs();
for (let at = 0; at < COUNT; at += 1000) {
  await queue.addBulk(Array.from({ length: Math.min(1000, COUNT - at) }, (_, n) => ({ name: "noop", data: { n } })));
}
const enqueued = nowMs() - begin;

let done = 0;
const starts = [];
const startOfWork = nowMs();
const worker = new Worker(
  "bench",
  async (job) => {
    if (job.data.at) starts.push(nowMs() - job.data.at);
  },
  { connection, concurrency: 100 },
);
worker.on("completed", () => done++);
await until(() => done >= COUNT);
const worked = nowMs() - startOfWork;
say("end to end, Redis", (COUNT / (enqueued + worked)) * 1e3, "jobs/s");
say("enqueue in bulk, Redis", (COUNT / enqueued) * 1e3, "jobs/s");

for (let i = 0; i < 200; i++) {
  await new Promise((r) => setTimeout(r, 5));
  const before = done;
  await queue.add("noop", { at: nowMs() });
  await until(() => done > before);
}
say("enqueue to start p50, Redis", quantile(starts, 0.5), "ms");
say("enqueue to start p99, Redis", quantile(starts, 0.99), "ms");
await worker.close();

const few = Math.min(COUNT, 1000);
let start = nowMs();
for (let i = 0; i < few; i++) await queue.add("noop", { i });
say("enqueue one by one, 1 caller, Redis", (few / (nowMs() - start)) * 1e3, "jobs/s");
start = nowMs();
await Promise.all(
  Array.from({ length: 64 }, async () => {
    for (let i = 0; i < Math.ceil(few / 16); i++) await queue.add("noop", { i });
  }),
);
say("enqueue one by one, 64 callers, Redis", ((64 * Math.ceil(few / 16)) / (nowMs() - start)) * 1e3, "jobs/s");
process.exit(0);
