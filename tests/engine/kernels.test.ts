// The kernels that this project adds to TensorFlow.js's backends or replaces in them, on every engine, against float64
// loops or values known beforehand. Their gradients: gradients.test.ts.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "./engines.ts";
import { type Convolution, convolutionGradients, matMul, outputSize } from "./float64-products.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "./ops/operands.ts";

/** Runs `compute`, reads its result and holds that nothing else stays behind. */
async function run(compute: () => tf.Tensor): Promise<{ shape: number[]; dtype: string; values: ArrayLike<number> }> {
  const before = liveTensors();
  const result = tf.tidy(compute);
  const values = await result.data();
  const { shape, dtype } = result;
  result.dispose();
  expect(liveTensors()).toEqual(before);
  return { shape, dtype, values };
}

function rampOf(shape: number[], dtype: "int32" | "float32" = "float32"): tf.Tensor {
  const size = tf.util.sizeFromShape(shape);
  return tf.tensor(
    Array.from({ length: size }, (_, i) => (i % 7) - 3),
    shape,
    dtype,
  );
}

/** Leading axes of both operands, then (rows, inner, columns). */
const PRODUCTS: [stackA: number[], stackB: number[], sizes: [number, number, number]][] = [
  [[], [], [3, 5, 4]],
  [[], [], [1, 33, 17]],
  [[], [], [40, 1, 9]],
  [[], [], [2, 64, 90]],
  [[3], [3], [2, 3, 4]],
  [[4], [4], [17, 19, 23]],
  [
    [2, 3],
    [2, 3],
    [18, 16, 20],
  ],
  [[5], [1], [7, 16, 9]],
  [[1], [5], [7, 16, 9]],
  [
    [2, 1],
    [1, 3],
    [16, 17, 18],
  ],
];

forEachEngine("matrix products", (engine, under) => {
  for (const [stackA, stackB, [rows, inner, columns]] of PRODUCTS) {
    const name = `(${[...stackA, rows, inner]}) x (${[...stackB, inner, columns]})`;
    for (const [transposeA, transposeB] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const) {
      test(`${name}, transposed ${transposeA}, ${transposeB}`, async () => {
        const a = sample(1, [...stackA, ...(transposeA ? [inner, rows] : [rows, inner])]);
        const b = sample(2, [...stackB, ...(transposeB ? [columns, inner] : [inner, columns])]);
        const stack = tf.broadcast_util.assertAndGetBroadcastShape(stackA, stackB);
        const batch = tf.util.sizeFromShape(stack);
        const last = stack.at(-1) ?? 1;
        // Of the shapes above, a stack is whole, or one, or one in its first or last axis.
        const place = (own: number[], matrix: number) =>
          tf.util.sizeFromShape(own) === batch
            ? matrix
            : own.at(-1) === 1
              ? own.length === 1
                ? 0
                : Math.floor(matrix / last)
              : matrix % last;
        const truth = matMul(
          { batch, rows, inner, columns },
          (matrix, row, k) => {
            const start = place(stackA, matrix) * rows * inner;
            return a.values[start + (transposeA ? k * rows + row : row * inner + k)] as number;
          },
          (matrix, k, column) => {
            const start = place(stackB, matrix) * inner * columns;
            return b.values[start + (transposeB ? column * inner + k : k * columns + column)] as number;
          },
        );
        const product = await run(() => tf.matMul(toTensor(a), toTensor(b), transposeA, transposeB));
        expect(product.shape).toEqual([...stack, rows, columns]);
        expectClose(product.values, truth);
      });
    }
  }

  test("over nothing are zeros, of no rows are empty", async () => {
    const zeros = await run(() => tf.matMul(tf.zeros([2, 3, 0]), tf.zeros([2, 0, 4])));
    expect(zeros.shape).toEqual([2, 3, 4]);
    expect([...Array.from(zeros.values)]).toEqual(Array(24).fill(0));
    expect((await run(() => tf.matMul(tf.zeros([0, 3]), tf.zeros([3, 4])))).shape).toEqual([0, 4]);
  });

  test("with a bias and an activation over nothing are the activated bias", async () => {
    const { values } = await run(() =>
      tf.fused.matMul({ a: tf.zeros([2, 0]), b: tf.zeros([0, 3]), bias: tf.tensor1d([-1, 0, 2]), activation: "relu" }),
    );
    expect(Array.from(values)).toEqual([0, 0, 2, 0, 0, 2]);
  });

  for (const activation of ["linear", "relu", "relu6", "elu", "sigmoid", "leakyrelu"] as const) {
    test(`fused with a bias and ${activation} are the same as one after the other`, async () => {
      const [a, b, bias] = [sample(3, [2, 9, 8]), sample(4, [2, 7, 8]), sample(5, [7])];
      const apart: Record<typeof activation, (x: tf.Tensor) => tf.Tensor> = {
        linear: (x) => x,
        relu: (x) => tf.relu(x),
        relu6: (x) => tf.relu6(x),
        elu: (x) => tf.elu(x),
        sigmoid: (x) => tf.sigmoid(x),
        leakyrelu: (x) => tf.leakyRelu(x, 0.1),
      };
      const expected = await run(() =>
        apart[activation](tf.add(tf.matMul(toTensor(a), toTensor(b), false, true), toTensor(bias))),
      );
      const options = { transposeB: true, activation, leakyreluAlpha: 0.1 };
      const fused = await run(() =>
        tf.fused.matMul({ a: toTensor(a), b: toTensor(b), bias: toTensor(bias), ...options }),
      );
      expectClose(fused.values, Array.from(expected.values));
    });
  }

  // The WebGPU backend multiplies integers as float32.
  const large = under.name === "webgpu" ? 4000 : 40000;
  test("of integers are exact", async () => {
    const a = tf.tensor2d(
      [
        [large, 1],
        [-7, large],
      ],
      [2, 2],
      "int32",
    );
    const { values, dtype } = await run(() => tf.matMul(a, a));
    a.dispose();
    expect(dtype).toBe("int32");
    expect(Array.from(values)).toEqual([large * large - 7, 2 * large, -14 * large, large * large - 7]);
  });

  test("of operands that do not fit are refused, and the engine goes on", async () => {
    expect(() => tf.tidy(() => tf.matMul(tf.ones([2, 3]), tf.ones([4, 5])))).toThrow(/inner|shapes|mat1/i);
    expect(tf.getBackend()).toBe(engine().backendName);
    expect((await run(() => tf.matMul(tf.ones([1, 3]), tf.ones([3, 1])))).values[0]).toBe(3);
  });
});

