// Ablations of a tiny model: repeated with other calibration data, whose hashes are compared with windows that are cut
// here, and what the settings of variants do to a model: quanta of windows, σ of masks, widths that training keeps.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "../../hub/safetensors/index.ts";
import { addConvert } from "../../workbench/cli/convert.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import { ablate, ablationSettings } from "../../workbench/pipeline/ablation.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { drawnWindows } from "../../workbench/pipeline/domains/texts.ts";
import { experiment } from "../../workbench/pipeline/experiment.ts";
import { resultOf } from "../../workbench/pipeline/stage.ts";
import { compareResults } from "../../workbench/report/compare/compare.ts";
import { readResults } from "../../workbench/report/results-file.ts";
import { runOffline, runVerb } from "../cli/in-process.ts";
import { tokensOf } from "../data/text-set.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { makeTinyHub, offlineContext, sourcesIn } from "./tiny-hub.ts";

setDefaultTimeout(240_000);

const at = temporaryFolder();
runOffline(at("cache"));
const CONTEXT = 32;
const SAMPLES = 3;
const VALUES = { quanta: [8, 16], sigmas: [], isTrained: false };
let engine: Engine;
let model: string;
let dataset: string;

beforeAll(async () => {
  engine = await openEngine({ engine: "wasm" });
  ({ model, dataset } = sourcesIn(await makeTinyHub(at("hub"))));
});

const contextHere = () => offlineContext(engine, { cache: at("cache") });

const settingsWith = (given: Partial<LanguageSettings>): LanguageSettings => {
  const quick = { context: CONTEXT, steps: 2, batch: 4, microBatch: 2, warmupEpochs: 0.1, limit: 3 };
  const how = { budget: 0.5, calibrationSamples: SAMPLES, shrink: "budget", layers: "h.0.*" };
  return languageSettings.parse({ ...quick, ...how, model, dataset, ...given });
};

async function run(given: Partial<LanguageSettings>, folder: string): Promise<void> {
  await resultOf(experiment(languageDomain, settingsWith(given), { context: contextHere(), folder }));
}

test("an ablation repeated with other calibration data is one table of means, from different data", async () => {
  const folder = at("repeated");
  const settings = settingsWith({ ...ablationSettings(["quantum"], VALUES) });
  const repetitions = [{ setting: "calibration-seed", values: ["0", "1"] }];
  const work = () => resultOf(ablate(languageDomain, { settings, repetitions, folder, context: contextHere() }));
  const folders = (await work()) as string[];
  expect(folders).toEqual([join(folder, "calibration-seed-0"), join(folder, "calibration-seed-1")]);
  const { tokens } = await tokensOf({ dataset, tokenizer: model, split: "train", cache: at("tokens") });
  const read = async (i: number) => Int32Array.from(await tokens.read(i * CONTEXT, CONTEXT));
  const windows = { length: Math.floor((tokens.length - 1) / CONTEXT), context: CONTEXT, read };
  for (const [seed, own] of folders.entries()) {
    const hash = createHash("sha256");
    for (let i = 0; i < SAMPLES; i++) hash.update(await drawnWindows(windows, { count: SAMPLES, seed }).read(i));
    const { rows } = (await readResults(own)).results;
    expect(rows.slice(1).map(({ calibration, seeds }) => [calibration, seeds])).toEqual(
      new Array(3).fill([
        { samples: SAMPLES, sha256: hash.digest("hex") },
        { seed: settings.seed, calibrationSeed: seed },
      ]),
    );
  }
  await tokens.close();
  const { groups, repeatedOver } = await compareResults(folders);
  expect(groups.map(({ first, rows }) => `${first.name}: ${rows.length}`)).toEqual([
    "dense: 1",
    "GBLR, block search, quantum 8: 2",
    "GBLR, block search, quantum 16: 2",
    "GBLR, block search: 2",
  ]);
  expect(repeatedOver.calibrationSeed).toEqual(["0", "1"]);
  for (const { rows, values, spread } of groups.slice(1)) {
    const [a, b] = rows.map(({ metrics }) => metrics.perplexity as number) as [number, number];
    expect(values.perplexity as number).toBeCloseTo((a + b) / 2, 6);
    expect(spread?.perplexity as number).toBeCloseTo(Math.abs(a - b) / Math.SQRT2, 6);
  }
  const before = readFileSync(join(folder, "calibration-seed-1/comparison.json"), "utf8");
  await work();
  expect(readFileSync(join(folder, "calibration-seed-1/comparison.json"), "utf8")).toBe(before);
});

