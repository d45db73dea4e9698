// Reads generation_config.json, the file of transformers with the settings by which a model generates text. Each setting
// that changes the text is obeyed or refused by name. Settings that only change speed, memory or what transformers
// returns are ignored, as are those of beam search and of encoders where they have no effect.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { reason } from "../../../hub/files/byte-source.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { parseJson } from "../../../hub/text/json.ts";
import { textOfFile } from "../../../hub/text/utf8.ts";
import { checked, EndOfText } from "../../architectures/parts/config-fields.ts";
import type { SamplingSettings } from "../../architectures/parts/sampling/settings.ts";

/** The settings of a model folder for generation. Settings that the file lacks are undefined. */
export interface GenerationConfig {
  /** settings that choose tokens; those with which transformers completes them are included */
  sampling: SamplingSettings;
  /** whether tokens are sampled rather than the most likely one taken */
  sample: boolean | undefined;
  /** maximum number of tokens to generate */
  tokens: number | undefined;
  /** maximum number of tokens of prompt and text together, if `tokens` is undefined */
  maxLength: number | undefined;
  /** texts that end the text */
  stopStrings: readonly string[];
  /** tokens that end the text */
  endOfText: readonly number[] | undefined;
  /** token of an empty prompt */
  beginOfText: number | undefined;
  /** the settings of the file that are obeyed, by their names there, except tokens and lengths */
  given: Readonly<Record<string, unknown>>;
}

const FILE = "generation_config.json";

const token = z.int().min(0);
const tokens = z.array(token);
const count = z.int().min(0).nullish();
const unit = z.number().min(0).max(1).nullish();
const positive = z.number().gt(0).nullish();
const oneOrMore = z.union([token, tokens.min(1)], { error: "expected a token id or a list of them" }).nullish();

const LENGTHS = {
  max_new_tokens: z.int().min(1).nullish(),
  max_length: z.int().min(1).nullish(),
  min_new_tokens: count,
  min_length: count,
};

const SAMPLING = {
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).nullish(),
  top_k: count,
  top_p: unit,
  min_p: unit,
  top_h: z.number().gt(0).max(1).nullish(),
  typical_p: z.number().gt(0).max(1).nullish(),
  epsilon_cutoff: z.number().min(0).nullish(),
  eta_cutoff: z.number().min(0).nullish(),
  repetition_penalty: positive,
  no_repeat_ngram_size: count,
  bad_words_ids: z.array(tokens.min(1)).nullish(),
  sequence_bias: z.array(z.tuple([tokens.min(1), z.number()])).nullish(),
  suppress_tokens: tokens.nullish(),
  begin_suppress_tokens: tokens.nullish(),
  forced_bos_token_id: token.nullish(),
  forced_eos_token_id: oneOrMore,
  exponential_decay_length_penalty: z.tuple([z.number().min(0), z.number()]).nullish(),
  stop_strings: z.union([z.string(), z.array(z.string())], { error: "expected a text or a list of texts" }).nullish(),
};

const FIELDS = z.looseObject({ ...LENGTHS, ...SAMPLING, eos_token_id: EndOfText, bos_token_id: token.nullish() });

/** Settings that are not supported: the values with which they have no effect, and what other values ask for. */
const REFUSED: Readonly<Record<string, { harmless: readonly unknown[]; what: string }>> = {
  num_beams: { harmless: [1], what: "beam search" },
  num_beam_groups: { harmless: [1], what: "beam search in groups" },
  constraints: { harmless: [], what: "constrained beam search" },
  force_words_ids: { harmless: [], what: "constrained beam search" },
  penalty_alpha: { harmless: [0], what: "contrastive search" },
  dola_layers: { harmless: [], what: "decoding by contrasting layers" },
  guidance_scale: { harmless: [1], what: "classifier-free guidance" },
  watermarking_config: { harmless: [], what: "watermarking" },
  token_healing: { harmless: [false], what: "token healing" },
  num_return_sequences: { harmless: [1], what: "more than one text" },
  max_time: { harmless: [], what: "a limit of time" },
};

