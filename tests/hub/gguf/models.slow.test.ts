// Imports models that PyPI's gguf wrote as llama.cpp's converter does, of all architectures, and compares with the models
// from which they were made: tensors, config.json, logits, and ids of transformers and of PyPI's tokenizers.

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { toFloat32 } from "../../../hub/safetensors/index.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { openTokenizer } from "../../../workbench/data/index.ts";
import { importGguf } from "../../../workbench/models/weights/index.ts";
import { askPython, PATIENCE, pythonWith, runPython } from "../../python/python.ts";
import { temporaryFolder } from "../temporary.ts";

const python = pythonWith("gguf", "transformers", "torch", "safetensors");
const at = temporaryFolder();
const MODELS = ["llama", "llama3", "pieces", "mistral", "qwen2", "qwen3", "smollm3", "gpt2"];
/** Those whose GGUF files transformers reads. */
const READ = MODELS.filter((name) => name !== "smollm3");

/** What transformers reads from a GGUF file. */
interface Read {
  config: Record<string, unknown>;
  texts: string[];
  ids: number[][];
  /** ids of a pair of texts */
  pair: number[];
  decoded: string[];
}

/** What Python reads from an imported folder. */
interface Found {
  config: Record<string, unknown>;
  ids: number[][];
  pair: number[];
  decoded: string[];
  /** largest logit of the original model */
  largest: number;
  /** largest difference of a logit from the original model's */
  difference: number;
}

const json = (...names: string[]) => JSON.parse(readFileSync(at(...names), "utf8"));

async function imported(name: string, options = {}): Promise<void> {
  const all = { out: at(`imported-${name}`), ...options };
  for await (const event of importGguf(at(`${name}.gguf`), all)) expect(event).toBeDefined();
}

/** Ids of tokens are those of the vocabulary, not of the config from which the model was made. */
const IDS = ["bos_token_id", "eos_token_id", "pad_token_id"];
/** Fields that the folder does not have. transformers' defaults apply, which the original models have too. */
const DEFAULTS =
  /^(transformers_version|pretraining_tp|layer_types|.*window.*|no_rope_.*|attention_bias|summary_.*|scale_.*|reorder_.*|add_cross.*)$/;
/** Fields that transformers does not read from the file, or takes from defaults of the class. */
const UNREAD = ["rope_parameters", "head_dim", "attention_bias", "mlp_bias", "sliding_window", "layer_types"];
const NAMES = ["_model_name_or_path", "_name_or_path", "architectures", "dtype"];

describe.skipIf(!python)("a model in GGUF", () => {
  let inPython: Record<string, Found>;
  const foundOf = (name: string) => inPython[name] as Found;

  beforeAll(async () => {
    const { status, stderr } = await runPython(python, "../hub/gguf/models.py", { args: [at()] });
    if (status !== 0) throw new Error(stderr);
    for (const name of MODELS) await imported(name);
    inPython = await askPython(python, "../hub/gguf/read_folders.py", { args: [at(), ...MODELS] });
  }, PATIENCE);

  test.each(MODELS)("%s has every tensor of the model that it was made from, bit for bit", async (name) => {
    const found = await readSafetensors(at(`imported-${name}`, "model.safetensors"));
    const expected = await readSafetensors(at(name, "model.safetensors"));
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [tensor, stored] of expected) {
      const other = found.get(tensor);
      expect(other?.shape).toEqual(stored.shape);
      expect(other && toFloat32(other)).toEqual(toFloat32(stored));
    }
  });

  test.each(MODELS)("%s has the config of the model that it was made from", (name) => {
    const expected = json(name, "config.json");
    const found = json(`imported-${name}`, "config.json");
    const compared = Object.keys(expected).filter((key) => !IDS.includes(key) && !DEFAULTS.test(key));
    expect(compared.length).toBeGreaterThan(12);
    for (const key of compared) expect({ [key]: found[key] }).toEqual({ [key]: expected[key] });
  });

  test.each(READ)("%s has the config that transformers reads from the file", (name) => {
    const { config } = json(`${name}.json`) as Read;
    const found = foundOf(name).config;
    const epsilon = name === "gpt2" ? "layer_norm_epsilon" : "rms_norm_eps";
    // A short decimal stands for the same float32.
    expect(Math.fround(found[epsilon] as number)).toBe(config[epsilon] as number);
    expect([1e-5, 1e-6]).toContain(found[epsilon] as number);
    const ours = [epsilon, ...NAMES, ...UNREAD];
    // transformers counts the tokens of a GPT-2 instead of the rows of its embedding, and has 1 024 positions for all.
    if (name === "gpt2") ours.push("feed_forward_length", "n_inner", "n_positions", "vocab_size");
    const compared = Object.keys(config).filter((key) => !ours.includes(key));
    expect(compared.length).toBeGreaterThan(20);
    for (const key of compared) expect({ [key]: found[key] }).toEqual({ [key]: config[key] });
  });

  test.each(READ)("%s gives the ids that transformers gives from the file", async (name) => {
    const { texts, ids, pair, decoded } = json(`${name}.json`) as Read;
    expect(foundOf(name)).toMatchObject({ ids, pair, decoded });
    const folder = at(`imported-${name}`);
    const tokenizer = await openTokenizer(folder);
    // The workbench puts no tokens around a text.
    const added = json(`imported-${name}`, "tokenizer_config.json").add_bos_token ? 1 : 0;
    const bare = ids.map((each) => each.slice(added));
    expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(bare);
  });

  test.each(MODELS)("%s loads in transformers and computes what the original model computes", (name) => {
    expect(foundOf(name).largest).toBeGreaterThan(0.1);
    expect(foundOf(name).difference).toBe(0);
  });

  test("is written in the type that is asked for", async () => {
    await imported("pieces", { out: at("half"), dtype: "BF16" });
    const half = await readSafetensors(at("half", "model.safetensors"));
    expect(new Set([...half.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16"]));
    expect(json("half", "config.json").dtype).toBe("bfloat16");
  });
});
