// What a structured convolution is: the interface of structure.ts for kernels with positions. Linear layers: structure.ts.

import type { Tensor4D } from "@tensorflow/tfjs-core";
import type { StructureParameters } from "./structure.ts";

export interface ConvolutionGeometry {
  /** of rows and columns. Default 1 */
  stride?: number;
  /** zeros on each side of rows and columns. Default 0 */
  padding?: number;
}

export interface ConvolutionStructure<Options extends object = object> {
  readonly name: string;
  /** in the order in which they are saved; the bias belongs to the layer */
  readonly parameterNames: readonly string[];
  /**
   * The nearest kernel of this structure that the budget allows.
   * @param kernel float32 (rows, columns, n_in, n_out)
   * @param budget multiply-adds an output position as a share of the dense rows · columns · n_in · n_out
   */
  fromDense(
    kernel: Tensor4D,
    budget: number,
    options?: Options & Pick<ConvolutionGeometry, "stride">,
  ): Promise<StructureParameters>;
  /** x (batch, height, width, n_in) → (batch, height', width', n_out), differentiable in x and all parameters */
  apply(parameters: StructureParameters, x: Tensor4D, geometry?: ConvolutionGeometry): Tensor4D;
  /** the kernel itself, (rows, columns, n_in, n_out) */
  dense(parameters: StructureParameters): Tensor4D;
  /** multiply-adds that `apply` needs an output position, on an input stride² times as large */
  cost(parameters: StructureParameters, geometry?: Pick<ConvolutionGeometry, "stride">): Promise<number>;
}
