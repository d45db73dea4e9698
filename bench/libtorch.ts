// `bun bench/libtorch.ts system /path/to/torch …`: compares builds of the addon against several libtorchs: the time to
// build it, the results of TensorFlow.js's own suite and, interleaved, the time of an operation and the rate of a
// product.

import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command } from "commander";
import { findLibtorch, type Libtorch } from "../native/libtorch.ts";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { threeDigits } from "../workbench/cli/shared/terminal.ts";
import type { NamedCase } from "./engine/cases.ts";
import type { Contestant } from "./engine/contestant.ts";
import { findContestants } from "./engine/contestants.ts";
import { markdownTable } from "./engine/report.ts";
import { type Effort, FULL, medianOf, QUICK, runCase, startAll } from "./engine/run.ts";

const SIZE = 2048;
const TINY: NamedCase = { title: "operation", case: { kind: "tiny", operations: 1000, size: 4 } };
const PRODUCT: NamedCase = { title: "product", case: { kind: "product", size: SIZE } };

/** One libtorch of the table. */
interface Tried {
  libtorch: Libtorch;
  /** heading of its row */
  name: string;
  /** seconds of the build; undefined if it failed */
  build?: number;
  suite: string;
}

const command = new Command("bun bench/libtorch.ts")
  .description("builds the addon with each libtorch, runs TensorFlow.js's suite on it, and times it")
  .argument("<libtorch...>", "folders with include/ and lib/, such as site-packages/torch, or `system`")
  .option("--quick", "few short samples: rough figures, sooner")
  .option("--out [file]", "also write the page (default: bench/results/libtorch.md)")
  .parse();
const { quick, out } = command.opts<{ quick?: boolean; out?: string | true }>();
const root = path.join(import.meta.dirname, "..");
const date = new Date().toISOString().slice(0, 10);

const tried = command.args.map(buildAndTest);
const page = markdown(tried, await time(tried, quick ? QUICK : FULL));
process.stdout.write(`${page}\n`);
if (out !== undefined) {
  await writeFile(out === true ? path.join(import.meta.dirname, "results/libtorch.md") : out, `${page}\n`);
}

function buildAndTest(asked: string): Tried {
  const libtorch = findLibtorch({ LIBTORCH: asked });
  if (!libtorch) throw new Error(`${asked} is not a libtorch; give "system" or the folder of one`);
  process.stderr.write(`libtorch ${libtorch.version}\n`);
  const env = { ...process.env, GBLR_ADDON: addonOf(libtorch), LIBTORCH: asked };
  const run = (...args: string[]) => spawnSync(process.execPath, args, { env, cwd: root, encoding: "utf8" });
  const start = performance.now();
  const built = run("native/build.ts", "--force");
  const build = (performance.now() - start) / 1000;
  const name = `${libtorch.version}, ${libtorch.origin === "system" ? "system" : libtorch.cuda ? "with CUDA" : "CPU"}`;
  if (built.status !== 0) return { libtorch, name, suite: "" };
  return { libtorch, name, build, suite: verdictIn(run("tests/engine/tfjs-suite.ts", "--json").stdout) };
}

/** The folder in which the addon of a libtorch is built. */
function addonOf({ version, fingerprint }: Libtorch): string {
  return path.join(root, "native/build", `libtorch-${version}-${fingerprint}`);
}

function verdictIn(output: string): string {
  const line = output.split("\n").find((each) => each.startsWith("{"));
  if (!line) return "did not run";
  const { passed, failures } = JSON.parse(line) as { passed: number; failures: unknown[] };
  return `${passed} / ${failures.length}`;
}

/** Seconds of an operation and of a product for each row; none if the addon does not load. */
async function time(rows: readonly Tried[], effort: Effort): Promise<Map<string, [number, number]>> {
  const setting = { device: "cpu", precision: "float32", threads: os.availableParallelism() } as const;
  const [torch] = findContestants(setting) as [Contestant];
  const started = [];
  for (const { libtorch, name, build } of rows) {
    if (build === undefined) continue;
    // Contestants inherit the environment when they start.
    process.env.GBLR_ADDON = addonOf(libtorch);
    started.push(...(await startAll([{ ...torch, name }])).running);
  }
  const [operation, product] = [await runCase(TINY, started, effort), await runCase(PRODUCT, started, effort)];
  await Promise.all(started.map((each) => each.close()));
  const names = started.map(({ contestant }) => contestant.name);
  return new Map(names.map((name) => [name, [medianOf(operation, name) ?? 0, medianOf(product, name) ?? 0]]));
}

function markdown(rows: readonly Tried[], timings: ReadonlyMap<string, [number, number]>): string {
  const { cpu, cores, system, runtime } = inspectMachine();
  const cells = rows.map(({ name, build, suite }) => {
    const [operation, product] = timings.get(name) ?? [];
    const seconds = build === undefined ? "failed" : `${Math.round(build)} s`;
    const microseconds = operation ? `${threeDigits(operation * 1e6)} µs` : "";
    return [name, seconds, suite, microseconds, product ? threeDigits((2 * SIZE ** 3) / product / 1e9) : ""];
  });
  const heading = ["libtorch", "build", "suite, passed / failed", "one operation on 4 values", `GFLOP/s, ${SIZE}³`];
  return [
    `# The addon with several libtorchs on ${cpu}, ${cores} cores`,
    "",
    `${date}. ${runtime.name} ${runtime.version}, ${system}. Device cpu, float32, ${cores} threads. The suite is TensorFlow.js's own.`,
    "",
    ...markdownTable(heading, cells),
  ].join("\n");
}
