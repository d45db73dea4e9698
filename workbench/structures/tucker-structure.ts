// Tucker-2 behind the interface of linear structures: a convolution as the matrix of the patches under its kernel, so that
// planning, converting and saving need not tell it from the others. One structure a layer: it knows its kernel.

import { reshape, type Tensor, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import { linear } from "../engine/ops/index.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import type { ConvolutionGeometry } from "./convolution-structure.ts";
import type { Structure, StructureParameters } from "./structure.ts";
import { tucker } from "./tucker.ts";
import { tuckerCost } from "./tucker-ranks.ts";

export interface TuckerStructure extends Structure {
  readonly name: "tucker";
  /** x (batch, height, width, channels) → (batch, height', width', n_out) */
  convolve(parameters: StructureParameters, x: Tensor4D, geometry: ConvolutionGeometry): Tensor4D;
}

export const isTucker = (structure: Structure): structure is TuckerStructure => structure.name === "tucker";

/** @param kernel rows and columns */
export function tuckerStructure({
  kernel: [rows, columns],
  stride,
}: {
  kernel: readonly [number, number];
  stride: number;
}): TuckerStructure {
  const positions = rows * columns;
  const matrix = (parameters: StructureParameters): Tensor2D =>
    tidy(() => {
      const kernel = tucker.dense(parameters);
      return transpose(reshape(kernel, [-1, kernel.shape[3]]) as Tensor2D);
    });
  return {
    name: "tucker",
    parameterNames: tucker.parameterNames,
    fromDense: async (weight, budget) => {
      const [nOut, nIn] = weight.shape;
      const kernel = tidy(() => reshape(transpose(weight), [rows, columns, nIn / positions, nOut])) as Tensor4D;
      try {
        return await tucker.fromDense(kernel, budget, { stride });
      } finally {
        kernel.dispose();
      }
    },
    // Its ranks depend on the kernel: all of what is allowed, at most.
    costWithin: (size: MatrixSize, budget: number) => {
      const { nIn, nOut } = size;
      const least = { positions, nIn: nIn / positions, nOut, inputsPerOutput: stride ** 2 };
      const cost = tuckerCost(least, { input: 1, output: 1 });
      expectPaid({ structure: "tucker", what: "ranks (1, 1)", cost, budget, nIn, nOut });
      return Math.min(allowance("tucker", budget, size), nIn * nOut);
    },
    // Rows are patches here; the model convolves instead.
    apply: (parameters, x: Tensor) => tidy(() => linear(x, matrix(parameters))),
    dense: matrix,
    cost: (parameters) => tucker.cost(parameters, { stride }),
    convolve: (parameters, x, geometry) => tucker.apply(parameters, x, geometry),
  };
}

/** @throws EngineError for a layer that is no convolution */
export function expectConvolution<C>(layer: { name: string; convolution?: C }): C {
  if (layer.convolution) return layer.convolution;
  throw new EngineError(`tucker is for convolutions, ${layer.name} is a linear layer`, "choose another structure");
}
