// The stage that measures a served language model with EleutherAI's lm_eval: the command line, its environment, and what
// becomes of its results.

import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PipelineEvent, type StageContext, StageError } from "../stage.ts";
import { type LmEval, runLmEval } from "./lm-eval.ts";
import { type HarnessScore, scoresIn } from "./scores.ts";

/** What is measured, and how. */
export interface HarnessSettings {
  /** names of tasks or groups, or task files */
  tasks: readonly string[];
  /** folder with task files of one's own */
  includePath?: string | undefined;
  /** examples before each question. Default: what the task says */
  fewshot?: number | undefined;
  /** documents of each task, or their share if below 1. Default: all */
  limit?: number | undefined;
  /** texts in a request */
  batchSize: number;
  /** folder for the files of lm_eval. Default: none are kept */
  out?: string | undefined;
  /** whether these have each document and its answer too. Default false */
  logSamples?: boolean | undefined;
}

/** The server with the model. */
export interface HarnessTarget {
  /** without a trailing slash */
  url: string;
  /** name of the model */
  model: string;
  /** longest prompt and text together, tokens */
  context: number;
}

interface HarnessOptions extends Pick<StageContext, "access" | "signal"> {
  lmEval: LmEval;
  target: HarnessTarget;
  /** environment variables of lm_eval, beside those that the stage sets */
  env: NodeJS.ProcessEnv;
}

/** longest time of a request, seconds: a slow machine is no failure */
export const PATIENCE = 86_400;

/**
 * Measures a served model with lm_eval.
 * @returns the scores of all tasks and metrics
 * @throws StageError if lm_eval fails, with its error
 */
export async function* measureWithLmEval(
  settings: HarnessSettings,
  { lmEval, target, env, access, signal }: HarnessOptions,
): AsyncGenerator<PipelineEvent, HarnessScore[]> {
  const results = await mkdtemp(join(tmpdir(), "gblr-lm-eval-"));
  try {
    const args = argumentsOf(settings, { target, results });
    for await (const event of runLmEval(lmEval, args, { env: environmentFor(env, access), signal })) {
      yield { kind: "inner", of: "harness", event };
    }
    const scores = scoresIn(await readFile(await resultsFileIn(results), "utf8"));
    if (settings.out !== undefined) await cp(results, settings.out, { recursive: true });
    return scores;
  } finally {
    await rm(results, { recursive: true, force: true });
  }
}

/** Makes the folder for the files of lm_eval. @throws StageError if it cannot be made */
export async function makeHarnessFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new StageError(`${folder} cannot be created (${error.code ?? error.message}); give another folder`);
  });
}

function argumentsOf(
  { tasks, includePath, fewshot, limit, batchSize, logSamples = false }: HarnessSettings,
  { target, results }: { target: HarnessTarget; results: string },
): string[] {
  const model = {
    base_url: `${target.url}/v1/completions`,
    model: target.model,
    tokenizer_backend: "remote",
    max_length: target.context,
    // A request that this server refuses is refused again.
    max_retries: 1,
    timeout: PATIENCE,
  };
  const options: Record<string, string | number | undefined> = {
    model: "local-completions",
    // As JSON, because names of models can have commas.
    model_args: JSON.stringify(model),
    tasks: tasks.join(","),
    include_path: includePath,
    num_fewshot: fewshot,
    limit,
    batch_size: batchSize,
    output_path: results,
  };
  const given = Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]));
  return logSamples ? [...given, "--log_samples"] : given;
}

/** The variables of lm_eval: the Hub and the cache are those of this command. */
function environmentFor(env: NodeJS.ProcessEnv, access: StageContext["access"]): NodeJS.ProcessEnv {
  const exempt = [env.NO_PROXY ?? env.no_proxy, "127.0.0.1"].filter(Boolean).join(",");
  return {
    ...env,
    HF_ENDPOINT: access.endpoint,
    ...(access.offline && { HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1" }),
    // lm_eval sends this key to every server, and ours needs none.
    OPENAI_API_KEY: "none",
    NO_PROXY: exempt,
    no_proxy: exempt,
  };
}

/** lm_eval writes its results to a folder with the name of the model, and only warns if it cannot. */
async function resultsFileIn(folder: string): Promise<string> {
  const names = await readdir(folder, { recursive: true });
  const found = names.find((name) => /(^|[/\\])results_[^/\\]*\.json$/.test(name));
  if (found === undefined)
    throw new StageError("lm_eval ended without results; look for space in the temporary folder");
  return join(folder, found);
}
