// Tucker-2 decomposition of convolutions (Kim et al. 2016, arXiv 1511.06530): a 1×1 convolution to fewer channels, a
// k×k convolution between these, and a 1×1 convolution to the output channels. It is fitted by higher-order orthogonal
// iteration. As a structure, its matrix is that of the patches under the kernel, so that planning, converting and
// saving treat it as any other. A 1×1 convolution becomes low-rank instead.

import { conv2d, matMul, reshape, type Tensor2D, type Tensor4D, tidy, transpose } from "@tensorflow/tfjs-core";
import { STORED_TUCKER } from "../../hub/model-folder/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { svd } from "../engine/linalg/index.ts";
import { linear } from "../engine/ops/index.ts";
import { expectOperand, expectSetting } from "../engine/ops/operands.ts";
import { allowance, expectPaid, frobeniusErrors } from "./budget.ts";
import { kernelOf, matrixOf } from "./convolution.ts";
import { lowrank } from "./lowrank.ts";
import {
  type ConvolutionGeometry,
  parametersNamed,
  type Structure,
  type StructureKind,
  type StructureParameters,
} from "./structure.ts";

interface TuckerOptions {
  /** stride of the convolution: there are stride² input positions per output position. Default 1 */
  stride?: number;
  /** exactly these ranks. Default the best ranks affordable within the budget */
  ranks?: TuckerRanks;
  /** iterations, each of which fits one side while the other is fixed. Default 3 */
  rounds?: number;
}

/**
 * Approximates a kernel within a budget.
 * @param kernel float32 (rows, columns, n_in, n_out)
 * @param budget multiply-adds per output position as a share of the dense rows · columns · n_in · n_out
 * @throws EngineError when the ranks, or ranks (1, 1), are not affordable within the budget; ShapeError for invalid
 *   ranks
 */
export async function tuckerFactors(
  kernel: Tensor4D,
  budget: number,
  { ranks: wanted, rounds = 3, stride = 1 }: TuckerOptions = {},
): Promise<StructureParameters> {
  expectOperand("tucker", { kernel }, { dtype: "float32", shape: ["rows", "columns", "n_in", "n_out"] });
  expectSetting("tucker", { rounds }, "a whole number from 0", Number.isInteger(rounds) && rounds >= 0);
  const [rows, columns, nIn, nOut] = kernel.shape;
  const size = { positions: rows * columns, nIn, nOut, inputsPerOutput: stride ** 2 };
  if (wanted !== undefined) {
    const ranks = `(${wanted.input}, ${wanted.output})`;
    const fit = Number.isInteger(wanted.input) && Number.isInteger(wanted.output) && isTuckerRank(size, wanted);
    expectSetting(
      "tucker",
      { ranks },
      `integers from 1 to (${nIn}, ${nOut}) with r_in at most positions · r_out and r_out at most positions · r_in`,
      fit,
    );
  }
  const matrix = { nOut, nIn: rows * columns * nIn };
  const allowed = allowance("tucker", budget, matrix);
  const ranks = wanted ?? (await bestRanks(kernel, size, allowed)) ?? { input: 1, output: 1 };
  const what = `ranks (${ranks.input}, ${ranks.output})`;
  expectPaid({ structure: "tucker", what, cost: tuckerCost(size, ranks), budget, ...matrix });
  return { ...(await fit(kernel, ranks, rounds)) };
}

/**
 * The convolution of x (batch, height, width, n_in), as (batch, height', width', n_out). Differentiable in x and all
 * parameters.
 */
export function tuckerConvolution(
  parameters: StructureParameters,
  x: Tensor4D,
  { stride = 1, padding = 0 }: Partial<ConvolutionGeometry> = {},
): Tensor4D {
  const { input, core, output } = partsOf(parameters);
  return tidy(() => {
    const inner = linear(x, input, undefined, { layout: "in_out" }) as Tensor4D;
    return linear(conv2d(inner, core, stride, padding), output, undefined, { layout: "in_out" }) as Tensor4D;
  });
}

/** The kernel, (rows, columns, n_in, n_out). */
export function tuckerKernel(parameters: StructureParameters): Tensor4D {
  const { input, core, output } = partsOf(parameters);
  return tidy(() => channels(core, { input: transpose(input), output }));
}

const costOfSizes = (sizes: { input: number; core: number; output: number }, stride = 1): number =>
  stride ** 2 * sizes.input + sizes.core + sizes.output;

