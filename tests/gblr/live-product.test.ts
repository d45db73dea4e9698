// Training by live blocks: value and gradients against float64 and against the dense way, which blocks it takes, and that
// it follows blocks that move. Only the torch engine has it; on others the same calls take the dense way.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { LIVE_PRODUCT } from "../../workbench/engine/ops/gblr/kernels.ts";
import { valueAndGradients } from "../../workbench/engine/tfjs/tape.ts";
import { marginsOf } from "../../workbench/gblr/margins.ts";
import { GblrMatrix, type GblrParameters } from "../../workbench/gblr/matrix.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, toTensor } from "../engine/ops/operands.ts";
import { type LiveCase, operandsOf, parametersOf, run, truth } from "./live-cases.ts";

const SIZE = { nIn: 200, nOut: 260, blocks: 40, rows: 48 };
const SHARP = Number.POSITIVE_INFINITY;
const CASES: Record<string, LiveCase> = {
  "sharp masks": { ...SIZE, rank: 1, sigma: SHARP },
  "smooth masks, σ 12": { ...SIZE, rank: 1, sigma: 12 },
  "smooth masks whose derivatives reach everywhere, σ 40": { ...SIZE, rank: 1, sigma: 40 },
  "smooth masks that reach everywhere, σ 1": { ...SIZE, rank: 1, sigma: 1 },
  "blocks of rank 2": { ...SIZE, blocks: 20, rank: 2, sigma: SHARP },
};

