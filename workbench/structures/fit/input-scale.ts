// Scales of a layer's inputs. With the deviations of the inputs as D, the error of the entries of W D is the output
// error for inputs that are not correlated. Structures that can absorb a scale are fitted to W D, and D is then taken
// out of their parameters again.

import {
  add,
  cast,
  div,
  equal,
  eye,
  max,
  maximum,
  mul,
  type NamedTensorMap,
  norm,
  onesLike,
  relu,
  sqrt,
  type Tensor1D,
  type Tensor2D,
  tidy,
  transpose,
  where,
} from "@tensorflow/tfjs-core";
import { diagonalOf } from "../../engine/linalg/index.ts";
import type { Structure, StructureParameters } from "../structure.ts";

/** Scales below this share of the largest are raised to it, so that they can be divided by. */
const LEAST_SCALE = 1e-4;
/** Share of the norm of Σ that is added to its diagonal, as in the closed form of low rank. */
const RIDGE = 1e-6;

/**
 * The symmetric part of Σ plus a share of its Frobenius norm on the diagonal, so that directions that did not occur in
 * the calibration keep their entries. The identity if Σ is zero.
 * @param covariance Σ, float32 (n_in, n_in)
 */
export function damped(covariance: Tensor2D): Tensor2D {
  return tidy(() => {
    const identity = eye(covariance.shape[0]);
    const symmetric = mul(add(covariance, transpose(covariance)), 0.5);
    const size = norm(covariance);
    const isZero = cast(equal(size, 0), "float32");
    return add<Tensor2D>(symmetric, mul(identity, add(mul(size, RIDGE), isZero)));
  });
}

/** Root mean squares of the inputs, (n_in): square roots of the diagonal of Σ. */
export function magnitudes(covariance: Tensor2D): Tensor1D {
  return tidy(() => sqrt(relu(diagonalOf(covariance))));
}

/** Root mean squares of the inputs as a scale that can be divided by; all ones if Σ is zero. */
export const deviations = (covariance: Tensor2D): Tensor1D => tidy(() => positive(magnitudes(covariance)));

/** A scale whose smallest values are raised so that they can be divided by; all ones if it is zero. */
export function positive(scale: Tensor1D): Tensor1D {
  return tidy(() => {
    const raised = maximum<Tensor1D>(scale, mul(max(scale), LEAST_SCALE));
    return where<Tensor1D>(equal(max(scale), 0), onesLike(scale), raised);
  });
}

/**
 * The structure's approximation of W D, with D taken out of its parameters again.
 * @param weight W, float32 (n_out, n_in)
 * @param scale the diagonal of D, (n_in), without zeros
 */
export async function fromScaled(
  structure: Structure,
  weight: Tensor2D,
  { scale, budget, rules = {} }: { scale: Tensor1D; budget: number; rules?: object },
): Promise<StructureParameters> {
  const scaled = mul<Tensor2D>(weight, scale);
  const parameters = await structure.fromDense(scaled, budget, rules);
  scaled.dispose();
  const { scaleInputs } = structure;
  if (!scaleInputs) throw new TypeError(`${structure.name} cannot absorb a scale of its inputs`);
  const changed = tidy(() => scaleInputs(parameters, div(1, scale)) as NamedTensorMap);
  for (const name of Object.keys(changed)) parameters[name]?.dispose();
  return { ...parameters, ...changed };
}
