// Which model a file of weights is, by the names and shapes of its tensors alone: its architecture, a config.json for it,
// and what had to be assumed because no tensor tells.

import { findLayers, ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorFile } from "../../../hub/safetensors/index.ts";
import type { Architecture, WeightsFile } from "../../architectures/architecture.ts";
import { findSetting, isCount, sideOf, usualHeads } from "../../architectures/parts/checkpoint.ts";
import { storedParameters } from "../folder/stored-parameters.ts";
import { type FoundKind, type ModelTensors, modelTensors } from "./model-tensors.ts";
import { type AssumedImages, assumedImages, type ImageOptions, usualImages } from "./usual-images.ts";

export interface Weights extends Pick<WeightsFile, "rest" | "tied"> {
  /** what errors call it */
  file: string;
  tensors: TensorFile;
}

/** What shapes do not tell. Each is assumed as is usual for its architecture where it is not given. */
export interface WeightsOptions extends ImageOptions {
  /** attention heads. Default what lies beside the weights, else one for each 64 of the width */
  heads?: number | undefined;
}

/** What was assumed, and not given. */
export interface Assumed extends AssumedImages {
  heads?: number;
}

export interface Recognized {
  architecture: Architecture;
  config: Record<string, unknown>;
  /** of models in Hugging Face's manner that take images */
  preprocessor?: Record<string, unknown>;
  assumed: Assumed;
  /** names of the file's other tensors, such as an optimizer's */
  others: string[];
  /** under the names that they have in the model's folder */
  tensors: TensorFile;
}

/**
 * @returns undefined for weights of no architecture that is known
 * @throws ModelError for those of one that is known which do not fit it, or do not tell what has to be known
 */
export function recognize(weights: Weights, options: WeightsOptions = {}): Recognized | undefined {
  const { file } = weights;
  const found = modelTensors(weights.tensors);
  if (!found) return undefined;
  const { kind, tensors } = found;
  const { architecture, reader } = kind;
  const seen = seenBy(found, weights);
  const heads = headsOf(kind, weights, options);
  const plain = reader.config(seen, { heads: heads.count });
  const cfg = plain.pretrained_cfg as Record<string, unknown> | undefined;
  const usual = found.naming?.preparation;
  const images = cfg && usualImages(cfg, { ...options, architecture, file, usual });
  const described = images ? { ...plain, pretrained_cfg: images.cfg } : plain;
  const own: Pick<Recognized, "config" | "preprocessor"> =
    images && kind.prefix !== "" && reader.forTransformers
      ? reader.forTransformers(architecture.readConfig(described, file), seen, images)
      : { config: described };
  const config = architecture.readConfig({ ...own.config }, file);
  const { layers } = findLayers({ path: file, tensors });
  const stored = storedParameters({ path: file, tensors, layers }, { architecture, config });
  for (const { name: layer, structure } of stored.layers.values()) {
    if (structure.isDense) continue;
    throw new ModelError(`is held as ${structure.name}; of weights alone only dense layers are known`, { file, layer });
  }
  const model = { architecture, config, json: own.config, preprocessor: own.preprocessor };
  const assumed = {
    ...(heads.isAssumed && { heads: heads.count }),
    ...(images && assumedImages(model, options)),
  };
  const others = [...weights.tensors.tensors.keys()].filter((name) => !name.startsWith(found.prefix));
  return { architecture, ...own, assumed, others, tensors };
}

/** The weights as the reader of a kind takes them. */
function seenBy({ kind, prefix }: ModelTensors, { file, rest, tied }: Weights): WeightsFile {
  const { seen, readerName } = kind;
  const called = (name: string) => readerName(name.slice(prefix.length));
  const own = [...tied].filter((names) => names.every((name) => name.startsWith(prefix)));
  const ties = own.map(([name, first]) => [called(name), called(first)] as const);
  return { file, tensors: seen, rest: { hyper_parameters: rest }, tied: new Map(ties) };
}

const HEADS = ["num_heads", "n_head", "num_attention_heads"];

function headsOf({ reader: { width }, seen }: FoundKind, { file, rest }: Weights, { heads }: WeightsOptions) {
  if (width === undefined) return {};
  const told = heads ?? findSetting(rest, HEADS, isCount);
  if (told !== undefined) return { count: told };
  return { count: usualHeads(sideOf({ file, tensors: seen }, ...width), file), isAssumed: true };
}
