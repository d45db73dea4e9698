// Settings that change the result of Llama's families and are not computed: the workbench, PyTorch alone and, where it does
// not refuse them itself, transformers refuse a folder in the same words. Also, a version of transformers without some
// families.

import { beforeAll, expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { saveModelNow } from "../../../workbench/models/index.ts";
import { ENGINES } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, runPython, SOURCES } from "../python.ts";
import { smallLlama } from "./small-llamas.ts";

const torch = pythonWith("torch");
const transformers = pythonWith("torch", "transformers");
const at = temporaryFolder();
const ENV = { HF_HUB_OFFLINE: "1", HF_HOME: at("huggingface") };
const FULL = Array.from({ length: 3 }, () => "full_attention");

interface Refused {
  /** of the folder that is changed */
  family?: string;
  fields: Record<string, unknown>;
  message: string;
}

const CASES: Refused[] = [
  { fields: { num_experts: 8 }, message: "num_experts is 8, which is not computed here" },
  { fields: { sliding_window: 4 }, message: "sliding_window is 4, which is not computed here" },
  { fields: { no_rope_layers: [1, 1, 0] }, message: "no_rope_layers is [1,1,0], which is not computed here" },
  { family: "mistral", fields: { mlp_bias: true }, message: "mlp_bias is true, which is not computed here" },
  {
    family: "qwen2",
    fields: { attention_bias: false },
    message: "attention_bias is false, which is not computed here",
  },
  {
    fields: { quantization_config: { quant_method: "awq" } },
    message: 'quantization_config.quant_method is "awq": expected weights that are not quantized',
  },
  { fields: { num_key_value_heads: 3 }, message: "num_key_value_heads must divide num_attention_heads 4, is 3" },
  {
    fields: { num_attention_heads: 5, num_key_value_heads: 5 },
    message: "num_attention_heads must divide hidden_size",
  },
  { fields: { hidden_act: "relu" }, message: 'hidden_act is "relu"' },
  { fields: { head_dim: 0 }, message: "head_dim is 0: " },
  {
    fields: { rope_scaling: { rope_type: "longrope", factor: 2 } },
    message: 'rope_scaling.rope_type is "longrope", there is default, linear, dynamic, llama3, yarn',
  },
  {
    fields: { rope_scaling: null, rope_parameters: { type: "su" } },
    message: 'rope_parameters.type is "su", there is default, linear, dynamic, llama3, yarn',
  },
  { fields: { rope_scaling: { type: "linear" } }, message: "rope_scaling.factor is missing: " },
  { fields: { rope_scaling: { type: "linear", factor: 0.5 } }, message: "rope_scaling.factor is 0.5: " },
  { fields: { rope_scaling: { mrope_section: 8 } }, message: "rope_scaling.mrope_section is 8, which is not computed" },
  { fields: { rope_scaling: [1] }, message: "rope_scaling is [1]: expected an object" },
  {
    fields: { rope_scaling: { rope_type: "llama3", factor: 2, low_freq_factor: 4, high_freq_factor: 1 } },
    message: "rope_scaling.high_freq_factor must be above low_freq_factor 4, is 1",
  },
  { fields: { partial_rotary_factor: 0.5 }, message: "head_dim × partial_rotary_factor is 6 × 0.5: must be even" },
  {
    family: "smollm3",
    fields: { no_rope_layers: [1] },
    message: "no_rope_layers has 1 entries: expected one for each of 3 layers",
  },
  {
    family: "qwen2",
    fields: { layer_types: FULL.slice(1) },
    message: "layer_types has 2 entries: expected one for each of 3 layers",
  },
  {
    family: "qwen2",
    fields: { use_sliding_window: false, layer_types: FULL.with(1, "sliding_attention") },
    message: "layer_types[1] is sliding_attention: expected full_attention by use_sliding_window and sliding_window",
  },
  {
    family: "mistral",
    fields: { layer_types: FULL },
    message: "layer_types[0] is full_attention: expected sliding_attention by Mistral's sliding_window",
  },
];

/** Settings that transformers does not apply to these models. */
const UNDER_TRANSFORMERS: Refused[] = [
  { fields: { num_experts: 8 }, message: "config.json: num_experts is 8, which is not computed here" },
  {
    family: "mistral",
    fields: { partial_rotary_factor: 0.5 },
    message: "config.json: partial_rotary_factor is less than 1, which transformers does not apply to these models",
  },
];

