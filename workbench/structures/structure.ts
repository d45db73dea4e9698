// What every structured linear layer is, GBLR among them: one interface, one object a structure, one line in the registry.

import type { Tensor, Tensor2D } from "@tensorflow/tfjs-core";
import type { MatrixSize } from "./budget.ts";

/** Tensors by parameter name. */
export type StructureParameters = Readonly<Record<string, Tensor>>;

export interface Structure<Options extends object = object> {
  /** as flags and model folders name it, e.g. `lowrank` */
  readonly name: string;
  /** in the order in which they are saved; `bias` is not among them, it belongs to the layer */
  readonly parameterNames: readonly string[];
  /**
   * The nearest matrix of this structure that the budget allows.
   * @param weight float32 (n_out, n_in)
   * @param budget multiply-adds a row as a share of the dense n_out · n_in; the result's cost never exceeds it
   */
  fromDense(weight: Tensor2D, budget: number, options?: Options): Promise<StructureParameters>;
  /**
   * Multiply-adds a row of what `fromDense` makes of any matrix of this size, at most, without making it: sizes and
   * budget alone decide, unless an option asks to look at the matrix.
   * @throws EngineError when the budget does not pay for the structure
   */
  costWithin(size: MatrixSize, budget: number, options?: Options): number;
  /** x (…, n_in) → (…, n_out), differentiable in x and all parameters */
  apply(parameters: StructureParameters, x: Tensor): Tensor;
  /** the matrix itself, (n_out, n_in) */
  dense(parameters: StructureParameters): Tensor2D;
  /** multiply-adds that `apply` needs a row of x */
  cost(parameters: StructureParameters): Promise<number>;
}
