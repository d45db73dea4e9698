// Counts the tokens of a request and its answer, and names the reasons for which texts end.

import type { z } from "@hono/zod-openapi";
import type { FinishReason, Usage } from "../protocol/sampling.ts";
import type { EndReason } from "../scheduler/sequence.ts";
import type { ChoiceEvent } from "../texts/choices.ts";

/** The tokens of one request. */
export class UsageCount {
  readonly #prompt: number;
  #generated = 0;

  /** @param prompts tokens of each prompt */
  constructor(prompts: readonly number[]) {
    this.#prompt = prompts.reduce((sum, tokens) => sum + tokens, 0);
  }

  /** Counts a token, if the event has one. Those that end a text count too. */
  count(event: ChoiceEvent): void {
    if (event.kind === "text" && event.token) this.#generated++;
  }

  get body(): z.infer<typeof Usage> {
    const [prompt, generated] = [this.#prompt, this.#generated];
    return { prompt_tokens: prompt, completion_tokens: generated, total_tokens: prompt + generated };
  }
}

/** The reason as the protocol names it. */
export const finishReasonOf = (reason: EndReason): z.infer<typeof FinishReason> =>
  reason === "tokens" ? "length" : "stop";
