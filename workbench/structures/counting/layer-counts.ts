// Parameters and multiply-adds of one structured layer, as the reference counts them and as they are. Whole models:
// gpt2.ts, vit.ts, resnet.ts.

import type { Tensor } from "@tensorflow/tfjs-core";
import { pack } from "../../gblr/packed.ts";
import type { GblrStructure } from "../gblr.ts";
import type { Structure, StructureParameters } from "../structure.ts";

export interface LayerCounts {
  /** numbers that training changes; the bias is the layer's own */
  parameters: number;
  /** numbers that inference needs: of GBLR the values under live spans, of all others every parameter */
  stored: number;
  /** multiply-adds a row as the reference counts: a block of more ranks than it is wide as if it were dense */
  reference: number;
  /** multiply-adds a row in inference */
  actual: number;
}

export async function layerCounts(structure: Structure, parameters: StructureParameters): Promise<LayerCounts> {
  const trained = structure.parameterNames.reduce((sum, name) => sum + (parameters[name]?.size ?? 0), 0);
  const reference = await structure.cost(parameters);
  if (!isGblr(structure)) {
    return { parameters: trained, stored: trained, reference, actual: reference };
  }
  const { spans, values_in, values_out } = await pack(structure.matrix(parameters));
  const stored = values_in.size + values_out.size;
  for (const tensor of [spans, values_in, values_out] as Tensor[]) {
    tensor.dispose();
  }
  return { parameters: trained, stored, reference, actual: stored };
}

const isGblr = (structure: Structure): structure is GblrStructure => "matrix" in structure;
