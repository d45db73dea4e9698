// The options of `gblr convert` and their checks.

import { type Command, Option } from "commander";
import {
  ALLOCATIONS,
  type Allocation,
  CONVOLUTIONS,
  type Convolutions,
  expectInit,
  INITS,
  type Init,
  needsCalibration,
  ORDERS,
  SYMMETRY_KINDS,
  type SymmetryKind,
} from "../../compress/index.ts";
import { EngineError } from "../../engine/core/errors.ts";
import type { OpenEngineOptions } from "../../engine/core/types.ts";
import { WHITENINGS, type Whitening, widthValues } from "../../gblr/init/index.ts";
import type { WeightType } from "../../models/index.ts";
import type { CalibrationSettings } from "../../pipeline/calibration/calibrate.ts";
import { NO_ORDER } from "../../pipeline/reorder.ts";
import { structureNamed, structures } from "../../structures/registry.ts";
import { addCheckData, type CheckFlags, expectCheckData, expectDataset } from "../shared/check-data.ts";
import { countFrom, numberFrom, share } from "../shared/options.ts";
import { UsageError } from "../shared/program.ts";
import { AliasOption } from "../shared/settings.ts";
import { checkSizes, sizesIn } from "./sizes.ts";

export const SUMMARY = "compress a model: replace its linear layers by structured layers";

// Lines of at most 78 characters: wider ones are broken again.
export const DESCRIPTION = `
Replaces the linear layers of a dense model by structured layers and writes a
model folder. Their cost is given in one of four ways:

--budget  multiply-adds of the converted layers, as a share of dense. With 0.35
          they have at most 35 % of the multiply-adds of the dense layers
--flops   relative FLOPs (reference) of the whole model, as published tables
          count them, including attention and layers that stay dense. The
          paper's GPT-2 has 0.4375
--sizes   one model for a range of budgets, e.g. 0.2..0.8: --keep of export,
          serve, eval, generate, chat and inspect cuts it
--widths  GBLR only: the rule for the initial widths of the published settings,
          e.g. lr0.25. The cost follows from it

A budget is never exceeded. The part of it that is less than a whole rank goes
to other layers or to one narrower block. The plan is printed first.

A convolution is converted as one matrix, applied to the patches under its
kernel, or with --convolutions per-kernel as one matrix for each position of
the kernel. The structure tucker converts whole convolutions only; a 1×1
convolution becomes lowrank.

Initializations: svd minimizes the error of the matrix; activation minimizes
the error of the layer's output for inputs from the data set of --calibrate.
search is the block search of GBLR; it minimizes the error of the output with
--calibrate, and the error of the matrix without. asvd and fwsvd are published
methods for lowrank, and wanda for pruned matrices; they need --calibrate.

--reorder puts hidden units, heads and other units whose order is free into an
order in which blocks fit better. The outputs of the dense model do not change.
With --structure dense the reordered model is written without a conversion.

--check measures the model on your data before and after. With
--max-loss-increase, layers are put back to dense, the most harmful first,
until the loss stays within the limit. The result names these layers and the
new cost.
`.trim();

/** Adds the options for the structure of the converted layers and their cost. */
export function addConversionOptions(command: Command): void {
  command
    .addOption(
      new Option("--structure <name>", "structure of the converted layers")
        .choices(structures().map(({ name }) => name))
        .makeOptionMandatory(),
    )
    .option("--budget <share>", "budget as a share of the converted layers' multiply-adds, above 0 to 1", share)
    .option("--flops <share>", "budget as relative FLOPs (reference) of the whole model", share)
    .addOption(
      new Option(
        "--sizes <from..to>",
        "make one model that --keep cuts to any size in this range, e.g. 0.2..0.8, as shares like --budget",
      ).argParser(sizesIn),
    )
    .option("--widths <rule>", "rule for the initial widths of gblr: lrR, splrR or constX")
    .option(
      "--layers <patterns...>",
      "convert layers whose name contains a pattern; * matches any characters (default: as published)",
    )
    .addOption(
      new Option(
        "--allocate <how>",
        "allocation of the budget: the same share for each layer, by singular values over all layers, or by the predicted increase of the loss",
      )
        .choices(ALLOCATIONS)
        .default("uniform"),
    )
    .addOption(
      new Option(
        "--convolutions <how>",
        "convert a convolution as one matrix, or as one matrix for each position of its kernel",
      )
        .choices(CONVOLUTIONS)
        .default("integrated"),
    )
    .addOption(new Option("--init <how>", "initialization of the converted layers").choices(INITS).default("svd"))
    .addOption(
      new Option("--reorder <order>", `put units in another order first: ${summaries()}`)
        .choices([NO_ORDER, ...ORDERS.map(({ name }) => name)])
        .default(NO_ORDER),
    )
    .addOption(
      new Option("--reorder-units <kinds...>", "units to reorder (default: all that the model has)").choices(
        SYMMETRY_KINDS,
      ),
    )
    .option(
      "--search-steps <count>",
      "optimizer steps per layer, for --init search without --calibrate",
      countFrom(1),
      1000,
    )
    .option(
      "--quantum <samples>",
      "with --init search and --calibrate: blocks of gblr begin and end at multiples of so many samples (default: 1)",
      countFrom(1),
    )
    .option(
      "--block-rank <ranks>",
      "with --init search and --calibrate: rank of the blocks of gblr, whose ranks share a span (default: 1)",
      countFrom(1),
    )
    .option(
      "--stable-blocks",
      "with --init search and --calibrate: blocks of gblr that do not cancel each other, so that they can be trained",
    );
}