const { name } = STORED_TUCKER;

/** Parameters: `input` (n_in, r_in), `core` (rows, columns, r_in, r_out), `output` (r_out, n_out). */
export const tuckerKind: StructureKind = {
  name,
  stored: STORED_TUCKER,
  needsConvolution: true,
  hasRank: false,
  // A 1×1 kernel is a matrix. Its core would be a further factor between two thin ones, without any gain.
  forLayer({ name: layer, convolution }) {
    const { kernel: [rows, columns] = [] } = convolution ?? {};
    if (convolution) return rows === 1 && columns === 1 ? lowrank : tuckerStructure(convolution);
    throw new EngineError(`${name} is for convolutions, ${layer} is a linear layer`, "choose another structure");
  },
  // Stored layers may have such a core.
  forStored: (_, { convolution }) => tuckerStructure(convolution as ConvolutionGeometry),
  async inspect({ shapes, stride }) {
    const size = (part: string) => (shapes[part] ?? []).reduce((product, side) => product * side, 1);
    return { cost: costOfSizes({ input: size("input"), core: size("core"), output: size("output") }, stride) };
  },
};

/** The structure of layers with this kernel. */
function tuckerStructure(convolution: ConvolutionGeometry): Structure {
  const { kernel, stride } = convolution;
  const positions = kernel[0] * kernel[1];
  const matrix = (parameters: StructureParameters): Tensor2D => tidy(() => matrixOf(tuckerKernel(parameters)));
  return {
    ...tuckerKind,
    parameterNames: ["input", "core", "output"],
    async fromDense(weight, budget) {
      const whole = kernelOf(weight, convolution);
      try {
        return await tuckerFactors(whole, budget, { stride });
      } finally {
        whole.dispose();
      }
    },
    // An upper bound, because the ranks depend on the kernel's values.
    costWithin({ nIn, nOut }, budget) {
      const least = { positions, nIn: nIn / positions, nOut, inputsPerOutput: stride ** 2 };
      const cost = tuckerCost(least, { input: 1, output: 1 });
      expectPaid({ structure: name, what: "ranks (1, 1)", cost, budget, nIn, nOut });
      return Math.min(allowance(name, budget, { nIn, nOut }), nIn * nOut);
    },
    // The rows of x are patches. Models call `convolve` instead.
    apply: (parameters, x) => tidy(() => linear(x, matrix(parameters))),
    dense: matrix,
    async cost(parameters) {
      const { input, core, output } = partsOf(parameters);
      return costOfSizes({ input: input.size, core: core.size, output: output.size }, stride);
    },
    convolve: tuckerConvolution,
  };
}

/** The three factors. */
interface TuckerParts {
  input: Tensor2D;
  core: Tensor4D;
  output: Tensor2D;
}

/** The best affordable ranks of a kernel; undefined if ranks (1, 1) are not affordable. */
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

/** Higher-order orthogonal iteration: fits the directions of both sides in turn, then the core. */
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

/** A kernel with other channels, by the products with input (n_in, r_in) and output (n_out, r_out). */
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

/** The sizes of a convolution that determine the cost of a decomposition. */
export interface KernelSize {
  /** rows · columns */
  positions: number;
  nIn: number;
  nOut: number;
  /** input positions per output position, stride² */
  inputsPerOutput: number;
}

/** The numbers of channels between the three convolutions. */
export interface TuckerRanks {
  input: number;
  output: number;
}

/** Multiply-adds per output position, of all three convolutions. */
export const tuckerCost = ({ positions, nIn, nOut, inputsPerOutput }: KernelSize, { input, output }: TuckerRanks) =>
  inputsPerOutput * nIn * input + positions * input * output + output * nOut;

/** Whether ranks are at most the number of channels, and at most the rank of the core unfolded on that side. */
export const isTuckerRank = ({ positions, nIn, nOut }: KernelSize, { input, output }: TuckerRanks): boolean =>
  input >= 1 &&
  output >= 1 &&
  input <= Math.min(nIn, positions * output) &&
  output <= Math.min(nOut, positions * input);

/** Singular values of the kernel unfolded by input and by output channels, largest first. */
export interface ModeSpectra {
  input: ArrayLike<number>;
  output: ArrayLike<number>;
}

/**
 * The affordable ranks with the smallest bound on the error: the sum of the energies omitted on each side (De Lathauwer
 * et al. 2000, property 10).
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
