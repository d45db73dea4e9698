// The list of architectures, which finds one by `model_type` or by its name in timm. A new architecture is added to the
// list here, or by `registerArchitecture`.

import { ModelError } from "../../hub/model-folder/index.ts";
import { baseModelType } from "../../hub/python/index.ts";
import { EngineError, expectName } from "../engine/core/errors.ts";
import { type Architecture, modelTypesOf } from "./architecture.ts";
import { gpt2 } from "./gpt2/architecture.ts";
import { llama } from "./llama/architecture.ts";
import { mixer } from "./mixer/architecture.ts";
import { resnet } from "./resnet/architecture.ts";
import { vit } from "./vit/architecture.ts";

const known: Architecture[] = [
  gpt2 as Architecture,
  llama as Architecture,
  vit as Architecture,
  resnet as Architecture,
  mixer as Architecture,
];

/** All architectures, the workbench's own first. */
export const ARCHITECTURES: readonly Architecture[] = known;

/**
 * Adds an architecture, so that all parts of the workbench can use it.
 * @public for architectures outside the workbench
 * @throws EngineError if a type is not a valid name, or another architecture has the type
 */
export function registerArchitecture<Config>(architecture: Architecture<Config>): void {
  const taken = new Set(known.flatMap(modelTypesOf));
  for (const type of modelTypesOf(architecture as Architecture)) {
    expectName("architecture", type);
    if (!taken.has(type)) continue;
    throw new EngineError(`there is an architecture "${type}" already`, "give it another type");
  }
  known.push(architecture as Architecture);
}

/**
 * Finds an architecture by its type.
 * @param type `model_type` of config.json. The type `gblr_X` of a structured model means X
 * @param file name of the file in errors
 * @throws ModelError such as `x/config.json: model_type is "bert", there is gpt2`
 */
export function architectureOf(type: unknown, file = "config.json"): Architecture {
  const base = typeof type === "string" ? baseModelType(type) : type;
  const found = ARCHITECTURES.find((architecture) => modelTypesOf(architecture).includes(base as string));
  if (!found) {
    const is = type === undefined ? "missing" : JSON.stringify(type).slice(0, 80);
    throw new ModelError(`model_type is ${is}, there is ${ARCHITECTURES.flatMap(modelTypesOf).join(", ")}`, { file });
  }
  return found;
}

/** Finds the architecture of a model by its name in timm; undefined if it is unknown. */
export const architectureInTimm = (name: string): Architecture | undefined =>
  ARCHITECTURES.find(({ timm }) => timm?.isName(name));

/**
 * Finds the architecture of a config.json by `model_type`, or if there is none by the name in timm.
 * @throws ModelError if the architecture is unknown
 */
export function architectureOfConfig(json: Readonly<Record<string, unknown>>, file = "config.json"): Architecture {
  const { model_type: type, architecture: name } = json;
  if (type !== undefined || typeof name !== "string") return architectureOf(type, file);
  const found = architectureInTimm(name);
  if (found) return found;
  const names = ARCHITECTURES.flatMap(({ timm }) => timm?.known ?? []);
  const list = `${names.slice(0, -1).join(", ")} and ${names.at(-1)} of timm's`;
  throw new ModelError(`architecture is ${JSON.stringify(name).slice(0, 80)}, there is ${list}`, { file });
}
