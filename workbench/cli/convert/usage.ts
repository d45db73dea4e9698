// What `gblr convert` can be told, and which of it contradicts: all that is bad usage before anything is fetched.

import { type Allocation, type Convolutions, expectInit, type Init } from "../../compress/index.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { OpenEngineOptions } from "../../engine/core/types.ts";
import { widthValues } from "../../gblr/init/index.ts";
import { structureNamed } from "../../structures/registry.ts";
import { UsageError } from "../program.ts";

export interface ConvertVerbOptions extends OpenEngineOptions {
  structure: string;
  budget?: number;
  flops?: number;
  widths?: string;
  layers?: string[];
  allocate: Allocation;
  convolutions: Convolutions;
  init: Init;
  searchSteps: number;
  calibrate?: string;
  calibrateConfig?: string;
  calibrateSplit?: string;
  calibrateColumn?: string;
  calibrateEncoding?: string;
  calibrateSamples?: number;
  calibrateContext?: number;
  seed: number;
  out?: string;
  dryRun?: boolean;
  force?: boolean;
  json?: boolean;
}

/** @throws UsageError for what cannot be meant */
export function checkUsage(options: ConvertVerbOptions): void {
  const { structure, budget, flops, widths, init, allocate, calibrate, out, dryRun } = options;
  const given = Object.entries({ budget, flops, widths }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => `--${name}`).join(" and ");
    throw new UsageError(
      given.length === 0
        ? "say what layers may cost: --budget, --flops or --widths"
        : `${names} contradict each other; choose one`,
    );
  }
  if (out === undefined && !dryRun) throw new UsageError("--out is missing: a folder for the model, or --dry-run");
  const { hasWidths, needsConvolution } = structureNamed(structure);
  if (widths !== undefined && !hasWidths) throw new UsageError(`--widths is for gblr, not ${structure}`);
  if (needsConvolution && options.convolutions === "per-kernel") {
    throw new UsageError(`--structure ${structure} is of whole kernels, not --convolutions per-kernel; choose one`);
  }
  for (const [flag, other] of [
    ["--allocate global", allocate === "global"],
    ["--init search", init === "search"],
  ] as const) {
    if (widths !== undefined && other) throw new UsageError(`--widths and ${flag} contradict each other; choose one`);
  }
  if (init === "activation" && calibrate === undefined) {
    throw new UsageError("--init activation needs --calibrate, a data set to see inputs on");
  }
  const detail = DETAILS.find((name) => options[name] !== undefined);
  if (calibrate === undefined && detail) {
    throw new UsageError(`--${detail.replace("calibrate", "calibrate-").toLowerCase()} needs --calibrate`);
  }
  try {
    expectInit(init, structure);
    if (widths !== undefined) widthValues(widths, { blocks: 8, nIn: 8, nOut: 8 });
  } catch (error) {
    throw error instanceof EngineError ? new UsageError(error.message) : error;
  }
}

const DETAILS = [
  "calibrateConfig",
  "calibrateSplit",
  "calibrateColumn",
  "calibrateEncoding",
  "calibrateSamples",
  "calibrateContext",
] as const;
