// `gblr serve`: serves language models over OpenAI's protocol until Ctrl-C. The server is in workbench/serve; this file has
// the options, the text printed at the start, and the log.

import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import type { WeightType } from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { openGenerator, type TextGenerator } from "../pipeline/generate.ts";
import { cutName } from "../pipeline/load.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import {
  type NamedGenerator,
  type RunningServer,
  ServeError,
  type ServeEvent,
  serveModels,
  USUAL_LIMITS,
} from "../serve/index.ts";
import {
  addInferenceOptions,
  addKeep,
  addWeightType,
  countFrom,
  MODEL_ARGUMENT,
  openEngineFor,
} from "./shared/options.ts";
import { CommandFailed, oneLine, verb } from "./shared/program.ts";
import {
  type Access,
  accessOf,
  addServerOptions,
  expectDifferent,
  type ServerFlags,
  stopSignal,
} from "./shared/server.ts";
import { runStages } from "./shared/stages.ts";
import { type Palette, paletteFor } from "./shared/terminal.ts";

interface ServeVerbOptions extends OpenEngineOptions, ServerFlags {
  cors?: string[];
  context?: number;
  cacheTokens?: number;
  concurrency: number;
  promptTokens: number;
  queue: number;
  timeout: number;
  bodyBytes: number;
  generationConfig: boolean;
  dtype?: WeightType;
  keep?: number;
  verbose?: boolean;
  json?: boolean;
}

const DEFAULT_PORT = 8000;

const EXAMPLE = `
gblr serve runs/gpt2-44
gblr serve HuggingFaceTB/SmolLM2-135M-Instruct runs/smollm2-60 --port 8001
gblr serve runs/gpt2-sizes --keep 0.5
curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' -d '{"prompt": "The tower is"}'
`.trim();

export function addServe(program: Command): void {
  const command = verb(program, {
    name: "serve",
    summary: "serve language models over OpenAI's protocol, and a page that compares their answers",
    example: EXAMPLE,
  }).argument("<models...>", MODEL_ARGUMENT);
  addServerOptions(command, DEFAULT_PORT)
    .option("--cors <origin>", "web pages of this origin may send requests; may be given several times", collected)
    .option(
      "--context <tokens>",
      "longest prompt and text together (default: the model's positions, at most 2048)",
      countFrom(1),
    )
    .option(
      "--cache-tokens <tokens>",
      "tokens for which the key/value cache has room (default: four times the context)",
      countFrom(1),
    );
  addLimits(command)
    .option("--no-generation-config", "ignore generation_config.json of the model (see docs/generation.md)")
    .option("--verbose", "log each request on stderr")
    .option("--json", "print one line of JSON on stdout when the server is ready: url, models");
  addInferenceOptions(addWeightType(addKeep(command))).action(serveVerb);
}

function addLimits(command: Command): Command {
  const { concurrency, promptTokens, queue, timeout, bodyBytes } = USUAL_LIMITS;
  return command
    .option("--concurrency <texts>", "texts that are generated at the same time", countFrom(1), concurrency)
    .option("--prompt-tokens <tokens>", "tokens of prompts that one turn processes", countFrom(1), promptTokens)
    .option("--queue <requests>", "requests that may wait beside those that run", countFrom(0), queue)
    .option("--timeout <seconds>", "longest time of a request", countFrom(1), timeout)
    .option("--body-bytes <bytes>", "largest body of a request", countFrom(1), bodyBytes);
}

async function serveVerb(names: string[], options: ServeVerbOptions): Promise<void> {
  const access = accessOf(options);
  expectDifferent(names);
  const models = await runStages({ interrupted: "interrupted", json: options.json }, (context) =>
    opened(names, options, context),
  );
  try {
    const running = await started(models, options, access);
    const served = models.map(({ name }) => name);
    const facts = { url: running.url, models: served };
    const palette = paletteFor(process.stdout, process.env);
    process.stdout.write(`${options.json ? JSON.stringify(facts) : greeting(running, served, palette)}\n`);
    await stopSignal();
    if (process.stderr.isTTY) process.stderr.write("gblr: answers what was asked; a second Ctrl-C ends at once\n");
    await running.close();
  } finally {
    for (const { generator } of models) generator.dispose();
  }
}

async function* opened(
  names: readonly string[],
  options: ServeVerbOptions,
  context: StageContext,
): AsyncGenerator<PipelineEvent, NamedGenerator[]> {
  const folders: string[] = [];
  for (const name of names) folders.push((yield* fetchModel(name, context)).folder);
  await openEngineFor(options);
  const models: NamedGenerator[] = [];
  for (const [i, name] of names.entries()) {
    const { dtype, keep } = options;
    const settings = { name, plain: !options.generationConfig, dtype, keep };
    const generator: TextGenerator = yield* openGenerator(folders[i] as string, settings);
    models.push({ name: cutName(name, keep), generator });
  }
  return models;
}

function started(models: readonly NamedGenerator[], options: ServeVerbOptions, access: Access): Promise<RunningServer> {
  const { host, port, cors: origins = [], context, cacheTokens, verbose = false } = options;
  const { concurrency, promptTokens, queue, timeout, bodyBytes } = options;
  const log = (event: ServeEvent) => {
    if (verbose || event.kind === "fault") process.stderr.write(`${logLine(event)}\n`);
  };
  const limits = { context, cacheTokens, concurrency, promptTokens, queue, timeout, bodyBytes };
  return serveModels({ models, host, port, ...access, origins, limits, log }).catch((error: Error) => {
    throw error instanceof ServeError ? new CommandFailed(error.message) : error;
  });
}

function greeting({ url }: RunningServer, names: readonly string[], palette: Palette): string {
  return [
    `serving ${names.map((name) => palette.bold(name)).join(", ")} at ${palette.bold(url)}   (Ctrl-C stops the server)`,
    `  ${palette.dim("page   ")}  ${url}/`,
    `  ${palette.dim("clients")}  OPENAI_BASE_URL=${url}/v1`,
    `  ${palette.dim("routes ")}  ${url}/openapi.json`,
  ].join("\n");
}

/** Paths are chosen by clients, so characters that are unsafe to print are replaced. */
function logLine(event: ServeEvent): string {
  const path = event.path.replace(/[^\x21-\x7e]/g, "?").slice(0, 300);
  if (event.kind === "fault") {
    const { error } = event;
    return `gblr: fault at ${path}: ${oneLine(error instanceof Error ? error.message : String(error))}`;
  }
  return `${new Date().toISOString()} ${event.status} ${event.method} ${path} ${event.took.toFixed(1)} ms`;
}

function collected(text: string, before: string[] = []): string[] {
  if (!URL.canParse(text) || new URL(text).origin !== text) {
    throw new InvalidArgumentError("It must be an origin, e.g. http://localhost:5173.");
  }
  return [...before, text];
}
