// `gblr convert`: converts a dense model into a structured one. It runs the same pipeline stages as an experiment; this
// file composes them and prints the result. The options are in convert/options.ts, the tables in convert/tables.ts.

import { basename, resolve } from "node:path";
import process from "node:process";
import type { Command } from "commander";
import { SIZES_PICTURE, type SizesFacts } from "../../hub/card/index.ts";
import {
  type Conversion,
  type ConversionPlan,
  expectDense,
  FinishedLayers,
  type PlanOptions,
  planConversion,
  sizesRecord,
} from "../compress/index.ts";
import { isFirst, type ProcessGroup } from "../distributed/process-group.ts";
import { deviceKind } from "../engine/core/open.ts";
import type { Engine } from "../engine/core/types.ts";
import type { Model } from "../models/index.ts";
import { openCalibration } from "../pipeline/calibration/calibrate.ts";
import { hashedCalibration } from "../pipeline/calibration/hash.ts";
import { type CheckOutcome, convertChecked } from "../pipeline/check/check.ts";
import { type SizeScore, scoresBySize } from "../pipeline/check/sizes.ts";
import { type Converted, convertModel, isAllocatedLater, type PlanRequest } from "../pipeline/convert.ts";
import { fetchModel, type Source } from "../pipeline/fetch.ts";
import { load } from "../pipeline/load.ts";
import { sizeOnDisk } from "../pipeline/measure.ts";
import { reorderedLines, reorderTexts, requestOf } from "../pipeline/reorder.ts";
import { type ConvertedFolder, writeConversionResults } from "../pipeline/results/conversion-results.ts";
import { baseOf, originFacts, PICTURE, save, writeCard } from "../pipeline/save.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import { RUN_FILES } from "../report/index.ts";
import { structureNamed } from "../structures/registry.ts";
import { type ConversionCheck, checkedRows, checkLines, openConversionCheck } from "./convert/check.ts";
import {
  addCalibrationOptions,
  addCheckOptions,
  addConversionOptions,
  type ConvertVerbOptions,
  calibrationSettingsOf,
  checkUsage,
  DESCRIPTION,
  isReorderOnly,
  SUMMARY,
} from "./convert/options.ts";
import { reorderOnly } from "./convert/order.ts";
import { sizeLines, sizesFacts } from "./convert/sizes.ts";
import { printConversion, printPlan, type Written } from "./convert/tables.ts";
import {
  addInferenceOptions,
  addWeightType,
  countFrom,
  FORCE,
  JSON_DOCUMENT,
  MODEL_ARGUMENT,
} from "./shared/options.ts";
import { verb } from "./shared/program.ts";
import { expectOneProcess, openEngineAndJoin } from "./shared/ranks.ts";
import { expectPlaceForModel, runStages } from "./shared/stages.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";