const summaries = () => ORDERS.map(({ name, summary }) => `${name}, ${summary}`).join("; ");

/** Adds the options for the data set of the calibration. */
export function addCalibrationOptions(command: Command): void {
  command
    .option("--calibrate <dataset>", "data set to calibrate on, text or images: a folder or owner/name[@revision]")
    .option("--calibrate-config <name>", "configuration of the data set (default: its only or default configuration)")
    .option("--calibrate-split <name>", "split to calibrate on (default: train)")
    .option("--calibrate-column <name>", "column with the text or the images (default: text; image or img)")
    .option("--calibrate-encoding <name>", "encoding of text files, such as windows-1252 (default: utf-8)")
    .option("--calibrate-samples <count>", "windows or images to calibrate on (default: 32)", countFrom(1))
    .option(
      "--calibrate-seed <number>",
      "draw the windows or images to calibrate on at random with this seed (default: the first ones)",
      countFrom(0),
    )
    .option(
      "--calibrate-context <tokens>",
      "tokens per window (default: the model's positions, at most 2048)",
      countFrom(1),
    )
    // their flags in recipes
    .addOption(new AliasOption("calibrateSamples", "--calibration-samples <count>").argParser(countFrom(1)))
    .addOption(new AliasOption("calibrateSeed", "--calibration-seed <number>").argParser(countFrom(0)))
    .option(
      "--calibrate-memory <GB>",
      "maximum memory for covariances; if they need more, the model runs over the data several times (default: 4)",
      numberFrom(0),
    )
    .option("--sequential", "fit each layer to the inputs that the layers converted before it cause")
    .option(
      "--damping <share>",
      "with --sequential: share of the mean diagonal entry that is added to covariances (default: 1e-4)",
      numberFrom(0),
    )
    .addOption(new Option("--whitening <how>", "how covariances are factored").choices(WHITENINGS).default("cholesky"));
}

/** Adds the options for the check on the user's data. */
export function addCheckOptions(command: Command): void {
  addCheckData(command, "measure the model before and after").option(
    "--max-loss-increase <amount>",
    "largest increase of the loss on the data of --check, in percent of perplexity or points of accuracy; above it, the most harmful layers are put back to dense",
    numberFrom(0),
  );
}

/** The parsed options of the verb. */
export interface ConvertVerbOptions extends OpenEngineOptions, CheckFlags {
  structure: string;
  budget?: number;
  flops?: number;
  /** rising shares */
  sizes?: number[];
  widths?: string;
  layers?: string[];
  allocate: Allocation;
  convolutions: Convolutions;
  init: Init;
  /** `none`, or the name of an order */
  reorder: string;
  reorderUnits?: SymmetryKind[];
  searchSteps: number;
  /** samples */
  quantum?: number;
  /** ranks of a block */
  blockRank?: number;
  stableBlocks?: boolean;
  /** number type of dense weights in memory */
  dtype?: WeightType;
  calibrate?: string;
  calibrateMemory?: number;
  calibrateConfig?: string;
  calibrateSplit?: string;
  calibrateColumn?: string;
  calibrateEncoding?: string;
  calibrateSamples?: number;
  calibrateSeed?: number;
  calibrateContext?: number;
  sequential?: boolean;
  damping?: number;
  whitening: Whitening;
  maxLossIncrease?: number;
  seed: number;
  out?: string;
  dryRun?: boolean;
  force?: boolean;
  json?: boolean;
}

