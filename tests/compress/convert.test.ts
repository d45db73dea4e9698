// Conversions on every engine: what they leave out is what an independent float64 decomposition says must be left out,
// what they cost is what was planned, and nothing is left behind in memory.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { type ConvertOptions, type PlanOptions, planConversion } from "../../workbench/compress/index.ts";
import { svdFloat64 } from "../../workbench/engine/linalg/float64.ts";
import { denseWeight, type Model } from "../../workbench/models/index.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, read } from "../engine/ops/operands.ts";
import { converted, tinyModel, tokens } from "./tiny.ts";

/** The weights of all layers in float64, (n_out, n_in). */
async function weightsOf(model: Model): Promise<Map<string, { values: Float64Array; rows: number; columns: number }>> {
  const weights = new Map();
  for (const [name, { nOut, nIn }] of model.layers) {
    const weight = denseWeight(model, name);
    weights.set(name, { values: Float64Array.from(await read(weight)), rows: nOut, columns: nIn });
    weight.dispose();
  }
  return weights;
}

/** ‖W − W_r‖ / ‖W‖ of the nearest matrix of rank r. */
function tail(
  { values, rows, columns }: { values: Float64Array; rows: number; columns: number },
  rank: number,
): number {
  const { s } = svdFloat64({ values, rows, columns });
  const energy = (from: number) => s.slice(from).reduce((sum, value) => sum + value ** 2, 0);
  return Math.sqrt(energy(rank) / energy(0));
}

async function run(plan: PlanOptions, options: ConvertOptions = {}) {
  const model = tinyModel();
  const weights = await weightsOf(model);
  const planned = await planConversion(model, plan);
  const { layers, events } = await converted(model, planned, options);
  return { model, weights, planned, layers, events };
}

