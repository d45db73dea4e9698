// Spectral seriation: orders in which units that are alike are near each other. The Fiedler vector minimizes
// Σ_ij affinity_ij (x_i − x_j)² among vectors of one size; its order is that of Atkins et al. 1998. Bisection applies it to
// each half of the order again (Shi and Malik 2000).

import { seededUniform } from "../../engine/core/random.ts";
import { symmetricEigenFloat64 } from "../../engine/linalg/float64.ts";

/** A symmetric matrix of affinities, row by row. */
interface Affinities {
  values: ArrayLike<number>;
  size: number;
}

/** Most vectors of a Lanczos iteration. Their number is that of products with the matrix. */
const MOST_VECTORS = 96;
/** Restarts of the iteration from its best vector so far. */
const RESTARTS = 3;
/** An eigenvector is good enough if its residual is this share of its eigenvalue. */
const LARGEST_RESIDUAL = 1e-4;

/**
 * The order of all units by the Fiedler vector of their affinities.
 * @returns for each new place, the unit
 */
export function seriation({ values, size }: Affinities): Int32Array {
  return byValue(fiedlerVector({ values, size }));
}

/**
 * The order by repeated bisection: units are put in order by the Fiedler vector and cut near the middle, where
 * the smallest share of affinities is cut, and each part is put in order in the same way, down to parts of `least`
 * units. Its halves, quarters and eighths are units that are alike, where the Fiedler vector of all units finds only the
 * halves well.
 * @param least number of units that are not cut any more
 */
export function bisection({ values, size }: Affinities, least: number): Int32Array {
  const within = (units: Int32Array): Int32Array => {
    const among = part({ values, size }, units);
    const places = seriation(among);
    const own = places.map((place) => units[place] as number);
    if (own.length <= least) return own;
    const cut = bestCut(among, places);
    return Int32Array.from([...within(own.subarray(0, cut)), ...within(own.subarray(cut))]);
  };
  return within(Int32Array.from({ length: size }, (_, i) => i));
}

/** Some of the units in the order of their own Fiedler vector. */
export function seriationWithin(affinities: Affinities, units: Int32Array): Int32Array {
  return seriation(part(affinities, units)).map((place) => units[place] as number);
}

/** A cut leaves at least this share of the units on each side. */
const LEAST_SIDE = 3 / 8;

/** The place near the middle of an order at which the smallest share of affinities is cut (Shi and Malik 2000). */
function bestCut({ values, size }: Affinities, order: Int32Array): number {
  const [first, last] = [Math.ceil(LEAST_SIDE * size), Math.floor((1 - LEAST_SIDE) * size)];
  const degrees = Float64Array.from(order, (unit) => sumOf(values, unit * size, size));
  const all = degrees.reduce((sum, degree) => sum + degree, 0);
  let [cut, before, best, least] = [0, 0, size >> 1, Number.POSITIVE_INFINITY];
  for (let place = 0; place < last; place++) {
    const row = (order[place] as number) * size;
    let towards = 0;
    for (let earlier = 0; earlier < place; earlier++) towards += values[row + (order[earlier] as number)] as number;
    cut += (degrees[place] as number) - 2 * towards;
    before += degrees[place] as number;
    const share = cut / before + cut / (all - before);
    if (place + 1 >= first && share < least) [best, least] = [place + 1, share];
  }
  return best;
}

function sumOf(values: ArrayLike<number>, from: number, count: number): number {
  let sum = 0;
  for (let i = from; i < from + count; i++) sum += values[i] as number;
  return sum;
}

/** The affinities among some of the units. */
function part({ values, size }: Affinities, units: Int32Array): Affinities {
  const count = units.length;
  const own = new Float32Array(count * count);
  for (let i = 0; i < count; i++) {
    const row = (units[i] as number) * size;
    for (let j = 0; j < count; j++) own[i * count + j] = values[row + (units[j] as number)] as number;
  }
  return { values: own, size: count };
}

