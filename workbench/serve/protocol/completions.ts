// Requests and answers of /v1/completions.

import { z } from "@hono/zod-openapi";
import { FinishReason, GENERATION_FIELDS, MOST_LIKELIEST, Usage } from "./sampling.ts";

const token = z.int().min(0);
const PROMPT = "expected a text, a list of token ids, or a list of texts or of lists of token ids";

const Prompt = z.union(
  [z.string(), z.array(token).min(1), z.array(z.string()).min(1), z.array(z.array(token).min(1)).min(1)],
  { error: PROMPT },
);

/** A request of /v1/completions. */
export const CompletionRequest = z
  .object({
    ...GENERATION_FIELDS,
    prompt: Prompt.nullish().openapi({ description: "Default: an empty text" }),
    max_tokens: z.int().min(0).nullish().openapi({ description: "0 with echo scores the prompt. Default 16" }),
    echo: z.boolean().nullish().openapi({ description: "whether the answer begins with the prompt" }),
    logprobs: z
      .int()
      .min(0)
      .max(MOST_LIKELIEST)
      .nullish()
      .openapi({ description: "report log-probabilities, with so many of the likeliest tokens" }),
    best_of: z.int().min(1).nullish(),
    suffix: z.literal("", { error: "expected none: texts before a suffix are not supported" }).nullish(),
  })
  .refine(({ n, best_of: best }) => best == null || best === (n ?? 1), {
    path: ["best_of"],
    error: "expected the same as n: choosing among more texts is not supported",
  })
  .openapi("CompletionRequest");

/** Log-probabilities of the tokens of a completion, as four lists of equal length. */
export const CompletionLogprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
    text_offset: z.array(z.int()),
  })
  .openapi("CompletionLogprobs");

/** An answer of /v1/completions, or a piece of it in a stream. */
export const Completion = z
  .object({
    id: z.string(),
    object: z.literal("text_completion"),
    created: z.int(),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.int(),
        text: z.string(),
        logprobs: CompletionLogprobs.nullable(),
        finish_reason: FinishReason.nullable(),
      }),
    ),
    usage: Usage.nullable().optional(),
  })
  .openapi("Completion");

/** The prompts of a request, each a text or token ids. */
export function promptsOf(prompt: z.infer<typeof Prompt> | null | undefined): (string | number[])[] {
  if (prompt == null) return [""];
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as (string | number[])[]);
}
