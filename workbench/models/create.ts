// Creates an untrained model, with the parameters that training from scratch starts with. The numbers depend on the seed
// only and are the same on every machine and engine.

import type { Variable } from "@tensorflow/tfjs-core";
import { type Architecture, layersOf, namesOf, parametersOf } from "../architectures/architecture.ts";
import type { ParameterInfo } from "../architectures/network.ts";
import { seededUniform } from "../engine/core/random.ts";
import { dense } from "../structures/dense.ts";
import { Model } from "./model.ts";
import { variableFrom } from "./variables.ts";

/** Options of a model that is created from scratch. */
export interface CreateOptions {
  /** a whole number; default 0 */
  seed?: number;
}

/**
 * Creates a model with random parameters.
 * @param json content of config.json, e.g. `{ model_type: "gpt2", n_layer: 2, … }`
 * @throws ModelError when the config makes no sense
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

/** Parameters that training from scratch starts with, in their order. */
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

/** Generator of standard normal numbers (Box and Muller 1958). */
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
