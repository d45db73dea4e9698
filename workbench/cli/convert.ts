// `gblr convert`: converts a dense model into a structured one. It runs the same pipeline stages as an experiment; this
// file has the options, their checks, and the JSON document.

import { basename, resolve } from "node:path";
import process from "node:process";
import { type Command, Option } from "commander";
import {
  ALLOCATIONS,
  type Allocation,
  CONVOLUTIONS,
  type Conversion,
  type ConversionPlan,
  type Convolutions,
  expectDense,
  expectInit,
  INITS,
  type Init,
  type PlanOptions,
  planConversion,
} from "../compress/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import type { Engine, OpenEngineOptions } from "../engine/core/types.ts";
import { widthValues } from "../gblr/init/index.ts";
import type { Model } from "../models/index.ts";
import { openCalibration } from "../pipeline/calibrate.ts";
import { type Converted, convertModel, type PlanRequest } from "../pipeline/convert.ts";
import { fetchModel, type Source } from "../pipeline/fetch.ts";
import { load } from "../pipeline/load.ts";
import { sizeOnDisk } from "../pipeline/measure.ts";
import { baseOf, originFacts, save, writeCard } from "../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import { printConversion, printPlan, type Written } from "./convert-tables.ts";
import {
  addEngineOptions,
  countFrom,
  FORCE,
  JSON_DOCUMENT,
  MODEL_ARGUMENT,
  openEngineFor,
  share,
} from "./shared/options.ts";
import { UsageError, verb } from "./shared/program.ts";
import { expectPlaceForModel, runStages } from "./shared/stages.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";

const SUMMARY = "compress a model: replace its linear layers by structured layers";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Replaces the linear layers of a dense model by structured layers and writes a
model folder. Their cost is given in one of three ways:

--budget  multiply-adds of the converted layers, as a share of dense. With 0.35
          they have at most 35 % of the multiply-adds of the dense layers
--flops   relative FLOPs (reference) of the whole model, as published tables
          count them, including attention and layers that stay dense. The
          paper's GPT-2 has 0.4375
--widths  GBLR only: the rule for the initial widths of the published settings,
          e.g. lr0.25. The cost follows from it

A budget is never exceeded. The part of it that is less than a whole rank goes
to other layers or to one narrower block. The plan is printed first.

A convolution is converted as one matrix, applied to the patches under its
kernel, or with --convolutions per-kernel as one matrix for each position of
the kernel. The structure tucker converts whole convolutions only.

