// results.json of real work on small models: an experiment, a conversion and the evaluations of its model say on what
// and how they were made, and can be compared with each other.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { addConvert } from "../../workbench/cli/convert.ts";
import { addEval } from "../../workbench/cli/eval.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import { languageDomain, languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { experiment } from "../../workbench/pipeline/experiment.ts";
import { compareResults } from "../../workbench/report/compare/compare.ts";
import { type ConvertedLayer, writeReport } from "../../workbench/report/index.ts";
import type { Results } from "../../workbench/report/results.ts";
import { readResults } from "../../workbench/report/results-file.ts";
import { runOffline, runVerb } from "../cli/in-process.ts";
import { tokensOf } from "../data/text-set.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { makeTinyHub, offlineContext, sourcesIn } from "./tiny-hub.ts";

setDefaultTimeout(120_000);

const at = temporaryFolder();
runOffline(at("cache"));

const CONTEXT = 32;
const SAMPLES = 6;
let engine: Engine;
let model: string;
let dataset: string;
let results: Results;
/** SHA-256 of the first windows of the training text, cut here */
let calibrationHash: string;

/** Runs the recipe's stages on the tiny model. */
async function run(folder: string, seed: number, microBatch = 2): Promise<Results> {
  const quick = { context: CONTEXT, steps: 2, batch: 4, microBatch, warmupEpochs: 0.1, limit: 4 };
  const how = { budget: 0.5, init: "activation", compare: ["lowrank:activation"], calibrationSamples: SAMPLES, seed };
  const settings = languageSettings.parse({ ...quick, ...how, model, dataset, shrink: "budget" });
  const context = offlineContext(engine, { cache: at("cache") });
  for await (const _ of experiment(languageDomain, settings, { context, folder })) {
  }
  return (await readResults(folder)).results;
}

const layersIn = (folder: string): ConvertedLayer[] =>
  JSON.parse(readFileSync(join(folder, "conversion.json"), "utf8"));

beforeAll(async () => {
  engine = await openEngine({ engine: "wasm" });
  ({ model, dataset } = sourcesIn(await makeTinyHub(at("hub"))));
  const { tokens } = await tokensOf({ dataset, tokenizer: model, split: "train", cache: at("tokens") });
  const inputs = Int32Array.from(await tokens.read(0, SAMPLES * CONTEXT));
  await tokens.close();
  calibrationHash = createHash("sha256").update(inputs).digest("hex");
  results = await run(at("run"), 1);
});

test("an experiment writes for each row its method, data, cost, errors, memory, speed and times", () => {
  expect(results).toMatchObject({ status: "finished", recipe: "test", seed: 1, split: "test", engine: "wasm" });
  expect(results.model).toEqual({ name: model });
  expect(results.rows.map(({ name, stage }) => `${name} ${stage}`)).toEqual([
    "dense before",
    "low rank, activation-aware before",
    "low rank, activation-aware after",
    "GBLR, activation-aware before",
    "GBLR, activation-aware after",
  ]);
  const [dense, ...others] = results.rows;
  expect(dense?.method).toBeUndefined();
  expect(dense?.linear?.parameters).toBe(dense?.linear?.dense as number);
  for (const row of others) {
    expect(row.method).toMatchObject({ init: "activation", allocation: "uniform" });
    expect(row.budget).toEqual({ budget: 0.5 });
    expect(row.seeds).toEqual({ seed: 1 });
    expect(row.calibration).toEqual({ samples: SAMPLES, sha256: calibrationHash });
    const { linear, parameters, layerErrors, multiplyAdds, relativeFlops, stageSeconds } = row;
    // All parameters that are missing are missing in the linear layers.
    expect((dense?.parameters as number) - (parameters as number)).toBe(
      (linear?.dense as number) - (linear?.parameters as number),
    );
    expect(layerErrors?.outputs as number).toBeLessThan(layerErrors?.weights as number);
    for (const count of ["reference", "actual"] as const) {
      const share = (multiplyAdds?.[count] as number) / (dense?.multiplyAdds?.[count] as number);
      expect(share).toBeCloseTo((relativeFlops?.[count] as number) / (dense?.relativeFlops?.[count] as number), 9);
    }
    const stages = row.stage === "after" ? ["convert", "train", "measure"] : ["convert", "measure"];
    expect(Object.keys(stageSeconds ?? {}).sort()).toEqual(stages.sort());
  }
  for (const { measured, speed, peakMemory } of results.rows) {
    expect(measured).toEqual({ tokens: 4 * CONTEXT, windows: 4, context: CONTEXT, stride: CONTEXT });
    expect(speed?.tokensPerSecond).toBeGreaterThan(0);
    expect(peakMemory).toBeGreaterThan(5e7);
  }
});

test("the hash of the calibration does not depend on how the data was batched", async () => {
  const { rows } = await run(at("batched"), 1, 4);
  expect(rows.at(-1)?.calibration?.sha256).toBe(calibrationHash);
});

