// The functions behind Gaudi masks in float64: against the reference's kernel, the Gaussian they are sums of, and the
// definition of the mask. And the rounding of shares to samples.

import { expect, test } from "bun:test";
import { edgeFunctions, TERMS_BETWEEN_SAMPLES } from "../../workbench/gblr/kernels.ts";
import { roundHalfEven, samples } from "../../workbench/gblr/rounding.ts";
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
      const [slope] = edgeFunctions({ length: n, sigma, terms: 1 }).slopes as [Float64Array];
      expectClose(slope, golden.get(`n${n}.h.s${name}`).values, { tolerance: 1e-12 });
    }
  }
});

test("the edge is the cyclic running sum of the Gaussian, less the mean", () => {
  for (const n of [1, 2, 3, 8, 49]) {
    for (const sigma of [0.5, 3, 40, Number.POSITIVE_INFINITY]) {
      const [edge] = edgeFunctions({ length: n, sigma, terms: 1 }).edges as [Float64Array];
      gaussian(n, sigma).forEach((g, j) => {
        const step = (edge[j] as number) - (edge[(j + n - 1) % n] as number);
        expect(step).toBeCloseTo(g - 1 / n, 13);
      });
      expect(edge.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 12);
    }
  }
});

test("the series continue edge and slope between samples", () => {
  const [n, terms] = [24, TERMS_BETWEEN_SAMPLES];
  for (const sigma of [4, Number.POSITIVE_INFINITY]) {
    const { edges, slopes } = edgeFunctions({ length: n, sigma, terms });
    const at = (series: readonly Float64Array[], j: number, shift: number) =>
      series.reduce((sum, row, m) => sum + shift ** m * (row[j] as number), 0);
    for (const shift of [-0.5, -0.2, 0, 0.3, 0.5]) {
      for (let j = 0; j < n; j++) {
        // S and h by their sums over frequencies
        let [edge, slope] = [0, 1];
        for (let f = 1; 2 * f <= n; f++) {
          const weight = (2 * f === n ? 1 : 2) * Math.exp(-0.5 * (f / sigma) ** 2);
          const angle = (2 * Math.PI * f * (j + 0.5 - shift)) / n;
          edge += (weight * Math.sin(angle)) / (2 * n * Math.sin((Math.PI * f) / n));
          slope += (weight * Math.cos(angle) * Math.PI * f) / n / Math.sin((Math.PI * f) / n);
        }
        expect(Math.abs(at(edges, j, shift) - edge)).toBeLessThan(1e-8);
        expect(Math.abs(at(slopes, j, shift) - slope)).toBeLessThan(1e-6);
      }
    }
  }
});

test("without a Gaussian the edge is an exact saw tooth", () => {
  const [edge] = edgeFunctions({ length: 8, sigma: Number.POSITIVE_INFINITY, terms: 1 }).edges as [Float64Array];
  expect(Array.from(edge)).toEqual([3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5].map((value) => value / 8));
});

test("computes the functions of one length and smoothness once", () => {
  const options = { length: 40, sigma: 7, terms: 1 };
  expect(edgeFunctions(options)).toBe(edgeFunctions({ ...options }));
  expect(edgeFunctions({ ...options, sigma: 8 })).not.toBe(edgeFunctions(options));
});

test("rounds half to even", () => {
  const ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5];
  expect(ties.map((tie) => roundHalfEven(tie) + 0)).toEqual([-2, -2, 0, 0, 2, 2, 4]);
  expect([0.49999999999999994, -0.2, 2.4, 2.6, -2.6, 7].map((x) => roundHalfEven(x) + 0)).toEqual([0, 0, 2, 3, -3, 7]);
});

test("counts samples from the float32 product, as tensors do", () => {
  expect(samples(2.5 / 16, 16)).toBe(2);
  // 0.7 · 45 is 31.499999999999996 in float64, 31.5 in float32
  expect(samples(0.7, 45)).toBe(32);
});
