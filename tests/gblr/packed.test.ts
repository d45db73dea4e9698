// The packed form: what it keeps, its round trip, its product against the matrix it came from, and what it refuses.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import type { MaskSettings } from "../../workbench/gblr/mask.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { checkPacked, type PackedGblr, pack, packedProduct, unpack } from "../../workbench/gblr/packed.ts";
import { spanOfMask } from "../../workbench/gblr/widths.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, expectRefusal, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";
import { readGolden } from "../golden.ts";

const LAYERS = readGolden("gblr/layer.safetensors");
const NAMES = ["lr_weight1", "lr_weight2", "widths", "locations", "bias"] as const;

const golden = (name: string): tf.Tensor => {
  const { values, shape } = LAYERS.get(name);
  return tf.tensor(Float32Array.from(values), shape, "float32");
};

function layer(name: string, settings: MaskSettings = {}): GblrMatrix {
  const entries = NAMES.map((parameter) => [parameter, golden(`${name}.${parameter}`)]);
  return new GblrMatrix(Object.fromEntries(entries) as unknown as GblrParameters, settings);
}

const TENSORS = ["spans", "values_in", "values_out"] as const;

async function expectSame(packed: PackedGblr, other: PackedGblr): Promise<void> {
  for (const name of TENSORS) {
    expect(packed[name].shape).toEqual(other[name].shape);
    expect(await read(packed[name])).toEqual(await read(other[name]));
  }
}

interface Random {
  nIn: number;
  nOut: number;
  rank: number;
  /** widths and locations of each block, input side first */
  blocks: [number, number, number, number][];
}

const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
const randomMatrix = fc.record<Random>({
  nIn: fc.integer({ min: 2, max: 20 }),
  nOut: fc.integer({ min: 2, max: 20 }),
  rank: fc.integer({ min: 1, max: 3 }),
  blocks: fc.array(fc.tuple(share, share, share, share), { minLength: 1, maxLength: 8 }),
});

function build({ nIn, nOut, rank, blocks }: Random, settings: MaskSettings): GblrMatrix {
  const column = (at: number) => blocks.map((block) => block[at] as number);
  const pair = (at: number) => tf.tensor2d([column(at), column(at + 1)]);
  const parameters = {
    lr_weight1: toTensor(sample(1, [blocks.length, rank, nIn])),
    lr_weight2: toTensor(sample(2, [blocks.length, nOut, rank])),
    widths: pair(0),
    locations: pair(2),
  };
  return new GblrMatrix(parameters, settings);
}

test("the support of a mask is the shortest span around what is not 0", () => {
  expect(spanOfMask([0, 0, 0])).toBeUndefined();
  expect(spanOfMask([1, 1, 1])).toEqual({ start: 0, length: 3 });
  expect(spanOfMask([0, 1, 1, 0])).toEqual({ start: 1, length: 2 });
  expect(spanOfMask([1, 0, 0, 1, 1])).toEqual({ start: 3, length: 3 });
  expect(spanOfMask([0.1, 0, 1, 0, 0, 0])).toEqual({ start: 0, length: 3 });
  expect(spanOfMask([0, 0, 0, 1])).toEqual({ start: 3, length: 2 });
});