beforeAll(async () => {
  if (!torch) return;
  await openEngine(ENGINES[0]?.options);
  for (const name of ["llama", "mistral", "qwen2", "qwen3", "smollm3"]) {
    const model = await smallLlama(name);
    await saveModelNow(model, at(name));
    model.dispose();
  }
}, PATIENCE);

function changed({ family = "llama", fields }: Refused, index: string): string {
  const folder = at(`${family} ${index}`);
  cpSync(at(family), folder, { recursive: true });
  const config = JSON.parse(readFileSync(at(family, "config.json"), "utf8"));
  writeFileSync(`${folder}/config.json`, JSON.stringify({ ...config, ...fields }));
  return folder;
}

test.skipIf(!torch)(
  "settings that are not computed are refused by the workbench and by PyTorch alone in the same words, in one line",
  async () => {
    const folders = CASES.map((each, i) => changed(each, `torch ${i}`));
    const cases = folders.map((folder) => ({ folder, size: null, form: "auto" }));
    const input = JSON.stringify({ ids: [1, 2], images: {}, cases });
    const answers = await askPython<{ refusal?: string }[]>(torch, "folder_logits.py", { args: [SOURCES], input });
    for (const [i, { message }] of CASES.entries()) {
      const folder = folders[i] as string;
      const ours = await loadModelNow(folder).then(
        () => "was loaded",
        (error: Error) => error.message,
      );
      expect(ours).toContain(`/config.json: ${message}`);
      expect(answers[i]?.refusal).toContain(`${folder}: config.json: ${message}`);
      expect(answers[i]?.refusal).not.toContain("\n");
    }
  },
  PATIENCE,
);

test.skipIf(!torch)(
  "sizes of dense layers that the files do not have are refused before they take memory",
  async () => {
    const model = await smallLlama("mistral", { isDense: true });
    await saveModelNow(model, at("dense"));
    model.dispose();
    const message = 'tensor "layers.0.mlp.gate_proj.weight": must be of shape (1000000000, 24), is (40, 24)';
    const folder = changed({ family: "dense", fields: { intermediate_size: 1e9 }, message }, "huge");
    const input = JSON.stringify({ ids: [1], images: {}, cases: [{ folder, size: null, form: "auto" }] });
    const [answer] = await askPython<{ refusal?: string }[]>(torch, "folder_logits.py", { args: [SOURCES], input });
    expect(answer?.refusal).toBe(`${folder}: ${message}`);
  },
  PATIENCE,
);

const LOAD = `
import sys
from transformers import AutoModelForCausalLM
for folder in sys.argv[1:]:
    try:
        print(type(AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)).__name__)
    except (ImportError, ValueError) as error:
        print(error)
`;

test.skipIf(!transformers)(
  "settings that transformers would ignore are refused under transformers",
  async () => {
    const args = UNDER_TRANSFORMERS.map((each, i) => changed(each, `transformers ${i}`));
    const { status, stdout, stderr } = await runPython(transformers, LOAD, { args, env: ENV });
    if (status !== 0) throw new Error(stderr);
    const lines = stdout.trim().split("\n");
    expect(lines.length).toBe(UNDER_TRANSFORMERS.length);
    for (const [i, { message }] of UNDER_TRANSFORMERS.entries()) expect(lines[i]).toStartWith(message);
  },
  PATIENCE,
);

/** Simulates a version of transformers without these families. */
const HIDE = `
import sys
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
for name in ("qwen3", "smollm3"):
    del CONFIG_MAPPING_NAMES[name]
    sys.modules[f"transformers.models.{name}"] = None
`;

test.skipIf(!transformers)(
  "a version of transformers without a family loads the others, and says in one line what is missing",
  async () => {
    const args = [at("llama"), at("qwen3"), at("smollm3"), at("qwen2")];
    const { status, stdout, stderr } = await runPython(transformers, HIDE + LOAD, {
      args,
      env: ENV,
    });
    if (status !== 0) throw new Error(stderr);
    const lacks = (name: string) =>
      expect.stringMatching(new RegExp(`^transformers [\\d.]+ has no ${name}Config, which`));
    expect(stdout.trim().split("\n")).toEqual([
      "GblrLlamaForCausalLM",
      lacks("Qwen3"),
      lacks("SmolLM3"),
      "GblrQwen2ForCausalLM",
    ]);
  },
  PATIENCE,
);