const byValue = (keys: Float64Array): Int32Array =>
  Int32Array.from(Array.from(keys.keys()).sort((a, b) => (keys[a] as number) - (keys[b] as number) || a - b));

/**
 * The eigenvector of the second smallest eigenvalue of the normalized Laplacian, divided by the root of the degrees.
 * Lanczos iteration finds it as the largest one of D^−½ S D^−½ among vectors orthogonal to the largest, D^½ 1.
 */
function fiedlerVector({ values, size }: Affinities): Float64Array {
  const degrees = Float64Array.from({ length: size }, (_, i) => sumOf(values, i * size, size));
  const least = 1e-9 * degrees.reduce((most, degree) => Math.max(most, degree), 0) || 1;
  const roots = degrees.map((degree) => Math.sqrt(Math.max(degree, least)));
  const times = (x: Float64Array): Float64Array => {
    const scaled = x.map((value, i) => value / (roots[i] as number));
    const y = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (let j = 0; j < size; j++) sum += (values[i * size + j] as number) * (scaled[j] as number);
      y[i] = sum / (roots[i] as number);
    }
    return y;
  };
  const uniform = seededUniform(size);
  let start: Float64Array = Float64Array.from({ length: size }, () => uniform() - 0.5);
  for (let restart = 0; restart < RESTARTS; restart++) {
    const { vector, isGood } = largestEigenvector(times, start, roots);
    start = vector;
    if (isGood) break;
  }
  const found = start.map((value, i) => value / (roots[i] as number));
  // The sign of an eigenvector is arbitrary: the first unit comes early.
  return (found[0] ?? 0) > 0 ? found.map((value) => -value) : found;
}

/** Lanczos iteration with full orthogonalization, among vectors orthogonal to `known`. */
function largestEigenvector(
  times: (x: Float64Array) => Float64Array,
  start: Float64Array,
  known: Float64Array,
): { vector: Float64Array; isGood: boolean } {
  const basis: Float64Array[] = [];
  const first = unit(known);
  const [diagonal, beside]: [number[], number[]] = [[], []];
  let next = unit(orthogonal(start, [first]));
  const most = Math.min(MOST_VECTORS, start.length - 1);
  while (basis.length < most) {
    basis.push(next);
    const image = times(next);
    diagonal.push(dot(image, next));
    const rest = orthogonal(image, [first, ...basis]);
    const length = Math.sqrt(dot(rest, rest));
    beside.push(length);
    if (length < 1e-12) break;
    next = rest.map((value) => value / length);
  }
  const count = basis.length;
  if (count === 0) return { vector: start, isGood: true };
  const matrix = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    matrix[i * count + i] = diagonal[i] as number;
    if (i + 1 < count) matrix[i * count + i + 1] = matrix[(i + 1) * count + i] = beside[i] as number;
  }
  const { values, vectors } = symmetricEigenFloat64(matrix, count);
  const vector = new Float64Array(start.length);
  for (const [i, direction] of basis.entries()) {
    for (let j = 0; j < vector.length; j++) {
      vector[j] = (vector[j] as number) + (vectors[i] as number) * (direction[j] as number);
    }
  }
  const residual = Math.abs((beside[count - 1] as number) * (vectors[count - 1] as number));
  return { vector, isGood: residual <= LARGEST_RESIDUAL * Math.abs(values[0] as number) };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

function unit(x: Float64Array): Float64Array {
  const length = Math.sqrt(dot(x, x)) || 1;
  return x.map((value) => value / length);
}

/** x without its components along unit vectors; twice, because the first pass leaves rounding errors. */
function orthogonal(x: Float64Array, directions: readonly Float64Array[]): Float64Array {
  const rest = x.slice();
  for (const direction of [...directions, ...directions]) {
    const along = dot(rest, direction);
    for (let i = 0; i < rest.length; i++) rest[i] = (rest[i] as number) - along * (direction[i] as number);
  }
  return rest;
}
