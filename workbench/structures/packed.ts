// The structure of packed GBLR layers (docs/format.md), for inference: it has no gradient and cannot be converted to.
// Its tensors do not determine n_in and n_out, so every layer has its own structure object. This file also chooses the
// form that is fastest when many rows go through a layer.
//
// Measured for 768 × 3072 at 44 % of the dense multiply-adds, with libtorch on two cores: from 16 rows on, the time of
// the dense matrix and of the low-rank factors is proportional to their multiply-adds, and the packed product takes
// twice as long as the dense matrix because its spans are short. For 1 to 4 rows, where memory bandwidth is the limit,
// the packed product takes a third of the time. Only the addon has an operator for it. As a composition of other
// operations, as on wasm, it takes half a second.

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

/** The kind of packed layers. It is a form of `gblr`, which is its name in files. Layers cannot be converted to it. */
export const packed: StructureKind = {
  name: "packed",
  stored: STORED_GBLR,
  isStoredOnly: true,
  forLayer: () => {
    throw noConversion();
  },
};

/**
 * The structure of one packed layer. Parameters: `spans` int32 (4, B), `values_in` and `values_out`.
 * @param size.blocks K of the matrix that was packed, including dead blocks
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

const noConversion = () => new EngineError("layers cannot be converted to packed", 'use "gblr"');

/**
 * The dense matrix, or low-rank factors if these take fewer multiply-adds.
 * @param live indices of the rows of `factors` of live blocks
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

/** All K blocks, dead ones as zeros. Packed values already include the smoothness of the masks. */
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
