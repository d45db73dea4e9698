// Matrices whose blocks are narrow, wrap around edges, or are dead, and their product and gradients in float64.

import * as tf from "@tensorflow/tfjs-core";
import { edgeFunctions } from "../../workbench/gblr/edge-functions.ts";
import { GblrMatrix, type GblrParameters } from "../../workbench/gblr/matrix.ts";
import { samples } from "../../workbench/gblr/widths.ts";
import { type Operand, sample, toTensor } from "../engine/ops/operands.ts";

export interface LiveCase {
  nIn: number;
  nOut: number;
  blocks: number;
  rank: number;
  rows: number;
  sigma: number;
}

const NAMES = ["lr_weight1", "lr_weight2", "widths", "locations", "bias"] as const;
type Name = (typeof NAMES)[number];
export type Operands = Record<Name | "x" | "dy", Operand>;

/** Operands: of five blocks one is dead on the output side, one on the input side and one on both. */
export function operandsOf({ nIn, nOut, blocks, rank, rows }: LiveCase, widest = 0.2): Operands {
  const uniform = (seed: number) => sample(seed, [2, blocks]).values.map((value) => (Math.abs(value) * 7.3) % 1);
  const widths = uniform(3).map((share, i) => {
    const isDead = (i % blocks) % 5 === (i < blocks ? 2 : 3) || (i % blocks) % 5 === 4;
    return Math.fround(isDead ? 0 : 0.02 + share * (widest - 0.02));
  });
  return {
    lr_weight1: sample(1, [blocks, rank, nIn]),
    lr_weight2: sample(2, [blocks, nOut, rank]),
    widths: { values: widths, shape: [2, blocks] },
    locations: { values: uniform(4).map(Math.fround), shape: [2, blocks] },
    bias: sample(5, [nOut]),
    x: sample(6, [rows, nIn]),
    dy: sample(7, [rows, nOut]),
  };
}

export const parametersOf = (operands: Operands): GblrParameters =>
  Object.fromEntries(NAMES.map((name) => [name, toTensor(operands[name])])) as unknown as GblrParameters;

/** The product and the gradients of x and all parameters, from the op, with the names of the kernels that ran. */
export async function run(operands: Operands, sigma: number, via?: "dense" | "factored") {
  const start = [toTensor(operands.x), ...Object.values(parametersOf(operands))] as tf.Tensor[];
  const outer = toTensor(operands.dy);
  const apply = (x: tf.Tensor, ...all: tf.Tensor[]) => {
    const named = Object.fromEntries(NAMES.map((name, i) => [name, all[i]])) as unknown as GblrParameters;
    return new GblrMatrix(named, { sigma }).apply(x, via && { via });
  };
  let made: { y: tf.Tensor; gradients: tf.Tensor[] } | undefined;
  const { kernelNames } = await tf.profile(() => {
    const y = apply(...(start as [tf.Tensor, ...tf.Tensor[]]));
    const gradients = tf.grads(apply as (...all: tf.Tensor[]) => tf.Tensor)(start, outer);
    made = { y, gradients };
    return [];
  });
  const { y, gradients } = made as NonNullable<typeof made>;
  const found: Record<string, Float32Array> = { y: (await y.data()) as Float32Array };
  for (const [i, name] of ["x", ...NAMES].entries()) {
    found[name] = (await (gradients[i] as tf.Tensor).data()) as Float32Array;
  }
  tf.dispose([start, outer, y, gradients]);
  return { found, kernelNames };
}

