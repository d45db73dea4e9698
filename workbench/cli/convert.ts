// `gblr convert`: a dense model made into a structured one. The work is in compress/ and models/; here are the options,
// the order of things, the progress and the tables.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { type Command, Option } from "commander";
import type { Located } from "../../hub/pull/locate.ts";
import {
  ALLOCATIONS,
  type Allocation,
  CONVOLUTIONS,
  type Conversion,
  type ConversionPlan,
  type Convolutions,
  type Covariances,
  convert,
  expectDense,
  expectInit,
  INITS,
  type Init,
  type PlanOptions,
  planConversion,
  takeApart,
} from "../compress/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import type { Engine, OpenEngineOptions } from "../engine/core/types.ts";
import { widthValues } from "../gblr/init/index.ts";
import { type Model, saveModel } from "../models/index.ts";
import { writeCard } from "../pipeline/save.ts";
import { STRUCTURES } from "../structures/registry.ts";
import { type Calibration, calibrateOn } from "./convert/calibration.ts";
import { cardFacts } from "./convert/card.ts";
import { printConversion, printPlan, type Written } from "./convert-tables.ts";
import { withHub } from "./shared/hub-access.ts";
import { expectPlaceForModel, loadWithProgress, locateModel } from "./shared/open-model.ts";
import { addEngineOptions, countFrom, openEngineFor, share } from "./shared/options.ts";
import { CommandFailed, interruptible, UsageError, verb } from "./shared/program.ts";
import { progressBar, progressLine, throttled } from "./shared/progress.ts";
import { paletteFor } from "./shared/terminal.ts";

const SUMMARY = "compress a model: replace its linear layers by structured ones";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Replaces linear layers of MODEL, a dense model, by structured ones and writes a
model folder. How much they may cost is given in one of three ways:

--budget  a share of the converted layers' own multiply-adds. 0.35: together
          they take at most 35 % of what they took dense
--flops   relative FLOPs of the whole model as published tables count them,
          attention and layers that stay dense included. 0.4375: the paper's
          43.75 %
--widths  GBLR only: the rule of the published settings, e.g. lr0.25, whatever
          that costs

Neither budget is ever exceeded; what whole ranks leave over is handed on to
other layers, or spent on a narrower block. The plan is printed first.

Convolutions become the matrix of the patches under their kernel; with
--convolutions per-kernel one matrix for each position of the kernel. tucker is
for convolutions only.

Starts: svd, nearest in the entries; search, GBLR's budgeted block search;
activation, nearest in the outputs for inputs as the data of --calibrate gives
them.
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
    .argument("<model>", "a model folder, owner/name[@revision] on the Hub, or zoo:gpt2-gaudi")
    .addOption(
      new Option("--structure <name>", "what layers become")
        .choices([...STRUCTURES.map(({ name }) => name), "tucker"])
        .makeOptionMandatory(),
    )
    .option("--budget <share>", "of the converted layers' multiply-adds, above 0 to 1", share)
    .option("--flops <share>", "relative FLOPs of the whole model, as published tables count", share)
    .option("--widths <rule>", "GBLR widths by rule: lrR, splrR, constX")
    .option("--layers <patterns...>", "layers with this in their name, * for any characters (default: the recipe's)")
    .addOption(
      new Option("--allocate <how>", "the same share for each layer, or by singular values over all layers")
        .choices(ALLOCATIONS)
        .default("uniform"),
    )
    .addOption(
      new Option("--convolutions <how>", "one matrix of the patches under the kernel, or one for each of its positions")
        .choices(CONVOLUTIONS)
        .default("integrated"),
    )
    .addOption(new Option("--init <how>", "what layers start with").choices(INITS).default("svd"))
    .option("--search-steps <count>", "optimizer steps a layer, of --init search", countFrom(1), 1000)
    .option("--calibrate <dataset>", "text or images to run the model on: a folder, or owner/name[@revision]")
    .option("--calibrate-config <name>", "its configuration (default: its only one)")
    .option("--calibrate-split <name>", "its split (default: train)")
    .option("--calibrate-column <name>", "its column of text or images (default: text; image, img)")
    .option("--calibrate-encoding <name>", "of its files of text, such as windows-1252 (default: utf-8)")
    .option("--calibrate-samples <count>", "windows or images of it (default: 32)", countFrom(1))
    .option("--calibrate-context <tokens>", "tokens of a window (default: the model's positions)", countFrom(1));
  addEngineOptions(command)
    .option("--seed <number>", "of the search", countFrom(0), 0)
    .option("--out <folder>", "where the model goes")
    .option("--dry-run", "print the plan and stop")
    .option("--force", "replace the model that is in the folder")
    .option("--json", "one JSON document on stdout")
    .action(convertVerb);
}

async function convertVerb(name: string, options: ConvertVerbOptions): Promise<void> {
  checkUsage(options);
  const { out, dryRun = false, force = false } = options;
  if (out !== undefined && !dryRun) await expectPlaceForModel(out, { force });
  await interruptible("interrupted; nothing was written", async (signal) => {
    const source = await locateModel(name, { signal });
    const engine = await openEngineFor(options);
    const model = await loadWithProgress(source.folder);
    try {
      await convertLoaded(model, { ...options, source, engineOpen: engine, signal });
    } finally {
      model.dispose();
    }
  });
}

interface Work extends ConvertVerbOptions {
  source: Located;
  engineOpen: Engine;
  signal: AbortSignal;
}

