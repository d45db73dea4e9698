// The structure of packed GBLR layers (docs/format.md), for inference: it has no gradient and cannot be converted to.
// Its tensors do not determine n_in and n_out, so every layer has its own structure object. This file also lists the
// forms that a GBLR layer can have in inference, from which choice.ts takes the fastest one.

import {
  clone,
  concat,
  dispose,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tidy,
  transpose,
  zeros,
} from "@tensorflow/tfjs-core";
import { STORED_GBLR } from "../../../hub/model-folder/index.ts";
import { withGradients } from "../../gblr/init/index.ts";
import type { GblrMatrix } from "../../gblr/matrix.ts";
import { type PackedGblr, packedProduct, unpack } from "../../gblr/packed.ts";
import type { MatrixSize } from "../budget.ts";
import { dense } from "../dense.ts";
import { cancellationOf } from "../factor-sizes.ts";
import { nestedBlocks } from "../gblr-sizes.ts";
import { lowrank } from "../lowrank.ts";
import {
  type FormCost,
  type FormName,
  type HeldMatrix,
  type InferenceForm,
  parametersNamed,
  type ReferenceBlocks,
  type Structure,
  type StructureKind,
  type StructureParameters,
} from "../structure.ts";
import { inferenceOnly, noConversion } from "./inference-only.ts";
import { panelsForm } from "./panels.ts";
import { tilesForm } from "./tiles.ts";

const NAMES = ["spans", "values_in", "values_out"] as const;

/** The kind of packed layers. It is a form of `gblr`, which is its name in files. Layers cannot be converted to it. */
export const packed: StructureKind = {
  name: "packed",
  stored: STORED_GBLR,
  isStoredOnly: true,
  forLayer: () => {
    throw noConversion(packed.name);
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
    ...inferenceOnly(packed.name),
    blocks,
    parameterNames: NAMES,
    apply: (parameters, x) => packedProduct(x, packedOf(parameters)),
    dense: (parameters) => {
      const matrix = unpack(packedOf(parameters));
      const whole = matrix.dense();
      for (const tensor of Object.values(matrix.parameters) as Tensor[]) tensor.dispose();
      return whole;
    },
    nestedMatrix: (parameters, ranks) =>
      nestedBlocks(parameters, ranks, {
        ...{ nIn, nOut },
        structureOf: (count) => packedStructure({ nIn, nOut, blocks: count }),
      }),
    async cancellation(parameters) {
      const matrix = unpack(packedOf(parameters));
      const { dense: whole, ...factors } = tidy(() => ({ ...matrix.factors(), dense: matrix.dense() }));
      try {
        return await cancellationOf(factors, whole);
      } finally {
        dispose([{ ...factors, whole }, ...(Object.values(matrix.parameters) as Tensor[])]);
      }
    },
    withForms: (parameters, choose) =>
      choose(formsOfBlocks(packedOf(parameters), packedStructure({ nIn, nOut, blocks }))),
    toReference: (parameters) => withDeadBlocks(unpack(packedOf(parameters)), blocks),
  };
}

/**
 * The forms of a matrix of live blocks. They are made from the given tensors, which must exist until then.
 * @param structure the packed structure of the layer
 */
export function formsOfBlocks(packed: PackedGblr, structure: Structure): InferenceForm[] {
  const { nIn, nOut, spans, values_in, values_out } = packed;
  const make: Readonly<Record<FormName, InferenceForm["make"]>> = {
    dense: async () => unpacked(packed, denseForm),
    lowrank: async () => unpacked(packed, lowRankForm),
    packed: async () => ({ structure, parameters: copiesOf({ spans, values_in, values_out }) }),
    panels: () => panelsForm(packed),
    tiles: () => tilesForm(packed),
  };
  const size = { nIn, nOut, blocks: spans.shape[1], values: values_in.size + values_out.size };
  return formCosts(size).map((form) => ({ ...form, make: make[form.name] }));
}

/**
 * The forms that a matrix of blocks can have, and their multiply-adds per row.
 * @param size.blocks number of live blocks of rank 1
 * @param size.values number of values in them, on both sides
 */
export function formCosts({ nIn, nOut, blocks, values }: MatrixSize & { blocks: number; values: number }): FormCost[] {
  return [
    { name: "dense", cost: nIn * nOut },
    { name: "lowrank", cost: blocks * (nIn + nOut) },
    { name: "packed", cost: values },
    // A matrix without blocks has nothing to put into panels or tiles.
    ...(blocks > 0
      ? ([
          { name: "panels", cost: values },
          { name: "tiles", cost: values },
        ] as const)
      : []),
  ];
}

const copiesOf = (tensors: Record<string, Tensor>): StructureParameters =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, clone(tensor)]));

const denseForm = (matrix: GblrMatrix): HeldMatrix => ({ structure: dense, parameters: { weight: matrix.dense() } });

const lowRankForm = (matrix: GblrMatrix): HeldMatrix => ({
  structure: lowrank,
  parameters: tidy(() => {
    const { input, output } = matrix.factors();
    return { left: transpose(output), right: clone(input) };
  }),
});

/** Makes a form from the unpacked matrix, which is disposed of. */
function unpacked(packed: PackedGblr, make: (matrix: GblrMatrix) => HeldMatrix): HeldMatrix {
  const matrix = unpack({ ...packed, bias: undefined });
  try {
    return make(matrix);
  } finally {
    for (const tensor of Object.values(matrix.parameters) as Tensor[]) tensor.dispose();
  }
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
