// Fits the parameters of any structure to the outputs of a layer: minimizes tr((T − W') Σ (T − W')ᵀ), with T the target
// and Σ the covariance of the layer's inputs, over the parameters of W' by L-BFGS (engine/linalg/lbfgs.ts). Structures
// without a closed form use it for their initialization `activation`.

import {
  clone,
  concat,
  div,
  divNoNan,
  matMul,
  mul,
  type NamedTensorMap,
  outerProduct,
  reshape,
  type Scalar,
  split,
  sub,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  valueAndGrads,
} from "@tensorflow/tfjs-core";
import { type Evaluation, minimize } from "../../engine/linalg/index.ts";
import { differentiable } from "../../engine/ops/op.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { layerErrors } from "../layer-errors.ts";
import { eventLoopTurn, type SearchProgress, type Structure, type StructureParameters } from "../structure.ts";
import { damped, deviations } from "./input-scale.ts";

/** Options of `refit`. */
export interface RefitOptions {
  /** T, float32 (n_out, n_in): the layer's matrix, or the matrix that gives the dense outputs from changed inputs */
  target: Tensor2D;
  /** Σ, float32 (n_in, n_in), of the inputs that the layer sees, or any multiple of it; its symmetric part is used */
  covariance: Tensor2D;
  /** most evaluations of the error. Default 200 */
  evaluations?: number | undefined;
  /** the layer's name, for progress. Default empty */
  name?: string;
  /** stops the refit between two iterations */
  signal?: AbortSignal | undefined;
}

/** The result of a refit. */
export interface Refitted {
  /** by parameter name; the caller disposes of them */
  parameters: StructureParameters;
  /** relative output error ‖(T − W') Σ^½‖ / ‖T Σ^½‖ */
  error: number;
  /** the same before the refit */
  errorBefore: number;
  /** evaluations used */
  evaluations: number;
}

const EVALUATIONS = 200;

/**
 * Finds parameters with a smaller output error, starting from given ones; the result is never worse. All parameters are
 * fitted except those that determine the places of blocks. If the structure can absorb a scale of its inputs, they are
 * scaled to unit variance, because the fit then needs fewer evaluations. Σ is damped as in the closed form of low rank.
 * @param parameters still belong to the caller
 * @throws ShapeError when shapes do not fit; the signal's reason when it aborts
 */
export async function* refit(
  structure: Structure,
  parameters: StructureParameters,
  options: RefitOptions,
): AsyncGenerator<SearchProgress, Refitted> {
  const { target, covariance, evaluations = EVALUATIONS, name = "", signal } = options;
  expectOperand("refit", { target }, { dtype: "float32", shape: ["n_out", "n_in"] });
  const nIn = target.shape[1];
  expectOperand("refit", { covariance }, { dtype: "float32", shape: [nIn, nIn] });
  expectSetting("refit", { evaluations }, "a whole number from 1", Number.isInteger(evaluations) && evaluations >= 1);
  const problem = new Problem(structure, parameters, { target, covariance });
  const steps = minimize(problem.start, (point) => problem.evaluate(point), { evaluations });
  try {
    let next = await steps.next();
    while (!next.done) {
      const { value, evaluations: step } = next.value;
      yield { kind: "search", name, step, steps: evaluations, error: rootOf(value) };
      await eventLoopTurn();
      signal?.throwIfAborted();
      next = await steps.next();
    }
    const { point, evaluations: used } = next.value;
    const found = tidy(() => problem.resultAt(point) as NamedTensorMap);
    point.dispose();
    const errorBefore = await outputErrorOf(structure, parameters, options);
    const error = await outputErrorOf(structure, found, options);
    // The fit minimizes the damped error, computed in another order.
    if (error < errorBefore) return { parameters: found, error, errorBefore, evaluations: used };
    for (const tensor of Object.values(found)) tensor.dispose();
    return { parameters: copies(parameters), error: errorBefore, errorBefore, evaluations: used };
  } finally {
    // Where the loop was left early, the minimization still holds tensors.
    await steps.return(undefined as never);
    problem.dispose();
  }
}

/** ‖(T − W') Σ^½‖ / ‖T Σ^½‖ for the matrix W' of a structure. */
export async function outputErrorOf(
  structure: Structure,
  parameters: StructureParameters,
  { target, covariance }: Pick<RefitOptions, "target" | "covariance">,
): Promise<number> {
  const dense = structure.dense(parameters);
  const { outputError = 0 } = await layerErrors(target, dense, covariance);
  dense.dispose();
  return outputError;
}

