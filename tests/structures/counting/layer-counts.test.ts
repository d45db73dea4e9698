// Counts of one layer of every structure, against what is stored and what the reference's rule says.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { layerCounts } from "../../../workbench/structures/counting/layer-counts.ts";
import { gblrStructure } from "../../../workbench/structures/gblr.ts";
import { STRUCTURES } from "../../../workbench/structures/registry.ts";
import type { StructureParameters } from "../../../workbench/structures/structure.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { sample, toTensor } from "../../engine/ops/operands.ts";
import { countProducts } from "../count-products.ts";

const sizeOf = (parameters: StructureParameters) =>
  Object.values(parameters).reduce((sum, tensor) => sum + tensor.size, 0);

forEachEngine("layerCounts", () => {
  test("every structure stores its parameters and multiplies what its product does, GBLR its live spans", async () => {
    const weight = toTensor(sample(1, [24, 16])) as tf.Tensor2D;
    const row = tf.ones([1, 16]);
    for (const structure of STRUCTURES) {
      const parameters = await structure.fromDense(weight, 1);
      const all = sizeOf(parameters);
      const multiplied = await countProducts(() => structure.apply(parameters, row));
      // 9 blocks of full width, 9 · (24 + 16) = 360, and a narrower one for the 24 that are left of 384.
      const [stored, actual] = structure.name === "gblr" ? [384, 384] : [all, multiplied];
      expect(await layerCounts(structure, parameters)).toEqual({ parameters: all, stored, reference: actual, actual });
    }
  });

  test("a narrow block of higher rank costs the reference its area, and us both sides for each rank", async () => {
    // Spans of (2, 3), (16, 24), and dead ones: 1 sample wide, empty.
    const parameters = {
      lr_weight1: toTensor(sample(1, [4, 2, 16])),
      lr_weight2: toTensor(sample(2, [4, 24, 2])),
      widths: tf.tensor2d([2 / 16, 1, 1 / 16, 0, 3 / 24, 1, 1, 0.5], [2, 4]),
      locations: tf.tensor2d([0, 0, 0.5, 0.5, 0.9, 0, 0.5, 0.5], [2, 4]),
    };
    expect(await layerCounts(gblrStructure(), parameters)).toEqual({
      parameters: 4 * 2 * (16 + 24) + 16,
      stored: 2 * (2 + 3 + 16 + 24),
      reference: 2 * 3 + 2 * (16 + 24),
      actual: 2 * (2 + 3 + 16 + 24),
    });
  });
});
