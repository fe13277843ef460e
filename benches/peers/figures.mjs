// What every Node peer needs: its surroundings, its figures as JSON lines, and percentiles.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const env = process.env;
export const POSTGRES = env.PEER_POSTGRES ?? "";
export const REDIS = env.PEER_REDIS ?? "";
export const COUNT = Number(env.PEER_COUNT ?? "1000");
const MODULES = join(env.PEER_NODE, "node_modules");
const require = createRequire(join(env.PEER_NODE, "package.json"));

/** A package of the peers' own folder, which is not above this file. */
export const peer = (name) => import(pathToFileURL(require.resolve(name)).href);

const version = (name) => JSON.parse(readFileSync(join(MODULES, name, "package.json"), "utf8")).version;

export function figure(section, peerName, packageName, name, value, unit) {
  console.log(JSON.stringify({ section, peer: peerName, version: version(packageName), name, value, unit }));
}

export function quantile(times, q) {
  const sorted = Float64Array.from(times).sort();
  return sorted.length ? sorted[Math.min(Math.floor(sorted.length * q), sorted.length - 1)] : 0;
}

export const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

/** Waits until a condition holds, looking every millisecond. */
export async function until(holds) {
  while (!holds()) await new Promise((r) => setTimeout(r, 1));
}