async function convertLoaded(model: Model, work: Work): Promise<void> {
  const { source, init, json, dryRun } = work;
  const began = performance.now();
  expectDense(model);
  const palette = paletteFor(process.stdout, process.env);
  const print = (text: string, document: unknown) => {
    const whole = `${json ? JSON.stringify(document, null, 2) : text}\n`;
    if (!json || document !== undefined) process.stdout.write(whole);
  };
  const announce = (plan: ConversionPlan) => print(printPlan(plan, { model: source.name, palette }), undefined);
  // By outputs, singular values are known only after calibration, and so is who gets what.
  const isLater = init === "activation" && work.allocate === "global";
  const first = await planConversion(model, askedOf(work, { allocation: isLater ? "uniform" : work.allocate }));
  if (dryRun) return print(printPlan(first, { model: source.name, palette }), { model: source.name, plan: first });
  if (!isLater) announce(first);
  const calibration = await calibrated(model, first, work);
  const covariances = calibration?.covariances;
  try {
    const plan =
      isLater && covariances
        ? await planConversion(model, { ...askedOf(work, { allocation: "global" }), covariances })
        : first;
    if (isLater) announce(plan);
    const before = parametersOf(model);
    const conversion = await convertWithProgress(model, plan, { ...work, covariances });
    const out = work.out as string;
    const files = await saveWithProgress(model, plan, work);
    await writeCard(out, await cardFacts(model, conversion, { ...work, out, engine: work.engineOpen }));
    const written: Written = {
      out,
      files,
      parameters: { before, after: parametersOf(model, conversion) },
      bytes: { before: await modelBytes(source.folder), after: await modelBytes(out) },
      seconds: (performance.now() - began) / 1000,
    };
    print(printConversion(conversion, written, palette), {
      model: source.name,
      plan,
      ...conversion,
      ...written,
      seed: work.seed,
      ...(calibration && { calibration: { dataset: work.calibrate, rows: calibration.rows } }),
    });
  } finally {
    for (const covariance of covariances?.values() ?? []) covariance.dispose();
  }
}

function askedOf(
  { structure, budget, flops, widths, layers, convolutions }: Work,
  { allocation }: { allocation: Allocation },
): PlanOptions {
  return {
    structure,
    allocation,
    convolutions,
    ...(budget !== undefined && { budget }),
    ...(flops !== undefined && { flops }),
    ...(widths !== undefined && { widths }),
    ...(layers !== undefined && { layers }),
  };
}

async function calibrated(model: Model, plan: ConversionPlan, work: Work): Promise<Calibration | undefined> {
  const { calibrate: dataset, source, signal } = work;
  if (dataset === undefined) return undefined;
  const settings = {
    dataset,
    config: work.calibrateConfig,
    split: work.calibrateSplit ?? "train",
    column: work.calibrateColumn,
    encoding: work.calibrateEncoding,
    samples: work.calibrateSamples ?? 32,
    context: work.calibrateContext,
  };
  const layers = plan.layers.map(({ name }) => name);
  takeApart(model, plan.layers);
  return withHub(process.env, (access) =>
    calibrateOn(settings, { model, tokenizer: source.folder, layers, access, signal }),
  );
}

async function convertWithProgress(
  model: Model,
  plan: ConversionPlan,
  { init, seed, searchSteps, signal, covariances }: Work & { covariances: Covariances | undefined },
): Promise<Conversion> {
  const line = progressLine();
  const show = throttled(line);
  try {
    const options = { init, seed, searchSteps, signal, ...(covariances && { covariances }) };
    let at = "";
    for await (const event of convert(model, plan, options)) {
      if (event.kind === "converted") {
        const { kind: _, ...conversion } = event;
        return conversion;
      }
      if (event.kind === "layer") {
        at = `${event.index + 1} of ${event.of}  ${event.name}`;
        line.show(at);
      }
      if (event.kind === "search")
        show(() => `${at}  step ${event.step} of ${event.steps}, error ${event.error.toFixed(4)}`);
    }
    throw new CommandFailed("the conversion ended early");
  } finally {
    line.clear();
  }
}

/** @returns names of the files */
async function saveWithProgress(model: Model, plan: ConversionPlan, work: Work): Promise<string[]> {
  const { source, init, seed, out, calibrate, signal } = work;
  const bar = progressBar({ label: "saving" });
  try {
    const events = saveModel(model, out as string, {
      trainable: plan.structure === "gblr",
      base: { folder: source.folder, ...(source.repo && { name: source.name }) },
      gblr: {
        budget: plan.totals.budget,
        ...plan.asked,
        allocation: plan.allocation,
        ...(plan.convolutions !== "integrated" && { convolutions: plan.convolutions }),
        init,
        seed,
        ...(calibrate !== undefined && { calibration: calibrate }),
      },
    });
    for await (const event of events) {
      if (event.kind === "saved") return event.files;
      signal.throwIfAborted();
      if (event.kind === "opened") bar.setTotal(event.bytes);
      else bar.advance(event.bytes);
    }
    throw new CommandFailed("saving ended early");
  } finally {
    bar.stop();
  }
}

/** Numbers that inference needs: of GBLR layers those under live blocks, which are what such a layer costs. */
function parametersOf(model: Model, conversion?: Conversion): number {
  const packed = conversion?.layers.filter(({ structure }) => structure === "gblr") ?? [];
  const whole = [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0);
  return packed.reduce((sum, { name, cost }) => {
    const held = Object.values(model.structureParameters(name)).reduce((size, tensor) => size + tensor.size, 0);
    return sum - held + cost;
  }, whole);
}

/** Of the weights' files in a model folder. */
async function modelBytes(folder: string): Promise<number> {
  const names = (await readdir(folder)).filter((name) => /^(pytorch_)?model.*\.(safetensors|bin)$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

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
  if (widths !== undefined && structure !== "gblr") throw new UsageError(`--widths is for gblr, not ${structure}`);
  if (structure === "tucker" && options.convolutions === "per-kernel") {
    throw new UsageError("--structure tucker is of whole kernels, not --convolutions per-kernel; choose one");
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
