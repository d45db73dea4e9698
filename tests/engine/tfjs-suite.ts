// Runs the test suite of TensorFlow.js itself, which ships inside @tensorflow/tfjs-core, on one engine, and prints how
// many tests pass. Tests that tfjs-suite-exclusions.md lists do run, but their failures do not count; on torch, for which the
// list was made, an entry whose test passes does.
//
//   bun run test:tfjs [--engine torch|wasm|cpu] [--grep text] [--verbose] [--json]

import { parseArgs } from "node:util";
import type { EngineAdapter } from "../../workbench/engine/core/types.ts";
import { readExclusions } from "./tfjs-suite-exclusions.ts";
import { runSuite } from "./tfjs-suite-run.ts";
import { judge, type Verdict } from "./tfjs-suite-verdict.ts";

/** The suite reads tensors synchronously, which webgpu cannot. */
const ADAPTERS: Record<string, () => Promise<EngineAdapter>> = {
  torch: async () => (await import("../../workbench/engine/backends/torch/adapter.ts")).torchAdapter,
  wasm: async () => (await import("../../workbench/engine/backends/wasm/adapter.ts")).wasmAdapter,
  cpu: async () => (await import("../../workbench/engine/backends/cpu/adapter.ts")).cpuAdapter,
};

interface Options {
  engine?: string;
  grep?: string;
  verbose?: boolean;
  json?: boolean;
  device?: string;
}

function usage(problem: string): never {
  console.error(
    `${problem}; usage: tfjs-suite.ts [--engine ${Object.keys(ADAPTERS).join("|")}] [--device name] [--grep text] [--verbose] [--json]`,
  );
  process.exit(2);
}

function readOptions(): Options {
  try {
    return parseArgs({
      options: {
        engine: { type: "string" },
        device: { type: "string" },
        grep: { type: "string" },
        verbose: { type: "boolean" },
        json: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    return usage((error as Error).message);
  }
}

function print(verdict: Verdict, where: string, seconds: number, verbose: boolean): void {
  const { passed, failures, excluded, skipped, needless, unknown } = verdict;
  if (verbose) {
    for (const { test, error } of failures) {
      console.log(`failed: ${test}\n    ${error}`);
    }
  }
  for (const test of needless) {
    console.log(`exclusions: "${test}" passes; remove it from the list`);
  }
  for (const test of unknown) {
    console.log(`exclusions: "${test}" is no test of the suite; correct or remove it`);
  }
  const more = failures.length > 0 && !verbose ? " (--verbose names them)" : "";
  console.log(
    `tfjs suite on ${where}: ${passed} passed, ${failures.length} failed${more}, ` +
      `${excluded} excluded, ${skipped} skipped, ${seconds.toFixed(1)} s`,
  );
}

const options = readOptions();
const name = options.engine ?? "torch";
const adapter = await ADAPTERS[name]?.();
if (!adapter) {
  usage(`engine "${name}" cannot run the suite`);
}
const probe = await adapter.probe();
if (!probe.available) {
  console.log(`tfjs suite on ${name}: not run, ${probe.reason}; ${probe.remedy}`);
  process.exit(options.engine === undefined ? 0 : 1);
}
const engine = await adapter.open({
  device: options.device,
  precision: "float32",
  threads: navigator.hardwareConcurrency,
});
const start = performance.now();
const outcomes = await runSuite({ backendName: engine.backendName, grep: options.grep });
const seconds = (performance.now() - start) / 1000;
const scope = { partial: options.grep !== undefined, own: name === "torch" };
const verdict = judge(outcomes, readExclusions(), scope);
const ok = verdict.failures.length + verdict.needless.length + verdict.unknown.length === 0;
if (options.json) {
  console.log(
    JSON.stringify({ engine: name, device: engine.device, version: engine.version, seconds, ok, ...verdict }),
  );
} else {
  print(verdict, `${name} (${engine.device}, ${engine.version})`, seconds, options.verbose ?? false);
}
if (outcomes.length === 0) {
  usage(`no test's name holds "${options.grep}"`);
}
process.exit(ok ? 0 : 1);
