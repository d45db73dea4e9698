// Widths as numbers: rounding, cost and mean, against definitions written out here and against what an engine rounds; and
// the constants of the Python that saved models carry.

import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { LEAST_ENTRY } from "../../workbench/engine/ops/gblr/kernels.ts";
import { gaudiMask } from "../../workbench/gblr/mask.ts";
import { blockSizes, blockUse, byLayer, costOf, denseCost, meanWidth, samples } from "../../workbench/gblr/widths.ts";
import { forEachEngine } from "../engine/engines.ts";
import { read } from "../engine/ops/operands.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "../python/python.ts";

test("rounds half to even, below 0 as well", () => {
  const ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5];
  expect(ties.map((tie) => samples(tie, 1) + 0)).toEqual([-2, -2, 0, 0, 2, 2, 4]);
  expect([0.49999997, -0.2, 2.4, 2.6, -2.6, 7].map((x) => samples(x, 1) + 0)).toEqual([0, 0, 2, 3, -3, 7]);
});

test("counts samples from the float32 product, as tensors do", () => {
  expect(samples(2.5 / 16, 16)).toBe(2);
  // 0.7 · 45 is 31.499999999999996 in float64, 31.5 in float32
  expect(samples(0.7, 45)).toBe(32);
});

const LAYERS = [
  { nIn: 12, nOut: 30, blocks: 4 },
  { nIn: 9, nOut: 7, blocks: 3, rank: 2, uses: 3 },
];
const WIDTHS = Float32Array.from([...[0.5, 1, 1 / 12, 0.3, 0.5, 0.1, 1, 0], ...[0.4, 1, -0.2, 0.5, 1, -0.1]]);

test("counts all layers flat as it counts each by itself, each use of a layer", () => {
  const sizes = blockSizes(LAYERS);
  const each = byLayer(WIDTHS, LAYERS).map((widths, i) => {
    const { uses = 1, ...shape } = LAYERS[i] as (typeof LAYERS)[number];
    return uses * blockUse(widths, shape).cost;
  });
  // blocks of 6 by 15 and 12 by 3 samples; then of 4 by 4 and 9 by 7, of rank 2, three times
  expect(each).toEqual([6 + 15 + 12 + 3, 3 * (16 + 32)]);
  expect(costOf(sizes, WIDTHS)).toBe(36 + 144);
  expect(denseCost(LAYERS)).toBe(12 * 30 + 3 * 9 * 7);
});

test("the mean width counts pairs of one sign, and layers alike", () => {
  const first = (0.5 + 0.5 + 1 + 0.1 + 1 / 12 + 1) / 8;
  const second = (0.4 + 0.5 + 1 + 1 - 0.2 - 0.1) / 6;
  expect(meanWidth(blockSizes(LAYERS), WIDTHS)).toBeCloseTo((first + second) / 2, 7);
});

forEachEngine("widths", () => {
  test("are as many samples as the mask on the engine has ones, and cost what it holds", async () => {
    const share = fc.oneof(
      fc.float({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 0, max: 40 }).map((samples) => Math.fround((samples + 0.5) / 41)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(share, { minLength: 2, maxLength: 40 }),
        fc.integer({ min: 2, max: 41 }),
        async (w, n) => {
          const mask = tf.tidy(() => tf.sum(gaudiMask(tf.tensor1d(w), tf.zeros([w.length]), n), 1));
          expect([...(await read(mask))]).toEqual(w.map((width) => samples(width, n)));
          mask.dispose();
        },
      ),
      { numRuns: 40, seed: 5 },
    );
  });

  test("cost as many entries as evaluation masks have above the threshold, where they are smooth", async () => {
    const [n, sigma] = [33, 4];
    const widths = Float32Array.from({ length: 12 }, (_, k) => k / 12);
    const mask = tf.tidy(() => gaudiMask(tf.tensor1d(widths), tf.zeros([12]), n, { sigma, mode: "eval" }));
    const values = await read(mask);
    mask.dispose();
    widths.forEach((width, k) => {
      const above = values.slice(k * n, (k + 1) * n).filter((value) => value > LEAST_ENTRY).length;
      const { cost } = blockUse([width, width], { nIn: n, nOut: n, sigma });
      expect(cost).toBe(Math.min(2 * above, above * above));
    });
  });
});

test("the Python of saved models has the same threshold and the same rule for what is live", async () => {
  const source = await readFile(join(SOURCES, "gblr_masks.py"), "utf8");
  const cut = /torch\.where\(mask\.abs\(\) > ([^,]+), mask/.exec(source);
  expect(Number(cut?.[1])).toBe(LEAST_ENTRY);
  // wider than one sample
  expect(source).toContain("torch.where(width.abs() > 1, width, ");
  expect(source).toContain("torch.round(widths.float() * n)");
});

/** Widths whose product with n lies on a tie, beside one, or anywhere; of one sample; of none. */
function table(n: number): number[] {
  const ties = Array.from({ length: 8 }, (_, i) => (i + 0.5) / n);
  const beside = ties.flatMap((tie) => [Math.fround(tie) * (1 - 2 ** -24), Math.fround(tie) * (1 + 2 ** -23)]);
  return [0, 1 / n, 1.4999 / n, 1.5001 / n, 1, 0.7, 1 / 3, ...ties, ...beside].map(Math.fround);
}

const MASKS = `
import json, math, sys
sys.path.insert(0, sys.argv[1])
import torch
from gblr_masks import gaudi_mask
answers = []
for n, sigma, widths in json.loads(sys.argv[2]):
    shares = torch.tensor(widths, dtype=torch.float32)
    masks = [gaudi_mask(shares, torch.zeros_like(shares), n, sigma or math.inf, evaluate) for evaluate in (False, True)]
    answers.append({"train": masks[0].tolist(), "eval": masks[1].tolist()})
print(json.dumps(answers))
`;

const torchPython = pythonWith("torch");

test.skipIf(!torchPython)(
  "the Python of saved models rounds, drops and cuts a table of widths as we do",
  async () => {
    const cases = [7, 33, 45, 48].flatMap((n) => [0, 3].map((sigma) => ({ n, sigma, widths: table(n) })));
    const asked = JSON.stringify(cases.map(({ n, sigma, widths }) => [n, sigma, widths]));
    const answers = await askPython<{ train: number[][]; eval: number[][] }[]>(torchPython, MASKS, {
      args: [SOURCES, asked],
    });
    cases.forEach(({ n, sigma, widths }, i) => {
      const { train, eval: evaluated } = answers[i] as (typeof answers)[number];
      const shape = { nIn: n, nOut: n, ...(sigma > 0 && { sigma }) };
      widths.forEach((width, k) => {
        if (sigma === 0) {
          expect((train[k] as number[]).reduce((sum, value) => sum + value)).toBe(samples(width, n));
        }
        const left = (evaluated[k] as number[]).filter((value) => value > 0).length;
        const { live, cost } = blockUse([width, width], shape);
        expect(left > 0).toBe(live[0] as boolean);
        expect(Math.min(2 * left, left * left)).toBe(cost);
      });
    });
  },
  PATIENCE,
);
