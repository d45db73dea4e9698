// Collects the report of `gblr doctor`: the engines, the machine, and the settings of the Hub. Child processes
// (child.ts) look for all engines at the same time, then measure one after the other, so that measurements do not
// affect each other.

import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ABOUT, BUILD_ANEW_COMMAND } from "../../../hub/files/about.ts";
import { type Place, placeOf } from "../../distributed/place.ts";
import type { Backend } from "../../distributed/process-group.ts";
import type { BlasReport } from "../../engine/backends/torch/blas.ts";
import type { Bandwidth, MatMulRate } from "../../engine/core/measure.ts";
import {
  ENGINE_NAMES,
  type EngineName,
  type OpenEngineOptions,
  type Precision,
  type Probe,
} from "../../engine/core/types.ts";
import { type FormsSummary, summarizeForms } from "../../structures/inference/kept-forms.ts";
import { outputOf } from "../shared/subprocess.ts";
import type { Environment } from "../shared/terminal.ts";
import type { Task } from "./child.ts";

const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));
/** Seconds after which a child process is considered to hang. Opening an engine and two measurements take 2 to 4 s. */
const PATIENCE_SECONDS = 30;

interface CollectOptions {
  requested: OpenEngineOptions;
  /** whether to measure on smaller sizes for a shorter time */
  quick: boolean;
  environment: Environment;
  /** whether processes exchange an array */
  distributed?: boolean;
  /** called before each step with its name, e.g. `measuring wasm` */
  onStep?: (step: string) => void;
}

/** Collects the report. An engine that fails is part of the report, not an error. */
export async function collectReport({
  requested,
  quick,
  environment,
  distributed = false,
  onStep,
}: CollectOptions): Promise<Report> {
  onStep?.("looking for engines");
  const probes = await Promise.all(ENGINE_NAMES.map(async (name) => ({ name, probe: await probe(name) })));
  onStep?.(`measuring ${requested.engine ?? "auto"}`);
  const opened = await measure(requested, quick);
  const engines: EngineReport[] = [];
  for (const { name, probe } of probes) {
    const outcome = outcomeKnown(name, requested, opened);
    if (outcome !== undefined) engines.push({ name, probe, outcome });
    else if (!probe.available || isNamed(requested)) engines.push({ name, probe });
    else {
      onStep?.(`measuring ${name}`);
      const threads = requested.threads === undefined ? {} : { threads: requested.threads };
      engines.push({ name, probe, outcome: await measure({ engine: name, ...threads }, quick) });
    }
  }
  const blas = engines.some(multipliesOnProcessor) ? { blas: await inspectBlas(onStep) } : {};
  if (distributed) onStep?.("exchanging an array between processes");
  const exchanged = distributed ? { distributed: await inspectDistributed(environment) } : {};
  const { version } = ABOUT;
  return {
    gblr: version,
    machine: inspectMachine(),
    requested,
    engines,
    ...blas,
    ...exchanged,
    opened,
    forms: summarizeForms(environment),
    hub: inspectHub(environment),
  };
}

/** Whether an engine computes matrix products with the machine's BLAS. */
function multipliesOnProcessor({ name, outcome }: EngineReport): boolean {
  return name === "torch" && outcome !== undefined && "measured" in outcome && outcome.measured.device === "cpu";
}

async function inspectBlas(onStep: CollectOptions["onStep"]): Promise<NonNullable<Report["blas"]>> {
  onStep?.("measuring the BLAS");
  const answer = await ask<{ blas: BlasReport }>({ kind: "blas" });
  return "blas" in answer ? answer.blas : { error: answer.error };
}

/**
 * Lets ranks add up an array: those of the launcher by which this process was started, or two that are started here. The
 * slower of two counts.
 */
async function inspectDistributed(environment: Environment): Promise<NonNullable<Report["distributed"]>> {
  const own = placeOf(environment);
  const places = own ? [own] : await placesHere(2);
  const answers = await Promise.all(places.map((place) => ask<{ exchanged: Exchanged }>({ kind: "rank", place })));
  const exchanged: Exchanged[] = [];
  for (const answer of answers) {
    if ("error" in answer) return { error: answer.error };
    exchanged.push(answer.exchanged);
  }
  const [{ bytes, sum, through }] = exchanged as [Exchanged];
  if (exchanged.some((other) => other.sum !== sum)) return { error: "two ranks got different sums of the same arrays" };
  return {
    ranks: own?.size ?? 2,
    bytes,
    seconds: Math.max(...exchanged.map(({ seconds }) => seconds)),
    through,
    lacksNccl: exchanged.some(({ lacksNccl }) => lacksNccl),
  };
}

/** Places of processes on this machine, which meet at a free port. */
async function placesHere(size: number): Promise<Place[]> {
  const meeting = { address: "127.0.0.1", port: await freePort() };
  return Array.from({ length: size }, (_, rank) => {
    return { rank, size, localRank: rank, localSize: size, meeting, restarts: 0 };
  });
}

/** A port of this machine that no program uses now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Whether one engine is requested; the others are then listed, but not measured. */
function isNamed({ engine }: OpenEngineOptions): boolean {
  return engine !== undefined && engine !== "auto";
}

/** The outcome of the engine that was measured first, which is not measured again; undefined for other engines. */
function outcomeKnown(name: EngineName, requested: OpenEngineOptions, opened: Outcome): Outcome | undefined {
  return name === ("measured" in opened ? opened.measured.engine : requested.engine) ? opened : undefined;
}

