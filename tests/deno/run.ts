// Runs tests under Deno: text, and the engines, on every one that it has. Bun has no WebGPU: that engine is tested here alone.
//
//   bun run test:deno

import { readdirSync } from "node:fs";
import process from "node:process";
import { runDeclared } from "./bun-test.ts";

/** Folders and files under tests/ whose tests use nothing of Bun's. Of folders the fast part is run. */
const SUITES = [
  "architectures/sampling",
  "data",
  "engine/kernels",
  "engine/linalg.test.ts",
  "engine/ops",
  "engine/tape.test.ts",
  "engine/tfjs-contract.test.ts",
  "gblr/convolution.test.ts",
  "gblr/gblr-weight.test.ts",
  "gblr/init/activation-aware.test.ts",
  "gblr/init/svd-factors.test.ts",
  "gblr/mask.test.ts",
  "gblr/matrix.test.ts",
  "gblr/packed.test.ts",
  "gblr/shrink",
  "gblr/special-cases.test.ts",
  "gblr/train.test.ts",
  "hub/card",
  "hub/access",
  "hub/gguf",
  "hub/pull",
  "hub/push",
  "hub/remote-model.test.ts",
  "models/vision-configs.test.ts",
  "report/charts.test.ts",
  "report/report.test.ts",
  "report/run-files.test.ts",
  "report/curves.test.ts",
  "hub/zoo",
  "structures/cost.test.ts",
  "structures/golden.test.ts",
  "structures/structures.test.ts",
  "structures/tucker.test.ts",
  "train/checkpoint.test.ts",
  "train/distillation.test.ts",
  "watch/followed-file.test.ts",
  "web/page/watch",
];

const tests = new URL("../", import.meta.url);

function filesOf(suite: string): string[] {
  if (suite.endsWith(".ts")) return [suite];
  const names = readdirSync(new URL(suite, tests), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => name.endsWith(".test.ts") && !name.endsWith(".slow.test.ts"))
    .map((name) => `${suite}/${name}`);
}

for (const file of SUITES.flatMap(filesOf)) await import(new URL(file, tests).href);
const { passed, failed } = await runDeclared();
console.log(`tests under Deno: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