const rootOf = (value: number): number => Math.sqrt(Math.max(0, value));

/** The refit of one matrix as a function of one vector. Inputs are scaled, and the error for W' = 0 is 1. */
class Problem {
  /** the fitted parameters */
  readonly start: Tensor1D;
  private readonly structure: Structure;
  /** names of the fitted parameters */
  private readonly names: readonly string[];
  private readonly parameters: StructureParameters;
  private readonly target: Tensor2D;
  /** Σ, symmetric, (n_in, n_in) */
  private readonly metric: Tensor2D;
  /** deviations of the inputs, (n_in), that the parameters have absorbed */
  private readonly scale: Tensor1D | undefined;

  constructor(
    structure: Structure,
    parameters: StructureParameters,
    { target, covariance }: { target: Tensor2D; covariance: Tensor2D },
  ) {
    const { places = [], fixed = [], parameterNames } = structure;
    const kept = new Set([...places, ...fixed]);
    this.structure = structure;
    const whole = damped(covariance);
    this.names = parameterNames.filter((name) => parameters[name]?.size && !kept.has(name));
    const scale = structure.scaleInputs && deviations(whole);
    this.scale = scale;
    this.parameters = tidy(() => {
      const scaled = { ...parameters, ...(scale && structure.scaleInputs?.(parameters, scale)) };
      return copies(structure.balanced?.(scaled) ?? scaled);
    });
    this.target = scale ? mul(target, scale) : clone(target);
    this.metric = tidy(() => {
      const seen = scale ? div<Tensor2D>(whole, outerProduct(scale, scale)) : whole;
      return divNoNan<Tensor2D>(seen, sum(mul(matMul(this.target, seen), this.target)));
    });
    whole.dispose();
    this.start = tidy(() => joined(this.names.map((name) => this.parameters[name] as Tensor)));
  }

  /** The squared error at a point, and its gradient. */
  evaluate(point: Tensor1D): Evaluation {
    return tidy(() => {
      const at = this.parametersAt(point);
      const loss = (...tensors: Tensor[]) => {
        const fitted = Object.fromEntries(this.names.map((name, i) => [name, tensors[i] as Tensor]));
        return energy(sub(this.structure.dense({ ...at, ...fitted }), this.target), this.metric);
      };
      const { value, grads } = valueAndGrads(loss)(this.names.map((name) => at[name] as Tensor));
      return { value, gradient: joined(grads) };
    }) as Evaluation;
  }

  /** The parameters at a point, for inputs that are not scaled. */
  resultAt(point: Tensor1D): StructureParameters {
    const { scale, structure } = this;
    const parameters = this.parametersAt(point);
    return copies({ ...parameters, ...(scale && structure.scaleInputs?.(parameters, div(1, scale))) });
  }

  dispose(): void {
    for (const tensor of [this.start, this.target, this.metric, ...Object.values(this.parameters)]) tensor.dispose();
    this.scale?.dispose();
  }

  /** The parameters, with those of the vector in place of the fitted ones. */
  private parametersAt(point: Tensor1D): StructureParameters {
    const tensors = this.names.map((name) => this.parameters[name] as Tensor);
    const parts = split(
      point,
      tensors.map(({ size }) => size),
    );
    const shaped = parts.map((part, i) => reshape(part, (tensors[i] as Tensor).shape));
    return { ...this.parameters, ...Object.fromEntries(this.names.map((name, i) => [name, shaped[i] as Tensor])) };
  }
}

/** tr(M Σ Mᵀ), with one large product for value and gradient. */
function energy(matrix: Tensor2D, metric: Tensor2D): Scalar {
  return differentiable({
    name: "outputEnergy",
    inputs: { matrix },
    forward: () => {
      const seen = matMul<Tensor2D>(matrix, metric);
      return { value: sum(mul(seen, matrix)), saved: [seen] };
    },
    backward: (dy, [seen]) => ({ matrix: () => mul(seen as Tensor, mul(dy, 2)) }),
  }) as Scalar;
}

const joined = (tensors: readonly Tensor[]): Tensor1D => concat(tensors.map((each) => reshape(each, [-1]))) as Tensor1D;

const copies = (parameters: StructureParameters): StructureParameters =>
  Object.fromEntries(Object.entries(parameters).map(([name, tensor]) => [name, clone(tensor)]));