/** Looks for an engine. An engine that crashes the child process is reported as missing. */
async function probe(name: EngineName): Promise<Probe> {
  const answer = await ask<{ probe: Probe }>({ kind: "probe", name });
  if ("probe" in answer) return answer.probe;
  return { available: false, reason: `looking for it failed: ${answer.error}`, remedy: repair(name) };
}

async function measure(options: OpenEngineOptions, quick: boolean): Promise<Outcome> {
  const answer = await ask<Outcome>({ kind: "measure", options, quick });
  if (!("ended" in answer)) return answer;
  const name = options.engine ?? "auto";
  return { error: `measuring engine "${name}" failed: ${answer.ended}; ${repair(name)}` };
}

function repair(name: EngineName | "auto"): string {
  return name === "torch" || name === "auto" ? `run \`${BUILD_ANEW_COMMAND}\`` : "run `npm install`";
}

/** The answer of a child process: its result, an error of the engine, or how the child ended without an answer. */
async function ask<Answer extends object>(task: Task): Promise<Answer | { error: string; ended?: string }> {
  try {
    return JSON.parse(await outputOf(CHILD, { argument: JSON.stringify(task), patience: PATIENCE_SECONDS })) as Answer;
  } catch (error) {
    const ended = error instanceof Error ? error.message : String(error);
    return { error: ended, ended };
  }
}

/** The runtime and the hardware. */
export interface Machine {
  runtime: { name: string; version: string };
  /** distribution or product name, e.g. `Debian GNU/Linux 12 (bookworm)` */
  system: string;
  kernel: string;
  architecture: string;
  cpu: string;
  /** number of cores available to this process */
  cores: number;
  /** total memory, bytes */
  memory: number;
}

/** The settings of the Hub in the environment. */
export interface HubSettings {
  endpoint: string;
  /** source of the token; the token itself is never part of a report */
  token: { set: boolean; source?: string };
  /** cache folder, HF_HOME */
  home: string;
}

/** An engine that opened and was measured. */
export interface Measured {
  engine: EngineName;
  device: string;
  precision: Precision;
  threads: number;
  /** reason for the choice of this engine */
  why: string;
  matMul: MatMulRate;
  elementwise: Bandwidth;
}

/** What one of two ranks reports. */
export interface Exchanged {
  /** of the array that was added up */
  bytes: number;
  /** of the fastest exchange */
  seconds: number;
  /** of the result */
  sum: number;
  through: Backend;
  /** whether libtorch has CUDA, but this build no NCCL */
  lacksNccl: boolean;
}

/** The result of measuring an engine, or the error. */
export type Outcome = { measured: Measured } | { error: string };

/** An engine, whether it was found, and its measurement. */
export interface EngineReport {
  name: EngineName;
  probe: Probe;
  /** absent if the engine is unavailable or another one was requested */
  outcome?: Outcome;
}

/** The report of `gblr doctor`, which --json prints. */
export interface Report {
  /** version of this package */
  gblr: string;
  machine: Machine;
  requested: OpenEngineOptions;
  engines: EngineReport[];
  /** the BLAS of the torch engine on the CPU; absent if that engine was not measured there */
  blas?: BlasReport | { error: string };
  /** an array added up over several processes; absent unless it was asked for */
  distributed?: (Omit<Exchanged, "sum"> & { ranks: number }) | { error: string };
  /** the engine that `requested` opens, or the error */
  opened: Outcome;
  /** the measured forms of GBLR layers that are kept */
  forms: FormsSummary;
  hub: HubSettings;
}

/** Describes the runtime and the hardware of this machine. */
export function inspectMachine(): Machine {
  return {
    runtime: runtimeOf(process.versions),
    system: distribution() ?? os.type(),
    kernel: `${os.type()} ${os.release()}`,
    architecture: os.arch(),
    cpu: os.cpus()[0]?.model.trim() || "unknown",
    cores: os.availableParallelism(),
    memory: os.totalmem(),
  };
}

/** The runtime and its version. Bun and Deno also report a version of Node, with whose modules they are compatible. */
function runtimeOf(versions: Readonly<Record<string, string | undefined>>): Machine["runtime"] {
  if (versions.bun !== undefined) return { name: "Bun", version: versions.bun };
  if (versions.deno !== undefined) return { name: "Deno", version: versions.deno };
  return { name: "Node", version: versions.node ?? "unknown" };
}

/** The name of the Linux distribution, from os-release(5). */
function distribution(): string | undefined {
  try {
    return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  } catch {
    return undefined;
  }
}

const ENDPOINT = "https://huggingface.co";

function inspectHub(environment: Environment): HubSettings {
  const cache = environment.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  const home = environment.HF_HOME || path.join(cache, "huggingface");
  return { endpoint: withoutPassword(environment.HF_ENDPOINT || ENDPOINT), token: findToken(environment, home), home };
}

function findToken(environment: Environment, home: string): HubSettings["token"] {
  if (environment.HF_TOKEN) return { set: true, source: "HF_TOKEN" };
  const file = environment.HF_TOKEN_PATH || path.join(home, "token");
  return existsSync(file) ? { set: true, source: file } : { set: false };
}

/** Removes user and password from an endpoint, because reports are pasted into bug reports. */
function withoutPassword(endpoint: string): string {
  return endpoint.replace(/^(\w+:\/\/)[^/@]*@/, "$1");
}
