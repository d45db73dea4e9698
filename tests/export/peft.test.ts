// PEFT's files of adapters: PEFT's product is that of the training for both layouts of weights, and the settings scale it
// as the training does. What PEFT itself computes with them is in tests/python/peft.slow.test.ts.

import { expect, test } from "bun:test";
import { Matrix } from "ml-matrix";
import type { TensorSource } from "../../hub/safetensors/index.ts";
import { layersOf } from "../../workbench/architectures/architecture.ts";
import { vit } from "../../workbench/architectures/vit/architecture.ts";
import { type LayerAdapters, type PeftFiles, peftFiles } from "../../workbench/export/peft.ts";
import { type Architecture, gpt2, llama } from "../../workbench/models/index.ts";
import { VIT } from "../architectures/small-vision.ts";
import { TINY } from "../compress/tiny.ts";
import { sample } from "../engine/ops/operands.ts";

const LLAMA = {
  model_type: "llama",
  ...{ vocab_size: 50, hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, num_key_value_heads: 1, max_position_embeddings: 32 },
};
const ALPHA = 5;

function stored(seed: number, rows: number, columns: number) {
  return { shape: [rows, columns] as const, values: Float32Array.from(sample(seed, [rows, columns]).values) };
}

/** Adapters of all layers whose names have the pattern, and the files of them. */
function made(architecture: Architecture, json: object, rank: number, pattern: RegExp) {
  const config = architecture.readConfig({ ...json }, "config.json");
  const layers = layersOf(architecture, config).filter(({ name }) => pattern.test(name));
  const adapters: LayerAdapters["adapters"] = layers.map(({ name, nIn, nOut, layout }, i) => {
    const [rows, columns] = layout === "in_out" ? [nIn, nOut] : [nOut, nIn];
    const r = Math.min(rank, rows, columns);
    return { parameter: `${name}.weight`, a: stored(i, r, columns), b: stored(100 + i, rows, r) };
  });
  const files = peftFiles({ rank, alpha: ALPHA, adapters }, { architecture, config, base: "owner/name" });
  return { layers, adapters, files };
}

const matrixOf = ({ shape: [rows = 0, columns = 0], data }: Pick<TensorSource, "shape" | "data">) =>
  Matrix.from1DArray(rows, columns, data as Float32Array);

interface PeftSettings {
  r: number;
  lora_alpha: number;
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
  fan_in_fan_out: boolean;
}

/** What PEFT adds to the weight of a module, as the module holds it (peft/tuners/lora/layer.py, get_delta_weight). */
function added({ tensors, config }: PeftFiles, module: string): Matrix {
  const part = (name: string) =>
    matrixOf(tensors.find((each) => each.name === `base_model.model.${module}.${name}.weight`) as TensorSource);
  const { r, lora_alpha, rank_pattern, alpha_pattern, fan_in_fan_out } = config as unknown as PeftSettings;
  const scale = (alpha_pattern[module] ?? lora_alpha) / (rank_pattern[module] ?? r);
  const product = part("lora_B").mmul(part("lora_A")).mul(scale);
  return fan_in_fan_out ? product.transpose() : product;
}

test.each([
  ["GPT-2", gpt2 as Architecture, TINY, "transformer."],
  ["Llama", llama as Architecture, LLAMA, "model."],
] as const)("of %s add what the training has added", (_, architecture, json, body) => {
  const rank = 8;
  const { layers, adapters, files } = made(architecture, json, rank, /./);
  expect(files.layers).toEqual(layers.map(({ name }) => name));
  expect(files.tensors).toHaveLength(2 * layers.length);
  for (const [i, { name }] of layers.entries()) {
    const { a, b } = adapters[i] as (typeof adapters)[number];
    const [down, up] = [a, b].map(({ shape, values }) => matrixOf({ shape, data: values })) as [Matrix, Matrix];
    const expected = up.mmul(down).mul(ALPHA / rank);
    const found = added(files, body + name);
    expect([found.rows, found.columns]).toEqual([expected.rows, expected.columns]);
    expect(Matrix.sub(found, expected).norm() / expected.norm()).toBeLessThan(1e-12);
  }
});

test("single layers that have a smaller rank are listed with it", () => {
  const { files } = made(llama as Architecture, LLAMA, 8, /./);
  const fewer = [0, 1].flatMap((i) => ["k_proj", "v_proj"].map((name) => `model.layers.${i}.self_attn.${name}`));
  expect(files.config.rank_pattern).toEqual(Object.fromEntries(fewer.map((name) => [name, 6])));
});

test("modules are named by their last part where all of that name are adapted, and as a whole where not", () => {
  const targets = (pattern: RegExp) => made(llama as Architecture, LLAMA, 2, pattern).files.config.target_modules;
  expect(targets(/q_proj|up_proj/)).toEqual(["q_proj", "up_proj"]);
  expect(targets(/layers\.0\..*q_proj/)).toEqual(["model.layers.0.self_attn.q_proj"]);
});

test("a classifier, and a parameter that is no matrix of a dense layer, are refused", () => {
  expect(() => made(vit as Architecture, VIT, 2, /./)).toThrow("adapters of vit have no names in PEFT");
  const config = gpt2.readConfig({ ...TINY }, "config.json");
  const adapters = [{ parameter: "h.0.attn.c_attn.left", a: stored(0, 2, 4), b: stored(1, 4, 2) }];
  const place = { architecture: gpt2 as Architecture, config, base: "owner/name" };
  expect(() => peftFiles({ rank: 2, alpha: 2, adapters }, place)).toThrow("h.0.attn.c_attn.left is no dense matrix");
});
