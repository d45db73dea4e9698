// Which two ranks a Tucker-2 kernel should have for a number of multiply-adds. Numbers in, numbers out.

import { frobeniusErrors } from "./rank.ts";

export interface KernelSize {
  /** rows · columns */
  positions: number;
  nIn: number;
  nOut: number;
  /** input positions for each output position: stride² */
  inputsPerOutput: number;
}

export interface TuckerRanks {
  input: number;
  output: number;
}

/** Multiply-adds an output position: into the core's channels, through the core, out of them. */
export const tuckerCost = ({ positions, nIn, nOut, inputsPerOutput }: KernelSize, { input, output }: TuckerRanks) =>
  inputsPerOutput * nIn * input + positions * input * output + output * nOut;

/** Neither rank can use more than its side has, nor more than the other's core can feed. */
export const isTuckerRank = ({ positions, nIn, nOut }: KernelSize, { input, output }: TuckerRanks): boolean =>
  input >= 1 &&
  output >= 1 &&
  input <= Math.min(nIn, positions * output) &&
  output <= Math.min(nOut, positions * input);

/** Singular values, largest first, of the kernel unfolded by input and by output channels. */
export interface ModeSpectra {
  input: ArrayLike<number>;
  output: ArrayLike<number>;
}

/**
 * The pair that costs no more than `allowed` with the least bound on the error: what the two cuts lose, each by itself
 * (De Lathauwer et al. 2000, property 10).
 * @returns undefined when rank (1, 1) costs more
 */
export function tuckerRanks(size: KernelSize, spectra: ModeSpectra, allowed: number): TuckerRanks | undefined {
  const lostBy = { input: frobeniusErrors(spectra.input), output: frobeniusErrors(spectra.output) };
  let [best, least]: [TuckerRanks | undefined, number] = [undefined, Number.POSITIVE_INFINITY];
  for (let input = 1; input <= size.nIn; input++) {
    const left = allowed - size.inputsPerOutput * size.nIn * input;
    const affordable = Math.floor(left / (size.positions * input + size.nOut));
    const ranks = { input, output: Math.min(affordable, size.nOut, size.positions * input) };
    if (!isTuckerRank(size, ranks)) {
      continue;
    }
    const lost = (lostBy.input[ranks.input] ?? 0) ** 2 + (lostBy.output[ranks.output] ?? 0) ** 2;
    if (lost < least) {
      [best, least] = [ranks, lost];
    }
  }
  return best;
}
