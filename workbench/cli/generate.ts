// `gblr generate`: continues a text with a language model and prints it token by token. Sampling is implemented in
// architectures/, the tokenizer in data/.

import process from "node:process";
import { buffer } from "node:stream/consumers";
import type { Command } from "commander";
import { countOf } from "../../hub/text/numbers.ts";
import { decodeUtf8 } from "../../hub/text/utf8.ts";
import { openTokenizer, type Tokenizer } from "../data/index.ts";
import type { Engine, OpenEngineOptions } from "../engine/core/types.ts";
import {
  endOfTextIn,
  forInference,
  type GenerateEvent,
  generateTokens,
  isLanguageModel,
  type Model,
  type WeightType,
} from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { load } from "../pipeline/load.ts";
import type { PipelineEvent, StageContext } from "../pipeline/stage.ts";
import {
  addEngineOptions,
  addWeightType,
  countFrom,
  JSON_DOCUMENT,
  MODEL_ARGUMENT,
  numberFrom,
  openEngineFor,
  share,
} from "./shared/options.ts";
import { CommandFailed, UsageError, verb } from "./shared/program.ts";
import { runStages } from "./shared/stages.ts";
import { threeDigits } from "./shared/terminal.ts";

interface GenerateVerbOptions extends OpenEngineOptions {
  tokens: number;
  temperature: number;
  topK?: number;
  topP: number;
  seed: number;
  dtype?: WeightType;
  json?: boolean;
}

export function addGenerate(program: Command): void {
  const command = verb(program, {
    name: "generate",
    summary: "continue a text with a language model",
    example: [
      "gblr generate openai-community/gpt2 'The tower is' --tokens 40 --top-k 50 --seed 1",
      "echo 'The tower is' | gblr generate runs/gpt2-gaudi - --temperature 0 --json",
    ].join("\n"),
  })
    .argument("<model>", MODEL_ARGUMENT)
    .argument("[prompt...]", "text to continue; - reads it from stdin (default: none, a new text is started)")
    .option("--tokens <count>", "maximum number of tokens to generate", countFrom(1), 100)
    .option("--temperature <value>", "sampling temperature; 0 always takes the most likely token", numberFrom(0), 1)
    .option("--top-k <count>", "sample from this many of the most likely tokens (default: all)", countFrom(1))
    .option("--top-p <share>", "sample from the most likely tokens with this total probability", share, 1)
    .option("--seed <number>", "random seed; the same seed and engine give the same text", countFrom(0), 0)
    .option("--json", JSON_DOCUMENT);
  addEngineOptions(addWeightType(command)).action(generate);
}

async function generate(name: string, words: string[], options: GenerateVerbOptions): Promise<void> {
  if (options.topK !== undefined && options.temperature === 0) {
    throw new UsageError("--top-k and --temperature 0 contradict each other; choose one");
  }
  const interrupted = "interrupted; the text ends here";
  await runStages({ interrupted, json: options.json }, (context) => generated(name, words, { options, context }));
}

function expectLanguageModel({ architecture }: Model, name: string): void {
  if (isLanguageModel({ architecture })) return;
  throw new CommandFailed(`${name} is a ${architecture.type}, not a language model; give a GPT-2 model`);
}

/** Runs the stages fetch, load and generate. Prints the text during generation. */
async function* generated(
  name: string,
  words: string[],
  { options, context }: { options: GenerateVerbOptions; context: StageContext },
): AsyncGenerator<PipelineEvent, void> {
  const { tokens, temperature, topK, topP, seed, json = false } = options;
  const { signal } = context;
  const prompt = words.join(" ") === "-" ? (await promptFrom(process.stdin)).replace(/\r?\n$/, "") : words.join(" ");
  const { folder } = yield* fetchModel(name, context);
  const engine = await openEngineFor(options);
  const tokenizer = await openTokenizer(folder);
  const loaded = yield* load(folder, { dtype: options.dtype });
  try {
    expectLanguageModel(loaded, name);
    const model = await forInference(loaded, { rows: "few" });
    try {
      // Removes the progress bar of loading before text is printed.
      yield { kind: "stage", stage: "generate" };
      const ids = tokenizer.encode(prompt);
      const started = performance.now();
      const endOfText = await endOfTextIn(folder);
      const events = generateTokens(model, ids, { tokens, temperature, topK, topP, seed, endOfText, signal });
      const made = await stream(events, { tokenizer, prompt, silent: json });
      const seconds = (performance.now() - started) / 1000;
      if (json) printDocument(made, { name, prompt, engine, options, seconds });
      if (process.stderr.isTTY) {
        const rate = `${threeDigits(made.ids.length / seconds)} tokens/s on ${engine.name} ${engine.device}`;
        process.stderr.write(`${countOf(made.ids.length, "token")}, ${rate}; ${WHY[made.reason]}\n`);
      }
    } finally {
      model.dispose();
    }
  } finally {
    loaded.dispose();
  }
}

interface Generation {
  name: string;
  prompt: string;
  engine: Engine;
  options: GenerateVerbOptions;
  seconds: number;
}

/** Prints the document of --json. */
function printDocument(
  { text, ids, reason: stopped }: Generated,
  { name: model, prompt, engine, options, seconds }: Generation,
): void {
  const { tokens, temperature, topK = null, topP, seed } = options;
  const settings = { tokens, temperature, topK, topP, seed };
  const run = { engine: engine.name, device: engine.device, seconds, tokensPerSecond: ids.length / seconds };
  process.stdout.write(`${JSON.stringify({ model, prompt, text, ids, stopped, settings, ...run }, null, 2)}\n`);
}

async function promptFrom(stream: NodeJS.ReadableStream): Promise<string> {
  return decodeUtf8(await buffer(stream), (position, found) => {
    return new CommandFailed(`the prompt on stdin is not UTF-8 at byte ${position} (${found}); convert it first`);
  });
}

type Reason = Extract<GenerateEvent, { kind: "stopped" }>["reason"];

const WHY: Record<Reason, string> = {
  tokens: "stopped at --tokens",
  "end of text": "stopped at the model's end-of-text token",
  positions: "stopped because the model has no more positions",
};

interface StreamOptions {
  tokenizer: Tokenizer;
  prompt: string;
  /** whether nothing is printed */
  silent: boolean;
}

interface Generated {
  text: string;
  ids: number[];
  reason: Reason;
}

/** Prints the prompt, then the generated text, token by token. */
async function stream(
  events: AsyncGenerator<GenerateEvent>,
  { tokenizer, prompt, silent }: StreamOptions,
): Promise<Generated> {
  const write = (text: string) => {
    if (!silent) process.stdout.write(text);
    return text;
  };
  const decoder = tokenizer.streamDecoder();
  const made: Generated = { text: "", ids: [], reason: "tokens" };
  write(prompt);
  try {
    for await (const event of events) {
      if (event.kind === "stopped") made.reason = event.reason;
      else {
        made.ids.push(event.id);
        made.text += write(decoder.push(event.id));
      }
    }
    made.text += write(decoder.end());
    return made;
  } finally {
    write("\n");
  }
}
