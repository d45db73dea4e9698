// Processors that change scores by the tokens so far: penalties, biases, forbidden and forced tokens. They act in greedy
// generation too. Each computes what the processor of the same name in transformers computes.

import { ShapeError } from "../../../engine/core/errors.ts";
import type { LogitsProcessor } from "./scores.ts";

/** Makes tokens that occurred less likely, for penalties above 1. */
export const repetitionPenalty = (penalty: number): LogitsProcessor => ({
  process({ values }, { sequence }) {
    for (const id of new Set(sequence)) {
      const score = values[id];
      if (score !== undefined) values[id] = score < 0 ? score * penalty : score / penalty;
    }
  },
});

/** Rules out tokens that would complete an n-gram that occurred. @param size tokens of an n-gram */
export const noRepeatNgrams = (size: number): LogitsProcessor => ({
  process(scores, { sequence }) {
    const start = sequence.length + 1 - size;
    for (let at = 0; at + size <= sequence.length; at++) {
      let same = 0;
      while (same < size - 1 && sequence[at + same] === sequence[start + same]) same++;
      if (same === size - 1) scores.ruleOut(sequence[at + size - 1] as number);
    }
  },
});

/** A sequence of tokens, and the bias of its last token if the others precede it. */
type Bias = readonly [tokens: readonly number[], bias: number];

/**
 * Adds biases to the last tokens of sequences. A bias of −∞ forbids the sequence. Of equal sequences the last one counts.
 * @throws ShapeError if a token is not in the vocabulary
 */
export function sequenceBiases(biases: readonly Bias[], vocabulary: number): LogitsProcessor {
  const wrong = biases.flatMap(([tokens]) => tokens).find((id) => id >= vocabulary);
  if (wrong !== undefined) {
    throw new ShapeError(`generate: biases must be of ids from 0 to ${vocabulary - 1}, the vocabulary, got ${wrong}`);
  }
  const single = new Map<number, number>();
  const longer = new Map<string, Bias>();
  for (const [tokens, bias] of biases) {
    if (tokens.length === 1) single.set(tokens[0] as number, bias);
    else longer.set(tokens.join(), [tokens, bias]);
  }
  return {
    process({ values }, { sequence }) {
      for (const [id, bias] of single) values[id] = (values[id] as number) + bias;
      for (const [tokens, bias] of longer.values()) {
        const id = tokens.at(-1) as number;
        if (endsWith(sequence, tokens.slice(0, -1))) values[id] = (values[id] as number) + bias;
      }
    },
  };
}

const endsWith = (sequence: readonly number[], end: readonly number[]): boolean =>
  end.length <= sequence.length && end.every((id, i) => id === sequence[sequence.length - end.length + i]);

/** Forbids sequences of tokens, except those that are one end-of-text token. */
export function noBadWords(
  words: readonly (readonly number[])[],
  { endOfText, vocabulary }: { endOfText: readonly number[]; vocabulary: number },
): LogitsProcessor {
  const forbidden = words.filter(([first, ...more]) => more.length > 0 || !endOfText.includes(first as number));
  return sequenceBiases(
    forbidden.map((word) => [word, Number.NEGATIVE_INFINITY] as const),
    vocabulary,
  );
}

/** Rules out tokens while `applies` to the length of the sequence. Default: always */
export const suppressed = (
  ids: readonly number[],
  applies: (length: number) => boolean = () => true,
): LogitsProcessor => ({
  process(scores, { sequence }) {
    if (applies(sequence.length)) for (const id of ids) scores.ruleOut(id);
  },
});

/** Rules out all tokens but these when the sequence has `length` tokens. */
export const forced = (ids: readonly number[], length: number): LogitsProcessor => ({
  process({ values }, { sequence }) {
    if (sequence.length !== length) return;
    values.fill(Number.NEGATIVE_INFINITY);
    for (const id of ids) values[id] = 0;
  },
});

/**
 * Makes the end of the text more likely with each token: the score s of an end-of-text token becomes s + |s| (fᵈ − 1),
 * d tokens after the start.
 */
export const exponentialDecay = (
  [start, factor]: readonly [start: number, factor: number],
  endOfText: readonly number[],
): LogitsProcessor => ({
  process({ values }, { sequence, prompt }) {
    const past = sequence.length - (prompt + start);
    if (past <= 0) return;
    for (const id of endOfText) {
      const score = values[id];
      if (score !== undefined && Number.isFinite(score)) values[id] = score + Math.abs(score) * (factor ** past - 1);
    }
  },
});
