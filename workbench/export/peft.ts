// Adapters in the files of Hugging Face's PEFT: adapter_config.json and the tensors of adapter_model.safetensors
// (huggingface.co/docs/peft, "PEFT checkpoint format"). PEFT adds (α/r) B A to the weight (n_out, n_in) of a module. Where
// modules hold the weight as (n_in, n_out), as GPT-2's Conv1D, it adds the transpose (`fan_in_fan_out`).

import { ModelError } from "../../hub/model-folder/index.ts";
import type { TensorSource } from "../../hub/safetensors/index.ts";
import { type Architecture, layersOf, namesOf } from "../architectures/architecture.ts";
import type { LayerInfo } from "../models/index.ts";

/** A matrix, row by row. */
interface Matrix {
  shape: readonly [rows: number, columns: number];
  values: Float32Array;
}

/** The adapters of a dense model in memory or in a checkpoint, with the weights in the layouts of the model. */
export interface LayerAdapters {
  /** r; single layers may have less */
  rank: number;
  /** α; products are scaled by α/r in all layers */
  alpha: number;
  /** by parameter, e.g. `h.0.attn.c_attn.weight`: F is trained to F + (α/r) B A */
  adapters: readonly { parameter: string; a: Matrix; b: Matrix }[];
}

/** The model to which adapters belong. */
export interface AdaptedModel {
  architecture: Architecture;
  /** parsed config.json */
  config: unknown;
  /** what transformers loads: a folder, or `owner/name` */
  base: string;
  /** commit of the repository */
  revision?: string | undefined;
}

/** The content of PEFT's two files. */
export interface PeftFiles {
  config: Readonly<Record<string, unknown>>;
  tensors: TensorSource[];
  /** names of the layers with an adapter */
  layers: string[];
}

/**
 * Makes the files of adapters.
 * @throws ModelError when the architecture has no language model in transformers, or a parameter is no dense matrix
 */
export function peftFiles(
  { rank, alpha, adapters }: LayerAdapters,
  { architecture, config, base, revision }: AdaptedModel,
): PeftFiles {
  const { body } = architecture.python ?? {};
  if (body === undefined) {
    throw new ModelError(`adapters of ${architecture.type} have no names in PEFT; export --to dense`, { file: base });
  }
  const known = new Map(layersOf(architecture, config).map((layer) => [`${layer.name}.weight`, layer]));
  const moduleOf = (parameter: string) => moduleName(namesOf(architecture).storedName(parameter, `${body}.`));
  const found = adapters.map(({ parameter, a, b }) => {
    const layer = known.get(parameter);
    if (!layer) throw new ModelError(`${parameter} is no dense matrix; export --to packed or dense`, { file: base });
    return { layer, module: moduleOf(parameter), own: a.shape[0], ...oriented(layer, a, b) };
  });
  const fewer = found.filter(({ own }) => own !== rank);
  const modules = new Set(found.map(({ module }) => module));
  return {
    layers: found.map(({ layer }) => layer.name),
    tensors: found.flatMap(({ module, down, up }) => [
      sourceOf(`base_model.model.${module}.lora_A.weight`, down),
      sourceOf(`base_model.model.${module}.lora_B.weight`, up),
    ]),
    config: {
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: base,
      revision: revision ?? null,
      inference_mode: true,
      r: rank,
      lora_alpha: alpha,
      lora_dropout: 0,
      // PEFT divides the α of a module by its own rank.
      rank_pattern: Object.fromEntries(fewer.map(({ module, own }) => [module, own])),
      alpha_pattern: Object.fromEntries(fewer.map(({ module, own }) => [module, (alpha * own) / rank])),
      target_modules: targets(modules, [...known.keys()].map(moduleOf)),
      fan_in_fan_out: found.some(({ layer }) => layer.layout === "in_out"),
      bias: "none",
      modules_to_save: null,
      use_rslora: false,
      use_dora: false,
    },
  };
}

const moduleName = (stored: string): string => stored.replace(/\.weight$/, "");

/** The last parts of the names, as PEFT's users write them, where all layers of that name are adapted; else whole names. */
function targets(adapted: ReadonlySet<string>, all: readonly string[]): string[] {
  const last = (name: string) => name.slice(name.lastIndexOf(".") + 1);
  const isWhole = (name: string) => all.every((other) => last(other) !== last(name) || adapted.has(other));
  return [...new Set([...adapted].map((name) => (isWhole(name) ? last(name) : name)))].sort();
}

/** PEFT's A (r, n_in) and B (n_out, r). */
function oriented({ layout }: LayerInfo, a: Matrix, b: Matrix): { down: Matrix; up: Matrix } {
  return layout === "in_out" ? { down: transposed(b), up: transposed(a) } : { down: a, up: b };
}

function transposed({ shape: [rows, columns], values }: Matrix): Matrix {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = values[row * columns + column] as number;
    }
  }
  return { shape: [columns, rows], values: turned };
}

const sourceOf = (name: string, { shape, values }: Matrix): TensorSource => ({
  name,
  dtype: "F32",
  shape,
  data: values,
});