/** The spans of all packed layers in a model folder: start_in, length_in, start_out, length_out of each block. */
async function spansIn(folder: string): Promise<number[][]> {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  const found: number[][] = [];
  for (const name of file.tensors.keys()) {
    if (!name.endsWith(".spans")) continue;
    const { data, shape } = await file.read(name);
    const blocks = shape[1] as number;
    for (let b = 0; b < blocks; b++) {
      found.push([0, 1, 2, 3].map((side) => Number((data as Int32Array)[side * blocks + b])));
    }
  }
  await file.close();
  return found;
}

test("a quantum aligns the windows of saved blocks, and σ makes masks smooth and windows longer", async () => {
  const folder = at("own");
  const compare = ["gblr:search+quantum=8", "gblr:search+mask-sigma=10"];
  await run({ init: "search", compare, fineTune: ["none"] }, folder);
  const [aligned, smooth, sharp] = await Promise.all(
    ["compare/gblr-search-quantum-8/converted", "compare/gblr-search-mask-sigma-10/converted", "converted"].map((own) =>
      spansIn(join(folder, own)),
    ),
  );
  const isAligned = (spans: number[]) => spans.every((sample) => sample % 8 === 0);
  // All sides of the layers are multiples of 32.
  expect(aligned?.every(isAligned)).toBe(true);
  expect(sharp?.every(isAligned)).toBe(false);
  const lengths = (spans: number[][] | undefined) =>
    (spans ?? []).reduce((total, [, across = 0, , down = 0]) => total + across + down, 0);
  expect(lengths(smooth)).toBeGreaterThan(lengths(sharp));
  const config = (own: string) => JSON.parse(readFileSync(join(folder, own, "config.json"), "utf8")).gblr;
  expect(config("compare/gblr-search-mask-sigma-10/converted").sigma).toBe(10);
  expect(config("converted").sigma).toBeUndefined();
  const perplexities = (await readResults(folder)).results.rows.map(({ metrics }) => metrics.perplexity);
  expect(new Set(perplexities).size).toBe(4);
});

test("gblr convert draws its calibration data too, and converts with a quantum", async () => {
  const out = at("converted");
  const data = [
    "--calibrate",
    dataset,
    "--calibrate-samples",
    "4",
    "--calibrate-context",
    "16",
    "--calibrate-seed",
    "3",
  ];
  const method = ["--structure", "gblr", "--budget", "0.5", "--layers", "h.0", "--engine", "wasm", "--quantum", "8"];
  const plain = await runVerb(addConvert, ["convert", model, ...method, ...data, "--out", out]);
  expect(plain).toMatchObject({
    code: 2,
    stderr: "gblr: --quantum needs --init search and --calibrate; give them, or leave out --quantum\n",
  });
  const done = await runVerb(addConvert, ["convert", model, ...method, "--init", "search", ...data, "--out", out]);
  expect(done.code).toBe(0);
  expect((await spansIn(out)).every((spans) => spans.every((sample) => sample % 8 === 0))).toBe(true);
  const [row] = (await readResults(out)).results.rows;
  expect(row).toMatchObject({ seeds: { seed: 0, calibrationSeed: 3 }, method: { init: "search", quantum: 8 } });
  const { tokens } = await tokensOf({ dataset, tokenizer: model, split: "train", cache: at("tokens") });
  const read = async (i: number) => Int32Array.from(await tokens.read(i * 16, 16));
  const windows = { length: Math.ceil((tokens.length - 1) / 16), context: 16, read };
  const hash = createHash("sha256");
  for (let i = 0; i < 4; i++) hash.update(await drawnWindows(windows, { count: 4, seed: 3 }).read(i));
  await tokens.close();
  expect(row?.calibration).toMatchObject({ samples: 4, sha256: hash.digest("hex") });
});

test("training with a learning rate of 0 for widths keeps them", async () => {
  const folder = at("kept");
  await run(
    {
      init: "search",
      stableBlocks: true,
      compare: ["gblr:search+structure-learning-rate=0+shrink=none"],
      learningRate: 1e-2,
    },
    folder,
  );
  const own = join(folder, "compare/gblr-search-structure-learning-rate-0-shrink-none");
  const lengths = async (place: string) => (await spansIn(place)).flat();
  expect(await lengths(join(own, "model"))).toEqual(await lengths(join(own, "converted")));
  expect(await lengths(join(folder, "model"))).not.toEqual(await lengths(join(folder, "converted")));
});