const CONVOLUTIONS: [string, Convolution][] = (
  [
    ["3x3", {}],
    ["3x3, stride 2", { strideHeight: 2, strideWidth: 2 }],
    [
      "a single position, stride 2",
      {
        filterHeight: 1,
        filterWidth: 1,
        strideHeight: 2,
        strideWidth: 2,
        pad: [
          [0, 0],
          [0, 0],
        ],
      },
    ],
    [
      "1x1",
      {
        filterHeight: 1,
        filterWidth: 1,
        pad: [
          [0, 0],
          [0, 0],
        ],
      },
    ],
    [
      "4x4 patches",
      {
        filterHeight: 4,
        filterWidth: 4,
        strideHeight: 4,
        strideWidth: 4,
        pad: [
          [0, 0],
          [0, 0],
        ],
        height: 8,
      },
    ],
    [
      "7x7, stride 2, padding 3",
      {
        filterHeight: 7,
        filterWidth: 7,
        strideHeight: 2,
        strideWidth: 2,
        pad: [
          [3, 3],
          [3, 3],
        ],
      },
    ],
    [
      "uneven strides, uneven padding",
      {
        strideHeight: 3,
        strideWidth: 1,
        pad: [
          [2, 0],
          [0, 1],
        ],
      },
    ],
    [
      "a stride that leaves rows over",
      {
        strideHeight: 4,
        strideWidth: 3,
        pad: [
          [0, 0],
          [0, 0],
        ],
      },
    ],
  ] as [string, Partial<Convolution>][]
).map(([name, special]) => [
  name,
  {
    batch: 2,
    height: 9,
    width: 8,
    channelsIn: 3,
    channelsOut: 5,
    filterHeight: 3,
    filterWidth: 3,
    strideHeight: 1,
    strideWidth: 1,
    pad: [
      [1, 1],
      [1, 1],
    ],
    ...special,
  },
]);

forEachEngine("gradients of convolutions", () => {
  for (const [name, c] of CONVOLUTIONS) {
    test(name, async () => {
      const [outHeight, outWidth] = outputSize(c);
      const x = sample(6, [c.batch, c.height, c.width, c.channelsIn]);
      const filter = sample(7, [c.filterHeight, c.filterWidth, c.channelsIn, c.channelsOut]);
      const dy = sample(8, [c.batch, outHeight, outWidth, c.channelsOut]);
      const truth = convolutionGradients(c, { x: x.values, filter: filter.values, dy: dy.values });
      const pad = [[0, 0], ...c.pad, [0, 0]] as [
        [number, number],
        [number, number],
        [number, number],
        [number, number],
      ];
      const convolve = (image: tf.Tensor, taps: tf.Tensor) =>
        tf.conv2d(image as tf.Tensor4D, taps as tf.Tensor4D, [c.strideHeight, c.strideWidth], pad);
      const [dx, dFilter] = tf.tidy(() => tf.grads(convolve)([toTensor(x), toTensor(filter)], toTensor(dy)));
      expectClose(await read(dx as tf.Tensor), Array.from(truth.dx));
      expectClose(await read(dFilter as tf.Tensor), Array.from(truth.dFilter));
      tf.dispose([dx, dFilter] as tf.Tensor[]);
    });
  }
});

