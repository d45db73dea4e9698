// One sequence of the batch: its prompt, the tokens generated so far, and what it asks of a turn.

import { EngineError } from "../../engine/core/errors.ts";
import { seededUniform } from "../../engine/core/random.ts";
import type { CachedSequence, SamplingSettings, TokenChooser } from "../../models/index.ts";
import { expectSampling, type LanguageSizes, tokenChooser } from "../../models/index.ts";
import { type ScoredToken, scoredToken } from "./log-probabilities.ts";
import type { TurnPart } from "./turn.ts";

/** Why a text ended. */
export type EndReason = "tokens" | "end of text" | "stop";

/** A text to generate, or a prompt to score. */
export interface SequenceRequest {
  /** who asks; clients take turns */
  client: string;
  /** token ids, at least one */
  prompt: readonly number[];
  /** maximum number of tokens to generate; 0 for none */
  tokens: number;
  settings: SamplingSettings;
  seed: number;
  /** tokens that end the text */
  endOfText: readonly number[];
  /** number of likeliest tokens that are reported beside each token. Default: no log-probabilities are reported */
  likeliest?: number | undefined;
  /** whether the log-probabilities of the prompt are reported too, from its second token on */
  scorePrompt: boolean;
}

/** A token that was generated. */
export interface GeneratedToken {
  id: number;
  /** whether it is a token that ends the text, and not a part of it */
  ends: boolean;
  /** if log-probabilities were asked for */
  scored: ScoredToken | undefined;
}

/** Hears of one sequence. Functions are called between turns. */
export interface SequenceListener {
  /** tokens of the prompt in order, some in each turn */
  prompt(tokens: readonly ScoredToken[]): void;
  /** returns whether the text ends after this token */
  token(token: GeneratedToken): boolean;
  ended(reason: EndReason): void;
  failed(error: unknown): void;
}

/** The state of one sequence. */
export class Sequence {
  readonly request: SequenceRequest;
  readonly listener: SequenceListener;
  readonly cached: CachedSequence;
  /** nobody hears of it any more */
  canceled = false;
  readonly #ids: number[];
  readonly #chooser: TokenChooser;
  /** tokens of the prompt that were scored */
  #scored = 1;

  /** @throws ShapeError if a setting is out of range */
  constructor(
    request: SequenceRequest,
    { listener, cached, sizes }: { listener: SequenceListener; cached: CachedSequence; sizes: LanguageSizes },
  ) {
    const { prompt, tokens, settings, endOfText, seed } = request;
    expectSampling(settings);
    this.request = request;
    this.listener = listener;
    this.cached = cached;
    this.#ids = [...prompt];
    this.#chooser = tokenChooser(settings, {
      prompt: prompt.length,
      maxLength: prompt.length + tokens,
      endOfText,
      vocabulary: sizes.vocabulary,
      uniform: seededUniform(seed),
    });
  }

  /** number of tokens that the next turns have to process */
  get pending(): number {
    return this.#toProcess - this.cached.length;
  }

  /** The last token is processed only if one follows it, and a prompt only if there is something to say of it. */
  get #toProcess(): number {
    const { tokens, scorePrompt } = this.request;
    if (tokens > 0) return this.#ids.length;
    return scorePrompt ? this.#ids.length - 1 : 0;
  }

  /** Its part of a turn. @param tokens from 1 to `pending` */
  part(tokens: number): TurnPart {
    const { length } = this.cached;
    const ids = this.#ids.slice(length, length + tokens);
    const samples = this.request.tokens > 0 && tokens === this.pending ? 1 : 0;
    const wanted = Math.max(samples, length + tokens - this.#firstWanted(length));
    return { cached: this.cached, ids, length: this.#toProcess, wanted: Math.min(tokens, wanted) };
  }

  /** The first token from `length` on whose logits score a token of the prompt. */
  #firstWanted(length: number): number {
    const { scorePrompt, prompt } = this.request;
    if (!scorePrompt || this.#scored >= prompt.length) return Number.POSITIVE_INFINITY;
    return Math.max(length, this.#scored - 1);
  }

  /**
   * Takes the logits of a turn.
   * @param logits those of the last tokens that were processed
   * @returns why the text ends, if it does
   * @throws EngineError if a logit is not finite, or the settings rule out all tokens
   */
  take(logits: readonly Float32Array[]): EndReason | undefined {
    this.#scorePrompt(logits);
    if (this.pending > 0) return undefined;
    if (this.request.tokens === 0) return "tokens";
    return this.#choose(logits.at(-1) as Float32Array);
  }

  #scorePrompt(logits: readonly Float32Array[]): void {
    const { scorePrompt, prompt, likeliest = 0 } = this.request;
    if (!scorePrompt) return;
    // The token after the first of these logits.
    const first = this.cached.length - logits.length + 1;
    const found: ScoredToken[] = [];
    while (this.#scored < Math.min(prompt.length, this.cached.length + 1)) {
      const row = logits[this.#scored - first] as Float32Array;
      expectFinite(row);
      found.push(scoredToken(row, prompt[this.#scored] as number, likeliest));
      this.#scored++;
    }
    if (found.length > 0) this.listener.prompt(found);
  }

  #choose(row: Float32Array): EndReason | undefined {
    const { prompt, tokens, endOfText, likeliest } = this.request;
    expectFinite(row);
    // A copy, because choosing a token changes the scores.
    const id = this.#chooser.choose(row.slice(), this.#ids);
    const ends = endOfText.includes(id);
    const scored = likeliest === undefined ? undefined : scoredToken(row, id, likeliest);
    this.#ids.push(id);
    const stops = this.listener.token({ id, ends, scored });
    if (ends) return "end of text";
    if (stops) return "stop";
    return this.#ids.length - prompt.length >= tokens ? "tokens" : undefined;
  }
}

function expectFinite(row: Float32Array): void {
  let zero = 0;
  for (let i = 0; i < row.length; i++) zero += 0 * (row[i] as number);
  if (zero !== 0) throw new EngineError("serve: the model's logits are not finite numbers", "check the checkpoint");
}