/** With `do_sample`, transformers samples among this many tokens if the file does not say otherwise. */
const USUAL_TOP_K = 50;

/**
 * Reads the settings of a model folder.
 * @param plain whether all settings but the tokens that begin and end a text are ignored. Default false
 * @returns undefined settings if there is no file
 * @throws ModelError when the file is damaged, a setting is out of range or not supported
 */
export async function generationConfigOf(folder: string, { plain = false } = {}): Promise<GenerationConfig> {
  const file = join(folder, FILE);
  const json = await readJson(file);
  if (!plain) refuse(json, file);
  const fields = checked(FIELDS, json, file);
  const { bos_token_id: begin, eos_token_id: ends } = fields;
  const special = { beginOfText: begin ?? undefined, endOfText: ends == null ? undefined : [ends].flat() };
  return { ...settingsOf(plain ? {} : fields), ...special };
}

type Fields = Partial<z.output<typeof FIELDS>>;

function settingsOf(fields: Fields): Omit<GenerationConfig, "beginOfText" | "endOfText"> {
  const { do_sample: sample, top_k: topK, stop_strings: stops, forced_eos_token_id: forcedEnd } = fields;
  const usualTopK = sample === true ? USUAL_TOP_K : undefined;
  return {
    sampling: present({
      temperature: fields.temperature,
      topK: topK === 0 ? undefined : (topK ?? usualTopK),
      topP: fields.top_p,
      minP: fields.min_p,
      topH: fields.top_h,
      typicalP: fields.typical_p,
      epsilonCutoff: fields.epsilon_cutoff,
      etaCutoff: fields.eta_cutoff,
      repetitionPenalty: fields.repetition_penalty,
      noRepeatNgramSize: fields.no_repeat_ngram_size,
      badWordsIds: fields.bad_words_ids,
      sequenceBias: fields.sequence_bias,
      suppressTokens: fields.suppress_tokens,
      beginSuppressTokens: fields.begin_suppress_tokens,
      forcedBeginOfText: fields.forced_bos_token_id,
      forcedEndOfText: forcedEnd == null ? undefined : [forcedEnd].flat(),
      exponentialDecayLengthPenalty: fields.exponential_decay_length_penalty,
      minTokens: fields.min_new_tokens,
      minLength: fields.min_length,
    }),
    sample: sample ?? undefined,
    tokens: fields.max_new_tokens ?? undefined,
    maxLength: fields.max_length ?? undefined,
    stopStrings: stops == null ? [] : [stops].flat().filter((text) => text !== ""),
    given: present(Object.fromEntries(Object.keys(SAMPLING).map((name) => [name, fields[name]]))),
  };
}

/** Without the entries that are null or undefined. */
function present<Value>(entries: Record<string, Value>): Record<string, NonNullable<Value>> {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value != null)) as Record<
    string,
    NonNullable<Value>
  >;
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  const fail = (problem: string, options?: ErrorOptions) => new ModelError(problem, { file }, options);
  const bytes = await readFile(file).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw fail(`cannot be read: ${reason(error)}`, { cause: error });
  });
  if (bytes === undefined) return {};
  try {
    return z.record(z.string(), z.unknown()).parse(parseJson(textOfFile(bytes, fail)));
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw fail("is not a JSON object; fetch it again", { cause: error });
  }
}

function refuse(json: Record<string, unknown>, file: string): void {
  for (const [name, { harmless, what }] of Object.entries(REFUSED)) {
    const value = json[name];
    if (value == null || harmless.includes(value)) continue;
    const shown = JSON.stringify(value).slice(0, 80);
    throw new ModelError(
      `${name} is ${shown}, which is ${what} and is not supported; remove it, or pass --no-generation-config`,
      { file },
    );
  }
}
