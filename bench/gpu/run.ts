// The driver of bench/gpu.sh: runs the parts (parts.ts) one after the other, each within its limit and all within a total,
// and writes gpu.json and gpu.md after each. A part that fails does not stop the others; its error stands in the table.

import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { inspectMachine } from "../../workbench/cli/doctor/collect.ts";
import { PRECISIONS, type Precision } from "../../workbench/engine/core/types.ts";
import { type Part, partsOf } from "./parts.ts";
import { type GpuReport, markdown, type PartResult } from "./report.ts";
import { FAILED_TESTS, type Output, type Row } from "./rows.ts";

interface Options {
  device: string;
  precision?: Precision;
  quick: boolean;
  seconds?: number;
  only: string;
  python: string;
  out: string;
}

const options = new Command("bench/gpu.sh")
  .description("builds the addon, tests it and measures it, on a GPU that is at hand for some minutes")
  .option("--device <device>", "cuda, cpu", "cuda")
  .addOption(new Option("--precision <precision>", "default: bfloat16 on cuda, float32 on cpu").choices(PRECISIONS))
  .option("--quick", "small sizes: checks that all parts run", false)
  .option("--seconds <count>", "for all parts together (default: 400, with --quick 900)", Number)
  .option("--only <text>", "parts whose name contains this", "")
  .option("--python <path>", "the Python whose PyTorch is the peer", process.env.GBLR_PYTHON || "python3")
  .option("--out <folder>", "for gpu.json and gpu.md", process.env.OUT || "runs/gpu")
  .addHelpText("after", "\nExample:\n  bench/gpu.sh --device cpu --quick")
  .parse()
  .opts<Options>();

const { device, quick, python, out, seconds = quick ? 900 : 400 } = options;
const precision = options.precision ?? (device === "cpu" ? "float32" : "bfloat16");
const root = path.join(import.meta.dirname, "../..");
const began = performance.now();
const spent = () => (performance.now() - began) / 1000;
const { cpu, cores, memory } = inspectMachine();
const report: GpuReport = {
  date: new Date().toISOString(),
  machine: { cpu, cores, memory },
  ...{ device, precision, quick, seconds: 0, parts: [] },
};
await mkdir(out, { recursive: true });
for (const part of partsOf({ device, precision, quick, python })) {
  if (!part.name.includes(options.only)) continue;
  const result = await resultOf(part, seconds - spent());
  report.parts.push(result);
  report.seconds = spent();
  process.stderr.write(`${part.name}: ${result.error ?? "done"}, ${result.seconds.toFixed(0)} s\n`);
  await writeFileAtomically(path.join(out, "gpu.json"), `${JSON.stringify(report, null, 2)}\n`);
  await writeFileAtomically(path.join(out, "gpu.md"), markdown(report));
}
process.stdout.write(markdown(report));
process.exit(report.parts.every(isGood) ? 0 : 1);

/** Whether a part has all its results, and none of its tests failed. */
function isGood({ rows, error }: PartResult): boolean {
  const isBad = (row: Row) => row.error !== undefined || (row.what === FAILED_TESTS && row.value > 0);
  return rows.length > 0 && error === undefined && !rows.some(isBad);
}

async function resultOf(part: Part, left: number): Promise<PartResult> {
  const { name, limit } = part;
  const allowed = Math.min(limit, left);
  if (allowed < 5) return { name, limit, seconds: 0, rows: [], error: "no time was left" };
  const start = performance.now();
  const done = (found: Pick<PartResult, "rows" | "error">): PartResult => {
    return { name, limit, seconds: (performance.now() - start) / 1000, ...found };
  };
  const output = await outputOf(part.argv, allowed);
  if (output === undefined) return done({ rows: [], error: `took more than ${allowed.toFixed(0)} s` });
  try {
    const rows = part.read(output);
    return done(rows.length > 0 ? { rows } : { rows, error: complaint(output) });
  } catch (error) {
    const own = error instanceof SyntaxError ? "" : `${(error as Error).message}; `;
    return done({ rows: [], error: `${own}${complaint(output)}` });
  }
}

/** Undefined if the time was up; the command and all that it started are then killed. */
function outputOf([program, ...args]: Part["argv"], seconds: number): Promise<Output | undefined> {
  return new Promise((resolve) => {
    const env = { ...process.env, GBLR_PYTHON: python };
    const child = spawn(program, args, { cwd: root, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (part: string) => {
        texts[name] += part;
      });
    }
    const timer = setTimeout(() => {
      resolve(undefined);
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, 1000 * seconds);
    const finish = (exitCode: number) => {
      clearTimeout(timer);
      resolve({ ...texts, exitCode });
    };
    child.on("error", ({ message }) => {
      texts.stderr += message;
      finish(127);
    });
    child.on("close", (code) => finish(code ?? 1));
  });
}

/** The line of a failed command that says why, in 300 characters. */
function complaint({ stderr, exitCode }: Output): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => line.trim() !== "");
  // An exception of Python, before what the process that started Python says of its exit.
  const patterns = [/^[\w.]*(Error|Exception): /, /error|exception|fail|not available/i, /./];
  const line = patterns.map((pattern) => lines.findLast((text) => pattern.test(text))).find(Boolean) ?? "";
  return `exit status ${exitCode}: ${line.trim().slice(0, 300)}`;
}