forEachEngine("GBLR in training", (engine) => {
  const isSlow = () => engine().name === "cpu";
  const hasLive = () => engine().name === "torch" && engine().device === "cpu";

  for (const [what, c] of Object.entries(CASES)) {
    test(`gives the value and all gradients of narrow, wrapped and dead blocks: ${what}`, async () => {
      if (isSlow()) return;
      const operands = operandsOf(c);
      const { found, kernelNames } = await run(operands, c.sigma);
      expect(kernelNames.includes(LIVE_PRODUCT)).toBe(hasLive());
      for (const [name, expected] of Object.entries(truth(c, operands))) {
        expectClose(found[name] as Float32Array, expected, { tolerance: 1e-5 });
      }
    });
  }

  test("agrees with the dense way", async () => {
    if (!hasLive()) return;
    for (const c of Object.values(CASES)) {
      const operands = operandsOf(c);
      const [live, dense] = [await run(operands, c.sigma), await run(operands, c.sigma, "dense")];
      expect(dense.kernelNames).not.toContain(LIVE_PRODUCT);
      for (const [name, expected] of Object.entries(dense.found)) {
        expectClose(live.found[name] as Float32Array, expected, { tolerance: 1e-5 });
      }
    }
  });

  test("has the gradients of its factors by finite differences", async () => {
    if (isSlow()) return;
    const c = CASES["sharp masks"] as LiveCase;
    const operands = operandsOf(c);
    const { found } = await run(operands, c.sigma);
    // The loss is linear in each factor, so a step may be of any length; a long one loses no digits.
    for (const name of ["lr_weight1", "lr_weight2"] as const) {
      const largest = (found[name] as Float32Array).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const entries = [0, 77, 1234, 5003].map((at) => at % operands[name].values.length);
      entries.push((found[name] as Float32Array).findIndex((value) => Math.abs(value) > largest / 2));
      for (const at of entries) {
        const lossAt = async (step: number) => {
          const values = Float64Array.from(operands[name].values, (value, i) => value + (i === at ? step : 0));
          const { y } = (await run({ ...operands, [name]: { ...operands[name], values } }, c.sigma)).found;
          return (y as Float32Array).reduce((sum, value, i) => sum + value * (operands.dy.values[i] as number), 0);
        };
        const difference = ((await lossAt(8)) - (await lossAt(-8))) / 16;
        expect(Math.abs(difference - ((found[name] as Float32Array)[at] as number))).toBeLessThan(2e-4 * largest);
      }
    }
  });

  test("follows blocks that move, without a stale crop", async () => {
    if (isSlow()) return;
    const c = CASES["smooth masks, σ 12"] as LiveCase;
    const operands = operandsOf(c);
    const parameters = parametersOf(operands);
    const [locations, widths] = [tf.variable(parameters.locations), tf.variable(parameters.widths)];
    const matrix = new GblrMatrix({ ...parameters, locations, widths }, { sigma: c.sigma });
    const x = toTensor(operands.x);
    for (const shift of [0, 0.003, 0.3, 0.7]) {
      const moved = operands.locations.values.map((value) => Math.fround((value + shift) % 1));
      const widened = operands.widths.values.map((value) => Math.fround(value * (1 + shift / 2)));
      locations.assign(tf.tensor2d(Float32Array.from(moved), [2, c.blocks]));
      widths.assign(tf.tensor2d(Float32Array.from(widened), [2, c.blocks]));
      const now = {
        locations: { ...operands.locations, values: moved },
        widths: { ...operands.widths, values: widened },
      };
      const y = matrix.apply(x);
      expectClose(await read(y), truth(c, { ...operands, ...now }).y as Float64Array, { tolerance: 1e-5 });
    }
  });

  test("gives the same gradients of factors if places are not trained, and leaves no tensors", async () => {
    if (isSlow()) return;
    const c = CASES["sharp masks"] as LiveCase;
    const operands = operandsOf(c);
    const { found } = await run(operands, c.sigma);
    const { lr_weight1, lr_weight2, ...fixed } = parametersOf(operands);
    const [input, output] = [tf.variable(lr_weight1), tf.variable(lr_weight2)];
    const all: GblrParameters = { ...fixed, lr_weight1: input, lr_weight2: output };
    const [x, outer] = [toTensor(operands.x), toTensor(operands.dy)];
    const loss = () => tf.sum(tf.mul(new GblrMatrix(all, { sigma: c.sigma }).apply(x), outer)) as tf.Scalar;
    const before = liveTensors().tensors;
    const { value, gradients } = valueAndGradients(loss, [input, output]);
    expect(liveTensors().tensors).toBe(before + 3);
    expectClose(await read(gradients.get(input) as tf.Tensor), found.lr_weight1 as Float32Array, { tolerance: 1e-6 });
    expectClose(await read(gradients.get(output) as tf.Tensor), found.lr_weight2 as Float32Array, { tolerance: 1e-6 });
    tf.dispose([value, ...gradients.values()]);
  });

  test("takes the dense way for wide blocks and in evaluation", async () => {
    if (!hasLive()) return;
    const c = CASES["sharp masks"] as LiveCase;
    const [narrow, wide] = [parametersOf(operandsOf(c)), parametersOf(operandsOf({ ...c, blocks: 200 }, 1))];
    const takesLive = async (parameters: GblrParameters, mode: "train" | "eval") => {
      const { kernelNames } = await tf.profile(() =>
        new GblrMatrix(parameters, { mode }).apply(tf.ones([2048, c.nIn])),
      );
      return kernelNames.includes(LIVE_PRODUCT);
    };
    expect(await takesLive(narrow, "train")).toBe(true);
    expect(await takesLive(narrow, "eval")).toBe(false);
    expect(await takesLive(wide, "train")).toBe(false);
  });

  test("gives the same bits for the same blocks", async () => {
    if (!hasLive()) return;
    const c = CASES["sharp masks"] as LiveCase;
    const [first, second] = [await run(operandsOf(c), c.sigma), await run(operandsOf(c), c.sigma)];
    expect(second.found).toEqual(first.found);
  });
});

test("margins leave out no more than 1e-6 of a mask and of its derivatives", () => {
  expect(marginsOf({ length: 768, sigma: SHARP })).toEqual({ mask: 0, slope: 768 });
  for (const sigma of [8, 16, 32, 50]) {
    const { mask, slope } = marginsOf({ length: 768, sigma });
    // A Gaussian of n/(2π σ) samples falls to 1e-6 at about five of these.
    expect(mask).toBeGreaterThan((3 * 768) / (2 * Math.PI * sigma));
    expect(slope).toBeLessThan((6 * 768) / (2 * Math.PI * sigma));
  }
  expect(marginsOf({ length: 768, sigma: 1 })).toEqual({ mask: 768, slope: 768 });
});