/** A mask (n) and its derivatives by width and location, in float64. */
function maskOf(width: number, location: number, { n, sigma }: { n: number; sigma: number }) {
  const { edge, slope } = edgeFunctions({ length: n, sigma });
  const [W, L] = [samples(width, n), samples(location, n)];
  const at = (table: Float64Array, j: number) => table[((j % n) + n) % n] as number;
  const each = (f: (j: number) => number) => Float64Array.from({ length: n }, (_, j) => f(j));
  const inside = (j: number) => ((((j - L) % n) + n) % n < W ? 1 : 0);
  return {
    mask: each((j) => (sigma === Number.POSITIVE_INFINITY ? inside(j) : W / n + at(edge, j - L) - at(edge, j - L - W))),
    byWidth: each((j) => at(slope, j - L - W)),
    byLocation: each((j) => at(slope, j - L - W) - at(slope, j - L)),
  };
}

/** The same as `run` in float64, without cropping, by the formulas of docs/method.md. */
export function truth(c: LiveCase, operands: Operands): Record<string, Float64Array> {
  const { nIn, nOut, blocks, rank, rows, sigma } = c;
  const { x, dy, lr_weight1, lr_weight2, widths, locations, bias } = operands;
  const zeros = ({ shape }: Operand) => new Float64Array(shape.reduce((size, side) => size * side, 1));
  const g = { lr_weight1: zeros(lr_weight1), lr_weight2: zeros(lr_weight2) };
  const places = { widths: zeros(widths), locations: zeros(locations) };
  const [y, dx] = [new Float64Array(rows * nOut), new Float64Array(rows * nIn)];
  const of = ({ values }: Operand, i: number) => values[i] as number;
  for (let k = 0; k < blocks; k++) {
    const [input, output] = [
      maskOf(of(widths, k), of(locations, k), { n: nIn, sigma }),
      maskOf(of(widths, blocks + k), of(locations, blocks + k), { n: nOut, sigma }),
    ];
    for (let r = 0; r < rank; r++) {
      const v = Float64Array.from({ length: nIn }, (_, i) => of(lr_weight1, (k * rank + r) * nIn + i));
      const u = Float64Array.from({ length: nOut }, (_, o) => of(lr_weight2, (k * nOut + o) * rank + r));
      const [dv, du] = [new Float64Array(nIn), new Float64Array(nOut)];
      for (let row = 0; row < rows; row++) {
        let [z, dz] = [0, 0];
        for (let i = 0; i < nIn; i++) z += of(x, row * nIn + i) * (v[i] as number) * (input.mask[i] as number);
        for (let o = 0; o < nOut; o++) dz += of(dy, row * nOut + o) * (u[o] as number) * (output.mask[o] as number);
        for (let i = 0; i < nIn; i++) {
          dx[row * nIn + i] = (dx[row * nIn + i] as number) + dz * (v[i] as number) * (input.mask[i] as number);
          dv[i] = (dv[i] as number) + dz * of(x, row * nIn + i);
        }
        for (let o = 0; o < nOut; o++) {
          y[row * nOut + o] = (y[row * nOut + o] as number) + z * (u[o] as number) * (output.mask[o] as number);
          du[o] = (du[o] as number) + z * of(dy, row * nOut + o);
        }
      }
      const sum = (by: Float64Array, of: Float64Array, factor: Float64Array) =>
        by.reduce((total, slope, j) => total + slope * (of[j] as number) * (factor[j] as number), 0);
      for (const [name, by] of [
        ["widths", "byWidth"],
        ["locations", "byLocation"],
      ] as const) {
        places[name][k] = (places[name][k] as number) + sum(input[by], dv, v);
        places[name][blocks + k] = (places[name][blocks + k] as number) + sum(output[by], du, u);
      }
      for (let i = 0; i < nIn; i++)
        g.lr_weight1[(k * rank + r) * nIn + i] = (dv[i] as number) * (input.mask[i] as number);
      for (let o = 0; o < nOut; o++)
        g.lr_weight2[(k * nOut + o) * rank + r] = (du[o] as number) * (output.mask[o] as number);
    }
  }
  const dbias = Float64Array.from({ length: nOut }, (_, o) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += of(dy, row * nOut + o);
    return sum;
  });
  return { y: y.map((value, i) => value + of(bias, i % nOut)), x: dx, ...g, ...places, bias: dbias };
}
