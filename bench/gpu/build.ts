// Builds the addon for bench/gpu.sh, against the torch package of python3 or $LIBTORCH, unless one is there that fits the
// device; then opens the engine. Usage: build.ts DEVICE. Prints one JSON line.

import { spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { buildState } from "../../native/build-state.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";

const device = process.argv[2] ?? "cuda";
const began = performance.now();
const state = buildState();
const fits = state.state === "built" && (device === "cpu" || state.stamp.libtorch.cuda);
if (!fits) {
  const file = path.join(import.meta.dirname, "../../native/build.ts");
  const { status } = spawnSync(process.execPath, [file], { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) process.exit(1);
}
const seconds = (performance.now() - began) / 1000;
const engine = await openEngine({ engine: "torch", device });
await engine.synchronize();
const opened = (performance.now() - began) / 1000 - seconds;
const { version, memory } = { version: engine.version, memory: engine.memory() };
process.stdout.write(`${JSON.stringify({ built: !fits, seconds, opened, version, device: engine.device, memory })}\n`);
