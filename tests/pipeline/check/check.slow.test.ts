// `gblr convert --check` on pretrained models and real text: a small GPT-2, and layers of SmolLM2. Its
// measurements are compared with evaluations of the written folders, and the layers that it puts back with one fewer.

import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { addConvert } from "../../../workbench/cli/convert.ts";
import { addEval } from "../../../workbench/cli/eval.ts";
import { type Conversion, type ConversionPlan, planConversion } from "../../../workbench/compress/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { copyModel } from "../../../workbench/models/create.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { denseWeight, type Model, modelCounts, replaceLayer } from "../../../workbench/models/index.ts";
import { type CheckOutcome, convertChecked } from "../../../workbench/pipeline/check/check.ts";
import { openCheck } from "../../../workbench/pipeline/check/open-check.ts";
import { CheckRecord } from "../../../workbench/pipeline/check/record.ts";
import { convertModel } from "../../../workbench/pipeline/convert.ts";
import { type PipelineEvent, resultOf, type StageContext } from "../../../workbench/pipeline/stage.ts";
import { readResults } from "../../../workbench/report/results-file.ts";
import { dense } from "../../../workbench/structures/dense.ts";
import { runOffline, runVerb } from "../../cli/in-process.ts";
import { GPT2, HUB_IS_HERE, WIKITEXT } from "../../data/hub-folders.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { smolLm2 } from "../../real-models.ts";

setDefaultTimeout(400_000);

const at = temporaryFolder();
runOffline(at("cache"));

const DATA = ["--check", WIKITEXT, "--check-split", "validation", "--check-samples", "6"];
const LOWRANK = ["--structure", "lowrank", "--budget", "0.15"];

type Document = Conversion & { plan: ConversionPlan; check: CheckOutcome };

async function convert(...args: string[]): Promise<{ document: Document; stderr: string }> {
  const { code, stdout, stderr } = await runVerb(addConvert, ["convert", ...args, "--json"]);
  if (code !== 0) throw new Error(stderr);
  return { document: JSON.parse(stdout), stderr };
}

async function perplexity(model: string, ...more: string[]): Promise<number> {
  const data = ["--dataset", WIKITEXT, "--split", "validation", "--limit", "6", ...more];
  const { stdout } = await runVerb(addEval, ["eval", "ppl", model, ...data, "--json"]);
  return JSON.parse(stdout).perplexity;
}

beforeAll(async () => {
  await openEngine();
});