test("runs with several seeds are compared as their mean", async () => {
  const other = await run(at("other"), 2);
  const { groups } = await compareResults([at("run"), at("other")], { stage: "after" });
  expect(groups.map(({ first, rows }) => [first.name, rows.length])).toEqual([
    ["dense", 1],
    ["low rank, activation-aware", 2],
    ["GBLR, activation-aware", 2],
  ]);
  const values = [results, other].map(({ rows }) => rows.at(-1)?.metrics.perplexity as number) as [number, number];
  expect(groups[2]?.values.perplexity).toBeCloseTo((values[0] + values[1]) / 2, 9);
  expect(groups[2]?.spread?.perplexity).toBeCloseTo(Math.abs(values[0] - values[1]) / Math.SQRT2, 9);
});

test("a conversion writes how its model was made, and an evaluation of the model repeats it", async () => {
  const flags = ["--structure", "lowrank", "--budget", "0.5", "--init", "activation", "--engine", "wasm"];
  const calibration = [
    "--calibrate",
    dataset,
    "--calibrate-samples",
    `${SAMPLES}`,
    "--calibrate-context",
    `${CONTEXT}`,
  ];
  const made = await runVerb(addConvert, ["convert", model, ...flags, ...calibration, "--out", at("converted")]);
  expect(made).toMatchObject({ code: 0, stderr: "" });
  expect(made.stdout).toContain("results.json");
  const { results: conversion } = await readResults(at("converted"));
  const [row] = conversion.rows;
  expect(conversion).toMatchObject({ recipe: "convert", model: { name: model } });
  expect(row).toMatchObject({ metrics: {}, budget: { budget: 0.5 }, seeds: { seed: 0 } });
  expect(row?.calibration).toEqual({ dataset, samples: SAMPLES, sha256: calibrationHash });

  const layers = layersIn(at("converted"));
  const mean = layers.reduce((sum, { outputError }) => sum + (outputError as number), 0) / layers.length;
  expect(mean).toBeCloseTo(row?.layerErrors?.outputs as number, 9);

  const file = at("evaluated.json");
  const scored = [
    "--dataset",
    dataset,
    "--context",
    `${CONTEXT}`,
    "--limit",
    "4",
    "--engine",
    "wasm",
    "--results",
    file,
  ];
  const evaluated = await runVerb(addEval, ["eval", "ppl", at("converted"), ...scored, "--json"]);
  expect(evaluated).toMatchObject({ code: 0, stderr: "" });
  const { results: evaluation } = await readResults(file);
  expect(evaluation).toMatchObject({
    recipe: "eval ppl",
    model: { name: at("converted"), base: model },
    split: "test",
  });
  const { name, method, calibration: seen, layerErrors } = row as NonNullable<typeof row>;
  expect(evaluation.rows[0]).toMatchObject({ name, method, calibration: seen, layerErrors });
  const { perplexity } = JSON.parse(evaluated.stdout);
  expect(evaluation.rows[0]?.metrics.perplexity).toBe(perplexity);
  // The same conversion in an experiment, calibrated in other batches, has the same loss up to rounding.
  expect(Math.log(perplexity)).toBeCloseTo(results.rows[1]?.metrics.nll as number, 5);
});

test("results of a model that is replaced in its folder do not stay", async () => {
  expect(existsSync(at("converted", "results.json"))).toBe(true);
  const again = ["convert", model, "--structure", "lowrank", "--budget", "0.3", "--engine", "wasm", "--force"];
  expect((await runVerb(addConvert, [...again, "--out", at("converted")])).code).toBe(0);
  const { results: second } = await readResults(at("converted"));
  expect(second.rows[0]?.budget).toEqual({ budget: 0.3 });
  expect(second.rows[0]?.calibration).toBeUndefined();
  expect(layersIn(at("converted")).some(({ outputError }) => outputError !== undefined)).toBe(false);
});

test("the report of a converted model has its blocks, its settings and what its blocks are worth", async () => {
  const flags = ["--structure", "gblr", "--budget", "0.6", "--init", "search", "--engine", "wasm"];
  const calibration = ["--calibrate", dataset, "--calibrate-samples", "8", "--calibrate-context", `${CONTEXT}`];
  const made = await runVerb(addConvert, ["convert", model, ...flags, ...calibration, "--out", at("searched")]);
  expect(made).toMatchObject({ code: 0, stderr: "" });
  const searched = layersIn(at("searched"));
  for (const { costAfter, tiles } of searched) {
    expect((tiles ?? []).reduce((sum, { cost }) => sum + cost, 0)).toBe(costAfter);
  }
  await writeReport(at("searched"));
  const page = readFileSync(at("searched", "report.html"), "utf8");
  const headings = [...page.matchAll(/<h2 id="(\w+)">/g)].map(([, id]) => id);
  expect(headings).toEqual(["layout", "layers", "worth", "facts", "environment"]);
  expect(page).toContain("Converted model");
  for (const { layer } of searched) expect(page.split(layer).length).toBeGreaterThan(3); // picture and two tables
});
