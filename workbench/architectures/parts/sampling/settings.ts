// The settings by which the next token is chosen. They mean the same as in transformers' generation_config.json, under
// names in camel case.

import { expectSetting } from "../../../engine/ops/operands.ts";

/** Settings that choose the next token. Each that is left out has no effect. */
export interface SamplingSettings {
  /** divisor of the scores; 0 selects the most likely token, without filters. Default 1 */
  temperature?: number | undefined;
  /** number of the most likely tokens among which one is sampled. Default: all */
  topK?: number | undefined;
  /** sum of the probabilities of the most likely tokens among which one is sampled (Holtzman et al. 2020). Default 1 */
  topP?: number | undefined;
  /** smallest probability, as a share of the largest one (Nguyen et al. 2024) */
  minP?: number | undefined;
  /** share of the entropy that the most likely tokens may have, among the 100 most likely ones */
  topH?: number | undefined;
  /** sum of the probabilities of the most typical tokens (Meister et al. 2022). Default 1 */
  typicalP?: number | undefined;
  /** smallest probability (Hewitt et al. 2022). Default 0 */
  epsilonCutoff?: number | undefined;
  /** like `epsilonCutoff`, but smaller where the entropy is large (Hewitt et al. 2022). Default 0 */
  etaCutoff?: number | undefined;
  /** divides positive scores of tokens that occurred, and multiplies negative ones (Keskar et al. 2019). Default 1 */
  repetitionPenalty?: number | undefined;
  /** n-grams of this many tokens occur once only. Default 0: no limit */
  noRepeatNgramSize?: number | undefined;
  /** sequences of tokens that are not generated. A sequence that is one end-of-text token is ignored */
  badWordsIds?: readonly (readonly number[])[] | undefined;
  /** adds a bias to the score of the last token of a sequence if the tokens before it are present */
  sequenceBias?: readonly (readonly [tokens: readonly number[], bias: number])[] | undefined;
  /** tokens that are never generated */
  suppressTokens?: readonly number[] | undefined;
  /** tokens that are not generated first */
  beginSuppressTokens?: readonly number[] | undefined;
  /** token that follows a prompt of one token */
  forcedBeginOfText?: number | undefined;
  /** tokens of which one is the last if the maximum number of tokens is reached */
  forcedEndOfText?: readonly number[] | undefined;
  /** `[start, factor]`: from `start` generated tokens on, scores of end-of-text tokens grow by powers of the factor */
  exponentialDecayLengthPenalty?: readonly [start: number, factor: number] | undefined;
  /** tokens, of prompt and text together, before which the text does not end. Default 0 */
  minLength?: number | undefined;
  /** generated tokens before which the text does not end. Overrides `minLength`. Default 0 */
  minTokens?: number | undefined;
}

/** Checks the ranges of settings. @throws ShapeError that names a setting out of range */
export function expectSampling(settings: SamplingSettings): void {
  for (const [name, { must, holds }] of Object.entries(RANGES)) {
    const value = settings[name as keyof typeof RANGES];
    expectSetting("generate", { [name]: value }, must, value === undefined || holds(value));
  }
}

interface Range {
  /** end of "must be …" */
  must: string;
  holds(value: number): boolean;
}

const atLeastZero: Range = { must: "a number from 0", holds: (value) => value >= 0 && Number.isFinite(value) };
const count = (least: number): Range => ({
  must: `a whole number from ${least}`,
  holds: (value) => Number.isInteger(value) && value >= least,
});
const unit: Range = { must: "from 0 to 1", holds: (value) => value >= 0 && value <= 1 };
const share: Range = { must: "above 0 and at most 1", holds: (value) => value > 0 && value <= 1 };

const RANGES = {
  temperature: atLeastZero,
  topK: count(1),
  topP: unit,
  minP: unit,
  topH: share,
  typicalP: share,
  epsilonCutoff: atLeastZero,
  etaCutoff: atLeastZero,
  repetitionPenalty: { must: "above 0", holds: (value) => value > 0 && Number.isFinite(value) },
  noRepeatNgramSize: count(0),
  minLength: count(0),
  minTokens: count(0),
} as const satisfies Partial<Record<keyof SamplingSettings, Range>>;
