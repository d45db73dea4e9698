// The architectures by `model_type`. A new one is a line here.

import { ModelError } from "../../hub/model-folder/index.ts";
import { baseModelType } from "../../hub/python/index.ts";
import type { Architecture } from "./architecture.ts";
import { gpt2 } from "./gpt2/architecture.ts";
import { mixer } from "./mixer/architecture.ts";
import { resnet } from "./resnet/architecture.ts";
import { vit } from "./vit/architecture.ts";

export const ARCHITECTURES: readonly Architecture[] = [
  gpt2 as Architecture,
  vit as Architecture,
  resnet as Architecture,
  mixer as Architecture,
];

/**
 * @param type `model_type` of config.json; that of a structured model counts as its base model's
 * @param file what the error calls it
 * @throws ModelError such as `x/config.json: model_type is "llama", there is gpt2`
 */
export function architectureOf(type: unknown, file = "config.json"): Architecture {
  const base = typeof type === "string" ? baseModelType(type) : type;
  const found = ARCHITECTURES.find((architecture) => architecture.type === base);
  if (!found) {
    const is = type === undefined ? "missing" : JSON.stringify(type).slice(0, 80);
    throw new ModelError(`model_type is ${is}, there is ${ARCHITECTURES.map(({ type }) => type).join(", ")}`, { file });
  }
  return found;
}

/**
 * The architecture of a config.json: by `model_type`, or where there is none by what the architectures recognize.
 * @throws ModelError when it is none that is known
 */
export function architectureOfConfig(json: Readonly<Record<string, unknown>>, file = "config.json"): Architecture {
  const { model_type: type, architecture: name } = json;
  const found = ARCHITECTURES.find((architecture) => type === undefined && architecture.recognizes?.(json));
  if (!found && type === undefined && typeof name === "string") {
    const known = "vit_*, deit_*, resnet18, resnet34 and mixer_* of timm's";
    throw new ModelError(`architecture is ${JSON.stringify(name).slice(0, 80)}, there is ${known}`, { file });
  }
  return found ?? architectureOf(type, file);
}
