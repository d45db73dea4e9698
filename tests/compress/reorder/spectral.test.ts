// Spectral orders: a planted order is found again, and the Fiedler vector is the one of a full eigendecomposition.

import { expect, test } from "bun:test";
import { bisection, seriation } from "../../../workbench/compress/reorder/spectral.ts";
import { symmetricEigenFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { shuffled } from "./cases.ts";

/** Affinities of units that were in a row before they were shuffled. @param near by their distance in the row */
function planted(order: readonly number[], near: (i: number, j: number) => number): Float64Array {
  return Float64Array.from({ length: order.length ** 2 }, (_, at) => {
    const [i, j] = [Math.floor(at / order.length), at % order.length];
    return i === j ? 0 : near(order[i] as number, order[j] as number);
  });
}

const inRow = (order: Int32Array, units: readonly number[]): number[] =>
  [...order].map((unit) => units[unit] as number);
const forwards = (row: number[]): number[] => ((row[0] as number) < (row.at(-1) as number) ? row : row.toReversed());
const ascending = (size: number): number[] => Array.from({ length: size }, (_, i) => i);

test("seriation puts units in a row that are the more alike the nearer they are", () => {
  for (const size of [2, 3, 7, 150]) {
    const units = shuffled(size, size);
    const values = planted(units, (i, j) => Math.exp(-Math.abs(i - j) / 3));
    expect(forwards(inRow(seriation({ values, size }), units))).toEqual(ascending(size));
  }
});

test("seriation is the order of the second eigenvector of the normalized Laplacian", () => {
  const size = 60;
  const values = planted(shuffled(size, 4), (i, j) => 1 / (1 + Math.abs(i - j)) + ((i * j) % 7) / 20);
  const degrees = ascending(size).map((i) => values.subarray(i * size, (i + 1) * size).reduce((sum, x) => sum + x, 0));
  const root = (i: number) => Math.sqrt(degrees[i] as number);
  const normal = values.map((value, at) => value / (root(Math.floor(at / size)) * root(at % size)));
  const { vectors } = symmetricEigenFloat64(normal, size);
  const second = ascending(size).map((i) => (vectors[size + i] as number) / root(i));
  const expected = ascending(size).sort((a, b) => (second[a] as number) - (second[b] as number));
  const found = [...seriation({ values, size })];
  expect(found[0] === expected[0] ? found : found.toReversed()).toEqual(expected);
});

test("bisection keeps clusters together that a single vector mixes", () => {
  const [size, count] = [96, 8];
  const units = shuffled(size, 9);
  const clusterOf = (unit: number) => Math.floor((unit * count) / size);
  const values = planted(units, (i, j) => (clusterOf(i) === clusterOf(j) ? 1 : 0.01 + ((i + j) % 5) / 100));
  const found = inRow(bisection({ values, size }, 4), units).map(clusterOf);
  const changes = found.filter((cluster, place) => place > 0 && cluster !== found[place - 1]);
  expect(changes.length).toBe(count - 1);
});

test("units that are like no other, and units that are all alike, are put in some order", () => {
  for (const value of [0, 1]) {
    const values = planted(ascending(9), () => value);
    for (const order of [seriation({ values, size: 9 }), bisection({ values, size: 9 }, 2)]) {
      expect([...order].sort((a, b) => a - b)).toEqual(ascending(9));
    }
  }
});
