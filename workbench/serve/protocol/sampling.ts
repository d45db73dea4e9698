// The fields that requests for completions and for chats share, and what they mean for the texts that are generated.

import { z } from "@hono/zod-openapi";
import type { SamplingSettings } from "../../models/index.ts";
import { invalid } from "../../web/api-error.ts";
import type { ServedModel } from "../texts/served-model.ts";

/** texts that one request may ask for: its prompts times `n` */
export const MOST_TEXTS = 256;
/** likeliest tokens that are reported beside a token */
export const MOST_LIKELIEST = 20;

const NO_PENALTY = "expected 0: penalties of presence and frequency are not supported; use repetition_penalty";
const noPenalty = z.literal(0, { error: NO_PENALTY }).nullish();
const stopText = z.string().min(1, { error: "expected at least one character" });

/** Fields of both kinds of request. `null` means the default. */
export const GENERATION_FIELDS = {
  model: z.string().nullish().openapi({ description: "name of a served model. Default: the first one" }),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  n: z.int().min(1).max(MOST_TEXTS).nullish(),
  stop: z.union([stopText, z.array(stopText).max(16)], { error: "expected a text or up to 16 texts" }).nullish(),
  seed: z.int().nullish().openapi({ description: "the same seed gives the same text on the same engine. Default 0" }),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().nullish().openapi({ description: "users take turns in the queue. Default: the address" }),
  logit_bias: z.record(z.string().regex(/^\d+$/), z.number().min(-100).max(100)).nullish(),
  presence_penalty: noPenalty,
  frequency_penalty: noPenalty,
  top_k: z.int().min(-1).nullish().openapi({ description: "not in OpenAI's protocol; 0 and -1: all tokens" }),
  min_p: z.number().min(0).max(1).nullish().openapi({ description: "not in OpenAI's protocol" }),
  repetition_penalty: z.number().gt(0).nullish().openapi({ description: "not in OpenAI's protocol" }),
  min_tokens: z.int().min(0).nullish().openapi({ description: "not in OpenAI's protocol" }),
  ignore_eos: z.boolean().nullish().openapi({ description: "not in OpenAI's protocol: texts have max_tokens tokens" }),
};

const Generation = z.object(GENERATION_FIELDS);
type GenerationRequest = z.infer<typeof Generation>;

/** What `SamplingSettings` and stop strings are for a request: its fields, else the settings of the model folder. */
export function settingsOf(
  request: GenerationRequest,
  { config, vocabulary }: ServedModel,
): { settings: SamplingSettings; stops: readonly string[]; seed: number } {
  const { sampling, sample = true, stopStrings } = config;
  const { top_k: topK, logit_bias: biases } = request;
  const settings = {
    ...sampling,
    temperature: request.temperature ?? (sample ? (sampling.temperature ?? 1) : 0),
    topK: topK == null ? sampling.topK : topK > 0 ? topK : undefined,
    topP: request.top_p ?? sampling.topP,
    minP: request.min_p ?? sampling.minP,
    repetitionPenalty: request.repetition_penalty ?? sampling.repetitionPenalty,
    minTokens: request.min_tokens ?? sampling.minTokens,
    sequenceBias: biases ? [...(sampling.sequenceBias ?? []), ...biasesOf(biases, vocabulary)] : sampling.sequenceBias,
  };
  return { settings, stops: request.stop == null ? stopStrings : [request.stop].flat(), seed: request.seed ?? 0 };
}

function biasesOf(
  biases: Readonly<Record<string, number>>,
  vocabulary: number,
): (readonly [readonly number[], number])[] {
  return Object.entries(biases).map(([token, bias]) => {
    const id = Number(token);
    if (id >= vocabulary)
      throw invalid(`logit_bias: there is no token ${token}, ids are below ${vocabulary}`, "logit_bias");
    return [[id], bias];
  });
}

/**
 * The number of tokens to generate.
 * @param asked by the request; undefined: as many as fit
 * @throws ApiError if prompt and text are longer than the model's context
 */
export function tokensWithin(
  { context, name }: ServedModel,
  { prompt, asked, param }: { prompt: number; asked: number | undefined; param: string },
): number {
  // The last token that is generated needs no position.
  const room = context - prompt + 1;
  const tokens = asked ?? Math.max(1, room);
  if (tokens <= room && prompt <= context) return tokens;
  const found = `the prompt has ${prompt} tokens and up to ${tokens} are asked for`;
  const message = `${name} takes ${context} tokens in total; ${found}; shorten the prompt or ask for fewer`;
  throw invalid(message, prompt > context ? param : "max_tokens", "context_length_exceeded");
}

/** @throws ApiError if a request asks for too many texts */
export function expectTexts(count: number, param: string): void {
  if (count <= MOST_TEXTS) return;
  throw invalid(`${param}: a request may ask for ${MOST_TEXTS} texts, got ${count}; send several requests`, param);
}

/** Tokens of a request and its answer. */
export const Usage = z
  .object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() })
  .openapi("Usage");

/** Why a text ended, as the protocol names it. */
export const FinishReason = z.enum(["stop", "length"]);
