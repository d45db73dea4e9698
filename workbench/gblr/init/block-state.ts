// The arithmetic of one fitting step on the host: the residual W - M of exact 0/1 masks, its gradient to all parameters
// of the blocks in closed form, and AdamW's update without momentum. Loops over typed arrays; only live spans are
// touched where that is enough.

import type { Float64Matrix } from "../../engine/linalg/float64.ts";
import { edgeFunctions } from "../kernels.ts";
import { roundHalfEven } from "../rounding.ts";

/** Rank-1 blocks on the host. */
export interface Blocks {
  /** v, (K, n_in) */
  inputs: Float64Array;
  /** u, (K, n_out) */
  outputs: Float64Array;
  /** (2, K), row 0 the input side */
  widths: Float64Array;
  /** (2, K) */
  locations: Float64Array;
}

const BETA = 0.999;
const EPSILON = 1e-8;

/** One side of all blocks: spans in whole samples, factors with zeros outside them, and gradients. */
class Side {
  readonly n: number;
  readonly starts: Int32Array;
  readonly lengths: Int32Array;
  readonly masked: Float64Array;
  readonly factorGradient: Float64Array;
  /** h[j]: the derivative of a mask at j samples after the edge that moves */
  private readonly slope: Float64Array;
  private readonly factors: Float64Array;

  constructor(n: number, factors: Float64Array) {
    const blocks = factors.length / n;
    this.n = n;
    this.factors = factors;
    this.starts = new Int32Array(blocks);
    this.lengths = new Int32Array(blocks);
    this.masked = new Float64Array(factors.length);
    this.factorGradient = new Float64Array(factors.length);
    this.slope = edgeFunctions({ length: n, sigma: Number.POSITIVE_INFINITY, terms: 1 }).slopes[0] as Float64Array;
  }

  place(widths: Float64Array, locations: Float64Array): void {
    const { n, starts, lengths, masked, factors } = this;
    masked.fill(0);
    for (let k = 0; k < starts.length; k++) {
      const location = locations[k] as number;
      const start = roundHalfEven((location - Math.floor(location)) * n) % n;
      const length = Math.min(n, Math.max(0, roundHalfEven((widths[k] as number) * n)));
      starts[k] = start;
      lengths[k] = length;
      for (let t = 0; t < length; t++) {
        const at = k * n + ((start + t) % n);
        masked[at] = factors[at] as number;
      }
    }
  }

  /**
   * @param correlation Σ residual · the other side's masked factor, (n): the gradient to this side's masked factor
   * @returns gradients to width and location of block k
   */
  receive(k: number, correlation: Float64Array): [width: number, location: number] {
    const { n, starts, lengths, factors, factorGradient, slope } = this;
    const start = starts[k] as number;
    const length = lengths[k] as number;
    let [atEnd, atStart] = [0, 0];
    for (let j = 0; j < n; j++) {
      const value = correlation[j] as number;
      const after = j >= start ? j - start : j - start + n;
      const ofMask = value * (factors[k * n + j] as number);
      factorGradient[k * n + j] = after < length ? value : 0;
      atStart += ofMask * (slope[after] as number);
      atEnd += ofMask * (slope[after >= length ? after - length : after - length + n] as number);
    }
    // An empty or a full window has no edge: there the two sums are the same.
    return [atEnd, atEnd - atStart];
  }
}

/** Parameters, their gradients and the second moments of these. */
export class BlockState {
  private readonly blocks: Blocks;
  private readonly target: Float64Array;
  private readonly power: number;
  private readonly residual: Float64Array;
  private readonly input: Side;
  private readonly output: Side;
  private readonly widthGradient: Float64Array;
  private readonly locationGradient: Float64Array;
  private readonly moments: Record<keyof Blocks, Float64Array>;

  constructor({ values, rows, columns }: Float64Matrix, blocks: Blocks) {
    this.blocks = blocks;
    this.target = values;
    this.power = values.reduce((sum, value) => sum + value * value, 0);
    this.residual = new Float64Array(values.length);
    this.input = new Side(columns, blocks.inputs);
    this.output = new Side(rows, blocks.outputs);
    this.widthGradient = new Float64Array(blocks.widths.length);
    this.locationGradient = new Float64Array(blocks.locations.length);
    this.moments = {
      inputs: new Float64Array(blocks.inputs.length),
      outputs: new Float64Array(blocks.outputs.length),
      widths: new Float64Array(blocks.widths.length),
      locations: new Float64Array(blocks.locations.length),
    };
  }