Initializations: svd minimizes the error of the matrix; search is the budgeted
block search of GBLR; activation minimizes the error of the layer's output for
inputs from the data set of --calibrate.
`.trim();

export function addConvert(program: Command): void {
  const command = verb(program, {
    name: "convert",
    summary: SUMMARY,
    example: [
      "gblr convert openai-community/gpt2 --structure gblr --flops 0.4375 --out models/gpt2-gblr",
      "gblr convert models/gpt2 --structure lowrank --budget 0.35 --allocate global --out models/gpt2-lowrank",
      "gblr convert models/gpt2 --structure gblr --budget 0.35 --init activation \\",
      "  --calibrate Salesforce/wikitext --calibrate-config wikitext-103-raw-v1 --out models/gpt2-aware",
      "gblr convert models/gpt2 --structure gblr --widths lr0.25 --layers 'h.*.mlp' --dry-run",
      "gblr convert timm/resnet18.tv_in1k --structure gblr --widths lr0.35 --out models/resnet18-gblr",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", MODEL_ARGUMENT);
  addConversionOptions(command);
  addCalibrationOptions(command);
  addEngineOptions(command)
    .option("--seed <number>", "random seed of the search", countFrom(0), 0)
    .option("--out <folder>", "folder to write the model to")
    .option("--dry-run", "print the plan and stop")
    .option("--force", FORCE)
    .option("--json", JSON_DOCUMENT)
    .action(convertVerb);
}

/** What the layers become, and their cost. */
function addConversionOptions(command: Command): void {
  command
    .addOption(
      new Option("--structure <name>", "structure of the converted layers")
        .choices(structures().map(({ name }) => name))
        .makeOptionMandatory(),
    )
    .option("--budget <share>", "budget as a share of the converted layers' multiply-adds, above 0 to 1", share)
    .option("--flops <share>", "budget as relative FLOPs (reference) of the whole model", share)
    .option("--widths <rule>", "rule for the initial widths of gblr: lrR, splrR or constX")
    .option(
      "--layers <patterns...>",
      "convert layers whose name contains a pattern; * matches any characters (default: as published)",
    )
    .addOption(
      new Option(
        "--allocate <how>",
        "allocation of the budget: the same share for each layer, or by singular values over all layers",
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
    .option("--search-steps <count>", "optimizer steps per layer, for --init search", countFrom(1), 1000);
}

/** The data set to calibrate on. */
function addCalibrationOptions(command: Command): void {
  command
    .option("--calibrate <dataset>", "data set to calibrate on, text or images: a folder or owner/name[@revision]")
    .option("--calibrate-config <name>", "configuration of the data set (default: its only or default configuration)")
    .option("--calibrate-split <name>", "split to calibrate on (default: train)")
    .option("--calibrate-column <name>", "column with the text or the images (default: text; image or img)")
    .option("--calibrate-encoding <name>", "encoding of text files, such as windows-1252 (default: utf-8)")
    .option("--calibrate-samples <count>", "windows or images to calibrate on (default: 32)", countFrom(1))
    .option("--calibrate-context <tokens>", "tokens per window (default: the model's positions)", countFrom(1));
}

async function convertVerb(name: string, options: ConvertVerbOptions): Promise<void> {
  checkUsage(options);
  const { out, dryRun = false, force = false, json = false } = options;
  if (out !== undefined && !dryRun) await expectPlaceForModel(out, { force });
  const palette = paletteFor(process.stdout, process.env);
  const print = (text: string) => process.stdout.write(`${text}\n`);
  const interrupted = "interrupted; nothing was written";
  const show = (event: PipelineEvent) => {
    if (event.kind === "planned" && !json) print(printPlan(event.plan, { model: name, palette }));
  };
  const done = await runStages({ interrupted, json, show }, (context) => convertAndSave(name, options, context));
  if (json) print(JSON.stringify(documentOf(name, done, options), null, 2));
  else if (done.written) print(printConversion(done.conversion, done.written, { plan: done.plan, palette }));
}

/** The result of the verb; a dry run has the plan only. */
type Done = { plan: ConversionPlan; written?: undefined } | (Converted & { written: Written });

/** Fetch, load, plan, calibrate, convert, save, card. */
async function* convertAndSave(
  name: string,
  options: ConvertVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, Done> {
  const { allocate: allocation, init, seed, searchSteps, dryRun } = options;
  const source = yield* fetchModel(name, context);
  const engine = await openEngineFor(options);
  const model = yield* load(source.folder);
  try {
    const began = performance.now();
    expectDense(model);
    const plan = (request: PlanRequest) => planConversion(model, { ...costOf(options), ...request });
    if (dryRun) {
      const isLater = init === "activation" && allocation === "global";
      const found = await plan({ allocation: isLater ? "uniform" : allocation });
      yield { kind: "planned", plan: found };
      return { plan: found };
    }
    const data = yield* calibrationData(options, { model, source, context });
    const before = parametersOf(model);
    const how = { allocation, init, seed, searchSteps, calibration: data, signal: context.signal };
    let notes: readonly string[] = [];
    let converted: Converted;
    try {
      converted = yield* convertModel(model, { plan, ...how });
    } finally {
      notes = (await data?.close()) ?? [];
    }
    for (const text of notes) yield { kind: "note", text };
    const files = yield* saveConverted(model, converted, { options, source, engine, signal: context.signal });
    const written = await writtenOf(options.out as string, files, { model, converted, source, before, began });
    return { ...converted, written };
  } finally {
    model.dispose();
  }
}

interface Before {
  model: Model;
  converted: Converted;
  source: Source;
  /** parameters before the conversion */
  before: number;
  /** milliseconds, as of performance.now */
  began: number;
}

/** What the result says of the written folder. */
async function writtenOf(
  out: string,
  files: readonly string[],
  { model, converted, source, before, began }: Before,
): Promise<Written> {
  return {
    out,
    files,
    parameters: { before, after: parametersOf(model, converted.conversion) },
    bytes: { before: (await sizeOnDisk(source.folder)).fileBytes, after: (await sizeOnDisk(out)).fileBytes },
    seconds: (performance.now() - began) / 1000,
  };
}

function costOf({ structure, budget, flops, widths, layers, convolutions }: ConvertVerbOptions): PlanOptions {
  return {
    structure,
    convolutions,
    ...(budget !== undefined && { budget }),
    ...(flops !== undefined && { flops }),
    ...(widths !== undefined && { widths }),
    ...(layers !== undefined && { layers }),
  };
}

async function* calibrationData(
  options: ConvertVerbOptions,
  opened: { model: Model; source: Source; context: StageContext },
) {
  const { calibrate: dataset } = options;
  if (dataset === undefined) return undefined;
  const settings = {
    dataset,
    config: options.calibrateConfig,
    split: options.calibrateSplit ?? "train",
    column: options.calibrateColumn,
    encoding: options.calibrateEncoding,
    samples: options.calibrateSamples ?? 32,
    context: options.calibrateContext,
  };
  return yield* openCalibration(settings, opened);
}

interface Saving {
  options: ConvertVerbOptions;
  source: Source;
  engine: Engine;
  signal: AbortSignal;
}

/** @returns names of the files */
async function* saveConverted(
  model: Model,
  { plan, conversion }: Converted,
  { options, source, engine, signal }: Saving,
): AsyncGenerator<PipelineEvent, string[]> {
  const { init, seed, calibrate } = options;
  const out = options.out as string;
  const { files } = yield* save(model, out, {
    trainable: structureNamed(plan.structure).hasWidths ?? false,
    base: baseOf(source),
    gblr: {
      budget: plan.totals.budget,
      ...plan.asked,
      allocation: plan.allocation,
      ...(plan.convolutions !== "integrated" && { convolutions: plan.convolutions }),
      init,
      seed,
      ...(calibrate !== undefined && { calibration: calibrate }),
    },
    signal,
  });
  const { reference, actual } = conversion.counts;
  await writeCard(out, {
    title: basename(resolve(out)),
    task: model.architecture.task.kind,
    structure: plan.structure,
    ...(await originFacts(source, { engine, command: commandLine(), versions: versionsOf(engine) })),
    relativeFlops: { reference: reference.relative, actual: actual.relative },
    seed,
  });
  return files;
}

/** The document of --json. */
function documentOf(model: string, { plan, ...done }: Done, { seed, calibrate }: ConvertVerbOptions): object {
  if (!done.written) return { model, plan };
  const { conversion, written, rows } = done;
  const calibration = rows !== undefined && { calibration: { dataset: calibrate, rows } };
  return { model, plan, ...conversion, ...written, seed, ...calibration };
}

/**
 * Number of parameters needed for inference. Those of a GBLR layer in its live blocks are as many as its multiply-adds
 * per row.
 */
function parametersOf(model: Model, conversion?: Conversion): number {
  const packed = conversion?.layers.filter(({ structure }) => structureNamed(structure).hasWidths) ?? [];
  const whole = [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0);
  return packed.reduce((sum, { name, cost }) => {
    const held = Object.values(model.structureParameters(name)).reduce((size, tensor) => size + tensor.size, 0);
    return sum - held + cost;
  }, whole);
}

interface ConvertVerbOptions extends OpenEngineOptions {
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

/** @throws UsageError for options that contradict each other or are missing */
function checkUsage(options: ConvertVerbOptions): void {
  const { structure, budget, flops, widths, init, allocate, out, dryRun } = options;
  const given = Object.entries({ budget, flops, widths }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => `--${name}`).join(" and ");
    throw new UsageError(
      given.length === 0
        ? "no cost is given; give one of --budget, --flops and --widths"
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
    ["--allocate global", allocate === "global"],
    ["--init search", init === "search"],
  ] as const) {
    if (widths !== undefined && other) throw new UsageError(`--widths and ${flag} contradict each other; choose one`);
  }
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
  if (init === "activation" && calibrate === undefined) {
    throw new UsageError("--init activation needs --calibrate; give a data set to calibrate on");
  }
  const detail = DETAILS.find((name) => options[name] !== undefined);
  if (calibrate === undefined && detail) {
    throw new UsageError(
      `--${detail.replace("calibrate", "calibrate-").toLowerCase()} needs --calibrate; give a data set`,
    );
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
