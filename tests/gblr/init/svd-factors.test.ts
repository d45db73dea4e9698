// svdFactors against the reference's products and norms, on every engine.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { ShapeError } from "../../../workbench/engine/core/errors.ts";
import { svdFactors } from "../../../workbench/gblr/init/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectClose, liveTensors } from "../../engine/ops/operands.ts";
import { type GoldenTensor, readGolden } from "../../golden.ts";

const golden = readGolden("gblr/svd-init.safetensors");
const toTensor = ({ values, shape }: GoldenTensor): tf.Tensor2D =>
  tf.tensor2d(Float32Array.from(values), shape as [number, number]);

forEachEngine("svdFactors", () => {
  for (const name of ["a", "b"]) {
    test(`matrix ${name}: the product of the first r blocks is the nearest matrix of rank r`, async () => {
      const before = liveTensors();
      const weight = toTensor(golden.get(`${name}.M`));
      for (const [blocks, expected] of [1, 12, 48].map((r) => [r, r === 48 ? "M" : `rank${r}.product`] as const)) {
        const { lr_weight1, lr_weight2, singularValues } = await svdFactors(weight, { blocks });
        expect(lr_weight1.shape).toEqual([blocks, 1, weight.shape[1]]);
        expect(lr_weight2.shape).toEqual([blocks, weight.shape[0], 1]);
        const product = tf.tidy(() => tf.sum(tf.matMul(lr_weight2, lr_weight1), 0));
        expectClose(await product.data(), golden.get(`${name}.${expected}`).values);
        tf.dispose([lr_weight1, lr_weight2, singularValues, product]);
      }
      weight.dispose();
      expect(liveTensors()).toEqual(before);
    });

    test(`matrix ${name}: both factors of a block have the squared length of its singular value`, async () => {
      const weight = toTensor(golden.get(`${name}.M`));
      const { lr_weight1, lr_weight2, singularValues } = await svdFactors(weight);
      const expected = golden.get(`${name}.singular_values`).values;
      expectClose(await singularValues.data(), expected);
      expectClose(await tf.sum(tf.square(lr_weight1), [1, 2]).data(), golden.get(`${name}.norm1`).values);
      expectClose(await tf.sum(tf.square(lr_weight2), [1, 2]).data(), golden.get(`${name}.norm2`).values);
    });

    test(`matrix ${name}: a block of rank 4 holds four triples in a row`, async () => {
      const { lr_weight1, lr_weight2 } = await svdFactors(toTensor(golden.get(`${name}.M`)), { rank: 4 });
      expect(lr_weight1.shape.slice(0, 2)).toEqual([12, 4]);
      const products = tf.slice(tf.matMul(lr_weight2, lr_weight1), 0, 4);
      expectClose(await products.data(), golden.get(`${name}.rpc4.component_products`).values);
    });
  }

  test("more triples than there are, and no block at all, are refused", async () => {
    const weight = tf.ones<tf.Rank.R2>([6, 4]);
    const message = (options: object) => svdFactors(weight, options).then(String, (error: unknown) => error);
    expect(await message({ blocks: 3, rank: 2 })).toEqual(
      new ShapeError("svdFactors: blocks must be an integer from 1 to 2, got 3"),
    );
    expect(await message({ blocks: 0 })).toEqual(
      new ShapeError("svdFactors: blocks must be an integer from 1 to 4, got 0"),
    );
    expect(await message({ rank: 5 })).toEqual(
      new ShapeError("svdFactors: rank must be an integer from 1 to 4, got 5"),
    );
  });
});
