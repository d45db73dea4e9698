// EleutherAI's lm_eval on a folder of ours, by its command line, without a network: it runs, and the log-likelihoods that
// it finds are those of the workbench.

import { beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { languageNll, type Model, saveModelNow } from "../../workbench/models/index.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { smallLlama } from "./llama/small-llamas.ts";
import { PATIENCE, pythonWith, runPython } from "./python.ts";
import { smallModel } from "./small-models.ts";

const python = pythonWith("torch", "transformers", "lm_eval", "accelerate");
const at = temporaryFolder();

const ITEMS = [
  { question: "the sky is", choices: ["blue", "loud", "a number"], answer: 0 },
  { question: "two and two are", choices: ["five", "four"], answer: 1 },
  { question: "água é", choices: ["seca", "molhada", "日本"], answer: 1 },
];

const TASK = () => `
task: gblr_small
dataset_path: json
dataset_kwargs:
  data_files:
    test: ${JSON.stringify(at("items.jsonl"))}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: acc
`;

const MODELS: Readonly<Record<string, (config: Record<string, unknown>) => Promise<Model>>> = {
  gpt2: async (config) => (await smallModel({ config })) as unknown as Model,
  llama: (config) => smallLlama("llama", { config }),
  qwen3: (config) => smallLlama("qwen3", { config }),
};

beforeAll(async () => {
  if (!python) return;
  await openEngine(ENGINES[0]?.options);
  const vocab_size = await writeTokenizer(at("base"), ["the", " is", " are", " and", " two"]);
  const config = { vocab_size, n_positions: 64, max_position_embeddings: 64, bos_token_id: 0, eos_token_id: 0 };
  for (const [name, make] of Object.entries(MODELS)) {
    const model = await make(config);
    await saveModelNow(model, at(name), { base: { folder: at("base") } });
    model.dispose();
  }
  writeFileSync(at("items.jsonl"), ITEMS.map((item) => `${JSON.stringify(item)}\n`).join(""));
  writeFileSync(at("gblr_small.yaml"), TASK());
}, PATIENCE);

/** Of each choice, behind its question and a space. */
async function ourLikelihoods(name: string): Promise<number[][]> {
  const model = await loadModelNow(at(name));
  const tokenizer = await openTokenizer(at(name));
  const likelihood = async (question: string, choice: string) => {
    const ids = [...tokenizer.encode(`${question} ${choice}`)];
    const nll = tf.tidy(() => languageNll(model, tf.tensor2d([ids], undefined, "int32")));
    const own = [...(await nll.data())].slice(tokenizer.encode(question).length - 1);
    nll.dispose();
    return -own.reduce((sum, value) => sum + value, 0);
  };
  const found: number[][] = [];
  for (const { question, choices } of ITEMS) {
    found.push([]);
    for (const choice of choices) found.at(-1)?.push(await likelihood(question, choice));
  }
  model.dispose();
  return found;
}

interface Sample {
  doc_id: number;
  /** log-likelihood of each choice, and whether it is the likeliest text */
  filtered_resps: [number | string, boolean | string][];
}

test.skipIf(!python).each(Object.keys(MODELS))(
  "lm_eval finds the log-likelihoods of the workbench: %s",
  async (name) => {
    const code = "import sys\nfrom lm_eval.__main__ import cli_evaluate\ncli_evaluate()\n";
    const { status, stderr } = await runPython(python, code, {
      args: [
        ...["--model", "hf", "--model_args", `pretrained=${at(name)},trust_remote_code=True,dtype=float32`],
        ...["--tasks", "gblr_small", "--include_path", at("."), "--device", "cpu", "--batch_size", "2"],
        ...["--log_samples", "--output_path", at(`${name} results`)],
      ],
      env: { HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1", HF_HOME: at("huggingface") },
    });
    expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
    const files = readdirSync(at(`${name} results`), { recursive: true, encoding: "utf8" });
    const file = files.find((name) => /samples_gblr_small.*\.jsonl$/.test(name)) as string;
    const lines = readFileSync(at(`${name} results`, file), "utf8")
      .trim()
      .split("\n");
    const samples = lines.map((line) => JSON.parse(line) as Sample).sort((a, b) => a.doc_id - b.doc_id);
    const theirs = samples.map(({ filtered_resps }) => filtered_resps.map(([value]) => Number(value)));
    const ours = await ourLikelihoods(name);
    expect(theirs.map((row) => row.length)).toEqual(ours.map((row) => row.length));
    const differences = ours.flatMap((row, i) =>
      row.map((value, j) => Math.abs(value - (theirs[i]?.[j] ?? Number.NaN))),
    );
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  },
  PATIENCE,
);
