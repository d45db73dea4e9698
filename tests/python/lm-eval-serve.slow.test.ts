// EleutherAI's lm_eval with its model `local-completions` on a server of ours, and with `hf` on the same folder: choices,
// rolling perplexity and generated texts agree. Everything runs without a network.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { type Serving, serveFolder } from "../serve/serving.ts";
import { smallLlama } from "./llama/small-llamas.ts";
import { TASK_NAMES, writeTasks } from "./lm-eval-tasks.ts";
import { PATIENCE, pythonWith, runPython } from "./python.ts";

const python = pythonWith("torch", "transformers", "lm_eval", "accelerate", "tenacity", "aiohttp");
const at = temporaryFolder();
const POSITIONS = 128;
let served: Serving;

beforeAll(async () => {
  if (!python) return;
  await openEngine(ENGINES[0]?.options);
  const vocab_size = await writeTokenizer(at("base"), ["the", " is", " are", " and", " two"]);
  const config = { vocab_size, max_position_embeddings: POSITIONS, bos_token_id: 0, eos_token_id: 0 };
  const model: Model = await smallLlama("qwen3", { config });
  await saveModelNow(model, at("model"), { base: { folder: at("base") } });
  model.dispose();
  writeTasks(at("."));
  served = await serveFolder(at("model"));
}, PATIENCE);
afterAll(() => served?.end());

interface Sample {
  doc_id: number;
  filtered_resps: unknown[];
}

/** What lm_eval finds in one run. */
interface Evaluated {
  /** of each task, the answers to its documents: texts, and log-likelihoods with their second values */
  samples: Record<string, Sample[]>;
  results: Record<string, Record<string, number>>;
}

interface Run {
  model: string;
  settings: readonly string[];
  batch: number;
}

/** What the command lm_eval does, for several runs in one process, which takes less time than to start several. */
const SCRIPT = `
import json, sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
runs, tasks, folder, out = json.loads(sys.argv[1]), sys.argv[2].split(","), sys.argv[3], sys.argv[4]
found = []
for run in runs:
    evaluated = simple_evaluate(
        model=run["model"], model_args=",".join(run["settings"]), batch_size=run["batch"], device="cpu",
        tasks=tasks, task_manager=TaskManager(include_path=folder), log_samples=True, bootstrap_iters=0)
    found.append({"samples": evaluated["samples"], "results": evaluated["results"]})
json.dump(found, open(out, "w"), default=str)
`;

async function evaluated(runs: readonly Run[]): Promise<Evaluated[]> {
  const out = at("found.json");
  const { status, stderr } = await runPython(python, SCRIPT, {
    args: [JSON.stringify(runs), TASK_NAMES.join(","), at("."), out],
    env: { HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1", HF_HOME: at("huggingface"), OPENAI_API_KEY: "none" },
  });
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(readFileSync(out, "utf8")) as Evaluated[];
}

/** The answers of a task, in the order of its documents. */
const answersOf = ({ samples }: Evaluated, task: string): unknown[] =>
  (samples[task] ?? []).toSorted((a, b) => a.doc_id - b.doc_id).map(({ filtered_resps: answers }) => answers);

/** All numbers of the log-likelihoods, in order. */
const numbersOf = (answers: unknown): number[] =>
  [answers]
    .flat(9)
    .flatMap((each) => (Number.isFinite(Number(each)) && typeof each !== "boolean" ? [Number(each)] : []));

test.skipIf(!python)(
  "lm_eval finds the same on the server as on the folder, one request at a time and eight",
  async () => {
    // With `local-completions` the windows of a rolling evaluation are two tokens shorter than max_length.
    const length = `max_length=${POSITIONS - 2}`;
    const folder = [`pretrained=${at("model")}`, "trust_remote_code=True", "dtype=float32", length];
    const address = [`base_url=${served.url}/v1/completions`, "model=tiny", `max_length=${POSITIONS}`, "max_retries=1"];
    const local = ["tokenizer_backend=huggingface", `tokenizer=${at("model")}`, "trust_remote_code=True"];
    const [theirs, ...runs] = (await evaluated([
      { model: "hf", settings: folder, batch: 2 },
      { model: "local-completions", settings: [...address, ...local], batch: 1 },
      { model: "local-completions", settings: [...address, "tokenizer_backend=remote"], batch: 8 },
    ])) as [Evaluated, ...Evaluated[]];
    for (const ours of runs) {
      for (const task of ["gblr_choices", "gblr_rolling"]) {
        const [found, expected] = [numbersOf(answersOf(ours, task)), numbersOf(answersOf(theirs, task))];
        expect(found.length).toBe(expected.length);
        expect(found.length).toBeGreaterThan(1);
        // Sums of hundreds of tokens are rounded to fewer digits.
        const differences = found.map(
          (value, i) => Math.abs(value - (expected[i] as number)) / Math.max(1, Math.abs(value) / 100),
        );
        expect(Math.max(...differences)).toBeLessThan(1e-4);
      }
      expect(answersOf(ours, "gblr_texts")).toEqual(answersOf(theirs, "gblr_texts"));
      expect(ours.results.gblr_choices?.["acc,none"]).toBe(theirs.results.gblr_choices?.["acc,none"] as number);
    }
    expect(served.events.filter((event) => event.kind === "fault")).toEqual([]);
  },
  3 * PATIENCE,
);
