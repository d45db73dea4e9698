// Options of the verbs that generate text. A flag overrides the setting of the same name in the model folder's
// generation_config.json, which overrides the default of the verb.

import { type Command, InvalidArgumentError } from "commander";
import type { GenerationConfig } from "../../models/index.ts";
import type { TextOptions } from "../../pipeline/generate.ts";
import { countFrom, numberFrom, share } from "./options.ts";
import { CommandFailed, UsageError } from "./program.ts";
import { flagOf } from "./settings.ts";

/** The flags as given. */
export interface GenerationFlags {
  tokens?: number;
  minTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  typicalP?: number;
  repetitionPenalty?: number;
  uniqueNgrams?: number;
  stop?: string[];
  seed: number;
  /** false after --no-generation-config */
  generationConfig: boolean;
}

/** The settings in generation_config.json that a flag overrides. */
const OVERRIDDEN: Readonly<Partial<Record<keyof GenerationFlags, readonly string[]>>> = {
  temperature: ["temperature", "do_sample"],
  topK: ["top_k"],
  topP: ["top_p"],
  minP: ["min_p"],
  typicalP: ["typical_p"],
  repetitionPenalty: ["repetition_penalty"],
  uniqueNgrams: ["no_repeat_ngram_size"],
  stop: ["stop_strings"],
};

/** Flags that have no effect if the most likely token is always taken. */
const OF_SAMPLING = ["topK", "topP", "minP", "typicalP"] as const;

/** Adds the options. @param tokens the verb's maximum number of tokens @param topK its top-k, for the help */
export function addGenerationOptions(command: Command, { tokens, topK }: { tokens: number; topK: string }): Command {
  return command
    .option("--tokens <count>", `maximum number of tokens to generate (default: ${tokens})`, countFrom(1))
    .option("--min-tokens <count>", "number of tokens before which the text does not end (default: 0)", countFrom(0))
    .option("--temperature <value>", "temperature; 0 always takes the most likely token (default: 1)", numberFrom(0))
    .option(
      "--top-k <count>",
      `sample from this many of the most likely tokens; 0 is all (default: ${topK})`,
      countFrom(0),
    )
    .option("--top-p <share>", "sample from the most likely tokens with this total probability (default: 1)", share)
    .option("--min-p <share>", "sample from tokens with this share of the largest probability (default: 0)", minimum)
    .option(
      "--typical-p <share>",
      "sample from the most typical tokens with this total probability (default: 1)",
      share,
    )
    .option("--repetition-penalty <factor>", "make tokens that occurred less likely, above 1 (default: 1)", factor)
    .option("--unique-ngrams <tokens>", "repeat no sequence of this many tokens (default: 0, off)", countFrom(0))
    .option("--stop <text>", "text at which to stop; may be given several times", collected)
    .option("--seed <number>", "random seed; the same seed and engine give the same text", countFrom(0), 0)
    .option(
      "--no-generation-config",
      "ignore generation_config.json of the model, whose settings replace the defaults above (see docs/generation.md)",
    );
}

function minimum(text: string): number {
  const value = numberFrom(0)(text);
  if (value <= 1) return value;
  throw new InvalidArgumentError("It must be a number from 0 to 1.");
}

function factor(text: string): number {
  const value = numberFrom(0)(text);
  if (value > 0) return value;
  throw new InvalidArgumentError("It must be a number above 0.");
}

function collected(text: string, before: string[] = []): string[] {
  if (text === "") throw new InvalidArgumentError("It must have at least one character.");
  return [...before, text];
}

/** Checks flags before any work. @throws UsageError if they contradict each other */
export function checkGenerationFlags(flags: GenerationFlags): void {
  const given = OF_SAMPLING.find((name) => flags[name] !== undefined);
  if (given === undefined || flags.temperature !== 0) return;
  throw new UsageError(`${flagOf(given)} and --temperature 0 contradict each other; choose one`);
}

/** The defaults of a verb. */
interface Usual {
  /** maximum number of tokens */
  tokens: number;
  /** number of the most likely tokens among which one is sampled, unless the folder has `do_sample`. Default: all */
  topK?: number;
}

/**
 * The settings for texts: flags, else those of the model folder, else the verb's.
 * @param prompt length of the prompt, in tokens
 * @throws CommandFailed if the prompt is as long as the folder's max_length
 */
export function generationSettings(
  flags: GenerationFlags,
  { config, usual, prompt }: { config: GenerationConfig; usual: Usual; prompt: number },
): TextOptions {
  const { sampling, stopStrings } = config;
  const topK = flags.topK ?? sampling.topK ?? (config.sample === undefined ? usual.topK : undefined);
  return {
    ...sampling,
    temperature: temperatureOf(flags, config),
    topK: topK === 0 ? undefined : topK,
    topP: flags.topP ?? sampling.topP,
    minP: flags.minP ?? sampling.minP,
    typicalP: flags.typicalP ?? sampling.typicalP,
    repetitionPenalty: flags.repetitionPenalty ?? sampling.repetitionPenalty,
    noRepeatNgramSize: flags.uniqueNgrams ?? sampling.noRepeatNgramSize,
    minTokens: flags.minTokens ?? sampling.minTokens,
    tokens: flags.tokens ?? config.tokens ?? tokensWithin(config.maxLength, prompt) ?? usual.tokens,
    seed: flags.seed,
    stopStrings: flags.stop ?? stopStrings,
  };
}

/** The temperature, 0 to take the most likely token. A flag of sampling asks for sampling. */
function temperatureOf(flags: GenerationFlags, { sample = true, sampling }: GenerationConfig): number {
  const { temperature = 1 } = sampling;
  if (flags.temperature !== undefined) return flags.temperature;
  if (OF_SAMPLING.some((name) => flags[name] !== undefined)) return temperature || 1;
  return sample ? temperature : 0;
}

function tokensWithin(maxLength: number | undefined, prompt: number): number | undefined {
  if (maxLength === undefined) return undefined;
  if (maxLength > prompt) return maxLength - prompt;
  throw new CommandFailed(
    `the prompt has ${prompt} tokens, and max_length in generation_config.json is ${maxLength}; pass --tokens`,
  );
}

/** One line that names the settings of the folder that are in effect; undefined if there are none. */
export function folderSettingsLine(flags: GenerationFlags, { given }: GenerationConfig): string | undefined {
  const overridden = new Set(
    Object.entries(OVERRIDDEN).flatMap(([flag, names]) =>
      flags[flag as keyof GenerationFlags] === undefined ? [] : names,
    ),
  );
  const shown = Object.entries(given)
    .filter(([name]) => !overridden.has(name))
    .map(([name, value]) => `${name} ${Array.isArray(value) ? `(${value.length})` : JSON.stringify(value)}`);
  return shown.length === 0 ? undefined : `settings of generation_config.json: ${shown.join(", ")}`;
}

/** The settings as a verb reports them in JSON. */
export function reportedSettings({ topK, topP = 1, stopStrings = [], signal: _, ...others }: TextOptions) {
  return { ...others, topK: topK ?? null, topP, ...(stopStrings.length > 0 && { stop: stopStrings }) };
}
