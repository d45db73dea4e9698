// What a model is to be made of, before a value is read: for each of its parameters the tensor in the file, and for
// each of its layers how it is held. Here a checkpoint is held against its architecture.

import type { ModelError as Problem } from "../../hub/model-folder/index.ts";
import { findLayers, ModelError, type OpenModel, type StoredLayer } from "../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../hub/safetensors/index.ts";
import type { MaskSettings } from "../gblr/parameters.ts";
import { dense } from "../structures/dense.ts";
import { gblrStructure } from "../structures/gblr.ts";
import { structureNamed } from "../structures/registry.ts";
import type { Structure } from "../structures/structure.ts";
import type { Architecture, LayerInfo } from "./architecture.ts";
import type { LinearLayer } from "./model.ts";
import { packedStructure } from "./packed-structure.ts";

export interface StoredParameter {
  /** the tensor's name in the file */
  stored: string;
  /** in memory: of a padded table only the rows that count */
  shape: readonly number[];
  dtype: "float32" | "int32";
  trainable: boolean;
}

export interface StoredModel {
  prefix: string;
  masks: MaskSettings;
  layers: Map<string, LinearLayer>;
  /** in the architecture's order, a structured layer's in the place of its weight */
  parameters: Map<string, StoredParameter>;
}

/** @throws ModelError naming the tensor that is missing, too much or misshapen */
export function storedParameters<Config>(
  open: OpenModel,
  { architecture, config }: { architecture: Architecture<Config>; config: Config },
): StoredModel {
  const { tensors, path, config: gblr } = open;
  const expected = architecture.parameters(config);
  const prefix = prefixOf(architecture, { names: tensors.tensors, first: [...expected.keys()][0] as string });
  const storedName = (name: string) => architecture.storedName(name, prefix);
  const masks: MaskSettings = gblr?.sigma === undefined ? {} : { sigma: gblr.sigma };
  const structured = new Map(
    findLayers(open)
      .layers.filter(({ form }) => form !== "dense")
      .map((layer) => [architecture.parameterName(layer.name, prefix), layer]),
  );
  const infos = new Map(architecture.layers(config).map((layer) => [layer.name, layer]));
  const layers = new Map<string, LinearLayer>();
  const parameters = new Map<string, StoredParameter>();
  const claimed = new Set<string>();
  const problem = (tensor: string, text: string): Problem => new ModelError(text, { file: path, tensor });
  const find = (name: string): TensorInfo => {
    const info = tensors.tensors.get(storedName(name));
    if (!info) {
      const wanted = expected.get(name);
      throw problem(storedName(name), `is missing${wanted ? `, must be (${wanted.shape.join(", ")})` : ""}`);
    }
    claimed.add(storedName(name));
    return info;
  };

  for (const [name, { shape, buffer = false }] of expected) {
    const layer = infos.get(name.replace(/\.weight$/, ""));
    const held = name.endsWith(".weight") && layer ? structured.get(layer.name) : undefined;
    if (layer && held) {
      expectSize(layer, held, problem);
      const structure = structureOf(held, masks);
      layers.set(layer.name, { ...layer, structure });
      for (const parameter of structure.parameterNames) {
        const info = find(`${layer.name}.${parameter}`);
        const dtype = info.dtype === "I32" ? "int32" : "float32";
        const stored = storedName(`${layer.name}.${parameter}`);
        parameters.set(`${layer.name}.${parameter}`, {
          stored,
          shape: info.shape,
          dtype,
          trainable: structure.name !== "packed",
        });
      }
      for (const part of ["sigma", "freq_in", "freq_out"]) claimed.add(storedName(`${layer.name}.${part}`));
    } else {
      const info = find(name);
      expectShape(info, { shape, moreRows: architecture.mayHaveMoreRows?.(name) ?? false }, (text) =>
        problem(storedName(name), text),
      );
      parameters.set(name, { stored: storedName(name), shape, dtype: "float32", trainable: !buffer });
      if (layer && name.endsWith(".weight")) layers.set(layer.name, { ...layer, structure: dense });
    }
  }
  for (const stored of tensors.tensors.keys()) {
    if (claimed.has(stored) || architecture.ignores(architecture.parameterName(stored, prefix), config)) continue;
    throw problem(
      stored,
      `is no parameter of this ${architecture.type}; expected are ${expected.size}, by config.json`,
    );
  }
  return { prefix, masks, layers, parameters };
}

function prefixOf<Config>(
  architecture: Architecture<Config>,
  { names, first }: { names: ReadonlyMap<string, unknown>; first: string },
): string {
  const found = architecture.prefixes.find((prefix) => names.has(architecture.storedName(first, prefix)));
  return found ?? architecture.prefixes[0] ?? "";
}

function structureOf(layer: StoredLayer, masks: MaskSettings): Structure {
  if (layer.form === "packed") return packedStructure(layer);
  if (layer.form === "trainable") return gblrStructure(masks);
  return layer.form === "factored" ? structureNamed(layer.structure) : dense;
}

function expectSize(layer: LayerInfo, held: StoredLayer, problem: (tensor: string, text: string) => Problem): void {
  if (held.nIn === layer.nIn && held.nOut === layer.nOut) return;
  const [is, must] = [held, layer].map(({ nIn, nOut }) => `n_in × n_out = ${nIn} × ${nOut}`);
  throw problem(held.name, `must be of ${must}, is of ${is}`);
}

const REAL = new Set(["F64", "F32", "F16", "BF16"]);

function expectShape(
  { dtype, shape }: TensorInfo,
  wanted: { shape: readonly number[]; moreRows: boolean },
  problem: (text: string) => Problem,
): void {
  const fits =
    REAL.has(dtype) &&
    shape.length === wanted.shape.length &&
    wanted.shape.every((side, axis) => {
      const is = shape[axis] as number;
      return is === side || (axis === 0 && wanted.moreRows && is > side);
    });
  if (fits) return;
  throw problem(`must be float (${wanted.shape.join(", ")}), is ${dtype} (${shape.join(", ")})`);
}
