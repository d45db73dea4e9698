// `gblr serve`: serves language models over OpenAI's protocol until Ctrl-C. The server is in workbench/serve; this file has
// the options, the text printed at the start, and the log.

import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { isLoopback } from "../../hub/serve/index.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import type { WeightType } from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { openGenerator, type TextGenerator } from "../pipeline/generate.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import {
  type NamedGenerator,
  type RunningServer,
  ServeError,
  type ServeEvent,
  serveModels,
  USUAL_LIMITS,
} from "../serve/index.ts";
import { addInferenceOptions, addWeightType, countFrom, MODEL_ARGUMENT, openEngineFor } from "./shared/options.ts";
import { CommandFailed, oneLine, UsageError, verb } from "./shared/program.ts";
import { runStages } from "./shared/stages.ts";
import { type Palette, paletteFor } from "./shared/terminal.ts";

interface ServeVerbOptions extends OpenEngineOptions {
  host: string;
  port: number;
  apiKey?: string;
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
  verbose?: boolean;
  json?: boolean;
}

const DEFAULT_PORT = 8000;

const EXAMPLE = `
gblr serve runs/gpt2-44
gblr serve HuggingFaceTB/SmolLM2-135M-Instruct runs/smollm2-60 --port 8001
curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' -d '{"prompt": "The tower is"}'
`.trim();

export function addServe(program: Command): void {
  const command = verb(program, {
    name: "serve",
    summary: "serve language models over OpenAI's protocol",
    example: EXAMPLE,
  })
    .argument("<models...>", MODEL_ARGUMENT)
    .option("--host <address>", "address to listen on; other than loopback, a key is needed", "127.0.0.1")
    .option("--port <number>", "port to listen on; 0 takes a free one", parsePort, DEFAULT_PORT)
    .option("--api-key <key>", "key that requests need (default: GBLR_API_KEY if set, else none)")
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
  addInferenceOptions(addWeightType(command)).action(serveVerb);
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
  const key = keyOf(options);
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw new UsageError(`${repeated} is named twice`);
  const models = await runStages({ interrupted: "interrupted", json: options.json }, (context) =>
    opened(names, options, context),
  );
  try {
    const running = await started(models, options, key);
    const facts = { url: running.url, models: names };
    const palette = paletteFor(process.stdout, process.env);
    process.stdout.write(`${options.json ? JSON.stringify(facts) : greeting(running, names, palette)}\n`);
    await stopSignal();
    if (process.stderr.isTTY) process.stderr.write("gblr: answers what was asked; a second Ctrl-C ends at once\n");
    await running.close();
  } finally {
    for (const { generator } of models) generator.dispose();
  }
}

/** The key that requests need. @throws UsageError if the server needs one and has none */
function keyOf({ host, apiKey }: ServeVerbOptions): string | undefined {
  const key = apiKey ?? (process.env.GBLR_API_KEY || undefined);
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new UsageError("the key must be of ASCII characters without spaces, at least one");
  }
  if (key !== undefined || isLoopback(host)) return key;
  throw new UsageError(`--host ${host} is reachable from other machines; set a key with --api-key or GBLR_API_KEY`);
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
    const settings = { name, plain: !options.generationConfig, dtype: options.dtype };
    const generator: TextGenerator = yield* openGenerator(folders[i] as string, settings);
    models.push({ name, generator });
  }
  return models;
}

function started(
  models: readonly NamedGenerator[],
  options: ServeVerbOptions,
  key: string | undefined,
): Promise<RunningServer> {
  const { host, port, cors: origins = [], context, cacheTokens, verbose = false } = options;
  const { concurrency, promptTokens, queue, timeout, bodyBytes } = options;
  const log = (event: ServeEvent) => {
    if (verbose || event.kind === "fault") process.stderr.write(`${logLine(event)}\n`);
  };
  const limits = { context, cacheTokens, concurrency, promptTokens, queue, timeout, bodyBytes };
  // With a key, a web page that is not allowed cannot use the server under any name.
  const loopbackOnly = isLoopback(host) && key === undefined;
  return serveModels({ models, host, port, key, origins, loopbackOnly, limits, log }).catch((error: Error) => {
    throw error instanceof ServeError ? new CommandFailed(error.message) : error;
  });
}

function greeting({ url }: RunningServer, names: readonly string[], palette: Palette): string {
  return [
    `serving ${names.map((name) => palette.bold(name)).join(", ")} at ${palette.bold(url)}   (Ctrl-C stops the server)`,
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

/** Resolves at the first signal; a second one ends the process. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (stopping) process.exit(signal === "SIGINT" ? 130 : 143);
        stopping = true;
        resolve();
      });
    }
  });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError("It must be a number from 0 to 65535.");
  return port;
}

function collected(text: string, before: string[] = []): string[] {
  if (!URL.canParse(text) || new URL(text).origin !== text) {
    throw new InvalidArgumentError("It must be an origin, e.g. http://localhost:5173.");
  }
  return [...before, text];
}
