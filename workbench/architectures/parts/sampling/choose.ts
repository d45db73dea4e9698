// Chooses the next token: the processors of the settings in transformers' order, then the most likely token or a draw.

import { EngineError } from "../../../engine/core/errors.ts";
import { epsilonCutoff, etaCutoff, minP, temperature, topH, topK, topP, typicalP } from "./filters.ts";
import {
  exponentialDecay,
  forced,
  noBadWords,
  noRepeatNgrams,
  repetitionPenalty,
  sequenceBiases,
  suppressed,
} from "./penalties.ts";
import { type LogitsProcessor, Scores, type TokenContext } from "./scores.ts";
import type { SamplingSettings } from "./settings.ts";
import { drawnFrom } from "./speculative.ts";

/** What the processors need to know of a text beside the settings. */
export interface ChooseOptions {
  /** length of the prompt */
  prompt: number;
  /** maximum length of prompt and text */
  maxLength: number;
  endOfText: readonly number[];
  vocabulary: number;
  /** returns the next random number in [0, 1) */
  uniform: () => number;
}

/** The error that the settings rule out all tokens. */
export class NoTokenLeft extends EngineError {
  constructor() {
    super("generate: the settings rule out all tokens", "relax suppressed or forced tokens, or n-grams");
  }
}

/** Chooses tokens of one text. */
export interface TokenChooser {
  /**
   * @param logits float32 (vocabulary), which is changed
   * @param sequence prompt and text so far
   * @throws NoTokenLeft if the settings rule out all tokens
   */
  choose(logits: Float32Array, sequence: readonly number[]): number;
  /**
   * The probabilities with which `choose` chooses, float64 (vocabulary).
   * @param logits as for `choose`
   * @throws NoTokenLeft as `choose`
   */
  probabilities(logits: Float32Array, sequence: readonly number[]): Float64Array;
}

/** A chooser of the tokens of one text. @throws ShapeError if a setting has a token outside the vocabulary */
export function tokenChooser(settings: SamplingSettings, options: ChooseOptions): TokenChooser {
  const greedy = settings.temperature === 0;
  const processors = [...penaltiesOf(settings, options), ...(greedy ? [] : filtersOf(settings))];
  const scoresOf = (logits: Float32Array, sequence: readonly number[]) => {
    const scores = new Scores(logits);
    processAll(processors, scores, { sequence, prompt: options.prompt });
    return scores;
  };
  return {
    choose(logits, sequence) {
      const scores = scoresOf(logits, sequence);
      const id = greedy ? mostLikely(scores) : drawn(scores, options.uniform);
      if (id !== undefined) return id;
      throw new NoTokenLeft();
    },
    probabilities(logits, sequence) {
      const scores = scoresOf(logits, sequence);
      const found = greedy ? oneOf(scores, mostLikely(scores)) : allOf(scores);
      if (found) return found;
      throw new NoTokenLeft();
    },
  };
}

/** Applies processors in their order. */
export function processAll(processors: readonly LogitsProcessor[], scores: Scores, context: TokenContext): void {
  for (const processor of processors) processor.process(scores, context);
}

type Penalties = Omit<ChooseOptions, "uniform">;

/** The processors that act in greedy generation too. */
export function penaltiesOf(
  settings: SamplingSettings,
  { prompt, maxLength, endOfText, vocabulary }: Penalties,
): LogitsProcessor[] {
  const { repetitionPenalty: penalty = 1, noRepeatNgramSize: size = 0, badWordsIds: words = [] } = settings;
  const { sequenceBias: biases = [], suppressTokens: never = [], beginSuppressTokens: notFirst = [] } = settings;
  const { forcedBeginOfText: begin, forcedEndOfText: end, exponentialDecayLengthPenalty: decay } = settings;
  const { minLength = 0, minTokens } = settings;
  const least = minTokens === undefined ? minLength : prompt + minTokens;
  // After a prompt of one token, the forced token is not the first that is chosen.
  const first = prompt > 1 || begin === undefined ? prompt : prompt + 1;
  return [
    ...(biases.length > 0 ? [sequenceBiases(biases, vocabulary)] : []),
    ...(penalty !== 1 ? [repetitionPenalty(penalty)] : []),
    ...(size > 0 ? [noRepeatNgrams(size)] : []),
    ...(words.length > 0 ? [noBadWords(words, { endOfText, vocabulary })] : []),
    ...(least > 0 ? [suppressed(endOfText, (length) => length < least)] : []),
    ...(begin !== undefined ? [forced([begin], 1)] : []),
    ...(end ? [forced(end, maxLength - 1)] : []),
    ...(decay ? [exponentialDecay(decay, endOfText)] : []),
    ...(never.length > 0 ? [suppressed(never)] : []),
    ...(notFirst.length > 0 ? [suppressed(notFirst, (length) => length === first)] : []),
  ];
}

/** The processors of sampling. */
export function filtersOf(settings: SamplingSettings): LogitsProcessor[] {
  const { temperature: divisor = 1, topK: count, topP: mass = 1, minP: least = 0, topH: entropy } = settings;
  const { typicalP: typical = 1, epsilonCutoff: epsilon = 0, etaCutoff: eta = 0 } = settings;
  const isInside = (cutoff: number) => cutoff > 0 && cutoff < 1;
  return [
    ...(divisor !== 1 ? [temperature(divisor)] : []),
    ...(entropy !== undefined ? [topH(entropy)] : []),
    ...(count !== undefined ? [topK(count)] : []),
    ...(mass < 1 ? [topP(mass)] : []),
    ...(least > 0 ? [minP(least)] : []),
    ...(typical < 1 ? [typicalP(typical)] : []),
    ...(isInside(epsilon) ? [epsilonCutoff(epsilon)] : []),
    ...(isInside(eta) ? [etaCutoff(eta)] : []),
  ];
}

/** The token with the highest score, the first one if there are several; undefined if none is left. */
function mostLikely({ values }: Scores): number | undefined {
  let [best, most] = [-1, Number.NEGATIVE_INFINITY];
  for (let id = 0; id < values.length; id++) {
    if ((values[id] as number) > most) {
      most = values[id] as number;
      best = id;
    }
  }
  return best < 0 ? undefined : best;
}

/** Draws one of the tokens that are left; undefined if none is. */
const drawn = (scores: Scores, uniform: () => number): number | undefined =>
  scores.left[drawnFrom(scores.distribution().weights, uniform)];

/** The distribution that has one token only. */
function oneOf({ values }: Scores, id: number | undefined): Float64Array | undefined {
  if (id === undefined) return undefined;
  const probabilities = new Float64Array(values.length);
  probabilities[id] = 1;
  return probabilities;
}

/** The distribution over the tokens that are left, by id; undefined if none is. */
function allOf(scores: Scores): Float64Array | undefined {
  const { left, values } = scores;
  if (left.length === 0) return undefined;
  const { weights, total } = scores.distribution();
  const probabilities = new Float64Array(values.length);
  for (let i = 0; i < left.length; i++) probabilities[left[i] as number] = (weights[i] as number) / total;
  return probabilities;
}
