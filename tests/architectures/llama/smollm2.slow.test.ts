// The real SmolLM2-135M-Instruct, imported from its GGUF file, against transformers on the same folder: logits of 20
// texts, a greedy text of 200 tokens, and the perplexity of WikiText. Skipped where the file or Python cannot be had.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { readSafetensors } from "../../../hub/safetensors/read.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { rowsOf } from "../../../workbench/data/dataset/rows.ts";
import { openTokenizer } from "../../../workbench/data/index.ts";
import { openEngine } from "../../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import { generateTokens, languageNll, type Model } from "../../../workbench/models/index.ts";
import { importGguf } from "../../../workbench/models/weights/index.ts";
import { HUB_IS_HERE, WIKITEXT } from "../../data/hub-folders.ts";
import { ENGINES } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { taken } from "../../models/tiny.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { smolLm2 } from "../../real-models.ts";

const python = pythonWith("torch", "transformers", "safetensors");
const file = smolLm2();
const torch = ENGINES.find(({ name }) => name === "torch");
const at = temporaryFolder();

const TEXTS = [
  "The tower of London is a historic castle on the north bank of the River Thames.",
  "Gravity is",
  "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) +",
  "In 1999, 12 of 345 ships sank;\n\n\tnone of them were ever found again.",
  "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n",
  "Größe, ФИЗИКА, 数学は楽しい, العربية 😀",
  "To be, or not to be, that is the question:",
  "SELECT name, count(*) FROM people GROUP BY",
  "The derivative of sin(x) with respect to x is",
  "Once upon a time, in a village at the foot of a mountain, there lived",
  "Water boils at 100 degrees Celsius because",
  '{"name": "Ada", "born": 1815, "fields": ["mathematics", "computing"',
  "The mitochondrion is the powerhouse of the cell. Its inner membrane",
  "<|endoftext|>",
  "x x x x x x x x x x x x x x x x",
  "Dear Sir or Madam,\n\nI am writing to you in order to",
  "The capital of France is Paris. The capital of Japan is Tokyo. The capital of Kenya is",
  "import torch\nfrom torch import nn\n\nclass Block(nn.Module):\n    def __init__(self",
  "Theorem. There are infinitely many primes. Proof. Suppose there were only",
  "    \n\n  a line of   many    spaces",
];
const PROMPT = "The history of the steam engine begins";
const NEW_TOKENS = 200;
/** of 1024 tokens */
const WINDOWS = 5;

interface Answer {
  ids: number[][];
  prompt: number[];
  greedy: number[];
}

const ASK = `
import json, sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
asked = json.load(sys.stdin)
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(asked["folder"])
model = AutoModelForCausalLM.from_pretrained(asked["folder"], dtype=torch.float32).eval()
ids = [tokenizer(text).input_ids for text in asked["texts"]]
prompt = tokenizer(asked["prompt"], return_tensors="pt").input_ids
with torch.no_grad():
    logits = {str(i): model(torch.tensor([each])).logits[0].contiguous() for i, each in enumerate(ids)}
    greedy = model.generate(prompt, do_sample=False, max_new_tokens=asked["tokens"], eos_token_id=[])
save_file(logits, asked["out"])
print(json.dumps({"ids": ids, "prompt": prompt[0].tolist(), "greedy": greedy[0, prompt.shape[1]:].tolist()}))
`;

describe.skipIf(!file || !torch)("SmolLM2", () => {
  let model: Model;
  let answer: Answer;

  beforeAll(async () => {
    for await (const event of importGguf(file as string, { out: at("smollm2") })) expect(event).toBeDefined();
    if (python) {
      const asked = { folder: at("smollm2"), texts: TEXTS, prompt: PROMPT, tokens: NEW_TOKENS, out: at("logits") };
      answer = await askPython<Answer>(python, ASK, { input: JSON.stringify(asked), env: { HF_HUB_OFFLINE: "1" } });
    }
    await openEngine(torch?.options);
    model = await loadModelNow(at("smollm2"));
  }, 2 * PATIENCE);

  afterAll(() => model?.dispose());

  test.skipIf(!python)("has the logits of transformers on 20 texts", async () => {
    const expected = await readSafetensors(at("logits"));
    expect(answer.ids.length).toBe(20);
    for (const [i, ids] of answer.ids.entries()) {
      const logits = await taken(tf.tidy(() => languageLogits(model, tf.tensor2d([ids], undefined, "int32"))));
      const theirs = expected.get(String(i))?.data as Float32Array;
      expect(logits.length).toBe(theirs.length);
      let [worst, largest] = [0, 0];
      for (const [at, value] of theirs.entries()) {
        worst = Math.max(worst, Math.abs(value - (logits[at] as number)));
        largest = Math.max(largest, Math.abs(value));
      }
      expect(worst / largest, TEXTS[i]).toBeLessThan(1e-4);
    }
  });

  test.skipIf(!python)(
    "continues a text as transformers does, for 200 tokens",
    async () => {
      const made: number[] = [];
      const options = { temperature: 0, tokens: NEW_TOKENS, endOfText: [] };
      for await (const event of generateTokens(model, answer.prompt, options)) {
        if (event.kind === "token") made.push(event.id);
      }
      expect(answer.greedy.length).toBe(NEW_TOKENS);
      expect(made).toEqual(answer.greedy);
    },
    2 * PATIENCE,
  );

  test.skipIf(!HUB_IS_HERE)(
    "has the perplexity of transformers on WikiText",
    async () => {
      const tokenizer = await openTokenizer(at("smollm2"));
      const ids: number[] = [];
      const rows = rowsOf(join(WIKITEXT, "wikitext-mini-v1/test-00000-of-00001.parquet"), "text");
      for await (const { texts } of rows)
        for (const text of texts) for (const id of tokenizer.encode(text)) ids.push(id);
      expect(ids.length).toBe(301_948);
      const losses: number[] = [];
      for (let window = 0; window < WINDOWS; window++) {
        const part = ids.slice(1024 * window, 1024 * (window + 1));
        losses.push(...(await taken(languageNll(model, tf.tensor2d([part], undefined, "int32")))));
      }
      expect(losses.length).toBe(WINDOWS * 1023);
      const perplexity = Math.exp(losses.reduce((sum, loss) => sum + loss, 0) / losses.length);
      // Computed by transformers 5.24 in float32 from the same file.
      expect(Math.abs(perplexity / 26.35963 - 1)).toBeLessThan(1e-4);
    },
    2 * PATIENCE,
  );
});
