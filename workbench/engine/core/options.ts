// Checks the options of `openEngine` that can be checked without looking at the machine: names, spelling and numbers.
// The adapters check whether an engine or a device exists.

import { availableParallelism } from "node:os";
import { EngineError, nearest } from "./errors.ts";
import {
  ENGINE_NAMES,
  type EngineName,
  type OpenEngineOptions,
  PRECISIONS,
  type Precision,
  type ResolvedOptions,
} from "./types.ts";

const OPTION_NAMES = ["engine", "device", "precision", "threads"] as const;
const ENGINES = ["auto", ...ENGINE_NAMES] as const;
const DEVICES = ["cpu", "cuda", "gpu"] as const;

function unknown(kind: string, asked: unknown, known: readonly string[], more = ""): EngineError {
  const close = typeof asked === "string" ? nearest(asked, known) : undefined;
  const there = `there is ${known.map((name) => `"${name}"`).join(", ")}${more}`;
  const shown = typeof asked === "string" ? `"${asked}"` : String(asked);
  return new EngineError(
    `unknown ${kind} ${shown}: ${there}`,
    close ? `did you mean "${close}"?` : `ask for one of these`,
  );
}

function includes<Name extends string>(known: readonly Name[], asked: unknown): asked is Name {
  return (known as readonly unknown[]).includes(asked);
}

function checkDevice(device: unknown): string | undefined {
  if (device === undefined || includes(DEVICES, device) || (typeof device === "string" && /^cuda:\d+$/.test(device))) {
    return device;
  }
  throw unknown("device", device, DEVICES, ', "cuda:0", "cuda:1", ...');
}

/**
 * As PyTorch takes it: `OMP_NUM_THREADS` (the first number of its list), or else as many threads as there are cores. Two
 * threads on one free core mostly wait for each other, so launchers and test runners of several processes set it to 1.
 */
function defaultThreads(): number {
  const first = process.env.OMP_NUM_THREADS?.split(",")[0]?.trim() ?? "";
  return /^[1-9]\d{0,2}$/.test(first) ? Number(first) : availableParallelism();
}

function checkThreads(threads: unknown): number {
  if (threads === undefined) return defaultThreads();
  if (!Number.isInteger(threads) || (threads as number) < 1) {
    throw new EngineError(
      `threads must be a whole number from 1 on, got ${String(threads)}`,
      `leave it out to use ${defaultThreads()}`,
    );
  }
  return threads as number;
}

/**
 * Validates options and fills in defaults.
 * @throws EngineError that names the first invalid option and its valid values
 */
export function resolveOptions(options: OpenEngineOptions): ResolvedOptions & { engine: EngineName | "auto" } {
  for (const name of Object.keys(options)) {
    if (!includes(OPTION_NAMES, name)) {
      throw unknown("option", name, OPTION_NAMES);
    }
  }
  const engine: unknown = options.engine ?? "auto";
  const precision: unknown = options.precision ?? "float32";
  if (!includes(ENGINES, engine)) {
    throw unknown("engine", engine, ENGINES);
  }
  if (!includes<Precision>(PRECISIONS, precision)) {
    throw unknown("precision", precision, PRECISIONS);
  }
  return { engine, precision, device: checkDevice(options.device), threads: checkThreads(options.threads) };
}
