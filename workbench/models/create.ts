// Creates models in memory: an untrained model, or a copy of another model. The initial parameters of an untrained
// model depend only on the config and the seed; they are the same on every machine and engine.

import { tidy, type Variable, variable } from "@tensorflow/tfjs-core";
import { type Architecture, layersOf, namesOf, parametersOf } from "../architectures/architecture.ts";
import type { ParameterInfo } from "../architectures/network.ts";
import { seededUniform } from "../engine/core/random.ts";
import { dense } from "../structures/dense.ts";
import { Model } from "./model.ts";
import { variableFrom } from "./variables.ts";

/** Options of a model that is created from scratch. */
export interface CreateOptions {
  /** random seed, a whole number. Default 0 */
  seed?: number;
}

/**
 * Creates a model with random parameters.
 * @param json content of config.json, e.g. `{ model_type: "gpt2", n_layer: 2, … }`
 * @throws ModelError when the config is invalid
 */
export function createModel<Config>(
  architecture: Architecture<Config>,
  json: Readonly<Record<string, unknown>>,
  { seed = 0 }: CreateOptions = {},
): Model<Config> {
  const isTimms = typeof json.architecture === "string" && (architecture.timm?.isName(json.architecture) ?? false);
  const whole = isTimms ? json : { model_type: architecture.type, ...json };
  const config = architecture.readConfig({ ...whole }, "config");
  const parameters = startParameters(parametersOf(architecture, config), seed);
  const layers = new Map(layersOf(architecture, config).map((layer) => [layer.name, { ...layer, structure: dense }]));
  const prefix = namesOf(architecture).prefixOf?.(config);
  return new Model({ architecture, config, json: whole, parameters, layers, ...(prefix !== undefined && { prefix }) });
}

/** Initial parameters for training from scratch, in the model's order. */
export function startParameters(infos: ReadonlyMap<string, ParameterInfo>, seed: number): Map<string, Variable> {
  const random = { normal: seededNormal(seed), uniform: seededUniform(seed + 1) };
  const parameters = new Map<string, Variable>();
  for (const [name, info] of infos) {
    const size = info.shape.reduce((product, side) => product * side, 1);
    const values = startOf(info, new Float32Array(size), random);
    parameters.set(name, variableFrom(values, info.shape, { trainable: !info.buffer }));
  }
  return parameters;
}

interface Random {
  normal: () => number;
  /** from 0 to 1 */
  uniform: () => number;
}

function startOf({ start }: ParameterInfo, values: Float32Array, { normal, uniform }: Random): Float32Array {
  if (start.kind === "ones") return values.fill(1);
  if (start.kind === "constant") return values.fill(start.value);
  if (start.kind === "zeros") return values;
  for (let i = 0; i < values.length; i++) {
    values[i] = start.kind === "normal" ? start.deviation * normal() : start.bound * (2 * uniform() - 1);
  }
  return values;
}

/** A generator of standard normal numbers (Box and Muller 1958). */
function seededNormal(seed: number): () => number {
  const uniform = seededUniform(seed);
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/**
 * A copy with its own masks and config, which the caller disposes of. Parameters share memory with the original until
 * one of the two changes: engines write a tensor in place only if no other tensor uses its memory.
 */
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
