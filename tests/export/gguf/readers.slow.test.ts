// Exported GGUF files as other programs read them: PyPI's gguf reads every tensor, llama.cpp gives the probabilities that
// transformers gives for the model, and the ids that `tokenizers` gives for texts. The models are those that PyPI's gguf
// wrote as llama.cpp's converter does, imported and exported again.

import { beforeAll, describe, expect, test } from "bun:test";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import type { FileType, Model } from "../../../workbench/models/index.ts";
import { importGguf } from "../../../workbench/models/weights/index.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { taken } from "../../models/tiny.ts";
import { askPython, PATIENCE, pythonWith, runPython } from "../../python/python.ts";
import { converted } from "../onnx/runtime.ts";
import { exported } from "./exported.ts";

const python = pythonWith("gguf", "transformers", "torch", "xllamacpp", "tokenizers");
const at = temporaryFolder();
/** Those of tests/hub/gguf/models.py but Mistral, whose window llama.cpp does not have. */
const MODELS = ["llama", "llama3", "pieces", "qwen2", "qwen3", "smollm3", "gpt2"];
const HALF: readonly FileType[] = ["float16", "bfloat16"];
const IDS = Array.from({ length: 30 }, (_, i) => (7 * i + 3) % 250);
const TEXTS = [
  "Hello  world, it's 12345 o'clock!\n\n  \tTwo\r\nlines",
  "naïve café, ФИЗИКА и 数学 😀 a\u200db",
  "hello hello, 123 and 12 then",
  "<|im_start|>hi<|im_end|> and",
];

interface Found {
  differing: string[];
  types: Record<string, string>;
  scores: number[];
  expected: number[];
  tokens: number[][];
}

/** Ids of the texts by PyPI's tokenizers, by folder. */
const TOKENIZED = `
import json, sys
from tokenizers import Tokenizer
request = json.load(sys.stdin)
of = lambda folder: [Tokenizer.from_file(folder + "/tokenizer.json").encode(text).ids for text in request["texts"]]
print(json.dumps({name: of(folder) for name, folder in request["folders"].items()}))
`;

/** Largest difference of two lists. */
function distance(found: readonly number[], expected: readonly number[]): number {
  expect(found).toHaveLength(expected.length);
  return Math.max(...found.map((value, i) => Math.abs(value - (expected[i] as number))));
}

/** The workbench's logarithms of the probabilities of all tokens behind IDS. */
async function scoresOf(model: Model): Promise<number[]> {
  const ids = tf.tensor2d(IDS, [1, IDS.length], "int32");
  const last = tf.tidy(() => tf.logSoftmax(tf.reshape(languageLogits(model, ids), [IDS.length, -1])));
  const values = await taken(last);
  ids.dispose();
  return [...values.slice(values.length - values.length / IDS.length)];
}

describe.skipIf(!python)("an exported GGUF file", () => {
  let found: Record<string, Found>;
  let tokenized: Record<string, number[][]>;
  const structured: Record<string, number[]> = {};
  const of = (name: string) => found[name] as Found;

  beforeAll(async () => {
    const { status, stderr } = await runPython(python, "../hub/gguf/models.py", { args: [at()] });
    if (status !== 0) throw new Error(stderr);
    await openEngine({ engine: "cpu" });
    const requests: Record<string, object> = {};
    const request = (name: string, more = {}) => {
      requests[name] = { file: at(`out-${name}.gguf`), ids: IDS, texts: [], ...more };
    };
    for (const name of MODELS) {
      const folder = at(`imported-${name}`);
      for await (const event of importGguf(at(`${name}.gguf`), { out: folder })) expect(event).toBeDefined();
      const model = (await loadModelNow(folder)) as Model;
      const options = { folder, name };
      await exported(model, at(`out-${name}.gguf`), options);
      request(name, { texts: TEXTS, original: at(`${name}.gguf`), folder: at(name) });
      if (name === "llama" || name === "gpt2") {
        for (const dtype of HALF) {
          await exported(model, at(`out-${name} ${dtype}.gguf`), { ...options, dtype });
          request(`${name} ${dtype}`);
        }
        await converted(model, { structure: name === "llama" ? "gblr" : "lowrank", budget: 0.6 });
        await exported(model, at(`out-${name} structured.gguf`), options);
        request(`${name} structured`);
        structured[name] = await scoresOf(model);
      }
      model.dispose();
    }
    const script = path.join(import.meta.dir, "readers.py");
    found = await askPython(python, script, { input: JSON.stringify(requests) });
    const folders = Object.fromEntries(MODELS.map((name) => [name, at(`imported-${name}`)]));
    tokenized = await askPython(python, TOKENIZED, { input: JSON.stringify({ folders, texts: TEXTS }) });
  }, PATIENCE);

  test.each(MODELS)("of %s has every tensor as llama.cpp's converter orders it, bit for bit", (name) => {
    expect(of(name).differing).toEqual([]);
    expect(new Set(Object.values(of(name).types))).toEqual(new Set(["F32"]));
  });

  // llama.cpp rounds the argument of GPT-2's GELU to float16.
  test.each(MODELS)("of %s gives in llama.cpp the probabilities of transformers", (name) => {
    const { scores, expected } = of(name);
    expect(Math.min(...expected)).toBeLessThan(-5);
    expect(distance(scores, expected)).toBeLessThan(name === "gpt2" ? 2e-3 : 2e-5);
  });

  test.each(MODELS)("of %s gives in llama.cpp the ids of PyPI's tokenizers", (name) => {
    expect(of(name).tokens).toEqual(tokenized[name] as number[][]);
  });

  test.each(["llama", "gpt2"])("of %s with structured layers gives the probabilities of the workbench", (name) => {
    const expected = structured[name] as number[];
    expect(distance(expected, of(name).expected)).toBeGreaterThan(0.1);
    expect(distance(of(`${name} structured`).scores, expected)).toBeLessThan(name === "gpt2" ? 2e-3 : 2e-5);
  });

  test.each(HALF)("in %s has matrices in this type, vectors in float32, and nearly the same probabilities", (dtype) => {
    const type = dtype === "float16" ? "F16" : "BF16";
    for (const name of ["llama", "gpt2"]) {
      const { types, scores } = of(`${name} ${dtype}`);
      expect(types["token_embd.weight"]).toBe(type);
      expect(types["blk.0.ffn_up.weight"]).toBe(type);
      expect(types["blk.0.attn_norm.weight"]).toBe("F32");
      expect(distance(scores, of(name).expected)).toBeLessThan(dtype === "float16" ? 0.02 : 0.2);
    }
  });
});
