// `gblr eval harness` as a user runs it, without a network: its scores are those of `lm_eval --model hf` on the same
// folder, a failure of lm_eval is one line, and Ctrl-C ends both.

import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { smallLlama } from "../python/llama/small-llamas.ts";
import { TASK_NAMES, writeTasks } from "../python/lm-eval-tasks.ts";
import { PATIENCE, pythonWith, runPython } from "../python/python.ts";

setDefaultTimeout(3 * PATIENCE);

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const python = pythonWith("torch", "transformers", "lm_eval", "accelerate", "tenacity", "aiohttp");
const at = temporaryFolder();
const POSITIONS = 128;

beforeAll(async () => {
  if (!python) return;
  await openEngine(ENGINES[0]?.options);
  const vocab_size = await writeTokenizer(at("base"), ["the", " is", " are", " and", " two"]);
  const config = { vocab_size, max_position_embeddings: POSITIONS, bos_token_id: 0, eos_token_id: 0 };
  const model = await smallLlama("qwen3", { config });
  await saveModelNow(model, at("model, small"), { base: { folder: at("base") } });
  model.dispose();
  mkdirSync(at("tasks"));
  writeTasks(at("tasks"));
});

const start = (...args: string[]) => startOn(at("model, small"), ...args);

function startOn(model: string, ...args: string[]) {
  const env = { ...process.env, GBLR_PYTHON: python, HF_HOME: at("huggingface"), GBLR_CACHE: at("cache") };
  const options = ["--include-path", at("tasks"), "--offline", ...args];
  return spawn(process.execPath, [GBLR, "eval", "harness", model, ...options], { env });
}

const run = (...args: string[]) => resultOf(start(...args));

async function resultOf(child: ReturnType<typeof start>) {
  const exited = once(child, "exit") as Promise<[number | null]>;
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { code, stdout, stderr };
}

interface Score {
  task: string;
  metric: string;
  filter: string;
  value: number;
  stderr?: number;
  samples: number;
}

/** The results file of lm_eval in a folder. */
function resultsIn(folder: string): Record<string, Record<string, number | string>> {
  const name = readdirSync(folder, { recursive: true }).find((file) => /results_[^/]*\.json$/.test(String(file)));
  return JSON.parse(readFileSync(path.join(folder, String(name)), "utf8")).results;
}

