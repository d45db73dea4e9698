// The measures by which units are put in order: how alike two units are, and how much each contributes. Both are computed
// from the weights of the layers that a symmetry belongs to.

import {
  add,
  gather,
  matMul,
  mean,
  mul,
  reshape,
  rsqrt,
  sqrt,
  square,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  tensor1d,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { indicesOf, type Member, type Symmetry } from "../../architectures/symmetry.ts";
import { heldInFloat32 } from "../../engine/ops/index.ts";
import type { Model } from "../../models/model.ts";

/** The means of the squares of each layer's inputs, (n_in) by name: the diagonal of the covariance Σ. */
export type InputPowers = ReadonlyMap<string, Float32Array>;

/** The units of a symmetry, in their present order. */
export interface Units {
  /** number of units */
  size: number;
  /**
   * How alike two units are, (size, size) row by row: squared cosines of their weights, added up over layers with the
   * same total, and half of it for layers that read the units; the diagonal is 0
   */
  affinity: Float32Array;
  /** what each unit contributes to outputs, (size): its share of the energy of each layer, added up over layers */
  energy: Float32Array;
}

/** Where the units are in the weight of a layer. */
export type OfLayer = Member & Required<Pick<Member, "of">>;

/** The members of a symmetry that are weights of layers, on which the order can matter. */
export const layersAt = ({ members }: Symmetry): OfLayer[] =>
  members.filter((member): member is OfLayer => member.of !== undefined);

/** On SmolLM2-135M, orders by these weights were better for all layers of an MLP than by one side or by equal weights. */
const AFFINITY_WEIGHTS = { out: 1, in: 0.5 };

/**
 * Computes affinities and energies of the units of a symmetry.
 *
 * Affinities are those of the plain weights. Cosines in the metric of outputs, w_i Σ w_j, would be those in the few
 * strongest directions of the inputs, in which many units are alike, and which any low rank contains.
 *
 * @param powers mean squares of the inputs of layers: unit i of the inputs of a layer has the energy ‖W_i‖² Σ_ii.
 *   Default of a layer: 1
 */
export async function unitsOf(model: Model, symmetry: Symmetry, powers: InputPowers): Promise<Units> {
  const { size } = symmetry;
  const members = layersAt(symmetry);
  const affinity = new Float32Array(size * size);
  const energy = new Float32Array(size);
  // What units contribute is what layers make of them. If no layer reads them, it is what they are made of.
  const hasReaders = members.some(({ of }) => of.side === "in");
  for (const member of members) {
    const { side } = member.of;
    const alike = await valuesOf(() => alikeness(weightsOf(model, member, { size }), { ...member, size }));
    for (let i = 0; i < size; i++) alike[i * (size + 1)] = 0;
    addShares(affinity, alike, AFFINITY_WEIGHTS[side]);
    if (hasReaders && side === "out") continue;
    const strong = await valuesOf(() => energies(weightsOf(model, member, { size, powers }), { ...member, size }));
    addShares(energy, strong, 1);
  }
  return { size, affinity, energy };
}

/** The values of a tensor, of which no memory stays in use on the engine. */
async function valuesOf(compute: () => Tensor): Promise<Float32Array> {
  const tensor = tidy(compute);
  const values = (await tensor.data()) as Float32Array;
  tensor.dispose();
  return values.slice();
}

/** Adds values, scaled so that their sum is `weight`. */
function addShares(sums: Float32Array, values: Float32Array, weight: number): void {
  const all = values.reduce((sum, value) => sum + value, 0);
  if (all === 0) return;
  for (const [i, value] of values.entries()) sums[i] = (sums[i] as number) + (weight * value) / all;
}

/**
 * The weights of the units, (repeats, size · each, all weights at one index).
 * @param powers if given, weights of inputs are multiplied by the root mean squares of these inputs
 */
export function weightsOf(
  model: Model,
  member: OfLayer,
  { size, powers }: { size: number; powers?: InputPowers },
): Tensor3D {
  const { parameter, axis, each, repeats, of } = member;
  const weight = heldInFloat32(model.parameter(parameter) as Tensor);
  const length = weight.shape[axis] as number;
  const others = Array.from(weight.shape.keys()).filter((other) => other !== axis);
  const rows = reshape(transpose(weight, [axis, ...others]), [length, weight.size / length]);
  const power = of.side === "in" ? powers?.get(of.layer) : undefined;
  // A convolution has inputs at each position of its kernel, (positions, channels).
  const weighted = power
    ? mul(rows, reshape(sqrt(mean(reshape(tensor1d(power), [-1, length]), 0)), [length, 1]))
    : rows;
  const own = gather(weighted, tensor1d(indicesOf(member, size), "int32"));
  return reshape(own, [repeats, size * each, weight.size / length]) as Tensor3D;
}

interface Grouping {
  size: number;
  each: number;
}

/** Squared cosines of units, (size, size). For units of several indices those of all pairs are added up. */
function alikeness(weights: Tensor3D, { size, each }: Grouping): Tensor2D {
  const all = tidy(() => {
    const squares = square(matMul(weights, weights, false, true));
    return sum(each === 1 ? squares : sum(sum(reshape(squares, [-1, size, each, size, each]), 4), 2), 0) as Tensor2D;
  });
  const diagonal = Int32Array.from({ length: size }, (_, i) => i * (size + 1));
  const own = gather(reshape(all, [size * size]), tensor1d(diagonal, "int32")) as Tensor1D;
  // A unit of zeros is like no other.
  const scale = rsqrt(add(own, 1e-30));
  return mul(all, mul(reshape(scale, [size, 1]), scale)) as Tensor2D;
}

/** The energy of units, (size). */
function energies(weights: Tensor3D, { each, repeats, size }: Grouping & { repeats: number }): Tensor1D {
  return sum(sum(reshape(sum(square(weights), 2), [repeats, size, each]), 2), 0) as Tensor1D;
}
