// A packed GBLR matrix (docs/format.md) as the structure of a layer, for inference: it has no gradient and is made from
// no dense matrix. Its sizes are not in its tensors, so there is one structure a layer. Also the forms that multiply
// faster than the packed one where many rows go through a layer.
//
// Measured with 768 × 3072 at 44 % of the dense multiply-adds, libtorch on two cores: from 16 rows on, both the one
// matrix and the factors take time by their multiply-adds, and the packed product, whose stretches are short, takes twice
// the matrix's; at 1 to 4 rows, where memory is what takes time, it takes a third. Only the addon has an operator for
// it: composed of others, as on wasm, it takes half a second.

import {
  concat,
  gather,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tidy,
  transpose,
  zeros,
} from "@tensorflow/tfjs-core";
import { STORED_GBLR } from "../../hub/model-folder/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { withGradients } from "../gblr/init/index.ts";
import type { GblrMatrix } from "../gblr/matrix.ts";
import { type PackedGblr, packedProduct, unpack } from "../gblr/packed.ts";
import type { MatrixSize } from "./budget.ts";
import { dense } from "./dense.ts";
import { lowrank } from "./lowrank.ts";
import {
  type HeldMatrix,
  parametersNamed,
  type ReferenceBlocks,
  type Structure,
  type StructureKind,
  type StructureParameters,
} from "./structure.ts";

const NAMES = ["spans", "values_in", "values_out"] as const;

/** Not for converting to, nor found in files by this name: there it is a form of GBLR. */
export const packed: StructureKind = {
  name: "packed",
  stored: STORED_GBLR,
  isStoredOnly: true,
  forLayer: () => {
    throw noConversion();
  },
};

/**
 * Parameters: `spans` int32 (4, B), `values_in` and `values_out`.
 * @param size.blocks K of the matrix that was packed, the dead ones counted
 */
export function packedStructure({ nIn, nOut, blocks }: MatrixSize & { blocks: number }): Structure {
  const packedOf = (parameters: StructureParameters): PackedGblr => {
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
    name: packed.name,
    stored: packed.stored,
    isStoredOnly: true,
    isTrainable: false,
    blocks,
    parameterNames: NAMES,
    fromDense: () => Promise.reject(noConversion()),
    costWithin: () => {
      throw noConversion();
    },
    apply: (parameters, x) => packedProduct(x, packedOf(parameters)),
    dense: (parameters) => {
      const matrix = unpack(packedOf(parameters));
      const whole = matrix.dense();
      for (const tensor of Object.values(matrix.parameters) as Tensor[]) tensor.dispose();
      return whole;
    },
    cost: async (parameters) => {
      const { values_in, values_out } = packedOf(parameters);
      return values_in.size + values_out.size;
    },
    fastest: async (parameters, { packed: asItIs }) => {
      if (asItIs) return undefined;
      const matrix = unpack(packedOf(parameters));
      const all = Array.from({ length: matrix.blocks }, (_, k) => k);
      try {
        return fastestForm(matrix, all);
      } finally {
        for (const tensor of Object.values(matrix.parameters) as Tensor[]) tensor.dispose();
      }
    },
    toReference: (parameters) => withDeadBlocks(unpack(packedOf(parameters)), blocks),
  };
}

const noConversion = () => new EngineError("packed is no structure to convert to", 'convert to "gblr"');

/**
 * One matrix, or thin factors where these take fewer multiply-adds.
 * @param live positions of the rows of `factors` that count
 */
export function fastestForm(matrix: GblrMatrix, live: readonly number[]): HeldMatrix {
  const { nIn, nOut } = matrix;
  if (live.length * (nIn + nOut) >= nIn * nOut) {
    return { structure: dense, parameters: { weight: matrix.dense() } };
  }
  return {
    structure: lowrank,
    parameters: tidy(() => {
      const { input, output } = matrix.factors();
      const kept = (rows: Tensor2D) => gather(rows, tensor1d([...live], "int32"));
      return { left: transpose(kept(output)), right: kept(input) };
    }),
  };
}

/** All K blocks, those that are not packed as zeros. What is packed has the smoothness of its masks in its values. */
async function withDeadBlocks({ parameters, nIn, nOut }: GblrMatrix, all: number): Promise<ReferenceBlocks> {
  const { bias: _, widths, ...live } = parameters;
  const dead = Math.max(0, all - (widths.shape[1] as number));
  const filled = tidy(() => ({
    lr_weight1: concat([live.lr_weight1, zeros([dead, 1, nIn])]),
    lr_weight2: concat([live.lr_weight2, zeros([dead, nOut, 1])]),
    widths: concat([widths, zeros([2, dead])], 1),
    locations: concat([live.locations, zeros([2, dead])], 1),
  }));
  for (const tensor of [widths, ...Object.values(live)]) tensor.dispose();
  return { parameters: { ...filled, widths: await withGradients(filled.widths, { nIn, nOut }) }, isCopy: true };
}
