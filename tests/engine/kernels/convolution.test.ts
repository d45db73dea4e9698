// The gradients of 2-D convolutions, in every geometry that models use and some that none does, and of max pooling, on every
// engine against float64 loops.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "../engines.ts";
import { type Convolution, convolutionGradients, outputSize } from "../float64-products.ts";
import { expectClose, read, sample, toTensor } from "../ops/operands.ts";

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
