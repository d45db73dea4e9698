// Every gradient that TensorFlow.js registers, on every engine, against central differences of the plain-JavaScript forward
// pass. Which computations: gradient-cases.ts.

import { beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { EngineName } from "../../workbench/engine/core/types.ts";
import { forEachEngine } from "./engines.ts";
import type { GradientCase } from "./gradient-case.ts";
import { fill, GRADIENT_CASES, lossOf, registeredGradients, runCase } from "./gradient-cases.ts";

const STEP = 1e-2;
/** float32 values divided by the step leave about three digits */
const TOLERANCE = 5e-3;

/** Operations that TensorFlow.js composes of others, while their names still have a gradient. */
const COMPOSED: string[] = [tf.LogSoftmax, tf.BroadcastTo];

/** TensorFlow.js's own kernels that give wrong gradients, and that nothing here trains with. */
const WRONG_UPSTREAM: Partial<Record<EngineName, string[]>> = { cpu: [tf.MaxPool3D] };

function centralDifferences(single: GradientCase): Float32Array[] {
  const values = single.inputs.map(fill);
  return values.map((input) =>
    Float32Array.from(input, (value, index) => {
      const lossAt = (moved: number) => {
        input[index] = moved;
        return lossOf(single, values);
      };
      const [above, below] = [Math.fround(value + STEP), Math.fround(value - STEP)];
      const slope = (lossAt(above) - lossAt(below)) / (above - below);
      input[index] = value;
      return slope;
    }),
  );
}

function expectGradients(actual: readonly Float32Array[], expected: readonly Float32Array[]): void {
  expect(actual.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
  for (const [input, gradient] of expected.entries()) {
    for (const [index, slope] of gradient.entries()) {
      const difference = Math.abs((actual[input]?.[index] as number) - slope) / (1 + Math.abs(slope));
      expect(difference, `input ${input}, entry ${index}`).toBeLessThan(TOLERANCE);
    }
  }
}

/** By kernel: what the plain-JavaScript engine computes, and the slopes of its forward pass. */
const reference = new Map<string, { value: Float32Array; gradients: Float32Array[] }>();

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  for (const single of GRADIENT_CASES) {
    const [value, ...gradients] = (await runCase(single)) as [Float32Array, ...Float32Array[]];
    reference.set(single.kernel, { value, gradients: single.notSlope ? gradients : centralDifferences(single) });
  }
}, 60_000);

describe("the cases", () => {
  test("are one for each gradient that TensorFlow.js registers", () => {
    expect(GRADIENT_CASES.map(({ kernel }) => kernel).sort()).toEqual(registeredGradients().sort());
  });

  test("run the kernel that they are for", async () => {
    await openEngine({ engine: "cpu" });
    for (const single of GRADIENT_CASES.filter(({ kernel }) => !COMPOSED.includes(kernel))) {
      const { kernelNames } = await tf.profile(() => {
        tf.tidy(() => {
          lossOf(single, single.inputs.map(fill));
        });
      });
      expect(kernelNames).toContain(single.kernel);
    }
  });
});

forEachEngine("gradients", (engine) => {
  for (const single of GRADIENT_CASES) {
    test(`${single.kernel} agrees with its slopes`, async () => {
      const [value, ...gradients] = (await runCase(single)) as [Float32Array, ...Float32Array[]];
      const truth = reference.get(single.kernel);
      expectGradients([value], [truth?.value as Float32Array]);
      if (!WRONG_UPSTREAM[engine().name]?.includes(single.kernel)) {
        expectGradients(gradients, truth?.gradients ?? []);
      }
    });
  }
});
