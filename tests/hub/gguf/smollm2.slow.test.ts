// SmolLM2-135M-Instruct, imported from its GGUF file, against what transformers reads from the same file: every tensor,
// config.json, the tokenizer, and the chat template.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import path from "node:path";
import { openTokenizer } from "../../../workbench/data/index.ts";
import { importGguf } from "../../../workbench/models/weights/index.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { smolLm2 } from "../../real-models.ts";
import { temporaryFolder } from "../temporary.ts";

const python = pythonWith("gguf", "transformers", "torch", "safetensors");
const file = smolLm2();
const at = temporaryFolder();

const TEXTS = [
  "Gravity is",
  "In 1999,  12 of 345 ships\nsank;\n\n\tnone were found.",
  "Größe, ФИЗИКА, 数学は楽しい, العربية 😀👨‍👩‍👧",
  "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n<repo_name>a<|endoftext|>",
  "def f(x):\n    return x  # done",
  "'s 't they're I'LL",
];

interface Read {
  differing: string[];
  tensors: number;
  config: Record<string, unknown>;
  ids: number[][];
  ours: number[][];
  template: string;
}

const COMPARE = `
import json, os, sys, torch, transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
folder, name = os.path.split(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
states = dict(model.state_dict())
states.pop("lm_head.weight")
with safe_open(sys.argv[2] + "/model.safetensors", "pt") as ours:
    names = set(ours.keys())
    differing = sorted(names ^ set(states))
    for name_of, weight in states.items():
        if name_of in names and not torch.equal(ours.get_tensor(name_of).view(torch.int32), weight.view(torch.int32)):
            differing.append(name_of)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
own = AutoTokenizer.from_pretrained(sys.argv[2])
texts = json.loads(sys.argv[3])
print(json.dumps({
    "differing": differing,
    "tensors": len(names),
    "config": json.loads(model.config.to_json_string(use_diff=False)),
    "ids": [tokenizer(text).input_ids for text in texts],
    "ours": [own(text).input_ids for text in texts],
    "template": own.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True),
}))
`;

describe.skipIf(!python || !file)("SmolLM2, imported from GGUF", () => {
  let read: Read;
  beforeAll(async () => {
    for await (const event of importGguf(file as string, { out: at("smollm2") })) expect(event).toBeDefined();
    read = await askPython<Read>(python, COMPARE, { args: [file as string, at("smollm2"), JSON.stringify(TEXTS)] });
  }, PATIENCE);

  test("has every tensor that transformers reads, bit for bit", () => {
    expect(read.differing).toEqual([]);
    expect(read.tensors).toBe(272);
  });

  test("has the config that transformers reads", () => {
    const config = JSON.parse(readFileSync(at("smollm2", "config.json"), "utf8")) as Record<string, unknown>;
    const { rms_norm_eps: epsilon, dtype, architectures, ...others } = config;
    expect(epsilon).toBe(1e-5);
    expect(Math.fround(epsilon as number)).toBe(read.config.rms_norm_eps as number);
    expect({ dtype, architectures }).toEqual({ dtype: "float32", architectures: ["LlamaForCausalLM"] });
    for (const [key, value] of Object.entries(others)) expect({ [key]: read.config[key] }).toEqual({ [key]: value });
  });

  test("gives the ids that transformers gives, in transformers and in the workbench", async () => {
    expect(read.ours).toEqual(read.ids);
    const tokenizer = await openTokenizer(at("smollm2"));
    expect(TEXTS.map((text) => [...tokenizer.encode(text)])).toEqual(read.ids);
  });

  test("has the chat template, the ids that end a text, and the license", () => {
    const text = (name: string) => readFileSync(path.join(at("smollm2"), name), "utf8");
    expect(read.template).toEndWith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    expect(JSON.parse(text("generation_config.json"))).toEqual({ bos_token_id: 1, eos_token_id: 2, pad_token_id: 2 });
    expect(text("README.md")).toStartWith('---\nlicense: "apache-2.0"\nlanguage: ["en"]\n---\n');
  });
});
