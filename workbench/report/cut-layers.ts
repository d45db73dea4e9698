// The layers of a model of several sizes after a cut, in the form in which `describe` reads those of a file. A cut of GBLR
// layers depends on their values, so it is made in memory; files say only how the layers are stored before it.

import type { ModelLayers, StoredLayer } from "../../hub/model-folder/index.ts";
import { namesOf } from "../architectures/architecture.ts";
import type { Model } from "../models/index.ts";

/**
 * The layers of a folder, with the shapes and blocks that a cut of its model has.
 * @param stored layers of the folder
 * @param model the model of the folder, cut; its tensors are read while the layers are described
 */
export function cutLayers({ layers, embeddings }: ModelLayers, model: Model): ModelLayers {
  const { parameterName } = namesOf(model.architecture);
  return {
    embeddings,
    layers: layers.map((layer) => {
      const name = parameterName(layer.name, model.prefix);
      const held = model.layers.get(name);
      return held && !held.structure.isDense ? cutLayer(layer, model, name) : layer;
    }),
  };
}

function cutLayer(layer: StoredLayer, model: Model, name: string): StoredLayer {
  const { structure } = model.layer(name);
  const parameters = model.structureParameters(name);
  const shapes = Object.fromEntries(Object.entries(parameters).map(([part, { shape }]) => [part, shape]));
  const { spans } = parameters;
  if (!layer.readSpans || !spans) return { ...layer, shapes } as StoredLayer;
  const readSpans = async () => (await spans.data()) as Int32Array;
  return { ...layer, shapes, blocks: structure.blocks ?? (spans.shape[1] as number), readSpans };
}
