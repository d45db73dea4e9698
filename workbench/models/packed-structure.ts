// A packed GBLR matrix (docs/format.md) as the structure of a layer, for inference: it has no gradient and is made from
// no dense matrix. Its sizes are not in its tensors, so there is one structure a layer.

import type { Tensor, Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import { type PackedGblr, packedProduct, unpack } from "../gblr/packed.ts";
import type { MatrixSize } from "../structures/budget.ts";
import { parametersNamed } from "../structures/parameters.ts";
import type { Structure, StructureParameters } from "../structures/structure.ts";

const NAMES = ["spans", "values_in", "values_out"] as const;

/** Parameters: `spans` int32 (4, B), `values_in` and `values_out`. */
export interface PackedStructure extends Structure {
  readonly name: "packed";
  /** K of the matrix that was packed, the dead ones counted */
  readonly blocks: number;
  packed(parameters: StructureParameters): PackedGblr;
}

export function packedStructure({ nIn, nOut, blocks }: MatrixSize & { blocks: number }): PackedStructure {
  const packed = (parameters: StructureParameters): PackedGblr => {
    const { spans, values_in, values_out } = parametersNamed("packed", parameters, NAMES);
    return {
      spans: spans as Tensor2D,
      values_in: values_in as Tensor1D,
      values_out: values_out as Tensor1D,
      nIn,
      nOut,
    };
  };
  return {
    name: "packed",
    blocks,
    parameterNames: NAMES,
    packed,
    fromDense: () => Promise.reject(noConversion()),
    costWithin: () => {
      throw noConversion();
    },
    apply: (parameters, x) => packedProduct(x, packed(parameters)),
    dense: (parameters) => {
      const matrix = unpack(packed(parameters));
      const dense = matrix.dense();
      for (const tensor of Object.values(matrix.parameters) as Tensor[]) tensor.dispose();
      return dense;
    },
    cost: async (parameters) => {
      const { values_in, values_out } = packed(parameters);
      return values_in.size + values_out.size;
    },
  };
}

const noConversion = () => new EngineError("packed is no structure to convert to", 'convert to "gblr"');
