// Tucker-2 for convolutions (Kim et al. 2016, arXiv 1511.06530): channels in, a small kernel between fewer channels,
// channels out. Fitted by orthogonal iteration; applied as a 1×1, a k×k and a 1×1 convolution.

import { conv2d, matMul, reshape, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { allowance, expectPaid } from "./budget.ts";
import type { ConvolutionGeometry, ConvolutionStructure } from "./convolution-structure.ts";
import { parametersNamed } from "./parameters.ts";
import type { StructureParameters } from "./structure.ts";
import { isTuckerRank, type KernelSize, type TuckerRanks, tuckerCost, tuckerRanks } from "./tucker-ranks.ts";

export interface TuckerOptions {
  /** exactly these. Default the best that the budget pays for */
  ranks?: TuckerRanks;
  /** times that each side is fitted to the other as it stands. Default 3 */
  rounds?: number;
}

/** Parameters: `input` (n_in, r_in), `core` (rows, columns, r_in, r_out), `output` (r_out, n_out). */
export const tucker: ConvolutionStructure<TuckerOptions> = {
  name: "tucker",
  parameterNames: ["input", "core", "output"],

  /** @throws EngineError when the budget does not pay for the ranks, or for any; ShapeError when they make no sense */
  async fromDense(kernel, budget, { ranks: wanted, rounds = 3, stride = 1 } = {}) {
    expectOperand("tucker", { kernel }, { dtype: "float32", shape: ["rows", "columns", "n_in", "n_out"] });
    expectSetting("tucker", { rounds }, "a whole number from 0", Number.isInteger(rounds) && rounds >= 0);
    const [rows, columns, nIn, nOut] = kernel.shape;
    const size = { positions: rows * columns, nIn, nOut, inputsPerOutput: stride ** 2 };
    if (wanted !== undefined) {
      const ranks = `(${wanted.input}, ${wanted.output})`;
      const fit = Number.isInteger(wanted.input) && Number.isInteger(wanted.output) && isTuckerRank(size, wanted);
      expectSetting("tucker", { ranks }, `integers from 1 to (${nIn}, ${nOut}) that feed each other`, fit);
    }
    const matrix = { nOut, nIn: rows * columns * nIn };
    const allowed = allowance("tucker", budget, matrix);
    const ranks = wanted ?? (await bestRanks(kernel, size, allowed)) ?? { input: 1, output: 1 };
    const what = `ranks (${ranks.input}, ${ranks.output})`;
    expectPaid({ structure: "tucker", what, cost: tuckerCost(size, ranks), budget, ...matrix });
    return { ...(await fit(kernel, ranks, rounds)) };
  },

  apply(parameters, x, geometry = {}) {
    const { stride = 1, padding = 0 } = geometry;
    const { input, core, output } = partsOf(parameters);
    return tidy(() => {
      const inner = linear(x, input, undefined, { layout: "in_out" }) as Tensor4D;
      return linear(conv2d(inner, core, stride, padding), output, undefined, { layout: "in_out" }) as Tensor4D;
    });
  },

  dense(parameters) {
    const { input, core, output } = partsOf(parameters);
    return tidy(() => channels(core, { input: transpose(input), output }));
  },

  async cost(parameters, { stride = 1 }: Pick<ConvolutionGeometry, "stride"> = {}) {
    const { input, core, output } = partsOf(parameters);
    return stride ** 2 * input.size + core.size + output.size;
  },
};

interface TuckerParts {
  input: Tensor2D;
  core: Tensor4D;
  output: Tensor2D;
}

async function bestRanks(kernel: Tensor4D, size: KernelSize, allowed: number): Promise<TuckerRanks | undefined> {
  const spectra = { input: await spectrum(unfolded(kernel, 2)), output: await spectrum(unfolded(kernel, 3)) };
  return tuckerRanks(size, spectra, allowed);
}

async function spectrum(matrix: Tensor2D): Promise<Float32Array> {
  const { u, s, v } = await svd(matrix);
  const values = (await s.data()) as Float32Array;
  for (const tensor of [matrix, u, s, v]) {
    tensor.dispose();
  }
  return values;
}

async function fit(kernel: Tensor4D, ranks: TuckerRanks, rounds: number): Promise<TuckerParts> {
  let input = await directions(unfolded(kernel, 2), ranks.input);
  let output = await directions(unfolded(kernel, 3), ranks.output);
  for (let round = 0; round < rounds; round++) {
    const seenByInput = tidy(() => unfolded(channels(kernel, { output }), 2));
    input.dispose();
    input = await directions(seenByInput, ranks.input);
    const seenByOutput = tidy(() => unfolded(channels(kernel, { input }), 3));
    output.dispose();
    output = await directions(seenByOutput, ranks.output);
  }
  const core = channels(kernel, { input, output });
  const outwards = transpose(output);
  output.dispose();
  return { input, core, output: outwards };
}

/** The first left singular vectors, (rows, rank). Disposes of the matrix. */
async function directions(matrix: Tensor2D, rank: number): Promise<Tensor2D> {
  const { u, s, v } = await svd(matrix, { rank });
  for (const tensor of [matrix, s, v]) {
    tensor.dispose();
  }
  return u;
}

/** A kernel as a matrix with one row for each of its input (axis 2) or output channels (axis 3). */
function unfolded(kernel: Tensor4D, axis: 2 | 3): Tensor2D {
  return tidy(() => reshape(transpose(kernel, axis === 2 ? [2, 0, 1, 3] : [3, 0, 1, 2]), [kernel.shape[axis], -1]));
}

/** A kernel between other channels: input (n_in, r_in) and output (n_out, r_out) say how they are made of its own. */
function channels(kernel: Tensor4D, { input, output }: { input?: Tensor2D; output?: Tensor2D }): Tensor4D {
  const [rows, columns] = kernel.shape;
  return tidy(() => {
    let result = kernel;
    if (input) {
      const inwards = matMul(unfolded(result, 2), input, true);
      result = transpose(reshape(inwards, [rows, columns, result.shape[3], input.shape[1]]), [0, 1, 3, 2]) as Tensor4D;
    }
    if (output) {
      const flat = reshape(result, [-1, result.shape[3]]) as Tensor2D;
      result = reshape(matMul(flat, output), [rows, columns, result.shape[2], output.shape[1]]) as Tensor4D;
    }
    return result;
  });
}

function partsOf(parameters: StructureParameters): TuckerParts {
  const { input, core, output } = parametersNamed("tucker", parameters, ["input", "core", "output"]);
  expectOperand("tucker", { core }, { dtype: "float32", shape: ["rows", "columns", "r_in", "r_out"] });
  const [, , rIn, rOut] = core.shape as Tensor4D["shape"];
  expectOperand("tucker", { input }, { dtype: "float32", shape: ["n_in", rIn] });
  expectOperand("tucker", { output }, { dtype: "float32", shape: [rOut, "n_out"] });
  return { input, core, output } as TuckerParts;
}
