// Where the tokens of a forward pass stand in their sequences. Without a cache the pass has whole sequences of equal
// length. With one, its tokens are one stretch that continues a sequence, or stretches of several sequences, one behind the
// other.

import { type Tensor1D, tensor1d } from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";

/** Consecutive tokens of one sequence. */
export interface Stretch {
  /** tokens of the sequence before them */
  past: number;
  tokens: number;
  /**
   * tokens that the sequence is known to have, those after the stretch included. Default: past + tokens. Rotary positions
   * with dynamic scaling depend on it
   */
  length?: number | undefined;
}

/** Tokens of the sequence up to the end of the stretch. */
export const endOf = ({ past, tokens }: Stretch): number => past + tokens;

/**
 * Checks that a model has the positions of all tokens.
 * @param what name of the architecture, for the message
 * @throws ShapeError if it has fewer
 */
export function expectPositions(what: string, stretches: readonly Stretch[], positions: number): void {
  const most = Math.max(...stretches.map(endOf));
  if (most <= positions) return;
  throw new ShapeError(`${what}: ids must be at most ${positions} tokens, the model's positions, got ${most}`);
}

/** The position of each token, int32 (tokens of all stretches). */
export function positionsOf(stretches: readonly Stretch[]): Tensor1D {
  const positions = stretches.flatMap(({ past, tokens }) => Array.from({ length: tokens }, (_, i) => past + i));
  return tensor1d(Int32Array.from(positions), "int32");
}
