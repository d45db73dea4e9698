// The operators' forms for devices without a loop of their own, on the CPU: what CUDA tensors get, against what CPU
// tensors get.

import { beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import type { Handle } from "../../workbench/engine/backends/torch/addon.ts";
import { aten, enterArena, leaveArena, type Operand, openAddon } from "../../workbench/engine/backends/torch/aten.ts";
import type { TorchBackend } from "../../workbench/engine/backends/torch/backend.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { maskTables } from "../../workbench/gblr/mask.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { pack } from "../../workbench/gblr/packed.ts";
import { ENGINES } from "../engine/engines.ts";
import { expectClose, read } from "../engine/ops/operands.ts";

const present = ENGINES.some(({ name }) => name === "torch");

/** An operator of the addon, its results as tensors. */
function operator(name: string): (...operands: Operand[]) => tf.Tensor[] {
  const native = aten<Handle | Handle[]>(name, "", "gblr");
  return (...operands) => {
    const mark = enterArena();
    const result = native(...operands);
    const handles = Array.isArray(result) ? result : [result];
    leaveArena(mark, handles);
    const backend = tf.engine().backend as TorchBackend;
    return handles.map((handle) => tf.engine().makeTensorFromTensorInfo(backend.adopt(handle)));
  };
}

async function expectEqual(actual: tf.Tensor[], expected: tf.Tensor[], tolerance: number): Promise<void> {
  expect(actual.length).toBe(expected.length);
  for (const [i, tensor] of actual.entries()) {
    const other = expected[i] as tf.Tensor;
    expect(tensor.shape).toEqual(other.shape);
    expectClose(await read(tensor), Float64Array.from(await read(other)), { tolerance });
  }
}

const SHARES = [0, 0.004, 0.5, 1, 1.03, -0.02, 0.3, 0.77, 0.049, 0.51];

describe.skipIf(!present)("the torch compositions", () => {
  beforeAll(async () => {
    await openEngine({ engine: "torch", device: "cpu" });
  });

  for (const [sigma, boxcar] of [
    [Number.POSITIVE_INFINITY, true],
    [20, false],
  ] as const) {
    test(`give the masks and gradients of the loops, sigma ${sigma}`, async () => {
      for (const n of [33, 48]) {
        const [w, l] = [tf.tensor1d(SHARES), tf.tensor1d(SHARES.toReversed())];
        const { edges, slopes } = maskTables({ length: n, sigma });
        for (const evaluate of [false, true]) {
          const operands = [w, l, edges, boxcar, evaluate] as const;
          const expected = operator("gaudi_mask")(...operands);
          await expectEqual(operator("gaudi_mask_composed")(...operands), expected, boxcar ? 0 : 1e-6);
        }
        const dy = tf.randomNormal([SHARES.length, n], 0, 1, "float32", 4);
        const expected = operator("gaudi_mask_backward")(dy, w, l, slopes);
        await expectEqual(operator("gaudi_mask_backward_composed")(dy, w, l, slopes), expected, 2e-6);
      }
    });
  }

  test("give the packed product of the loop", async () => {
    const [K, nIn, nOut] = [SHARES.length, 33, 20];
    const matrix = new GblrMatrix({
      lr_weight1: tf.randomNormal([K, 1, nIn], 0, 1, "float32", 1),
      lr_weight2: tf.randomNormal([K, nOut, 1], 0, 1, "float32", 2),
      widths: tf.tensor2d([SHARES.map(Math.abs), SHARES.toReversed().map(Math.abs)]),
      locations: tf.tensor2d([SHARES, SHARES]),
    });
    const { spans, values_in, values_out } = await pack(matrix);
    const x = tf.randomNormal([5, nIn], 0, 1, "float32", 3);
    for (const bias of [null, tf.randomNormal([nOut], 0, 1, "float32", 5)]) {
      const operands = [x, spans, values_in, values_out, bias, nOut] as const;
      const expected = operator("packed_product")(...operands);
      await expectEqual(operator("packed_product_composed")(...operands), expected, 2e-6);
    }
  });

  test("refuse spans outside the matrix", () => {
    const bad = tf.tensor2d([30, 5, 0, 5], [4, 1], "int32");
    const operands = [tf.zeros([1, 20]), bad, tf.zeros([5]), tf.zeros([5]), null, 8] as const;
    expect(() => operator("packed_product")(...operands)).toThrow("block 0 lies outside a matrix of 8 by 20");
    const long = tf.tensor2d([3, 5, 0, 5], [4, 1], "int32");
    expect(() => operator("packed_product")(tf.zeros([1, 20]), long, tf.zeros([4]), tf.zeros([5]), null, 8)).toThrow(
      "spans cover 5 and 5 values, got 4 and 5",
    );
  });

  // Five blocks as one chunk of columns, for operands of which the other stage is tested.
  const few = { values: tf.ones([5 * 16]), runs: tf.tensor2d([0, 1, 0, 5], [4, 1], "int32") };

  test("give the product with panels of the loop", async () => {
    // 40 outputs in two chunks: a whole run, one of the second half, and one of the first half
    const runs = tf.tensor2d([0, 0, 1, 0, 2, 1, 3, 20, 0, 9, 4, 24], [4, 3], "int32");
    const values = tf.randomNormal([9 * 32 + 4 * 16 + 24 * 16], 0, 1, "float32", 1);
    const x = tf.randomNormal([5, 5], 0, 1, "float32", 3);
    const wide = {
      values: tf.randomNormal([5 * 32], 0, 1, "float32", 2),
      runs: tf.tensor2d([0, 0, 0, 5], [4, 1], "int32"),
    };
    for (const bias of [null, tf.randomNormal([40], 0, 1, "float32", 5)]) {
      const operands = [x, wide.values, wide.runs, values, runs, bias, 24, 40] as const;
      const whole = operator("panel_product")(...operands);
      await expectEqual(operator("panel_product_composed")(...operands), whole, 2e-6);
    }
  });

  test("add the bias to the product with tiles, of one row and more, and leave it as it is", async () => {
    const bias = tf.tensor1d([1, 20, 300]);
    for (const shape of [[4], [1, 4], [2, 4]]) {
      for (let time = 0; time < 2; time++) {
        const operands = [tf.ones(shape), tf.ones([4]), [0, 4, 1], tf.ones([3]), [0, 3, 1], bias, 1, 3] as const;
        const [y] = operator("tile_product")(...operands) as [tf.Tensor];
        expect(y.shape).toEqual([...shape.slice(0, -1), 3]);
        expect([...(await y.data()).slice(0, 3)]).toEqual([5, 24, 304]);
      }
    }
    expect([...(await bias.data())]).toEqual([1, 20, 300]);
  });

  test("give the product with tiles in bfloat16 where products are in bfloat16", async () => {
    const x = tf.randomNormal([6, 20], 0, 1, "float32", 1);
    const [valuesIn, valuesOut] = [
      tf.randomNormal([20 * 3 + 8 * 2], 0, 1, "float32", 2),
      tf.randomNormal([5 * 12], 0, 1, "float32", 3),
    ];
    const bias = tf.randomNormal([12], 0, 1, "float32", 4);
    const product = () =>
      operator("tile_product")(x, valuesIn, [0, 20, 3, 5, 8, 2], valuesOut, [0, 12, 5], bias, 5, 12);
    const exact = product();
    openAddon().autocast("cpu", true, "bfloat16");
    try {
      const half = product();
      await expectEqual(half, exact, 2e-2);
      // All results are numbers of bfloat16.
      const bits = new Int32Array(Float32Array.from(await (half[0] as tf.Tensor).data()).buffer);
      expect([...bits].every((each) => (each & 0xffff) === 0)).toBe(true);
    } finally {
      openAddon().autocast("cpu", false, "bfloat16");
    }
  });

  test("refuse tiles outside the matrix, or with other numbers of blocks or values", () => {
    const product = (tiles: number[], { values = 20, blocks = 2, stage = 1 } = {}) => {
      const own = [tf.zeros([values]), tiles] as const;
      const other = [tf.zeros([4 * blocks]), [0, 4, blocks]] as const;
      const [first, second] = stage === 1 ? [own, other] : [other, own];
      operator("tile_product")(
        tf.zeros([1, stage === 1 ? 10 : 4]),
        ...first,
        ...second,
        null,
        blocks,
        stage === 1 ? 4 : 10,
      );
    };
    product([0, 10, 2]);
    product([0, 10, 2], { stage: 2 });
    expect(() => product([1, 10, 2])).toThrow("tile 0 lies outside of 10 inputs");
    expect(() => product([1, 10, 2], { stage: 2 })).toThrow("tile 0 lies outside of 10 outputs");
    expect(() => product([-1, 10, 2])).toThrow("tile 0 lies outside of 10 inputs");
    expect(() => product([0, 10, 2, 0, 0, 1])).toThrow("tile 1 lies outside of 10 inputs");
    expect(() => product([0, 10])).toThrow("tiles must be triples");
    expect(() => product([0, 10, 1])).toThrow("tiles of inputs have 1 blocks, not 2");
    expect(() => product([0, 10, 2], { values: 19 })).toThrow("tiles of inputs cover 20 values, got 19");
  });

  test("refuse panels outside the matrix, in disorder, or with other numbers of values", () => {
    const product = (runs: number[][], { values = 64, blocks = 5, nOut = 40, stage = 1 } = {}) => {
      const own = { values: tf.zeros([values]), runs: tf.tensor2d(runs, [4, runs[0]?.length ?? 0], "int32") };
      const [first, second] = stage === 1 ? [own, few] : [few, own];
      for (const name of ["panel_product", "panel_product_composed"]) {
        const x = tf.zeros([1, stage === 1 ? 8 : 5]);
        operator(name)(x, first.values, first.runs, second.values, second.runs, null, blocks, nOut);
      }
    };
    product([[0], [0], [6], [2]]);
    product([[0], [0], [6], [2]], { stage: 2, blocks: 8 });
    expect(() => product([[0], [0], [7], [2]])).toThrow("run 0 lies outside of 8 inputs");
    expect(() => product([[0], [0], [7], [2]], { stage: 2, blocks: 8 })).toThrow("run 0 lies outside of 8 inputs");
    expect(() => product([[0], [0], [-1], [2]])).toThrow("run 0 lies outside of 8 inputs");
    expect(() => product([[0], [0], [6], [0]])).toThrow("run 0 lies outside of 8 inputs");
    expect(() => product([[0], [3], [6], [2]])).toThrow("run 0 has columns 3");
    expect(() => product([[1], [0], [6], [2]])).toThrow("run 0 is of no chunk, or out of order");
    expect(() =>
      product(
        [
          [1, 0],
          [1, 0],
          [0, 0],
          [2, 1],
        ],
        { stage: 2, blocks: 8 },
      ),
    ).toThrow("run 1 is of no chunk");
    expect(() => product([[0], [1], [6], [2]])).toThrow("runs cover 32 values, got 64");
    expect(() => product([[0], [0], [0], [2]], { nOut: 0 })).toThrow("x must be (..., n_in)");
    // the largest numbers do not overflow
    expect(() => product([[0], [0], [2 ** 31 - 1], [2 ** 31 - 1]])).toThrow("run 0 lies outside of 8 inputs");
  });
});
