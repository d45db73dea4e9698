// `gblr generate`: continues a text with a language model and prints it token by token. Sampling is implemented in
// architectures/, the tokenizer in data/.

import process from "node:process";
import { buffer } from "node:stream/consumers";
import type { Command } from "commander";
import { countOf } from "../../hub/text/numbers.ts";
import { decodeUtf8 } from "../../hub/text/utf8.ts";
import type { Engine, OpenEngineOptions } from "../engine/core/types.ts";
import type { WeightType } from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import {
  type GeneratedText,
  generateText,
  openGenerator,
  type StopReason,
  type TextOptions,
} from "../pipeline/generate.ts";
import { type PipelineEvent, resultOf, type StageContext } from "../pipeline/stage.ts";
import {
  addGenerationOptions,
  checkGenerationFlags,
  folderSettingsLine,
  type GenerationFlags,
  generationSettings,
  reportedSettings,
} from "./shared/generation-options.ts";
import {
  addInferenceOptions,
  addKeep,
  addWeightType,
  countFrom,
  JSON_DOCUMENT,
  MODEL_ARGUMENT,
  openEngineFor,
} from "./shared/options.ts";
import { CommandFailed, UsageError, verb } from "./shared/program.ts";
import { runStages } from "./shared/stages.ts";
import { threeDigits } from "./shared/terminal.ts";

interface GenerateVerbOptions extends OpenEngineOptions, GenerationFlags {
  dtype?: WeightType;
  keep?: number;
  draft?: string;
  draftTokens?: number;
  json?: boolean;
}

const TOKENS = 100;

export function addGenerate(program: Command): void {
  const command = verb(program, {
    name: "generate",
    summary: "continue a text with a language model",
    example: [
      "gblr generate openai-community/gpt2 'The tower is' --tokens 40 --top-k 50 --seed 1",
      "echo 'The tower is' | gblr generate runs/gpt2-gaudi - --temperature 0 --json",
      "gblr generate openai-community/gpt2 'The tower is' --draft runs/gpt2-gaudi",
    ].join("\n"),
  })
    .argument("<model>", MODEL_ARGUMENT)
    .argument("[prompt...]", "text to continue; - reads it from stdin (default: none, a new text is started)");
  addGenerationOptions(command, { tokens: TOKENS, topK: "0" })
    .option(
      "--draft <model>",
      "smaller model, such as a compressed one, that proposes tokens; the text is as without it",
    )
    .option("--draft-tokens <n>", "most tokens that the draft proposes at once (default: 3)", countFrom(1))
    .option("--json", JSON_DOCUMENT);
  addInferenceOptions(addWeightType(addKeep(command))).action(generate);
}

async function generate(name: string, words: string[], options: GenerateVerbOptions): Promise<void> {
  checkGenerationFlags(options);
  if (options.draftTokens !== undefined && options.draft === undefined) {
    throw new UsageError("--draft-tokens needs a draft; give --draft a model");
  }
  const interrupted = "interrupted; the text ends here";
  await runStages({ interrupted, json: options.json }, (context) => generated(name, words, { options, context }));
}

/** Runs the stages fetch, load and generate. Prints the text during generation. */
async function* generated(
  name: string,
  words: string[],
  { options, context }: { options: GenerateVerbOptions; context: StageContext },
): AsyncGenerator<PipelineEvent, void> {
  const { json = false } = options;
  const prompt = words.join(" ") === "-" ? (await promptFrom(process.stdin)).replace(/\r?\n$/, "") : words.join(" ");
  const { folder } = yield* fetchModel(name, context);
  const draft = options.draft === undefined ? undefined : yield* draftOf(options.draft, options, context);
  const engine = await openEngineFor(options);
  const generator = yield* openGenerator(folder, {
    name,
    plain: !options.generationConfig,
    dtype: options.dtype,
    keep: options.keep,
    draft,
  });
  try {
    // Removes the progress bar of loading before text is printed.
    yield { kind: "stage", stage: "generate" };
    const { config, tokenizer } = generator;
    // Llama's tokenizers put a token before each text, and their models expect it.
    const ids = tokenizer.encode(prompt, { specialTokens: true });
    const settings = generationSettings(options, { config, usual: { tokens: TOKENS }, prompt: ids.length });
    const line = folderSettingsLine(options, config);
    if (line !== undefined && process.stderr.isTTY) process.stderr.write(`${line}\n`);
    const started = performance.now();
    const texts = generateText(
      generator,
      { text: prompt, ids, continued: true },
      { ...settings, signal: context.signal },
    );
    const made = await shown(texts, { prompt, silent: json });
    const seconds = (performance.now() - started) / 1000;
    if (json)
      printDocument(made, { name, keep: options.keep, draft: options.draft, prompt, engine, settings, seconds });
    if (process.stderr.isTTY) {
      const rate = `${threeDigits(made.ids.length / seconds)} tokens/s on ${engine.name} ${engine.device}`;
      const line = `${countOf(made.ids.length, "token")}, ${rate}; ${WHY[made.stopped]}`;
      process.stderr.write(`${[line, ...keptLine(made.draft)].join("; ")}\n`);
    }
  } finally {
    generator.dispose();
  }
}

async function* draftOf(name: string, { draftTokens: tokens }: GenerateVerbOptions, context: StageContext) {
  const { folder } = yield* fetchModel(name, context);
  return { folder, name, tokens };
}

const keptLine = (draft: GeneratedText["draft"]): string[] =>
  draft ? [`${draft.kept} of ${countOf(draft.drafted, "drafted token")} kept`] : [];

interface Generation {
  name: string;
  keep: number | undefined;
  draft: string | undefined;
  prompt: string;
  engine: Engine;
  settings: TextOptions;
  seconds: number;
}

/** Prints the document of --json. */
function printDocument(
  { text, ids, stopped, draft: counts }: GeneratedText,
  { name: model, keep, draft, prompt, engine, settings, seconds }: Generation,
): void {
  const run = { engine: engine.name, device: engine.device, seconds, tokensPerSecond: ids.length / seconds };
  const drafted = counts && { draft: { model: draft, ...counts } };
  const cut = keep !== undefined && { keep };
  const said = { model, ...cut, prompt, text, ids, stopped, ...drafted, settings: reportedSettings(settings), ...run };
  process.stdout.write(`${JSON.stringify(said, null, 2)}\n`);
}

async function promptFrom(stream: NodeJS.ReadableStream): Promise<string> {
  return decodeUtf8(await buffer(stream), (position, found) => {
    return new CommandFailed(`the prompt on stdin is not UTF-8 at byte ${position} (${found}); convert it first`);
  });
}

const WHY: Record<StopReason, string> = {
  tokens: "stopped at the maximum number of tokens",
  "end of text": "stopped at the model's end-of-text token",
  "stop string": "stopped at a stop text",
  positions: "stopped because the model has no more positions",
};

/** Prints the prompt, then the generated text, piece by piece. @param silent whether nothing is printed */
async function shown(
  texts: AsyncGenerator<string, GeneratedText>,
  { prompt, silent }: { prompt: string; silent: boolean },
): Promise<GeneratedText> {
  const write = (text: string) => {
    if (!silent) process.stdout.write(text);
  };
  write(prompt);
  try {
    return await resultOf(texts, write);
  } finally {
    write("\n");
  }
}
