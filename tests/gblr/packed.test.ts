// The packed form: what it keeps, its round trip, its product against the matrix it came from, and what it refuses.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { checkSpans } from "../../hub/model-folder/gblr-layer.ts";
import type { MaskSettings } from "../../workbench/gblr/mask.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { type PackedGblr, pack, packedProduct, unpack } from "../../workbench/gblr/packed.ts";
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

/** What the format demands of spans, and as many values as they cover. */
async function expectByTheRules({ spans, values_in, values_out, nIn, nOut }: PackedGblr): Promise<void> {
  const checked = checkSpans(await spans.data(), { nIn, nOut });
  expect(checked).toEqual({ bad: undefined, values: { in: values_in.size, out: values_out.size } });
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
        await expectByTheRules(packed);
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
      await expectByTheRules(packed);
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

  test("has spans that break the rules of the format as soon as one number is changed", async () => {
    const { spans, nIn, nOut } = await pack(layer("a"));
    const good = Int32Array.from(await spans.data());
    const blocks = spans.shape[1];
    const badOf = (...changes: [row: number, value: number][]) => {
      const changed = good.slice();
      for (const [row, value] of changes) changed[row * blocks + 1] = value;
      return checkSpans(changed, { nIn, nOut }).bad;
    };
    expect(badOf()).toBeUndefined();
    expect(badOf([0, 48])).toMatchObject({ rule: "start", side: "in", block: 1, start: 48, n: 48 });
    expect(badOf([2, -1])).toMatchObject({ rule: "start", side: "out", block: 1, start: -1, n: 96 });
    expect(badOf([1, 1])).toMatchObject({ rule: "length", side: "in", block: 1, length: 1, n: 48 });
    expect(badOf([3, 97])).toMatchObject({ rule: "length", side: "out", block: 1, length: 97, n: 96 });
    expect(badOf([0, 5], [1, 48])).toMatchObject({ side: "in", block: 1, start: 5, length: 48 });
  });

  test("refuses rows longer than the matrix", async () => {
    const packed = await pack(layer("a"));
    expectRefusal(
      () => packedProduct(tf.zeros([2, 49]), packed),
      "GblrMatrix: x must be float32 (..., 48) or shorter, got float32 (2, 49)",
    );
  });
});