forEachEngine("the packed form", () => {
  for (const name of ["a", "b"]) {
    for (const sigma of [Number.POSITIVE_INFINITY, 100, 10]) {
      test(`multiplies as the evaluation form of ${name} does, sigma ${sigma}`, async () => {
        const matrix = layer(name, { sigma, mode: "eval" });
        const packed = await pack(matrix);
        await checkPacked(packed);
        for (const x of [golden(`${name}.x`), golden(`${name}.x_short`)]) {
          const expected = await read(matrix.apply(x));
          expectClose(await read(packedProduct(x, packed)), Float64Array.from(expected), { tolerance: 2e-6 });
        }
      });
    }
  }

  test("keeps the values of live blocks and nothing else", async () => {
    const matrix = layer("a");
    const packed = await pack(matrix);
    const { live, cost } = await matrix.use();
    expect(packed.spans.shape).toEqual([4, live.filter(Boolean).length]);
    // Blocks of rank 1: what is stored is what is multiplied.
    expect(packed.values_in.size + packed.values_out.size).toBe(cost);
  });

  test("comes back from a round trip bit for bit", async () => {
    const check = async (random: Random, sigma: number) => {
      const matrix = build(random, { sigma });
      const packed = await pack(matrix);
      await checkPacked(packed);
      const again = unpack(packed);
      await expectSame(await pack(again), packed);
      matrix.settings = { sigma, mode: "eval" };
      const expected = Float64Array.from(await read(matrix.dense()));
      expectClose(await read(again.dense()), expected, { tolerance: 1e-6, terms: [1] });
      const x = toTensor(sample(3, [3, random.nIn]));
      const y = Float64Array.from(await read(matrix.apply(x)));
      expectClose(await read(packedProduct(x, packed)), y, { terms: [1] });
    };
    const sigmas = fc.constantFrom(Number.POSITIVE_INFINITY, 3, 30);
    await fc.assert(fc.asyncProperty(randomMatrix, sigmas, check), { seed: 11, numRuns: 25 });
  });

  test("is only the bias when no block is live", async () => {
    const matrix = layer("a");
    const none = new GblrMatrix({ ...matrix.parameters, widths: tf.zeros([2, 48]) });
    const packed = await pack(none);
    expect(packed.spans.shape).toEqual([4, 0]);
    const y = await read(packedProduct(golden("a.x"), packed));
    const bias = await read(golden("a.bias"));
    expect(y).toEqual(Float32Array.from({ length: 10 * 96 }, (_, i) => bias[i % 96] as number));
    expect((await pack(unpack(packed))).spans.shape).toEqual([4, 0]);
  });

  test("leaves no tensor but its own", async () => {
    const matrix = layer("a", { sigma: 10 });
    (await pack(matrix)).spans.dispose();
    const x = golden("a.x");
    const before = liveTensors();
    const packed = await pack(matrix);
    expect(liveTensors().tensors).toBe(before.tensors + 3);
    packedProduct(x, packed).dispose();
    tf.dispose(TENSORS.map((name) => packed[name]));
    expect(liveTensors()).toEqual(before);
  });

  test("refuses spans that break the rules", async () => {
    const good = await pack(layer("a"));
    const refusal = async (change: (spans: Int32Array) => void): Promise<string> => {
      const spans = Int32Array.from(await good.spans.data());
      change(spans);
      const bad = { ...good, spans: tf.tensor2d(spans, good.spans.shape, "int32") };
      return checkPacked(bad).then(
        () => "accepted",
        (error: Error) => error.message,
      );
    };
    const blocks = good.spans.shape[1];
    const set = (row: number, value: number) => (spans: Int32Array) => {
      spans[row * blocks + 1] = value;
    };
    expect(await refusal(set(0, 48))).toBe("packed: start_in of block 1 must be in 0 … 47, got 48");
    expect(await refusal(set(2, -1))).toBe("packed: start_out of block 1 must be in 0 … 95, got -1");
    expect(await refusal(set(1, 1))).toBe("packed: length_in of block 1 must be in 2 … 48, got 1");
    expect(await refusal(set(3, 97))).toBe("packed: length_out of block 1 must be in 2 … 96, got 97");
    expect(await refusal(set(1, 3))).toMatch(/^packed: values_in must be float32 \(\d+\), got float32 \(\d+\)$/);
    expect(await refusal((spans) => set(0, 5)(spans) ?? set(1, 48)(spans))).toBe(
      "packed: start_in of block 1, a full turn, must be 0, got 5",
    );
    expectRefusal(
      () => packedProduct(tf.zeros([2, 49]), good),
      "GblrMatrix: x must be float32 (..., 48) or shorter, got float32 (2, 49)",
    );
  });
});
