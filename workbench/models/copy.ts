// A copy of a model in memory. Its parameters share the memory of the original's until one of the two changes: engines
// write a tensor in place only where nothing else looks at its memory.

import { tidy, variable } from "@tensorflow/tfjs-core";
import { Model } from "./model.ts";

/** @returns the caller's to change and to dispose of; masks and config are its own */
export function copyModel<Config>(model: Model<Config>): Model<Config> {
  const { architecture, config, json, prefix, preprocessor } = model;
  const masks = { ...model.masks };
  const layers = [...model.layers].map(
    ([name, layer]) =>
      [name, { ...layer, structure: layer.structure.forLayer?.(layer, masks) ?? layer.structure }] as const,
  );
  const parameters = new Map(
    [...model.parameters].map(([name, values]) => [name, tidy(() => variable(values, values.trainable))] as const),
  );
  return new Model({
    ...{ architecture, json, prefix, preprocessor, masks, parameters },
    config: structuredClone(config),
    layers: new Map(layers),
  });
}
