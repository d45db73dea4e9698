// Rotary positions (Su et al. 2021): the frequencies of all ways of scaling them to longer texts, and the tables of
// cosines and sines. As in transformers, frequencies and angles are rounded to float32 at each step: an angle of 8000
// radians is exact to 5e-4 only, so that other roundings would be other positions.

import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { endOf, type Stretch } from "../parts/stretches.ts";

/** How frequencies are changed for texts that are longer than those of the training. */
export type RotaryScaling =
  | { kind: "default" }
  /** all frequencies are divided by `factor` (Chen et al. 2023) */
  | { kind: "linear"; factor: number }
  /** the base grows with the number of tokens beyond `trained` */
  | { kind: "dynamic"; factor: number; trained: number }
  /** low frequencies are divided by `factor`, high ones are kept (Llama 3.1) */
  | { kind: "llama3"; factor: number; trained: number; lowFactor: number; highFactor: number }
  /** YaRN (Peng et al. 2023) */
  | {
      kind: "yarn";
      factor: number;
      trained: number;
      /** rotations over the trained length above which frequencies are kept, and below which they are divided */
      betaFast: number;
      betaSlow: number;
      /** whether the borders between them are rounded to whole components */
      truncate: boolean;
      /** factor of cosines and sines */
      attentionFactor: number;
    };

/** The settings of rotary positions. */
export interface Rotary {
  /** number of components at the start of each head that are rotated, even */
  size: number;
  /** base of the frequencies */
  theta: number;
  scaling: RotaryScaling;
}

const round = Math.fround;

/** cos and sin of the angles of consecutive positions, float32 (tokens, size / 2). */
export interface RotaryTensors {
  cos: Tensor2D;
  sin: Tensor2D;
}

/**
 * The cosines and sines of the positions of stretches, one behind the other, to be used by all blocks of a forward pass.
 * If the scaling is dynamic, the frequencies depend on the length of the sequence, also for the tokens before its end;
 * keys in a cache keep the frequencies with which they were computed, as in transformers.
 */
export function rotaryTensors(rotary: Rotary, stretches: readonly Stretch[]): RotaryTensors {
  const half = rotary.size / 2;
  const rows = stretches.reduce((sum, { tokens }) => sum + tokens, 0);
  const [cos, sin] = [new Float32Array(rows * half), new Float32Array(rows * half)];
  let at = 0;
  for (const stretch of stretches) {
    const table = tableFor(rotary, Math.max(endOf(stretch), stretch.length ?? 0));
    const [first, last] = [stretch.past * half, endOf(stretch) * half];
    cos.set(table.cos.subarray(first, last), at);
    sin.set(table.sin.subarray(first, last), at);
    at += last - first;
  }
  return { cos: tensor2d(cos, [rows, half]), sin: tensor2d(sin, [rows, half]) };
}

interface Table {
  /** positions */
  rows: number;
  cos: Float32Array;
  sin: Float32Array;
}

/** The table of each model, computed once and grown when a longer sequence needs it. */
const tables = new WeakMap<Rotary, Table>();
const FIRST_ROWS = 256;

function tableFor(rotary: Rotary, rows: number): Table {
  const { scaling } = rotary;
  // The frequencies of such a length serve no other length.
  if (scaling.kind === "dynamic" && rows > scaling.trained) return makeTable(rotary, rows, rows);
  const known = tables.get(rotary);
  if (known && known.rows >= rows) return known;
  const table = makeTable(rotary, Math.max(rows, 2 * (known?.rows ?? 0), FIRST_ROWS), rows);
  tables.set(rotary, table);
  return table;
}

function makeTable(rotary: Rotary, rows: number, tokens: number): Table {
  const { frequencies, scale } = frequenciesOf(rotary, tokens);
  const half = frequencies.length;
  const [cos, sin] = [new Float32Array(rows * half), new Float32Array(rows * half)];
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < half; i++) {
      const angle = round(row * (frequencies[i] as number));
      cos[row * half + i] = round(Math.cos(angle)) * scale;
      sin[row * half + i] = round(Math.sin(angle)) * scale;
    }
  }
  return { rows, cos, sin };
}

/**
 * The angle per position of each pair of components, in radians, and the factor of cosines and sines.
 * @param tokens length of the sequence, on which dynamic scaling depends
 */
export function frequenciesOf(
  { size, theta, scaling }: Rotary,
  tokens: number,
): { frequencies: Float32Array; scale: number } {
  const plain = plainFrequencies(size, theta);
  switch (scaling.kind) {
    case "default":
      return { frequencies: plain, scale: 1 };
    case "linear":
      return { frequencies: plain.map((each) => each / scaling.factor), scale: 1 };
    case "dynamic": {
      const { factor, trained } = scaling;
      const growth = (factor * Math.max(tokens, trained)) / trained - (factor - 1);
      return { frequencies: plainFrequencies(size, theta * growth ** (size / (size - 2))), scale: 1 };
    }
    case "llama3":
      return { frequencies: plain.map((each) => llama3Frequency(each, scaling)), scale: 1 };
    case "yarn":
      return { frequencies: yarnFrequencies(size, theta, scaling), scale: scaling.attentionFactor };
  }
}

/** θ^(−2i / size) for i = 0, 1, …, size / 2 − 1. */
const plainFrequencies = (size: number, theta: number): Float32Array => wavesOf(size, theta).map((each) => 1 / each);

/** θ^(2i / size). */
const wavesOf = (size: number, theta: number): Float32Array =>
  Float32Array.from({ length: size / 2 }, (_, i) => theta ** round((2 * i) / size));

type Scaled<Kind extends RotaryScaling["kind"]> = Extract<RotaryScaling, { kind: Kind }>;

function llama3Frequency(frequency: number, { factor, trained, lowFactor, highFactor }: Scaled<"llama3">): number {
  const wave = round(round(2 * Math.PI) / frequency);
  if (wave < trained / highFactor) return frequency;
  if (wave > trained / lowFactor) return frequency / factor;
  const smooth = round(round(round(trained / wave) - lowFactor) / (highFactor - lowFactor));
  return round(round((1 - smooth) * frequency) / factor) + round(smooth * frequency);
}

function yarnFrequencies(size: number, theta: number, scaling: Scaled<"yarn">): Float32Array {
  const { factor, trained, betaFast, betaSlow, truncate } = scaling;
  // The component that makes this number of rotations over the trained length.
  const componentOf = (rotations: number) =>
    (size * Math.log(trained / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const [first, last] = [componentOf(betaFast), componentOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  const high = Math.min(truncate ? Math.ceil(last) : last, size - 1);
  const span = low === high ? 0.001 : high - low;
  return wavesOf(size, theta).map((wave, i) => {
    const kept = round(1 - Math.min(Math.max(round(round(i - low) / span), 0), 1));
    return round(round(1 / round(factor * wave)) * round(1 - kept)) + round(round(1 / wave) * kept);
  });
}