export function addConvert(program: Command): void {
  const command = verb(program, {
    name: "convert",
    summary: SUMMARY,
    example: [
      "gblr convert openai-community/gpt2 --structure gblr --flops 0.4375 --out models/gpt2-gblr",
      "gblr convert models/gpt2 --structure lowrank --budget 0.35 --allocate global --out models/gpt2-lowrank",
      "gblr convert models/gpt2 --structure gblr --budget 0.35 --init activation \\",
      "  --calibrate Salesforce/wikitext --calibrate-config wikitext-103-raw-v1 --out models/gpt2-aware",
      "gblr convert models/gpt2 --structure gblr --budget 0.35 --reorder clusters --out models/gpt2-ordered",
      "gblr convert models/gpt2 --structure gblr --sizes 0.2..0.8 --init search --calibrate my-texts --out models/gpt2-sizes",
      "gblr convert models/gpt2 --structure gblr --widths lr0.25 --layers 'h.*.mlp' --dry-run",
      "gblr convert models/gpt2 --structure gblr --budget 0.5 --check my-texts --max-loss-increase 5 --out models/gpt2-safe",
      "gblr convert timm/resnet18.tv_in1k --structure gblr --widths lr0.35 --out models/resnet18-gblr",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", MODEL_ARGUMENT);
  addConversionOptions(command);
  addCalibrationOptions(command);
  addCheckOptions(command);
  addInferenceOptions(addWeightType(command, CONVERT_TO_INT8))
    .option("--seed <number>", "random seed of the search", countFrom(0), 0)
    .option("--out <folder>", "folder to write the model to")
    .option("--dry-run", "print the plan and stop")
    .option("--force", FORCE)
    .option("--json", JSON_DOCUMENT)
    .action(convertVerb);
}

/** What to run for files in int8. */
const CONVERT_TO_INT8 =
  "run `gblr convert` without it and with --out FOLDER, then `gblr export FOLDER --to packed --dtype int8 --out SMALL`";

async function convertVerb(name: string, options: ConvertVerbOptions): Promise<void> {
  checkUsage(options);
  if (isReorderOnly(options)) {
    expectOneProcess("a conversion that only reorders");
    return reorderOnly(name, options);
  }
  const { out, dryRun = false, force = false, json = false } = options;
  if (out !== undefined && !dryRun) await expectPlaceForModel(out, { force });
  if (options.check !== undefined) expectOneProcess("--check");
  const { engine, ranks } = await openEngineAndJoin(options);
  // Only the first of several processes prints and writes.
  const isQuiet = !isFirst(ranks);
  const palette = paletteFor(process.stdout, process.env);
  const print = (text: string) => process.stdout.write(`${text}\n`);
  const kept = options.check === undefined ? "finished layers" : "finished layers and measurements";
  const interrupted = `interrupted; ${kept} are kept: run the same command again to resume`;
  const show = (event: PipelineEvent) => {
    if (json || isQuiet) return;
    if (event.kind === "inner" && event.of === "reorder" && event.event.kind === "reordered") {
      print([`reordered by ${event.event.order}`, ...reorderedLines(event.event)].join("\n  "));
    }
    if (event.kind === "planned") print(printPlan(event.plan, { model: name, palette }));
  };
  const done = await runStages({ interrupted, json, show, quiet: isQuiet }, (context) =>
    convertAndSave(name, options, { ...context, engine, ranks }),
  );
  if (isQuiet) return;
  if (json) print(JSON.stringify(documentOf(name, done, options), null, 2));
  else if (done.written) {
    const text = printConversion(done.conversion, done.written, { plan: done.plan, palette });
    print([text, ...(done.checkText ?? [])].join("\n"));
  } else if (isPlannedLater(options)) {
    print(`This plan allocates uniformly: --allocate ${options.allocate} is decided after calibration.`);
  }
}

const isPlannedLater = ({ init, allocate: allocation, calibrate }: ConvertVerbOptions): boolean =>
  isAllocatedLater({ allocation, init, isCalibrated: calibrate !== undefined });

/** The result of the verb; a dry run, and a process that is not the first one, have the plan only. */
type Done =
  | { plan: ConversionPlan; written?: undefined }
  | (Converted & { written: Written; outcome?: CheckOutcome; checkText?: string[]; scores?: SizeScore[] });

/** Runs the stages fetch, load, plan, calibrate, convert, save and card. */
async function* convertAndSave(
  name: string,
  options: ConvertVerbOptions,
  { engine, ranks, ...context }: StageContext & { engine: Engine; ranks: ProcessGroup | undefined },
): AsyncGenerator<PipelineEvent, Done> {
  const { allocate: allocation, init, seed, searchSteps, quantum, blockRank, stableBlocks, dryRun } = options;
  const source = yield* fetchModel(name, context);
  const model = yield* load(source.folder, { dtype: options.dtype });
  try {
    const began = performance.now();
    expectDense(model);
    const plan = (request: PlanRequest) => planConversion(model, { ...costOf(options), ...request });
    if (dryRun) {
      const found = await plan({ allocation: isPlannedLater(options) ? "uniform" : allocation });
      yield { kind: "planned", plan: found };
      return { plan: found };
    }
    const settings = calibrationSettingsOf(options);
    const data = settings && (yield* openCalibration(settings, { model, source, context, ranks }));
    const calibration = data && hashedCalibration(data);
    const before = parametersOf(model);
    const { calibrateMemory: gigabytes, sequential, damping, whitening } = options;
    const calibrationBytes = gigabytes === undefined ? undefined : gigabytes * 1e9;
    const calibrated = { calibration, calibrationBytes, sequential, damping, whitening };
    const layersFolder = `${resolve(options.out as string)}.layers`;
    const finished = new FinishedLayers(layersFolder, identityOf(options, source, engine));
    const search = { init, seed, searchSteps, quantum, blockRank, stableBlocks };
    const chosen = { allocation, ...search, reorder: requestOf(options) };
    let notes: readonly string[] = [];
    let converted: Converted;
    let checked: ConversionCheck | undefined;
    let outcome: CheckOutcome | undefined;
    let scores: SizeScore[] | undefined;
    try {
      checked = yield* openConversionCheck(options, { model, source, engine, context });
      const convert = { plan, ...chosen, ...calibrated, finished, ranks, signal: context.signal };
      if (checked) {
        const limit = options.maxLossIncrease;
        const result = yield* convertChecked(model, { ...checked, limit, convert });
        [converted, outcome] = [result, result.outcome];
        const record = sizesRecord(model, result.plan, result.conversion);
        const { check } = checked;
        scores = record && (yield* scoresBySize(model, record, { check, signal: context.signal }));
      } else converted = yield* convertModel(model, convert);
    } finally {
      notes = [...((await data?.close()) ?? []), ...((await checked?.check.close()) ?? [])];
    }
    if (!isFirst(ranks)) return { plan: converted.plan };
    for (const text of notes) yield { kind: "note", text };
    const sizes = converted.plan.sizes && sizesFacts(converted.plan.sizes, { checked, outcome, scores });
    const files = yield* saveConverted(model, converted, { options, source, engine, sizes, signal: context.signal });
    await finished.remove(converted.plan.layers.map((layer) => layer.name));
    const out = options.out as string;
    const written = await writtenOf(out, files, { model, converted, source, before, began });
    const { seconds } = written;
    const made = {
      model,
      converted,
      source,
      calibration,
      out,
      seconds,
      dataset: options.calibrate,
      seeds: seedsOf(options),
    };
    const rows = checked && outcome && { checked: checkedRows(checked, outcome) };
    await writeConversionResults({ ...made, ...methodOf(options), ...originOf(engine), ...rows });
    await checked?.record.remove();
    const text = checked && outcome && [...checkLines(checked, outcome), ...sizeLines(checked, scores)];
    return { ...converted, written, ...(text && { outcome, checkText: text }), ...(scores && { scores }) };
  } finally {
    model.dispose();
  }
}

/** What finished layers depend on, beside what the convert stage adds: weights, calibration data and settings. */
function identityOf(options: ConvertVerbOptions, { name, revision }: Source, engine: Engine): unknown {
  return {
    model: [name, revision, options.dtype],
    // The processes of a conversion have different GPUs.
    engine: [engine.name, deviceKind(engine.device), engine.precision],
    versions: versionsOf(engine),
  };
}

interface Before {
  model: Model;
  converted: Converted;
  source: Source;
  /** parameters before the conversion */
  before: number;
  /** start of the conversion, milliseconds of performance.now */
  began: number;
}

/** The facts about the written folder. */
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

function costOf({ structure, budget, flops, sizes, widths, layers, convolutions }: ConvertVerbOptions): PlanOptions {
  return {
    structure,
    convolutions,
    ...(budget !== undefined && { budget }),
    ...(flops !== undefined && { flops }),
    ...(sizes !== undefined && { sizes }),
    ...(widths !== undefined && { widths }),
    ...(layers !== undefined && { layers }),
  };
}

interface Saving {
  options: ConvertVerbOptions;
  sizes: SizesFacts | undefined;
  source: Source;
  engine: Engine;
  signal: AbortSignal;
}

/** Saves the converted model with its card. @returns names of the files */
async function* saveConverted(
  model: Model,
  { plan, conversion, damping, reordered }: Converted,
  { options, source, engine, sizes, signal }: Saving,
): AsyncGenerator<PipelineEvent, string[]> {
  const { init, seed, calibrate } = options;
  const out = options.out as string;
  const record = sizesRecord(model, plan, conversion);
  const { files } = yield* save(model, out, {
    // The blocks of a model of several sizes are not trained, because each of them has a place in the order of sizes.
    trainable: (structureNamed(plan.structure).hasWidths ?? false) && record === undefined,
    base: baseOf(source),
    gblr: {
      budget: plan.totals.budget,
      ...plan.asked,
      allocation: plan.allocation,
      ...(plan.convolutions !== "integrated" && { convolutions: plan.convolutions }),
      init,
      seed,
      ...(calibrate !== undefined && { calibration: calibrate }),
      ...(damping !== undefined && { sequential: true, damping }),
      ...(reordered && { reorder: reordered.order }),
      ...(record && { sizes: record }),
    },
    texts: await reorderTexts(source.folder, reordered),
    signal,
  });
  const { reference, actual } = conversion.counts;
  const hasPicture = await writeCard(out, {
    title: basename(resolve(out)),
    task: model.architecture.task.kind,
    structure: plan.structure,
    ...(await originFacts(source, originOf(engine))),
    relativeFlops: { reference: reference.relative, actual: actual.relative },
    seed,
    sizes,
  });
  return [
    ...files,
    ...(sizes?.measured ? [SIZES_PICTURE] : []),
    "README.md",
    ...(hasPicture ? [PICTURE] : []),
    RUN_FILES.results,
    RUN_FILES.conversion,
  ];
}

const originOf = (engine: Engine) => ({ engine, command: commandLine(), versions: versionsOf(engine) });

const seedsOf = ({ seed, calibrateSeed }: ConvertVerbOptions): ConvertedFolder["seeds"] => ({
  seed,
  ...(calibrateSeed !== undefined && { calibrationSeed: calibrateSeed }),
});

/** Options that are not settings of the result: places, outputs, and the machine. */
const NO_SETTINGS = [
  "out",
  "dryRun",
  "force",
  "json",
  "engine",
  "device",
  "precision",
  "threads",
  "form",
  "calibrateMemory",
];
/** Options of which the row of the results has the values by other names. */
const OF_ROW = ["structure", "budget", "flops", "sizes", "widths", "layers", "allocate", "init", "seed", "searchSteps"];

/** The settings of the conversion, and those that are options of the method. */
function methodOf(options: ConvertVerbOptions): Pick<ConvertedFolder, "settings" | "options"> {
  const given = Object.entries(options).filter(
    ([name, value]) => value !== undefined && !NO_SETTINGS.includes(name),
  ) as [string, string | number | boolean][];
  const isOption = ([name, value]: [string, unknown]) =>
    !OF_ROW.includes(name) && !/^(calibrate|check)/.test(name) && typeof value !== "object";
  return { settings: Object.fromEntries(given), options: Object.fromEntries(given.filter(isOption)) };
}

/** The document of --json. */
function documentOf(
  model: string,
  { plan, ...done }: Done,
  { seed, calibrate, whitening }: ConvertVerbOptions,
): object {
  if (!done.written) return { model, plan };
  const { conversion, written, rows, damping, reordered, outcome, scores } = done;
  const sequential = damping !== undefined && { sequential: true, damping };
  const calibration = rows !== undefined && { calibration: { dataset: calibrate, rows, whitening, ...sequential } };
  const facts = {
    ...(reordered && { reordered }),
    ...(outcome && { check: outcome }),
    ...(scores && { sizes: scores }),
  };
  return { model, plan, ...conversion, ...written, seed, ...calibration, ...facts };
}

/**
 * Number of parameters needed for inference. The live blocks of a GBLR layer have as many parameters as the layer has
 * multiply-adds per row.
 */
function parametersOf(model: Model, conversion?: Conversion): number {
  const packed = conversion?.layers.filter(({ structure }) => structureNamed(structure).hasWidths) ?? [];
  const whole = [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0);
  return packed.reduce((sum, { name, cost }) => {
    const held = Object.values(model.structureParameters(name)).reduce((size, tensor) => size + tensor.size, 0);
    return sum - held + cost;
  }, whole);
}