forEachEngine("convert", () => {
  test.each([0.45, 0.6, 0.83])(
    "lowrank at %d leaves out the singular values that do not fit, no more",
    async (budget) => {
      const { weights, layers, model } = await run({ structure: "lowrank", budget });
      expect(layers.length).toBe(6);
      for (const { name, nIn, nOut, cost, error } of layers) {
        const expected = tail(weights.get(name) as never, cost / (nIn + nOut));
        expect(Math.abs(error - expected)).toBeLessThan(1e-5);
      }
      model.dispose();
    },
  );

  test.each([0.45, 0.6, 0.83])("gblr at %d is between the ranks that its cost lies between", async (budget) => {
    const { weights, layers, planned, model } = await run({ structure: "gblr", budget });
    for (const [i, { name, nIn, nOut, cost, error }] of layers.entries()) {
      expect(cost).toBe(planned.layers[i]?.cost as number);
      const rank = Math.floor(cost / (nIn + nOut));
      expect(error).toBeLessThanOrEqual(tail(weights.get(name) as never, rank) + 1e-5);
      expect(error).toBeGreaterThanOrEqual(tail(weights.get(name) as never, rank + 1) - 1e-5);
    }
    // All blocks are kept for training, dead ones with a gradient.
    const widths = model.parameter("h.0.mlp.c_fc.widths");
    expect(widths.shape).toEqual([2, 16]);
    const values = await read(widths);
    for (let k = 0; k < 16; k++) expect((values[k] as number) + (values[16 + k] as number)).toBeGreaterThan(0);
    model.dispose();
  });

  test("the narrower block takes a part of the error worth having", async () => {
    const { weights, layers } = await run({ structure: "gblr", budget: 0.579 });
    const gains = layers.map(({ name, nIn, nOut, cost, error }) => {
      const rank = Math.floor(cost / (nIn + nOut));
      const [without, withWhole] = [tail(weights.get(name) as never, rank), tail(weights.get(name) as never, rank + 1)];
      return { rest: cost - rank * (nIn + nOut), gain: (without ** 2 - error ** 2) / (without ** 2 - withWhole ** 2) };
    });
    for (const { rest, gain } of gains) if (rest > 20) expect(gain).toBeGreaterThan(0.05);
    expect(gains.some(({ rest }) => rest > 20)).toBe(true);
  });

  test("global allocation has a smaller worst error than uniform for the same budget", async () => {
    for (const structure of ["lowrank", "gblr"]) {
      const worst = async (allocation: "uniform" | "global") => {
        const { layers, planned, model } = await run({ structure, budget: 0.6, allocation });
        model.dispose();
        expect(planned.totals.cost).toBeLessThanOrEqual(planned.totals.allowed);
        return Math.max(...layers.map(({ error }) => error));
      };
      expect(await worst("global")).toBeLessThan(0.95 * (await worst("uniform")));
    }
  });

  test("to dense at budget 1 changes no logit, and a structured model gives those of its own matrices", async () => {
    const model = tinyModel();
    const ids = tokens(4);
    const before = await read(languageLogits(model, ids));
    await converted(model, await planConversion(model, { structure: "dense", budget: 1, layers: "h." }));
    expect(await read(languageLogits(model, ids))).toEqual(before);
    await converted(model, await planConversion(model, { structure: "gblr", budget: 0.7 }));
    const after = await read(languageLogits(model, ids));
    const twin = tinyModel();
    for (const name of model.layers.keys()) {
      const weight = denseWeight(model, name);
      twin.parameter(`${name}.weight`).assign(tf.transpose(weight));
      weight.dispose();
    }
    expectClose(after, await read(languageLogits(twin, ids)), { tolerance: 1e-4 });
    expect(Math.max(...after.map((value, i) => Math.abs(value - (before[i] as number))))).toBeGreaterThan(1e-3);
    model.dispose();
    twin.dispose();
  });

  test("the block search costs no more than planned, says how it goes, and is no worse than the decomposition", async () => {
    const { weights, layers, planned, events, model } = await run(
      { structure: "gblr", budget: 0.6, layers: "h.0.mlp" },
      { init: "search", searchSteps: 60, seed: 5 },
    );
    const steps = events.flatMap((event) => (event.kind === "search" ? [event] : []));
    expect(steps.map(({ name }) => name)).toEqual(["h.0.mlp.c_fc", "h.0.mlp.c_fc", "h.0.mlp.c_proj", "h.0.mlp.c_proj"]);
    for (const [i, { name, nIn, nOut, cost, error }] of layers.entries()) {
      expect(cost).toBeLessThanOrEqual(planned.layers[i]?.cost as number);
      expect(error).toBeLessThanOrEqual(tail(weights.get(name) as never, Math.floor(cost / (nIn + nOut))) + 1e-5);
    }
    const values = await read(model.parameter("h.0.mlp.c_fc.widths"));
    for (let k = 0; k < 16; k++) expect((values[k] as number) + (values[16 + k] as number)).toBeGreaterThan(0);
    model.dispose();
  });

  test.each(["svd", "search"] as const)("by %s gives the same parameters for the same seed", async (init) => {
    const once = async (seed: number) => {
      const plan = { structure: "gblr", budget: 0.5, layers: "h.0.mlp.c_fc" };
      const { model } = await run(plan, { init, seed, searchSteps: 20, locations: "uniform" });
      const values = [];
      for (const name of ["lr_weight1", "lr_weight2", "widths", "locations"]) {
        values.push(Array.from(await read(model.parameter(`h.0.mlp.c_fc.${name}`))));
      }
      model.dispose();
      return values;
    };
    const [first, again, other] = [await once(1), await once(1), await once(2)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  test("biases stay untouched and no tensor is left over", async () => {
    for (const structure of ["gblr", "lowrank", "monarch", "block-low-rank", "block-sparse"]) {
      const once = async () => {
        const { model, planned } = await run({ structure, budget: 0.8, allocation: "global" });
        expect(planned.layers.length).toBe(6);
        const bias = await read(model.parameter("h.1.mlp.c_fc.bias"));
        expect(bias.every((value) => value === 0)).toBe(true);
        expect(model.parameters.has("h.1.mlp.c_fc.weight")).toBe(false);
        const parts = [...model.parameters.keys()].filter((name) => name.startsWith("h.1.mlp.c_fc."));
        expect(parts).toEqual([
          ...model.layer("h.1.mlp.c_fc").structure.parameterNames.map((part) => `h.1.mlp.c_fc.${part}`),
          "h.1.mlp.c_fc.bias",
        ]);
        model.dispose();
      };
      await once();
      const before = tf.memory().numTensors;
      await once();
      expect(tf.memory().numTensors).toBe(before);
    }
  });

  test("ends between two layers when its signal aborts", async () => {
    const model = tinyModel();
    const plan = await planConversion(model, { structure: "lowrank", budget: 0.6 });
    const abort = new AbortController();
    abort.abort(new Error("enough"));
    await expect(converted(model, plan, { signal: abort.signal })).rejects.toThrow("enough");
    expect([...model.layers.values()].every(({ structure }) => structure.name === "dense")).toBe(true);
  });
});

test.each([
  ["lowrank", { init: "search" }, "init search is for gblr, the structure is lowrank; use init svd"],
  ["monarch", { init: "activation" }, "h.0.attn.c_attn has no covariance of its inputs; calibrate it first"],
  ["gblr", { init: "activation" }, "h.0.attn.c_attn has no covariance of its inputs; calibrate it first"],
  [
    "gblr",
    { init: "magic" },
    'there is no init "magic"; available: svd, search, activation, asvd, fwsvd, wanda; use one of these',
  ],
] as unknown as [string, ConvertOptions, string][])("%s refuses %j", async (structure, options, message) => {
  await expect(run({ structure, budget: 0.6 }, options)).rejects.toThrow(message);
});

test("a matrix that is not finite is refused by the name of its layer", async () => {
  const model = tinyModel();
  model.parameter("h.1.mlp.c_fc.weight").assign(tf.fill([16, 64], Number.NaN));
  const plan = await planConversion(model, { structure: "lowrank", budget: 0.6 });
  await expect(converted(model, plan)).rejects.toThrow(/^h\.1\.mlp\.c_fc: svd: matrix/);
});
