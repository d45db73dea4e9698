// The config.json of Llama's families: what is refused, by name, and the defaults of absent fields, which are those of
// transformers, as are the numbers of parameters and multiply-adds. What is obeyed shows in transformers.test.ts.

import { beforeAll, describe, expect, test } from "bun:test";
import { countModel, parametersOf } from "../../../workbench/architectures/architecture.ts";
import { architectureOfConfig } from "../../../workbench/architectures/registry.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { architectureOf, createModel } from "../../../workbench/models/index.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { FAMILY_CASES, SIZES } from "./families.ts";

const python = pythonWith("torch", "transformers");

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
});

const read = (json: Record<string, unknown>) =>
  architectureOfConfig(json, "config.json").readConfig({ ...SIZES, ...json }, "config.json");

describe("what would be computed wrongly is refused:", () => {
  test.each<[Record<string, unknown>, string]>([
    [{ num_key_value_heads: 3 }, "num_key_value_heads must divide num_attention_heads 4, is 3"],
    [{ num_attention_heads: 5, num_key_value_heads: 5 }, "num_attention_heads must divide hidden_size 32, is 5"],
    [{ head_dim: 7 }, "head_dim × partial_rotary_factor is 7 × 1: must be even and at least 2"],
    [{ hidden_act: "relu" }, 'hidden_act is "relu": expected one of'],
    [{ hidden_act: "gelu" }, 'hidden_act is "gelu": expected one of'],
    [{ rms_norm_eps: 0 }, "rms_norm_eps is 0:"],
    [{ vocab_size: "40" }, 'vocab_size is "40": expected'],
    [{ attention_dropout: 1 }, "attention_dropout is 1:"],
    [{ num_experts: 8 }, "num_experts is 8, which is not computed here"],
    [{ final_logit_softcapping: 30 }, "final_logit_softcapping is 30, which is not computed here"],
    [{ residual_multiplier: 0.5 }, "residual_multiplier is 0.5, which is not computed here"],
    [{ is_causal: false }, "is_causal is false, which is not computed here"],
    [{ sliding_window: 4 }, "sliding_window is 4, which is not computed here"],
    [{ model_type: "mistral", attention_bias: true }, "attention_bias is true, which is not computed here"],
    [{ model_type: "qwen2", attention_bias: false }, "attention_bias is false, which is not computed here"],
    [{ model_type: "qwen3", mlp_bias: true }, "mlp_bias is true, which is not computed here"],
    [{ no_rope_layers: [1, 0, 1] }, "no_rope_layers is [1,0,1], which is not computed here"],
    [
      { quantization_config: { quant_method: "gptq", bits: 4 } },
      'quantization_config.quant_method is "gptq": expected weights that are not quantized',
    ],
    [{ rope_scaling: { type: "mrope", mrope_section: [2, 1, 1] } }, "rope_scaling.mrope_section is [2,1,1], which is"],
    [{ rope_scaling: { rope_type: "longrope" } }, 'rope_scaling.rope_type is "longrope", there is default, linear,'],
    [{ rope_parameters: { rope_type: "linear" } }, "rope_parameters.factor is missing: expected number"],
    [{ rope_parameters: { rope_type: "linear", factor: 0.5 } }, "rope_parameters.factor is 0.5:"],
    [{ rope_parameters: [1] }, "rope_parameters is [1]: expected an object"],
    [
      { model_type: "qwen3", rope_parameters: { full_attention: { rope_type: "default" } } },
      'rope_parameters.full_attention is {"rope_type":"default"}, which is not computed here',
    ],
    [
      { rope_scaling: { rope_type: "llama3", factor: 2, low_freq_factor: 4, high_freq_factor: 4 } },
      "rope_scaling.high_freq_factor must be above low_freq_factor 4, is 4",
    ],
    [
      { model_type: "qwen2", layer_types: ["full_attention"] },
      "layer_types has 1 entries: expected one for each of 3 layers",
    ],
    [
      { model_type: "qwen2", layer_types: ["full_attention", "full_attention", "sliding_attention"] },
      "layer_types[2] is sliding_attention: expected full_attention by use_sliding_window and sliding_window",
    ],
    [
      { layer_types: ["full_attention", "sliding_attention", "full_attention"] },
      "layer_types[1] is sliding_attention: expected full_attention by Llama's sliding_window",
    ],
    [
      { model_type: "mistral", sliding_window: 4, layer_types: Array(3).fill("full_attention") },
      "layer_types[0] is full_attention: expected sliding_attention by Mistral's sliding_window",
    ],
    [{ layer_types: ["chunked_attention", 0, 0] }, 'layer_types.0 is "chunked_attention": expected one of'],
    [
      { model_type: "smollm3", no_rope_layers: [1, 0] },
      "no_rope_layers has 2 entries: expected one for each of 3 layers",
    ],
  ])("%j", (json, message) => {
    expect(() => read({ model_type: "llama", ...json })).toThrow(`config.json: ${message}`);
  });

  test("a family that is not known, by its name", () => {
    expect(() => read({ model_type: "gemma2" })).toThrow(
      /^config\.json: model_type is "gemma2", there is gpt2, llama, mistral, qwen2, qwen3, smollm3, vit, /,
    );
  });
});

