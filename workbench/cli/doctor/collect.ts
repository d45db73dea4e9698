// Gathers the report: child processes look for the engines side by side, then measure them one after the other, so that
// no measurement disturbs the next. Knows how a child can fail; what it runs is child.ts.

import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import packageJson from "../../../package.json" with { type: "json" };
import { ENGINE_NAMES, type EngineName, type OpenEngineOptions, type Probe } from "../../engine/types.ts";
import { oneLine } from "../program.ts";
import type { Environment } from "../terminal.ts";
import type { Task } from "./child.ts";
import { inspectHub } from "./hub.ts";
import { inspectMachine } from "./machine.ts";
import type { EngineReport, Outcome, Report } from "./report.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));
/** Opening and two measurements take two to four seconds; this much means that it hangs. */
const PATIENCE_SECONDS = 30;

export interface CollectOptions {
  requested: OpenEngineOptions;
  /** smaller sizes, shorter measurements */
  quick: boolean;
  environment: Environment;
  /** called with what is about to be done, e.g. `measuring wasm` */
  onStep?: (step: string) => void;
}

/** Never rejects for an engine that fails. */
export async function collectReport({ requested, quick, environment, onStep }: CollectOptions): Promise<Report> {
  onStep?.("looking for engines");
  const probes = await Promise.all(ENGINE_NAMES.map(async (name) => ({ name, probe: await probe(name) })));
  onStep?.(`measuring ${requested.engine ?? "auto"}`);
  const opened = await runMeasure(requested, quick);
  const engines: EngineReport[] = [];
  for (const { name, probe } of probes) {
    const outcome = outcomeKnown(name, requested, opened);
    if (outcome !== undefined) engines.push({ name, probe, outcome });
    else if (!probe.available || isNamed(requested)) engines.push({ name, probe });
    else {
      onStep?.(`measuring ${name}`);
      const threads = requested.threads === undefined ? {} : { threads: requested.threads };
      engines.push({ name, probe, outcome: await runMeasure({ engine: name, ...threads }, quick) });
    }
  }
  const { version } = packageJson;
  return { gblr: version, machine: inspectMachine(), requested, engines, opened, hub: inspectHub(environment) };
}

/** Whoever names an engine wants to hear about that one: the others are listed but not measured. */
function isNamed({ engine }: OpenEngineOptions): boolean {
  return engine !== undefined && engine !== "auto";
}

/** The engine that was opened first need not be measured twice. */
function outcomeKnown(name: EngineName, requested: OpenEngineOptions, opened: Outcome): Outcome | undefined {
  return name === ("measured" in opened ? opened.measured.engine : requested.engine) ? opened : undefined;
}

/** An engine that takes the process down with it counts as missing. */
async function probe(name: EngineName): Promise<Probe> {
  const answer = await runChild<{ probe: Probe }>({ kind: "probe", name });
  if ("probe" in answer) return answer.probe;
  const remedy = name === "torch" ? "run `npm run build -- --force`" : "run `npm install`";
  return { available: false, reason: `looking for it failed: ${answer.error}`, remedy };
}

function runMeasure(options: OpenEngineOptions, quick: boolean): Promise<Outcome> {
  return runChild<Outcome>({ kind: "measure", options, quick });
}

/** Resolves with the child's answer, or with the one line that says how it ended without one. */
function runChild<Answer extends object>(task: Task): Promise<Answer | { error: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...process.execArgv, CHILD, JSON.stringify(task)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let complaints = "";
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, PATIENCE_SECONDS * 1000);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaints += text;
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      resolve({ error: `${process.execPath} could not be started: ${oneLine(error.message)}` });
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      // Native libraries may print on stdout too; the answer is the last line.
      const line = output.trim().split("\n").at(-1) ?? "";
      if (code === 0 && line.startsWith("{")) resolve(JSON.parse(line) as Answer);
      else if (late) resolve({ error: `no answer within ${PATIENCE_SECONDS} s` });
      else resolve({ error: ended(code, signal, complaints) });
    });
  });
}

function ended(code: number | null, signal: string | null, complaints: string): string {
  const lines = complaints.trim().split("\n");
  const told = lines.find((line) => /error/i.test(line)) ?? lines.at(-1) ?? "";
  const how = signal === null ? `ended with exit code ${code}` : `crashed with ${signal}`;
  return told === "" ? how : `${how}: ${oneLine(told)}`;
}
