// `gblr eval harness`: measures a language model with EleutherAI's lm_eval, on a server of this process. The command line
// of lm_eval is in pipeline/harness; this file has the options, the server and the table.

import { stat } from "node:fs/promises";
import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { languageSizes, usualContext, type WeightType } from "../../models/index.ts";
import { fetchModel } from "../../pipeline/fetch.ts";
import { openGenerator } from "../../pipeline/generate.ts";
import {
  type HarnessSettings,
  makeHarnessFolder,
  measureWithLmEval,
  PATIENCE,
} from "../../pipeline/harness/harness.ts";
import { findLmEval } from "../../pipeline/harness/lm-eval.ts";
import type { HarnessScore } from "../../pipeline/harness/scores.ts";
import { cutName } from "../../pipeline/load.ts";
import { type PipelineEvent, type StageContext, StageError } from "../../pipeline/stage.ts";
import { type NamedGenerator, serveModels, USUAL_LIMITS } from "../../serve/index.ts";
import {
  addInferenceOptions,
  addKeep,
  addWeightType,
  countFrom,
  JSON_DOCUMENT,
  MODEL_ARGUMENT,
  OFFLINE,
  openEngineFor,
} from "../shared/options.ts";
import { UsageError, verb } from "../shared/program.ts";
import { runStages } from "../shared/stages.ts";
import { type Cell, type Palette, table } from "../shared/terminal.ts";
import { type Flags, INTERRUPTED, type OnEngine, onEngine, writeResult } from "./result-table.ts";

interface HarnessFlags extends Flags, HarnessSettings {
  context?: number;
  generationConfig: boolean;
  dtype?: WeightType;
  keep?: number;
}

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Measures a language model with EleutherAI's lm_eval.

The model is served on this machine, and lm_eval sends its requests there.
lm_eval must be installed for the Python that GBLR_PYTHON names, by default
python3:

  pip install "lm_eval[api]"