test.skipIf(!python)("finds the scores that lm_eval finds on the folder itself", async () => {
  // A window of a rolling evaluation is two tokens shorter on a server.
  const model = {
    pretrained: at("model, small"),
    trust_remote_code: true,
    dtype: "float32",
    max_length: POSITIONS - 2,
  };
  const args = ["--model=hf", `--model_args=${JSON.stringify(model)}`, "--device=cpu", `--tasks=${TASK_NAMES.join()}`];
  const places = [`--include_path=${at("tasks")}`, `--output_path=${at("theirs")}`];
  const env = { HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1", HF_HOME: at("huggingface") };
  const code = "import sys\nfrom lm_eval.__main__ import cli_evaluate\ncli_evaluate()\n";
  const theirs = await runPython(python, code, { args: [...args, ...places], env });
  expect(theirs.status === 0 ? "" : theirs.stderr).toBe("");

  const ours = await run("--tasks", ...TASK_NAMES, "--json", "--out", at("ours"), "--log-samples", "--batch-size", "2");
  expect(ours).toMatchObject({ code: 0, stderr: "" });
  const { scores, ...facts } = JSON.parse(ours.stdout) as { scores: Score[] };
  expect(facts).toMatchObject({ model: at("model, small"), lmEval: expect.stringMatching(/^\d+\.\d+/), context: 128 });
  const expected = resultsIn(at("theirs"));
  expect(scores.map(({ task, metric }) => `${task} ${metric}`)).toEqual([
    "gblr_choices acc",
    "gblr_rolling word_perplexity",
    "gblr_rolling bits_per_byte",
    "gblr_texts exact_match",
  ]);
  for (const { task, metric, filter, value, stderr, samples } of scores) {
    const theirs = expected[task] as Record<string, number | string>;
    const theirValue = theirs[`${metric},${filter}`] as number;
    expect(Math.abs(value / theirValue - 1) || 0).toBeLessThan(1e-4);
    expect(stderr ?? "N/A").toBe(theirs[`${metric}_stderr,${filter}`] as number);
    expect(samples).toBe(task === "gblr_rolling" ? 2 : 3);
  }
  expect(resultsIn(at("ours")).gblr_choices).toEqual(expected.gblr_choices as never);
  const files = readdirSync(at("ours"), { recursive: true }).map(String);
  expect(
    files.filter((file) => /samples_gblr_\w+\.jsonl$/.test(file.replace(/_\d{4}-.*\.jsonl$/, ".jsonl"))),
  ).toHaveLength(3);
});

test.skipIf(!python)("prints a table of a part of the documents, and nothing else", async () => {
  const { code, stdout, stderr } = await run("--tasks", "gblr_choices", "--limit", "2", "--fewshot", "0");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [title, heading, row, engine, end] = stdout.split("\n");
  expect(title).toMatch(/model, small, lm_eval \d/);
  expect(heading?.trim().split(/\s+/)).toEqual(["task", "filter", "shots", "samples", "metric", "value", "stderr"]);
  expect(row).toMatch(/^ {2}gblr_choices {2}none +0 +2 {2}acc +[01]\.\d{4} {2}± +0\.\d{4}$/);
  expect(engine).toMatch(/^ {2}on \w+ \w+, float32$/);
  expect(end).toBe("");
});

test.skipIf(!python)("measures a cut of a model of several sizes as the folder of the cut", async () => {
  await made("export", at("model, small"), "--to", "dense", "--out", at("dense"));
  await made("convert", at("dense"), "--structure", "lowrank", "--sizes", "0.3..0.8", "--out", at("sizes"));
  await made("export", at("sizes"), "--keep", "0.5", "--out", at("cut"));
  const scores = async (...args: string[]) => {
    const { stdout, stderr } = await resultOf(startOn(at(args[0] as string), ...args.slice(1), ...TASK, "--json"));
    expect(stderr).toBe("");
    const { keep, scores: found } = JSON.parse(stdout) as { keep?: number; scores: Score[] };
    return { keep, values: found.map(({ value }) => value) };
  };
  const kept = await scores("sizes", "--keep", "0.5");
  const cut = await scores("cut");
  expect([kept.keep, cut.keep]).toEqual([0.5, undefined]);
  expect(kept.values).toEqual(cut.values);
});

const TASK = ["--tasks", "gblr_rolling"];

async function made(...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [GBLR, ...args], { env: { ...process.env, GBLR_CACHE: at("cache") } });
  expect((await resultOf(child)).stderr).toBe("");
}

test.skipIf(!python)("says in one line that lm_eval does not know a task, and keeps no files", async () => {
  const { code, stdout, stderr } = await run("--tasks", "gblr_choices,no_such_task", "--out", at("refused"));
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^gblr: lm_eval has no task no_such_task; "lm_eval ls tasks" lists [^\n]+\n$/);
  expect(readdirSync(at("refused"))).toEqual([]);
});

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

const commandOf = (pid: number) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
};

test.skipIf(!python || process.platform !== "linux")("Ctrl-C ends lm_eval too", async () => {
  const child = start("--tasks", "gblr_rolling");
  const exited = once(child, "exit") as Promise<[number | null]>;
  const complaint = text(child.stderr);
  let lmEval: number | undefined;
  while (lmEval === undefined) {
    expect(child.exitCode).toBeNull();
    lmEval = childrenOf(child.pid as number).find((pid) => commandOf(pid).includes("local-completions"));
    await Bun.sleep(20);
  }
  child.kill("SIGINT");
  expect((await exited)[0]).toBe(130);
  expect(await complaint).toBe("gblr: interrupted; evaluations keep no partial results\n");
  expect(existsSync(`/proc/${lmEval}`)).toBe(false);
});