/** The data set to calibrate on; undefined if none is given. */
export function calibrationSettingsOf(options: ConvertVerbOptions): CalibrationSettings | undefined {
  const { calibrate: dataset } = options;
  if (dataset === undefined) return undefined;
  return {
    dataset,
    config: options.calibrateConfig,
    split: options.calibrateSplit ?? "train",
    column: options.calibrateColumn,
    encoding: options.calibrateEncoding,
    samples: options.calibrateSamples ?? 32,
    seed: options.calibrateSeed,
    context: options.calibrateContext,
  };
}

/** Whether units are reordered and no layer is converted. */
export const isReorderOnly = ({ structure, reorder }: ConvertVerbOptions): boolean =>
  structureNamed(structure).isDense === true && reorder !== NO_ORDER;

/** Checks the options. @throws UsageError if options contradict each other or are missing */
export function checkUsage(options: ConvertVerbOptions): void {
  const { structure, budget, flops, sizes, widths, init, allocate, out, dryRun } = options;
  const given = Object.entries({ budget, flops, sizes, widths }).filter(([, value]) => value !== undefined);
  if (options.reorderUnits && options.reorder === NO_ORDER) {
    throw new UsageError("--reorder-units needs --reorder; give an order");
  }
  if (isReorderOnly(options)) {
    const [flag] = [...given.map(([name]) => `--${name}`), ...(dryRun ? ["--dry-run"] : [])];
    if (flag)
      throw new UsageError(`${flag} and --structure dense contradict each other: nothing is converted; leave it out`);
  } else if (given.length !== 1) {
    const names = given.map(([name]) => `--${name}`).join(" and ");
    throw new UsageError(
      given.length === 0
        ? "no cost is given; give one of --budget, --flops, --sizes and --widths"
        : `${names} contradict each other; choose one`,
    );
  }
  if (out === undefined && !dryRun) {
    throw new UsageError("--out is missing; give a folder for the model, or --dry-run to see the plan only");
  }
  const { hasWidths, needsConvolution } = structureNamed(structure);
  if (widths !== undefined && !hasWidths) throw new UsageError(`--widths is for gblr, not ${structure}`);
  if (needsConvolution && options.convolutions === "per-kernel") {
    throw new UsageError(
      `--structure ${structure} and --convolutions per-kernel contradict each other, because ${structure} converts whole kernels; choose one`,
    );
  }
  for (const [flag, other] of [
    [`--allocate ${allocate}`, allocate !== "uniform"],
    ["--init search", init === "search"],
  ] as const) {
    if (widths !== undefined && other) throw new UsageError(`--widths and ${flag} contradict each other; choose one`);
  }
  checkSizes(options);
  checkCalibration(options);
  try {
    expectInit(init, structure);
    if (widths !== undefined) widthValues(widths, { blocks: 8, nIn: 8, nOut: 8 });
  } catch (error) {
    throw error instanceof EngineError ? new UsageError(error.message) : error;
  }
}

function checkCalibration(options: ConvertVerbOptions): void {
  const { init, calibrate } = options;
  if (options.quantum !== undefined && (init !== "search" || calibrate === undefined)) {
    throw new UsageError("--quantum needs --init search and --calibrate; give them, or leave out --quantum");
  }
  if (options.blockRank !== undefined && (init !== "search" || calibrate === undefined)) {
    throw new UsageError("--block-rank needs --init search and --calibrate; give them, or leave out --block-rank");
  }
  if (options.stableBlocks && (init !== "search" || calibrate === undefined)) {
    throw new UsageError(
      "--stable-blocks needs --init search and --calibrate; give them, or leave out --stable-blocks",
    );
  }
  if (needsCalibration(init) && calibrate === undefined) {
    throw new UsageError(`--init ${init} needs --calibrate; give a data set to calibrate on`);
  }
  if (options.allocate === "loss" && calibrate === undefined) {
    throw new UsageError("--allocate loss needs --calibrate; give a data set to calibrate on");
  }
  if (options.sequential && calibrate === undefined) {
    throw new UsageError("--sequential needs --calibrate; give a data set to calibrate on");
  }
  if (options.damping !== undefined && !options.sequential) {
    throw new UsageError("--damping needs --sequential; give it, or leave out --damping");
  }
  expectDataset("calibrate", DETAILS, options);
  expectDataset("check", ["maxLossIncrease"], options);
  expectCheckData(options);
}

const DETAILS = [
  "calibrateConfig",
  "calibrateSplit",
  "calibrateColumn",
  "calibrateEncoding",
  "calibrateSamples",
  "calibrateSeed",
  "calibrateContext",
  "calibrateMemory",
] as const;