Tasks are those of lm_eval ("lm_eval ls tasks" lists them), or files. Without
--limit, all documents of a task are scored, which can take hours on a CPU.
`.trim();

const EXAMPLE = `
gblr eval harness runs/gpt2-44/model --tasks arc_easy,hellaswag --limit 100
gblr eval harness SmolLM2-135M-Instruct.Q4_1.gguf --tasks my_task --include-path tasks --out results --json
`.trim();

/** Adds the verb to `gblr eval`. */
export function addHarness(program: Command): void {
  const summary = "score of a language model in the tasks of lm_eval";
  const command = verb(program, { name: "harness", summary, example: EXAMPLE })
    .description(DESCRIPTION)
    .summary(summary)
    .argument("<model>", MODEL_ARGUMENT)
    .requiredOption("--tasks <names...>", "tasks or groups of lm_eval, or task files; separated by commas or spaces")
    .option("--include-path <folder>", "folder with task files of one's own")
    .option("--fewshot <count>", "examples before each question (default: those of the task)", countFrom(0))
    .option("--limit <documents>", "documents of each task, or their share if below 1 (default: all)", parseLimit)
    .option("--batch-size <texts>", "texts in a request", countFrom(1), USUAL_LIMITS.concurrency)
    .option(
      "--context <tokens>",
      "longest prompt and text together (default: the model's positions, at most 2048)",
      countFrom(2),
    )
    .option("--no-generation-config", "ignore generation_config.json of the model (see docs/generation.md)")
    .option("--out <folder>", "keep the results file of lm_eval in this folder")
    .option("--log-samples", "keep each document and its answer too; needs --out")
    .option("--offline", OFFLINE)
    .option("--json", JSON_DOCUMENT);
  addInferenceOptions(addWeightType(addKeep(command))).action(evalHarness);
}

async function evalHarness(name: string, flags: HarnessFlags): Promise<void> {
  const { json = false, offline, out, keep } = flags;
  const settings = { ...flags, tasks: await checkedTasks(flags) };
  const result = await runStages({ interrupted: INTERRUPTED, offline, json }, async function* (context) {
    const lmEval = await findLmEval(process.env.GBLR_PYTHON || "python3");
    if (out !== undefined) await makeHarnessFolder(out);
    const source = yield* fetchModel(name, context);
    const engine = await openEngineFor(flags);
    const plain = !flags.generationConfig;
    const generator = yield* openGenerator(source.folder, { name, plain, dtype: flags.dtype, keep });
    try {
      const positions = Math.min(flags.context ?? usualContext(languageSizes(generator.model)), generator.positions);
      const measured = yield* measureServed({ name, generator }, settings, { ...context, lmEval, context: positions });
      const { tasks, limit, fewshot, batchSize, dtype = "float32" } = settings;
      const asked = { tasks, limit, fewshot, batchSize, context: positions, dtype };
      return {
        model: name,
        ...(keep !== undefined && { keep }),
        revision: source.revision,
        lmEval: lmEval.version,
        ...asked,
        ...measured,
        ...onEngine(engine),
      };
    } finally {
      generator.dispose();
    }
  });
  writeResult(result, { json, print: scoreTable });
}

/** The tasks, one by one. @throws UsageError if the flags contradict each other or a folder is missing */
async function checkedTasks({ tasks, includePath, logSamples, out }: HarnessFlags): Promise<string[]> {
  const names = tasks.flatMap((list) => list.split(",")).map((task) => task.trim());
  if (names.includes(""))
    throw new UsageError(`--tasks ${tasks.join(" ")}: a name is empty; give names such as arc_easy`);
  if (logSamples && out === undefined) throw new UsageError("--log-samples needs --out, the folder for the samples");
  if (includePath !== undefined && !(await stat(includePath).catch(() => undefined))?.isDirectory()) {
    throw new UsageError(`--include-path ${includePath}: there is no such folder; give one with task files`);
  }
  return names;
}

interface Measuring extends Omit<StageContext, "context"> {
  lmEval: Awaited<ReturnType<typeof findLmEval>>;
  /** tokens */
  context: number;
}

/** Serves the model on loopback while lm_eval runs. */
async function* measureServed(
  model: NamedGenerator,
  settings: HarnessSettings,
  { lmEval, context, access, signal }: Measuring,
): AsyncGenerator<PipelineEvent, { scores: HarnessScore[]; seconds: number }> {
  const faults: unknown[] = [];
  const concurrency = Math.max(USUAL_LIMITS.concurrency, settings.batchSize);
  const server = await serveModels({
    models: [model],
    loopbackOnly: true,
    limits: { context, concurrency, timeout: PATIENCE },
    log: (event) => {
      if (event.kind === "fault") faults.push(event.error);
    },
  });
  const started = performance.now();
  try {
    const target = { url: server.url, model: model.name, context };
    const scores = yield* measureWithLmEval(settings, { lmEval, target, env: process.env, access, signal });
    return { scores, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    const [fault] = faults;
    if (!(error instanceof StageError) || fault === undefined) throw error;
    throw new StageError(`the model failed at a request of lm_eval: ${fault instanceof Error ? fault.message : fault}`);
  } finally {
    await server.close();
  }
}

interface Measured extends OnEngine {
  model: string;
  keep?: number;
  lmEval: string;
  scores: readonly HarnessScore[];
}

function scoreTable({ model, keep, lmEval, scores, engine, device, precision }: Measured, palette: Palette): string {
  const heading = ["task", "filter", "shots", "samples", "metric", "value", "", "stderr"].map(
    (text, i): Cell => ({ text, paint: palette.dim, align: RIGHT.has(i) ? "right" : "left" }),
  );
  const rows = scores.map(({ alias, filter, shots, samples, metric, value, stderr }): Cell[] =>
    [
      alias,
      filter,
      String(shots ?? ""),
      String(samples ?? ""),
      metric,
      value.toFixed(4),
      stderr === undefined ? "" : "±",
      stderr?.toFixed(4) ?? "",
    ].map(
      (text, i): Cell => ({
        text,
        align: RIGHT.has(i) ? "right" : "left",
        ...(i === VALUE && { paint: palette.bold }),
      }),
    ),
  );
  const title = `${cutName(model, keep)}, lm_eval ${lmEval}`;
  return [
    palette.bold(title),
    ...table([heading, ...rows]),
    palette.dim(`  on ${engine} ${device}, ${precision}`),
  ].join("\n");
}

/** columns of numbers, and that of the value */
const RIGHT = new Set([2, 3, 5, 7]);
const VALUE = 5;

function parseLimit(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && ((value > 0 && value < 1) || (Number.isSafeInteger(value) && value >= 1))) return value;
  throw new InvalidArgumentError("It must be a whole number from 1, or a share below 1 such as 0.1.");
}
