// Plans a turn: which tokens of which sequences it processes. Every text gets its next token. The tokens of prompts are
// limited, and divided among the prompts equally; what a short prompt does not need goes to the others. So a short prompt is
// not held up by long ones before it.

import type { Sequence } from "./sequence.ts";
import type { TurnPart } from "./turn.ts";

/** The part of one sequence in a turn. */
export interface Planned {
  sequence: Sequence;
  part: TurnPart;
}

/**
 * Plans a turn. Parts of one token come first.
 * @param promptTokens tokens of prompts in total
 */
export function planTurn(running: readonly Sequence[], promptTokens: number): Planned[] {
  const prompts = running.filter(({ pending }) => pending > 1);
  const shares = sharesOf(
    prompts.map(({ pending }) => pending),
    Math.max(promptTokens, prompts.length),
  );
  const tokensOf = (sequence: Sequence) => shares[prompts.indexOf(sequence)] ?? sequence.pending;
  const planned = running.map((sequence) => ({ sequence, part: sequence.part(tokensOf(sequence)) }));
  return planned.sort((a, b) => Number(a.part.ids.length > 1) - Number(b.part.ids.length > 1));
}

/**
 * Divides a number of tokens.
 * @param wanted tokens that each could use
 * @param budget tokens in total
 * @returns tokens that each gets, at most what it wants
 */
export function sharesOf(wanted: readonly number[], budget: number): number[] {
  const shares = wanted.map(() => 0);
  // From the smallest wish on: it is met if it is below an equal share of what is left.
  const order = [...wanted.keys()].sort((a, b) => (wanted[a] as number) - (wanted[b] as number) || a - b);
  let left = budget;
  for (const [done, index] of order.entries()) {
    const others = order.length - done;
    const share = Math.min(wanted[index] as number, Math.max(1, Math.floor(left / others)), left);
    shares[index] = share;
    left -= share;
  }
  return shares;
}