forEachEngine("rows by number", () => {
  test("segment sums leave out rows whose number is outside", async () => {
    const { values, shape } = await run(() =>
      tf.unsortedSegmentSum(
        tf.tensor2d([
          [1, 2],
          [3, 4],
          [5, 6],
          [7, 8],
          [9, 10],
        ]),
        tf.tensor1d([2, -1, 0, 2, 5], "int32"),
        3,
      ),
    );
    expect(shape).toEqual([3, 2]);
    expect(Array.from(values)).toEqual([5, 6, 0, 0, 8, 10]);
  });

  test("segment sums of no rows are zeros", async () => {
    const { values } = await run(() => tf.unsortedSegmentSum(tf.zeros([0, 2]), tf.tensor1d([], "int32"), 2));
    expect(Array.from(values)).toEqual([0, 0, 0, 0]);
  });

  test("gather takes rows, columns, and a row of each batch", async () => {
    const table = tf.tensor2d([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const ids = tf.tensor2d(
      [
        [1, 0],
        [1, 1],
      ],
      [2, 2],
      "int32",
    );
    const rows = await run(() => tf.gather(table, ids));
    expect(rows.shape).toEqual([2, 2, 3]);
    expect(Array.from(rows.values)).toEqual([4, 5, 6, 1, 2, 3, 4, 5, 6, 4, 5, 6]);
    const columns = await run(() => tf.gather(table, tf.tensor1d([2, 0], "int32"), 1));
    expect(Array.from(columns.values)).toEqual([3, 1, 6, 4]);
    const each = await run(() => tf.gather(table, tf.tensor2d([[2], [0]], [2, 1], "int32"), 1, 1));
    expect(Array.from(each.values)).toEqual([3, 4]);
    tf.dispose([table, ids]);
  });

  test("gather of int32 keeps the type, gather of nothing is empty", async () => {
    const { values, dtype } = await run(() => tf.gather(rampOf([4], "int32"), tf.tensor1d([3, 0], "int32")));
    expect(dtype).toBe("int32");
    expect(Array.from(values)).toEqual([0, -3]);
    expect((await run(() => tf.gather(rampOf([4, 2]), tf.tensor1d([], "int32")))).shape).toEqual([0, 2]);
  });
});

forEachEngine("einsum", () => {
  const cases: [equation: string, shapes: number[][], expected: (...x: tf.Tensor[]) => tf.Tensor][] = [
    [
      "ij,jk->ik",
      [
        [3, 4],
        [4, 5],
      ],
      (a, b) => tf.matMul(a as tf.Tensor, b as tf.Tensor),
    ],
    [
      "bij,bkj->bki",
      [
        [2, 3, 4],
        [2, 5, 4],
      ],
      (a, b) => tf.matMul(b as tf.Tensor, a as tf.Tensor, false, true),
    ],
    ["ij->ji", [[3, 4]], (a) => tf.transpose(a as tf.Tensor)],
    ["ij->", [[3, 4]], (a) => tf.sum(a as tf.Tensor)],
    ["ij,j->i", [[3, 4], [4]], (a, b) => tf.sum(tf.mul(a as tf.Tensor, b as tf.Tensor), 1)],
    ["i,j->ij", [[3], [4]], (a, b) => tf.outerProduct(a as tf.Tensor1D, b as tf.Tensor1D)],
    [
      "ijk,lj->l",
      [
        [2, 3, 4],
        [5, 3],
      ],
      (a, b) => tf.sum(tf.mul(tf.sum(a as tf.Tensor, [0, 2]), b as tf.Tensor), 1),
    ],
  ];
  for (const [equation, shapes, expected] of cases) {
    test(equation, async () => {
      const operands = shapes.map((shape, seed) => sample(10 + seed, shape));
      const actual = await run(() => tf.einsum(equation, ...operands.map(toTensor)));
      const truth = await run(() => expected(...operands.map(toTensor)));
      expect(actual.shape).toEqual(truth.shape);
      expectClose(actual.values, Array.from(truth.values));
    });
  }
});

forEachEngine("complex numbers", () => {
  // Without counting buffers: the WebGPU backend keeps the parts of a complex tensor apart from the engine's count.
  const valuesOf = async (compute: () => tf.Tensor) => {
    const before = tf.memory().numTensors;
    const result = tf.tidy(compute);
    const values = Array.from(await result.data());
    result.dispose();
    expect(tf.memory().numTensors).toBe(before);
    return values;
  };
  const pair = () => tf.complex(tf.tensor1d([3, -1]), tf.tensor1d([4, 2]));

  test("are made, taken apart and read", async () => {
    expect(await valuesOf(() => tf.real(pair()))).toEqual([3, -1]);
    expect(await valuesOf(() => tf.imag(pair()))).toEqual([4, 2]);
    expect(await valuesOf(pair)).toEqual([3, 4, -1, 2]);
  });

  test("have absolute values, products and a Fourier transform that goes back", async () => {
    expectClose(await valuesOf(() => tf.abs(pair())), [5, Math.sqrt(5)]);
    expectClose(await valuesOf(() => tf.imag(tf.mul(pair(), pair()))), [24, -4]);
    expectClose(await valuesOf(() => tf.real(tf.spectral.fft(pair()))), [2, 4]);
    expectClose(await valuesOf(() => tf.imag(tf.spectral.ifft(tf.spectral.fft(pair())))), [4, 2]);
  });

  test("pass through reshapes", async () => {
    expect(await valuesOf(() => tf.reshape(pair(), [2, 1]))).toEqual([3, 4, -1, 2]);
  });
});

forEachEngine("values of other kinds", () => {
  test("are not numbers where they are not", async () => {
    const { values } = await run(() => tf.isNaN(tf.tensor1d([1, Number.NaN, Number.POSITIVE_INFINITY, 0])));
    expect(Array.from(values)).toEqual([0, 1, 0, 0]);
  });

  test("become true unless they are zero", async () => {
    const { values, dtype } = await run(() => tf.cast(tf.tensor1d([0, 0.25, -3, 256]), "bool"));
    expect(dtype).toBe("bool");
    expect(Array.from(values)).toEqual([0, 1, 1, 1]);
    expect(Array.from((await run(() => tf.cast(tf.tensor1d([0, 256, -1], "int32"), "bool"))).values)).toEqual([
      0, 1, 1,
    ]);
  });

  test("are combined bit by bit", async () => {
    const [a, b] = [tf.tensor1d([12, -1, 7], "int32"), tf.tensor1d([10, 255, 8], "int32")];
    expect(Array.from((await run(() => tf.bitwiseAnd(a, b))).values)).toEqual([8, 255, 0]);
    tf.dispose([a, b]);
  });

  test("are counted once", async () => {
    const { values, indices } = tf.unique(tf.tensor1d([5, 3, 5, 9, 3], "int32"));
    expect(Array.from(await values.data())).toEqual([5, 3, 9]);
    expect(Array.from(await indices.data())).toEqual([0, 1, 0, 2, 1]);
    tf.dispose([values, indices]);
  });

  test("are split, when they are strings", async () => {
    const { values, ...others } = tf.tidy(() => tf.string.stringSplit(tf.tensor1d(["a b", "c"]), " "));
    expect((await values?.array()) as unknown).toEqual(["a", "b", "c"]);
    tf.dispose([values, others] as unknown as tf.TensorContainer);
    const replaced = tf.tidy(() => tf.string.staticRegexReplace(tf.tensor1d(["aab"]), "a", "x", true));
    expect((await replaced.array()) as unknown).toEqual(["xxb"]);
    replaced.dispose();
  });

  test("are kept apart when a tensor is cloned and its origin disposed", async () => {
    const origin = tf.tensor1d([1, 2]);
    const copy = tf.clone(origin);
    origin.dispose();
    expect(Array.from(await copy.data())).toEqual([1, 2]);
    copy.dispose();
  });
});

forEachEngine("sums over nothing", () => {
  const none = () => tf.zeros([2, 0, 3]);
  const cases: [string, () => tf.Tensor, number][] = [
    ["sum", () => tf.sum(none(), 1), 0],
    ["prod", () => tf.prod(none(), 1), 1],
    ["mean", () => tf.mean(none(), 1), Number.NaN],
    ["any", () => tf.any(tf.cast(none(), "bool"), 1), 0],
    ["all", () => tf.all(tf.cast(none(), "bool"), 1), 1],
  ];
  for (const [name, compute, neutral] of cases) {
    test(`${name} is its neutral value`, async () => {
      const { shape, values } = await run(compute);
      expect(shape).toEqual([2, 3]);
      expect(Array.from(values)).toEqual(Array(6).fill(neutral));
    });
  }
});

// Windows that overlap and reach over the border.
const poolValues = Array.from({ length: 36 }, (_, i) => ((i * 7) % 36) + ((i * 5) % 11) / 20);
forEachEngine("max pooling", () => {
  test("sends each gradient to the largest input of its window", async () => {
    const x = tf.tensor4d(poolValues, [1, 6, 6, 1]);
    const dx = tf.tidy(() => tf.grad((image: tf.Tensor) => tf.maxPool(image as tf.Tensor4D, 3, 2, "same"))(x));
    const truth = new Float64Array(36);
    for (let window = 0; window < 9; window++) {
      const [top, left] = [2 * Math.floor(window / 3), 2 * (window % 3)];
      const inside = poolValues
        .map((_, at) => at)
        .filter((at) => {
          const [row, column] = [Math.floor(at / 6) - top, (at % 6) - left];
          return row >= 0 && row < 3 && column >= 0 && column < 3;
        });
      const largest = inside.reduce((best, at) =>
        (poolValues[at] as number) > (poolValues[best] as number) ? at : best,
      );
      truth[largest] = (truth[largest] as number) + 1;
    }
    expect(Array.from(await dx.data())).toEqual([...truth]);
    tf.dispose([x, dx]);
  });
});

forEachEngine("copies", () => {
  /** 0, 1, 2, … as (2, 3, 4, 5) */
  const block = () => tf.reshape(tf.range(0, 120), [2, 3, 4, 5]);

  test("slice any axes, the last ones whole or not", async () => {
    const inner = await run(() => tf.slice(block(), [1, 0, 2, 1], [1, 2, 2, 3]));
    expect(Array.from(inner.values)).toEqual([71, 72, 73, 76, 77, 78, 91, 92, 93, 96, 97, 98]);
    const outer = await run(() => tf.slice(block(), [1, 1], [1, -1]));
    expect(outer.shape).toEqual([1, 2, 4, 5]);
    expect(Array.from(outer.values)).toEqual(Array.from({ length: 40 }, (_, i) => 80 + i));
    expect((await run(() => tf.slice(block(), [0, 1], [2, 0]))).shape).toEqual([2, 0, 4, 5]);
  });

  test("refuse slices that reach outside", () => {
    expect(() => tf.tidy(() => tf.slice(tf.ones([2, 3]), [1, 1], [1, 3]))).toThrow(/slice/i);
  });

  test("split into equal and unequal parts along any axis", async () => {
    for (const [sizes, axis] of [
      [[1, 2], 1],
      [2, 0],
      [[3, 0, 2], -1],
    ] as const) {
      const parts = tf.tidy(() => tf.split(block(), typeof sizes === "number" ? sizes : [...sizes], axis));
      expect(Array.from((await run(() => tf.concat(parts, axis))).values)).toEqual([...Array(120).keys()]);
      tf.dispose(parts);
    }
  });

  test("unstack drops its axis and stack puts it back", async () => {
    for (const axis of [0, 2, -1]) {
      const parts = tf.tidy(() => tf.unstack(block(), axis));
      expect(parts[0]?.shape).toEqual([2, 3, 4, 5].toSpliced(axis, 1));
      const at = axis < 0 ? axis + 4 : axis;
      expect(Array.from((await run(() => tf.stack(parts, at))).values)).toEqual([...Array(120).keys()]);
      tf.dispose(parts);
    }
  });

  test("tile repeats axes, whole blocks and single values", async () => {
    const small = () =>
      tf.tensor2d([
        [1, 2],
        [3, 4],
      ]);
    expect(Array.from((await run(() => tf.tile(small(), [1, 2]))).values)).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
    expect(Array.from((await run(() => tf.tile(small(), [3, 1]))).values)).toEqual([
      1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4,
    ]);
    expect(Array.from((await run(() => tf.tile(tf.tensor2d([[5], [6]]), [2, 3]))).values)).toEqual([
      5, 5, 5, 6, 6, 6, 5, 5, 5, 6, 6, 6,
    ]);
    const { values, dtype } = await run(() => tf.tile(tf.tensor1d([true, false], "bool"), [2]));
    expect(dtype).toBe("bool");
    expect(Array.from(values)).toEqual([1, 0, 1, 0]);
    expect((await run(() => tf.tile(small(), [0, 2]))).shape).toEqual([0, 4]);
  });
});
