// Limits in the memory of one Node process: rate-limiter-flexible, express-rate-limit, and Levqor from Node.
//
//     limits_node.mjs peer|ours
//
// Nanoseconds per call with 1, 100,000 and 1,000,000 keys that are there already, asked for without a pattern, one after
// the other. The quota is a billion per minute: every call passes.
import { figure, nowMs, peer } from "./figures.mjs";

const CALLS = 200_000;
const SIZES = [
  [1, "1 key"],
  [100_000, "100 k keys"],
  [1_000_000, "1 M keys"],
];
const QUOTA = 1_000_000_000;

async function measure(take, keys, waits) {
  for (const key of keys) waits ? await take(key) : take(key);
  const order = Array.from({ length: CALLS }, () => keys[Math.floor(Math.random() * keys.length)]);
  const rounds = [];
  for (let round = 0; round < 3; round++) {
    const start = nowMs();
    if (waits) for (const key of order) await take(key);
    else for (const key of order) take(key);
    rounds.push(((nowMs() - start) * 1e6) / CALLS);
  }
  return rounds.sort((a, b) => a - b)[1];
}

async function cells(name, packageName, make, waits = true) {
  for (const [count, label] of SIZES) {
    const keys = Array.from({ length: count }, (_, n) => `user-${String(n).padStart(8, "0")}`);
    figure("limits-node", name, packageName, `from Node, ${label}`, await measure(await make(count), keys, waits), "ns");
    globalThis.gc?.();
  }
}

async function peers() {
  const { RateLimiterMemory } = await peer("rate-limiter-flexible");
  const { rateLimit, MemoryStore } = await peer("express-rate-limit");
  await cells("rate-limiter-flexible", "rate-limiter-flexible", () => {
    const limiter = new RateLimiterMemory({ points: QUOTA, duration: 60 });
    return (key) => limiter.consume(key);
  });
  await cells("express-rate-limit, its store", "express-rate-limit", () => {
    const store = new MemoryStore();
    store.init({ windowMs: 60_000 });
    return (key) => store.increment(key);
  });
  await cells("express-rate-limit, its middleware", "express-rate-limit", () => {
    const limit = rateLimit({ windowMs: 60_000, limit: QUOTA, keyGenerator: (request) => request.key, validate: false });
    const response = { headersSent: false, setHeader() {}, append() {}, getHeader() {} };
    return (key) => new Promise((next) => limit({ key, app: { get() {} }, headers: {} }, response, next));
  });
}

async function ours() {
  // The one place that knows how a host asks. LEVQOR_NODE names the built package.
  const { open } = await import(process.env.LEVQOR_NODE ?? "levqor");
  const engine = await open("memory://");
  await cells("levqor", "levqor", (count) => engine.limiter(`bench ${count}`, `${QUOTA}/minute`).take, false);
}

await { peer: peers, ours }[process.argv[2]]();
process.exit(0);
