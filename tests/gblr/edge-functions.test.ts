// The functions behind Gaudi masks in float64: against the reference's kernel, the Gaussian they are sums of, and the
// definition of the mask.

import { expect, test } from "bun:test";
import { edgeFunctions } from "../../workbench/gblr/edge-functions.ts";
import { expectClose } from "../engine/ops/operands.ts";
import { readGolden } from "../golden.ts";

const SIGMAS = { none: Number.POSITIVE_INFINITY, 1: 1, 10: 10, 100: 100 };

/** The inverse real Fourier transform of the Gaussian, with its usual 1/n. */
function gaussian(n: number, sigma: number): Float64Array {
  return Float64Array.from({ length: n }, (_, j) => {
    let sum = 1;
    for (let f = 1; 2 * f <= n; f++) {
      sum += (2 * f === n ? 1 : 2) * Math.exp(-0.5 * (f / sigma) ** 2) * Math.cos((2 * Math.PI * f * j) / n);
    }
    return sum / n;
  });
}

test("the slope is the reference's kernel h", () => {
  const golden = readGolden("gblr/mask_grad.safetensors");
  for (const n of [7, 16, 33, 48, 65, 96]) {
    for (const [name, sigma] of Object.entries(SIGMAS)) {
      const { slope } = edgeFunctions({ length: n, sigma });
      expectClose(slope, golden.get(`n${n}.h.s${name}`).values, { tolerance: 1e-12 });
    }
  }
});

test("the edge is the cyclic running sum of the Gaussian, less the mean", () => {
  for (const n of [1, 2, 3, 8, 49]) {
    for (const sigma of [0.5, 3, 40, Number.POSITIVE_INFINITY]) {
      const { edge } = edgeFunctions({ length: n, sigma });
      gaussian(n, sigma).forEach((g, j) => {
        const step = (edge[j] as number) - (edge[(j + n - 1) % n] as number);
        expect(step).toBeCloseTo(g - 1 / n, 13);
      });
      expect(edge.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 12);
    }
  }
});

test("without a Gaussian the edge is an exact saw tooth", () => {
  const { edge } = edgeFunctions({ length: 8, sigma: Number.POSITIVE_INFINITY });
  expect(Array.from(edge)).toEqual([3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5].map((value) => value / 8));
});

test("computes the functions of one length and smoothness once", () => {
  const options = { length: 40, sigma: 7 };
  expect(edgeFunctions(options)).toBe(edgeFunctions({ ...options }));
  expect(edgeFunctions({ ...options, sigma: 8 })).not.toBe(edgeFunctions(options));
});