test("fields without effect pass, also those of related models at the value without effect", () => {
  const json = {
    ...{
      use_cache: false,
      torch_dtype: "bfloat16",
      dtype: "bfloat16",
      transformers_version: "5.24.0",
      unk_token_id: 0,
    },
    ...{ pretraining_tp: 2, residual_multiplier: 1, num_experts: 0, final_logit_softcapping: null, use_mrope: false },
    quantization_config: { quant_method: "gguf", dequantize: false },
    rope_parameters: { rope_type: "default", rope_theta: 10000, factor: 1 },
  };
  expect(read({ model_type: "llama", ...json })).toEqual(read({ model_type: "llama" }));
});

test("all families are one architecture, and a model keeps its own", () => {
  for (const type of ["llama", "mistral", "qwen2", "qwen3", "smollm3", "gblr_qwen3"]) {
    expect(architectureOf(type)).toBe(architectureOf("llama"));
  }
  const model = createModel(architectureOf("llama"), { ...SIZES, model_type: "qwen3", head_dim: 8 });
  expect(model.json.model_type).toBe("qwen3");
  expect(model.parameters.has("layers.0.self_attn.q_norm.weight")).toBe(true);
  model.dispose();
});

interface Asked {
  /** config.json with all defaults */
  defaults: Record<string, Record<string, unknown>>;
  counts: Record<string, { parameters: number; flops: number }>;
}

const ASK = `
import json, sys
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

def counted(config):
    config = dict(config)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config),
                                             attn_implementation="eager")
    with FlopCounterMode(display=False) as flops:
        model(torch.zeros(1, config["max_position_embeddings"], dtype=torch.long), use_cache=False)
    return {"parameters": model.num_parameters(), "flops": flops.get_total_flops()}

asked = json.load(sys.stdin)
print(json.dumps({
    "defaults": {each: AutoConfig.for_model(each).to_dict() for each in asked["types"]},
    "counts": {name: counted(config) for name, config in asked["models"].items()},
}))
`;

test.skipIf(!python)(
  "defaults, numbers of parameters and multiply-adds are those of transformers",
  async () => {
    const models = Object.fromEntries(
      Object.entries(FAMILY_CASES)
        // transformers computes all products of a window, fails for partial rotation, and has no longest sequence.
        .filter(([name, { partial }]) => !partial && !/window|outside|dynamic/.test(name))
        .map(([name, { config }]) => [name, { ...SIZES, ...config }]),
    );
    expect(Object.keys(models).length).toBeGreaterThan(20);
    const types = ["llama", "mistral", "qwen2", "qwen3", "smollm3"];
    const { defaults, counts } = await askPython<Asked>(python, ASK, { input: JSON.stringify({ types, models }) });
    for (const type of types) {
      const own = architectureOf(type).readConfig({ model_type: type }, "config.json");
      expect(own).toEqual(architectureOf(type).readConfig({ ...defaults[type] }, "config.json"));
    }
    for (const [name, json] of Object.entries(models)) {
      const architecture = architectureOfConfig(json);
      const config = architecture.readConfig(json, name);
      const sizes = [...parametersOf(architecture, config).values()].map(({ shape }) =>
        shape.reduce((product, side) => product * side, 1),
      );
      const { parameters, flops } = counts[name] as { parameters: number; flops: number };
      expect(
        sizes.reduce((sum, size) => sum + size, 0),
        name,
      ).toBe(parameters);
      // PyTorch counts matrix products, and two operations for a multiply-add.
      const { parts } = countModel(architecture, config).actual;
      const products = ["linears", "attention scores", "attention values", "head"];
      const own = products.reduce((sum, part) => sum + (parts[part] as number), 0);
      expect(2 * own, name).toBe(flops);
    }
  },
  PATIENCE,
);
