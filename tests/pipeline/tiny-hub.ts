// A Hub in a folder with what experiments need, small enough for tests: generated stories, a tokenizer that knows
// their words, and an untrained GPT-2 of two blocks; and experiments and command lines that run on it.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { makeStories, wordsOf, writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import { createModel, gpt2, saveModelNow } from "../../workbench/models/index.ts";
import type { ExperimentContext } from "../../workbench/pipeline/stage.ts";
import { livelier } from "../models/tiny.ts";

export const ROOT = join(import.meta.dir, "../..");
export const GBLR = join(ROOT, "workbench/cli/gblr.ts");
export const RECIPE = join(ROOT, "recipes/gpt2-wt103.ts");

/** An engine must be open. @returns the folder of the Hub, with models/tiny/gpt2 and datasets/tiny/stories */
export async function makeTinyHub(folder: string): Promise<string> {
  const dataset = join(folder, "datasets/tiny/stories");
  mkdirSync(dataset, { recursive: true });
  const lines = { train: 60, validation: 10, test: 12 };
  const texts = Object.entries(lines).map(([split, count], i) => [split, makeStories({ lines: count, seed: i + 1 })]);
  for (const [split, text] of texts) writeFileSync(join(dataset, `${split}.txt`), text as string);
  writeFileSync(join(dataset, "README.md"), "---\nlicense: cc0-1.0\n---\nStories.\n");
  const model = join(folder, "models/tiny/gpt2");
  const vocabulary = await writeTokenizer(model, wordsOf(texts.map(([, text]) => text).join("")));
  const rates = { embd_pdrop: 0.1, resid_pdrop: 0.1, attn_pdrop: 0.1 };
  const size = { n_layer: 2, n_embd: 32, n_head: 2, n_positions: 32, vocab_size: vocabulary };
  const made = livelier(createModel(gpt2, { ...size, ...rates }, { seed: 3 }));
  await saveModelNow(made, model);
  writeFileSync(join(model, "README.md"), "---\nlicense: cc0-1.0\nlanguage: en\n---\nA model.\n");
  made.dispose();
  return folder;
}

/** The folders of the model and of the data set in the Hub that `makeTinyHub` has made. */
export const sourcesIn = (hub: string) => ({
  model: join(hub, "models/tiny/gpt2"),
  dataset: join(hub, "datasets/tiny/stories"),
});

/** The context of an experiment in this process, without network access. */
export function offlineContext(
  engine: Engine,
  { cache, signal = new AbortController().signal }: { cache: string; signal?: AbortSignal },
): ExperimentContext {
  const access = { endpoint: "http://127.0.0.1:1", cache, offline: true };
  return { access, cache, signal, engine, recipe: "test", command: "test", versions: { gblr: "0.1.0" } };
}

export interface Place {
  /** of the Hub */
  hub: string;
  /** for caches and runs */
  work: string;
}

export const environmentOf = ({ hub, work }: Place): Record<string, string> => ({
  ...(process.env as Record<string, string>),
  HF_ENDPOINT: `file:${hub}`,
  HF_HOME: join(work, "huggingface"),
  GBLR_CACHE: join(work, "cache"),
});

/** Flags of a run of seconds. */
export const QUICK = [
  ...["--model", "tiny/gpt2", "--dataset", "tiny/stories", "--context", "32", "--engine", "wasm"],
  ...["--steps", "6", "--batch", "4", "--micro-batch", "2", "--warmup-epochs", "0.1", "--limit", "8"],
  ...["--calibration-samples", "4", "--learning-rate", "1e-3", "--evaluate-every", "0.2", "--checkpoint-every", "0.05"],
];

export function start(script: string, args: readonly string[], place: Place & { env?: Record<string, string> }) {
  return Bun.spawn([process.execPath, script, ...args], {
    cwd: place.work,
    env: { ...environmentOf(place), ...place.env },
    stdout: "pipe",
    stderr: "pipe",
  });
}

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

export async function run(
  script: string,
  args: readonly string[],
  place: Place & { env?: Record<string, string> },
): Promise<Ran> {
  const child = start(script, args, place);
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, stdout, stderr };
}
