// Costs of one layer of every structure: against the products that an engine runs, and against what the reference's rule
// says where a narrow block has several ranks.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { gblrStructure } from "../../workbench/structures/gblr.ts";
import type { StructureParameters } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { sample, toTensor } from "../engine/ops/operands.ts";
import { countProducts } from "./count-products.ts";
import { STRUCTURES } from "./matrix-structures.ts";

/** Values that inference keeps of a GBLR matrix, which are also its multiply-adds a row. */
async function packedSize(parameters: StructureParameters): Promise<number> {
  const packed = await gblrStructure().pack?.(parameters);
  const { spans, values_in, values_out } = { ...packed?.parameters };
  const size = (values_in?.size ?? 0) + (values_out?.size ?? 0);
  tf.dispose([spans, values_in, values_out] as tf.Tensor[]);
  return size;
}

forEachEngine("costs of layers", () => {
  test("every structure costs what its product multiplies, GBLR its live spans", async () => {
    const weight = toTensor(sample(1, [24, 16])) as tf.Tensor2D;
    const row = tf.ones([1, 16]);
    for (const structure of STRUCTURES) {
      const parameters = await structure.fromDense(weight, 1);
      const multiplied = await countProducts(() => structure.apply(parameters, row));
      // 9 blocks of full width, 9 · (24 + 16) = 360, and a narrower one for the 24 that are left of 384.
      expect(await structure.cost(parameters)).toBe(structure.name === "gblr" ? 384 : multiplied);
      if (structure.name === "gblr") expect(await packedSize(parameters)).toBe(384);
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
    expect(await gblrStructure().cost(parameters)).toBe(2 * 3 + 2 * (16 + 24));
    expect(await packedSize(parameters)).toBe(2 * (2 + 3 + 16 + 24));
  });
});
