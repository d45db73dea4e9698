// "gblr" of config.json for a reference checkpoint: which of its layers are GBLR, and how smooth their masks are. The
// reference keeps the smoothness with each layer and whether it counts in the hyper-parameters.

import type { Checkpoint } from "../../../hub/checkpoint/index.ts";
import { FORMAT, ModelError } from "../../../hub/model-folder/index.ts";
import { toFloat32 } from "../../../hub/safetensors/index.ts";
import { findSetting, isBoolean, isRecord, type Settings } from "../../architectures/parts/checkpoint.ts";
import type { ReadCheckpoint } from "./checkpoint-tensors.ts";

export interface GblrPart {
  format: typeof FORMAT;
  structure: "gblr";
  /** of all masks, where they have a Gaussian */
  sigma?: number;
  layers: Record<string, { structure: "gblr"; n_in: number; n_out: number; blocks: number }>;
}

/**
 * @param gaussian whether masks have a Gaussian where the hyper-parameters say nothing of the layers
 * @throws ModelError when layers lack factors, or are not equally smooth
 */
export async function gblrPart(
  checkpoint: Checkpoint,
  { seen, names }: Pick<ReadCheckpoint, "seen" | "names">,
  gaussian: boolean,
): Promise<GblrPart> {
  const part: GblrPart = { format: FORMAT, structure: "gblr", layers: {} };
  const smooth = haveGaussian(seen.rest.hyper_parameters) ?? gaussian;
  for (const [name, { shape }] of seen.tensors) {
    if (!name.endsWith(".lr_weight1")) continue;
    const layer = name.slice(0, -".lr_weight1".length);
    const nOut = seen.tensors.get(`${layer}.lr_weight2`)?.shape[1];
    const place = { file: seen.file, tensor: `${layer}.lr_weight2` };
    if (nOut === undefined) throw new ModelError("is missing", place);
    const [blocks, rank, nIn] = shape;
    if (blocks === undefined || rank === undefined || nIn === undefined) {
      throw new ModelError(`must be (K, r, n_in), is (${shape.join(", ")})`, { ...place, tensor: name });
    }
    part.layers[layer] = { structure: "gblr", n_in: nIn, n_out: nOut, blocks: blocks * rank };
    if (!smooth) continue;
    const stored = names.get(`${layer}.sigma`);
    const [value] = stored === undefined ? [] : toFloat32(await checkpoint.read(stored));
    if (value === undefined || !(value > 0) || (part.sigma !== undefined && part.sigma !== value)) {
      const must =
        part.sigma === undefined ? "must be there and positive" : `must be ${part.sigma}, as in the other layers`;
      throw new ModelError(`${must}, is ${value ?? "missing"}`, { file: seen.file, tensor: `${layer}.sigma` });
    }
    part.sigma = value;
  }
  if (part.sigma !== undefined && !Number.isFinite(part.sigma)) delete part.sigma;
  return part;
}

/** Layers that are described and say nothing of it have one: that is the reference's default. */
function haveGaussian(hyper: Settings): boolean | undefined {
  const without = findSetting(hyper, ["no_gaussian"], isBoolean);
  if (without !== undefined) return !without;
  return findSetting(hyper, LAYER_SETTINGS, isRecord) ? true : undefined;
}

/** Where the reference's configurations describe a GBLR layer. */
const LAYER_SETTINGS = ["gaudi_params", "linear1_cfg"];