describe.skipIf(!HUB_IS_HERE)("a check of GPT-2 on WikiText", () => {
  let whole: Document;
  let limited: Document;
  let limit: number;

  beforeAll(async () => {
    whole = (await convert(GPT2, ...LOWRANK, ...DATA, "--out", at("whole"))).document;
    // So that some layers have to be put back, and some have not.
    limit = whole.check.increase.converted / 3;
    const { document, stderr } = await convert(
      GPT2,
      ...LOWRANK,
      ...DATA,
      "--max-loss-increase",
      `${limit}`,
      "--out",
      at("safe"),
    );
    expect(stderr).toMatch(
      /^gblr: \+[\d.]+ % of perplexity is beyond --max-loss-increase [\d.]+; the most harmful layers/,
    );
    limited = document;
  });

  test("measures the model before and after as eval ppl does", async () => {
    const { before, converted, after, increase, putBack } = whole.check;
    expect(before.metrics.perplexity).toBeCloseTo(await perplexity(GPT2), 1);
    expect(after.metrics.perplexity).toBeCloseTo(await perplexity(at("whole")), 1);
    expect([converted, putBack]).toEqual([after, []]);
    const [first, last] = [before.metrics.perplexity, after.metrics.perplexity] as [number, number];
    expect(increase.after).toBeCloseTo(100 * (last / first - 1), 9);
    expect(increase.after).toBeGreaterThan(1);
  });

  test("puts layers back until the loss is within the limit, and writes that model with its exact cost", async () => {
    const { check, layers, totals, counts } = limited;
    expect(check.limit).toBe(limit);
    expect(check.converted.metrics.perplexity).toBeCloseTo(whole.check.after.metrics.perplexity as number, 3);
    expect(check.increase.after).toBeLessThanOrEqual(limit);
    expect(check.putBack.length).toBeGreaterThan(0);
    expect(check.putBack.length).toBeLessThan(layers.length);
    const harms = check.putBack.map(({ harm }) => harm);
    expect(harms).toEqual(harms.toSorted((a, b) => b - a));
    const shares = check.putBack.map(({ share }) => share);
    expect(shares[0]).toBeGreaterThan(1 / layers.length);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(1 + 1e-9);
    expect(check.after.metrics.perplexity).toBeCloseTo(await perplexity(at("safe")), 1);
    const put = new Set(check.putBack.map(({ layer }) => layer));
    for (const { name, structure, cost, dense: all, error } of layers) {
      expect([structure, cost === all, error === 0]).toEqual(
        put.has(name) ? ["dense", true, true] : ["lowrank", false, false],
      );
    }
    expect(totals.cost).toBe(layers.reduce((sum, { rows, cost }) => sum + rows * cost, 0));
    const saved = await loadModelNow(at("safe"));
    expect(counts).toEqual(await modelCounts(saved));
    const [original, layer] = [await loadModelNow(GPT2), check.putBack[0]?.layer as string];
    const values = await Promise.all([original, saved].map((model) => denseWeight(model, layer).data()));
    expect(values[1]).toEqual(values[0] as Float32Array);
    for (const model of [original, saved]) model.dispose();
  });

  test("puts back no layer more than it must: with one fewer in the same order, the loss is beyond the limit", async () => {
    const model = await loadModelNow(GPT2);
    const original = copyModel(model);
    const plan = () => planConversion(model, { structure: "lowrank", budget: 0.15 });
    const { signal } = new AbortController();
    const how = { allocation: "uniform", init: "svd", seed: 0, searchSteps: 1, signal } as const;
    await resultOf(convertModel(model, { plan, ...how }));
    for (const { layer } of limited.check.putBack.slice(0, -1)) {
      replaceLayer(model, layer, dense, { weight: denseWeight(original, layer) });
    }
    const check = await opened(original);
    const score = await resultOf(check.score(model, signal));
    expect(check.measure.increase(limited.check.before, score)).toBeGreaterThan(limit);
    await check.close();
    for (const each of [model, original]) each.dispose();
  });

  test("writes results.json with the model before, the model after, and the layers that were put back", async () => {
    const { results } = await readResults(at("safe"));
    expect(results).toMatchObject({ recipe: "convert", split: "validation", dataset: { name: WIKITEXT } });
    const [before, after] = results.rows;
    expect(before).toMatchObject({ name: "dense", metrics: limited.check.before.metrics });
    expect(after).toMatchObject({ name: "low rank", metrics: limited.check.after.metrics });
    expect(after?.note).toBe(`put back to dense: ${limited.check.putBack.map(({ layer }) => layer).join(", ")}`);
    const saved = limited.layers.reduce((sum, { dense: all, cost }) => sum + all - cost, 0);
    expect((before?.linear?.parameters as number) - (after?.linear?.parameters as number)).toBe(saved);
  });

  test("is printed in a few lines", async () => {
    const args = [GPT2, ...LOWRANK, ...DATA, "--max-loss-increase", `${limit}`, "--out", at("printed")];
    const { code, stdout } = await runVerb(addConvert, ["convert", ...args]);
    expect(code).toBe(0);
    const [first, ...others] = stdout.slice(stdout.indexOf("check on")).split("\n");
    expect(first).toMatch(
      /^check on .*wikitext-mini, validation: perplexity [\d.]+ → [\d.]+ \(\+[\d.]+ %\), limit [\d.]+ % of perplexity$/,
    );
    expect(others[0]).toMatch(/^put back to dense, with their shares of the harm: h\.\d\.\S+ \([\d.]+ %\)/);
    expect(stdout.trimEnd()).toMatch(/\nwith them?: perplexity [\d.]+ \([+−][\d.]+ %\), after \d+ evaluations$/);
  });

  test("that is interrupted goes on where it stopped, to the same layers", async () => {
    const [one, two] = [await interruptedAfter(3), await interruptedAfter(undefined)];
    expect(one.outcome).toBeUndefined();
    const { putBack, after } = two.outcome as CheckOutcome;
    expect(putBack.map(({ layer }) => layer)).toEqual(limited.check.putBack.map(({ layer }) => layer));
    expect(after.metrics.perplexity).toBeCloseTo(limited.check.after.metrics.perplexity as number, 3);
    // Two scores and the harms were there.
    expect(two.done.slice(0, 3)).toEqual([true, true, true]);
    expect(two.done).toContain(false);
    expect(readdirSync(at("records", "checks"))).toHaveLength(1);
  });

  test("that leaves no layer converted writes nothing, and says why", async () => {
    const args = [GPT2, "--structure", "lowrank", "--budget", "0.02", "--layers", "h.0.mlp.c_fc", ...DATA];
    const { code, stdout, stderr } = await runVerb(addConvert, [
      "convert",
      ...args,
      "--max-loss-increase",
      "0",
      "--out",
      at("none"),
      "--json",
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(
      /^gblr: --max-loss-increase 0 \(% of perplexity\) leaves no layer converted: \+[\d.]+ % with the one layer converted; give a larger limit/,
    );
    expect(existsSync(at("none", "config.json"))).toBe(false);
  });

  test("leaves no record of its measurements when it has ended", () => {
    expect(readdirSync(at("cache", "checks")).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    // The check that failed above has kept its measurements.
    expect(readdirSync(at("cache", "checks"))).toHaveLength(1);
  });

  async function opened(model: Model) {
    const context = { cache: at("cache"), access: { endpoint: "http://127.0.0.1:1", cache: at("hf"), offline: true } };
    const { signal } = new AbortController();
    const source = { name: GPT2, folder: GPT2 };
    const settings = { dataset: WIKITEXT, split: "validation", samples: 6 };
    return resultOf(openCheck(settings, { model, source, context: { ...context, signal } as StageContext }));
  }

  /** Runs the stage and aborts it when its nth measurement begins. */
  async function interruptedAfter(measurements: number | undefined) {
    const model = await loadModelNow(GPT2);
    const check = await opened(model);
    const record = await CheckRecord.open(at("records"), { the: "same" });
    const controller = new AbortController();
    const done: boolean[] = [];
    const show = (event: PipelineEvent) => {
      if (event.kind !== "stage") return;
      done.push(event.done === true);
      if (done.length > (measurements ?? Number.POSITIVE_INFINITY)) controller.abort(new Error("interrupted"));
    };
    const plan = () => planConversion(model, { structure: "lowrank", budget: 0.15 });
    const how = { allocation: "uniform", init: "svd", seed: 0, searchSteps: 1, signal: controller.signal } as const;
    try {
      const stage = convertChecked(model, { check, limit, record, convert: { plan, ...how } });
      return { done, outcome: (await resultOf(stage, show)).outcome };
    } catch (error) {
      expect((error as Error).message).toBe("interrupted");
      return { done, outcome: undefined };
    } finally {
      await check.close();
      model.dispose();
    }
  }
});

const SMOLLM2 = HUB_IS_HERE ? smolLm2() : undefined;

test.skipIf(!SMOLLM2)("a check of SmolLM2 puts back what harms it most", async () => {
  const layers = ["--layers", "layers.0.mlp.down_proj", "layers.15.mlp.down_proj", "layers.29.self_attn.q_proj"];
  const data = ["--check", WIKITEXT, "--check-context", "256", "--check-samples", "2"];
  const how = ["--structure", "gblr", "--budget", "0.2", "--max-loss-increase", "10"];
  const { document } = await convert(SMOLLM2 as string, ...how, ...layers, ...data, "--out", at("smollm2"));
  const { before, increase, putBack } = document.check;
  expect(before.metrics.perplexity).toBeGreaterThan(10);
  expect(before.metrics.perplexity).toBeLessThan(60);
  expect(increase.converted).toBeGreaterThan(10);
  expect(increase.after).toBeLessThanOrEqual(10);
  expect(putBack.length).toBeGreaterThan(0);
  expect(putBack.length).toBeLessThan(3);
});