  /** Fills the gradients of ‖W - M‖² / ‖M‖² and returns the error ‖W - M‖ / ‖M‖ (0 of a zero matrix fitted by zeros). */
  differentiate(): number {
    const { blocks, input, output } = this;
    const count = blocks.widths.length / 2;
    input.place(blocks.widths.subarray(0, count), blocks.locations.subarray(0, count));
    output.place(blocks.widths.subarray(count), blocks.locations.subarray(count));
    const squares = this.computeResidual(count);
    const alongInput = new Float64Array(input.n);
    const alongOutput = new Float64Array(output.n);
    for (let k = 0; k < count; k++) {
      this.correlate(k, alongInput, alongOutput);
      const atInput = input.receive(k, alongInput);
      const atOutput = output.receive(k, alongOutput);
      [this.widthGradient[k], this.locationGradient[k]] = atInput;
      [this.widthGradient[count + k], this.locationGradient[count + k]] = atOutput;
    }
    return squares === 0 ? 0 : Math.sqrt(squares / this.power);
  }

  private computeResidual(count: number): number {
    const { residual, target, input, output } = this;
    const [nIn, nOut] = [input.n, output.n];
    for (let i = 0; i < residual.length; i++) {
      residual[i] = -(target[i] as number);
    }
    for (let k = 0; k < count; k++) {
      const factor = input.masked.subarray(k * nIn, (k + 1) * nIn);
      const segments = spans(input.starts[k] as number, input.lengths[k] as number, nIn);
      for (const [from, to] of spans(output.starts[k] as number, output.lengths[k] as number, nOut)) {
        for (let i = from; i < to; i++) {
          const u = output.masked[k * nOut + i] as number;
          for (const [first, end] of segments) {
            for (let j = first; j < end; j++) {
              residual[i * nIn + j] = (residual[i * nIn + j] as number) + u * (factor[j] as number);
            }
          }
        }
      }
    }
    return residual.reduce((sum, value) => sum + value * value, 0);
  }

  /** The residual along block k's masked factors: `alongInput` = Dᵀ u, `alongOutput` = D v, scaled as the loss is. */
  private correlate(k: number, alongInput: Float64Array, alongOutput: Float64Array): void {
    const { residual, input, output } = this;
    const [nIn, nOut] = [input.n, output.n];
    const scale = 2 / this.power;
    const segments = spans(input.starts[k] as number, input.lengths[k] as number, nIn);
    for (let i = 0; i < nOut; i++) {
      let sum = 0;
      for (const [first, end] of segments) {
        for (let j = first; j < end; j++) {
          sum += (residual[i * nIn + j] as number) * (input.masked[k * nIn + j] as number);
        }
      }
      alongOutput[i] = sum * scale;
    }
    alongInput.fill(0);
    for (const [from, to] of spans(output.starts[k] as number, output.lengths[k] as number, nOut)) {
      for (let i = from; i < to; i++) {
        const u = (output.masked[k * nOut + i] as number) * scale;
        for (let j = 0; j < nIn; j++) {
          alongInput[j] = (alongInput[j] as number) + u * (residual[i * nIn + j] as number);
        }
      }
    }
  }

  /** AdamW with betas (0, 0.999) and no weight decay. */
  update(step: number, rates: { factors: number; structure: number }): void {
    const { blocks, moments, input, output } = this;
    const correction = 1 / (1 - BETA ** step);
    const each: [keyof Blocks, Float64Array, number][] = [
      ["inputs", input.factorGradient, rates.factors],
      ["outputs", output.factorGradient, rates.factors],
      ["widths", this.widthGradient, rates.structure],
      ["locations", this.locationGradient, rates.structure],
    ];
    for (const [name, gradient, rate] of each) {
      stepOne(blocks[name], gradient, { moment: moments[name], rate, correction });
    }
  }
}

function stepOne(
  parameter: Float64Array,
  gradient: Float64Array,
  { moment, rate, correction }: { moment: Float64Array; rate: number; correction: number },
): void {
  for (let i = 0; i < parameter.length; i++) {
    const g = gradient[i] as number;
    const second = BETA * (moment[i] as number) + (1 - BETA) * g * g;
    moment[i] = second;
    parameter[i] = (parameter[i] as number) - (rate * g) / (Math.sqrt(second * correction) + EPSILON);
  }
}

/** A cyclic span as one or two ranges [from, to). */
function spans(start: number, length: number, n: number): [from: number, to: number][] {
  const end = start + length;
  return end <= n
    ? [[start, end]]
    : [
        [start, n],
        [0, end - n],
      ];
}
