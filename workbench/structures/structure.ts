// The interface of structures. A structure is one object with everything that the workbench needs to know about it,
// from its title in tables to how it is trained, saved and exported. Once registered (registry.ts), a structure works
// in all verbs; docs/add-a-structure.md explains how to write one.
//
// A `StructureKind` has what does not depend on a layer, and `forLayer`, which binds it to a layer. The result is a
// `Structure`, which computes. Both are the same object if the structure does not depend on the layer's sizes, kernel
// or masks.

import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import type { StoredLayer, StoredStructure } from "../../hub/model-folder/index.ts";
import { EngineError, ShapeError } from "../engine/core/errors.ts";
import type { Triples } from "../gblr/init/index.ts";
import type { MaskSettings } from "../gblr/mask.ts";
import type { TileSummary } from "../gblr/tiles/summary.ts";
import type { MatrixSize } from "./budget.ts";
import type { RankCost } from "./rank-ladder.ts";

/** Tensors by parameter name. */
export type StructureParameters = Readonly<Record<string, Tensor>>;

/** How a kernel moves over an image; the same for rows and columns. */
export interface ConvolutionGeometry {
  /** rows and columns */
  readonly kernel: readonly [number, number];
  readonly stride: number;
  /** zeros on each side of rows and columns */
  readonly padding: number;
}

/** A layer that has, or will have, a structure. */
export interface LayerToHold extends MatrixSize {
  readonly name: string;
  /** for a convolution, whose n_in is rows · columns · channels */
  readonly convolution?: ConvolutionGeometry;
}

/**
 * Initializations. `svd` minimizes the error of the entries, `activation` the output error for the covariance found by
 * calibration, and `search` is the budgeted block search of GBLR. `asvd` and `fwsvd` are published decompositions with a
 * weight for each input, and `wanda` is a published rule of pruning.
 */
export const INITS = ["svd", "search", "activation", "asvd", "fwsvd", "wanda"] as const;
/** Name of an initialization. */
export type Init = (typeof INITS)[number];

/** The properties of an initialization. */
export interface InitKind {
  /** in titles of variants */
  title: string;
  /** whether it cannot be computed without the covariance of a layer's inputs */
  needsCovariance?: boolean;
  /** whether it needs `importance`, which is computed from gradients */
  needsImportance?: boolean;
  /** whether it minimizes the output error if the covariance is known */
  isByOutputs?: boolean;
}

/** The initializations by name. */
export const INIT_KINDS: Readonly<Record<Init, InitKind>> = {
  svd: { title: "SVD" },
  search: { title: "block search", isByOutputs: true },
  activation: { title: "activation-aware", needsCovariance: true, isByOutputs: true },
  asvd: { title: "ASVD", needsCovariance: true },
  fwsvd: { title: "FWSVD", needsImportance: true },
  wanda: { title: "Wanda", needsCovariance: true },
};

/** Whether an initialization cannot be computed without calibration data. */
export const needsCalibration = (init: Init): boolean =>
  Boolean(INIT_KINDS[init].needsCovariance || INIT_KINDS[init].needsImportance);

/** What an initialization is given. */
export interface StartOptions {
  /** the structure, bound to the layer */
  structure: Structure;
  /** with the allowed and the planned multiply-adds per row */
  layer: LayerToHold & { readonly allowed: number; readonly cost: number };
  /** Σ (n_in, n_in) of the layer's inputs; required where `INIT_KINDS` says so */
  covariance?: Tensor2D | undefined;
  /**
   * (n_in), float32, at least 0; required where `INIT_KINDS` says so. For each input, the sum over outputs of the mean of
   * (∂L/∂W)² over calibration batches, where L is the loss. A common factor does not matter
   */
  importance?: Tensor1D | undefined;
  /** GBLR: rule for initial widths, see gblr/init/rules.ts */
  widths?: string;
  /** GBLR: rule for initial locations */
  locations?: string;
  /** random seed. Default 0 */
  seed?: number;
  /** all singular triples of the matrix, if they are known, so that it is not decomposed again */
  triples?: Triples | undefined;
  /** optimizer steps of a `search` by entries */
  searchSteps: number;
  /** GBLR: blocks of a `search` by outputs begin and end at multiples of this number of samples. Default 1 */
  quantum?: number | undefined;
  /** GBLR: rank of the blocks of a `search` by outputs, whose ranks share a span. Default 1 */
  blockRank?: number | undefined;
  /** GBLR: blocks of a `search` by outputs do not cancel each other, so that they can be trained. Default false */
  stableBlocks?: boolean | undefined;
  /** most evaluations of the output error by the refit of `activation`, see fit/refit.ts. Default 200 */
  refitEvaluations?: number | undefined;
  /** stops an initialization between two of its events */
  signal?: AbortSignal | undefined;
}

/** Progress of an iterative initialization of one layer: a block search, or a refit to outputs. */
export interface SearchProgress {
  kind: "search";
  name: string;
  step: number;
  steps: number;
  /** the relative error that is minimized, so far: ‖W − W'‖ / ‖W‖, or that of the outputs */
  error: number;
}

/** The result of an initialization. */
export interface StartedLayer {
  /** by parameter name; the caller disposes of them */
  parameters: StructureParameters;
  /** the initialization used; `svd` if a search did not find a smaller error */
  by: Init;
  /** GBLR: the tiles that a search by outputs has fitted, and how much each lowers the error */
  tiles?: readonly TileSummary[];
}

/**
 * An initialization.
 * @param weight float32 (n_out, n_in)
 */
export type Start = (weight: Tensor2D, options: StartOptions) => AsyncGenerator<SearchProgress, StartedLayer>;

/**
 * The ranks of the parts of a matrix at each of several sizes, the smallest first. No rank falls. The matrix of a size
 * is the sum of the first ranks of each part; the parameters have all ranks, part by part.
 */
export type SizeRanks = readonly (readonly number[])[];

/** The result of an initialization for several sizes. */
export interface NestedLayer extends StartedLayer {
  ranks: SizeRanks;
  /** multiply-adds per row at the largest size */
  cost: number;
}

/**
 * An initialization for several sizes.
 * @param options.allowed multiply-adds per row at each size, the smallest first
 */
export type NestedStart = (
  weight: Tensor2D,
  options: StartOptions & { init: Init; allowed: readonly number[] },
) => AsyncGenerator<SearchProgress, NestedLayer>;

/** A matrix that can be cut to the first ranks of its parts. */
export interface NestedMatrix {
  /** multiply-adds per row after a cut, at most */
  cost(ranks: readonly number[]): number;
  /** The matrix with these ranks. The caller disposes of its parameters. */
  cut(ranks: readonly number[]): Promise<HeldMatrix>;
}

/** The live blocks of a matrix (n_out, n_in): on each side, block b covers `length` samples from `start` on, cyclic. */
export interface BlockLayout extends MatrixSize {
  /** all (B), in samples */
  startIn: ArrayLike<number>;
  lengthIn: ArrayLike<number>;
  startOut: ArrayLike<number>;
  lengthOut: ArrayLike<number>;
}

/** The cost of a stored layer, and the layout of its blocks if it has blocks. */
export interface Inspected {
  /** multiply-adds per row */
  cost: number;
  /** `all`: the number of blocks, including dead ones; `rank`: the rank of each block */
  blocks?: { layout: BlockLayout; all: number; rank: number };
  /** the forms that the layer can have in inference, if there are several */
  forms?: readonly FormCost[];
}

/** The matrix of one layer: its structure and parameters. */
export interface HeldMatrix {
  structure: Structure;
  parameters: StructureParameters;
}

/**
 * The forms of matrices in inference: the dense matrix, two low-rank factors, rank-1 blocks one by one, panels of blocks
 * (gblr/panels.ts), and tiles of blocks (gblr/block-tiles.ts).
 */
export const FORM_NAMES = ["dense", "lowrank", "packed", "panels", "tiles"] as const;
/** Name of a form in inference. */
export type FormName = (typeof FORM_NAMES)[number];

/** What a form costs. */
export interface FormCost {
  name: FormName;
  /** multiply-adds per row */
  cost: number;
}

/** A form that a matrix can have in inference. */
export interface InferenceForm extends FormCost {
  /** Makes it. The caller disposes of the tensors. */
  make(): Promise<HeldMatrix>;
}

/** The properties of a structure that do not depend on a layer. */
export interface StructureKind {
  /** name in flags, e.g. `lowrank` */
  readonly name: string;
  /** its description for files, tables, cards and Python */
  readonly stored: StoredStructure;
  /** whether it is the ordinary dense layer. Default false */
  readonly isDense?: boolean;
  /** whether it results only from loading, not from converting. Default false */
  readonly isStoredOnly?: boolean;
  /** whether only whole convolutions can have it. Default false */
  readonly needsConvolution?: boolean;
  /** whether its cost is determined by a rank, so that a budget can be allocated by singular values. Default true */
  readonly hasRank?: boolean;
  /**
   * whether the widths of its blocks are learned. Then shrink rules apply to them, plans can give rules for them, and
   * files contain the trainable form beside the packed one. Default false
   */
  readonly hasWidths?: boolean;
  /** whether entries of parameters that are 0 stay 0 in training, as in pruned matrices. Default false */
  readonly keepsZeros?: boolean;
  /**
   * by initialization, what the best matrix of a rank costs, if that is not the cost of two factors. Allocations by
   * outputs and by the loss use it
   */
  readonly rankCosts?: Readonly<Partial<Record<Init, RankCost>>>;
  /** initializations other than `svd` */
  readonly starts?: Readonly<Partial<Record<Init, Start>>>;
  /** initializations for several sizes at once. Default: the structure cannot hold a matrix at several sizes */
  readonly nested?: Readonly<Partial<Record<Init, NestedStart>>>;

  /**
   * The structure bound to this layer.
   * @param masks settings of the model's masks, which are read at each product
   * @throws EngineError when the layer cannot have this structure
   */
  forLayer(layer: LayerToHold, masks: MaskSettings): Structure;
  /** The structure of a stored layer. Default `forLayer` */
  forStored?(stored: StoredLayer, layer: LayerToHold, masks: MaskSettings): Structure;
  /** Cost and blocks of a stored layer. Default: one multiply-add per stored value, no blocks */
  inspect?(stored: StoredLayer, options: { sigma?: number | undefined }): Promise<Inspected>;
}

/** A structure that is bound to a layer. It computes with parameters that the caller holds. */
export interface Structure<Options extends object = object> extends Omit<StructureKind, "forLayer"> {
  /** parameters in the order in which they are saved, without `bias`, which belongs to the layer */
  readonly parameterNames: readonly string[];
  /** K, which config.json stores for GBLR layers */
  readonly blocks?: number;
  /** whether its parameters are trainable. Default true */
  readonly isTrainable?: boolean;
  /** parameters that are indices, so that they are never trained or fitted. Default none */
  readonly fixed?: readonly string[];
  /** parameters that determine the places of blocks, which are a parameter group of their own. Default none */
  readonly places?: readonly string[];
  forLayer?(layer: LayerToHold, masks: MaskSettings): Structure;

  /**
   * Approximates a matrix within a budget.
   * @param weight float32 (n_out, n_in)
   * @param budget maximum multiply-adds per row as a share of the dense n_out · n_in
   */
  fromDense(weight: Tensor2D, budget: number, options?: Options): Promise<StructureParameters>;
  /**
   * Upper bound of the multiply-adds per row of the result of `fromDense`, from sizes and budget alone. It is exact
   * unless the result depends on the matrix's values.
   * @throws EngineError when the structure is not affordable within the budget
   */
  costWithin(size: MatrixSize, budget: number, options?: Options): number;
  /** x (…, n_in) → (…, n_out), differentiable in x and all parameters */
  apply(parameters: StructureParameters, x: Tensor): Tensor;
  /** the matrix, (n_out, n_in), differentiable in all parameters */
  dense(parameters: StructureParameters): Tensor2D;
  /** multiply-adds per row of x */
  cost(parameters: StructureParameters): Promise<number>;

  /**
   * The convolution of x with the kernel that the matrix holds, differentiable as `apply`.
   * Default: the convolution with the kernel that `dense` returns.
   * @param x float32 (batch, height, width, channels)
   * @returns float32 (batch, height', width', n_out)
   */
  convolve?(parameters: StructureParameters, x: Tensor4D, geometry: ConvolutionGeometry): Tensor4D;
  /**
   * The parameters that change if W becomes W D, with D diagonal: those of the inputs, multiplied with the scale.
   * Structures that have it are refitted to outputs in fewer steps.
   * @param scale the diagonal of D, (n_in)
   */
  scaleInputs?(parameters: StructureParameters, scale: Tensor1D): StructureParameters;
  /**
   * The same matrix, by parameters for which the curvatures of the error are about equal, so that a refit needs fewer
   * steps. Default: the parameters themselves
   */
  balanced?(parameters: StructureParameters): StructureParameters;
  /**
   * How far one step of training may move the entries of parameters, relative to those of a dense matrix, so that the
   * matrix moves about as far (factor-sizes.ts): at most 1, in shapes that broadcast to those of the parameters. The caller
   * disposes of them. Default 1 for all
   */
  stepSizes?(parameters: StructureParameters): Readonly<Record<string, Tensor>>;
  /**
   * How much larger the terms of the matrix are than their sum: √(Σ ‖W_k‖²) / ‖W‖, 1 for orthogonal terms. Default: they
   * are not compared
   */
  cancellation?(parameters: StructureParameters): Promise<number>;
  /** the matrix in evaluation mode, (n_out, n_in). Default `dense` */
  denseInEvaluation?(parameters: StructureParameters): Tensor2D;
  /**
   * Offers the forms that the matrix can have in inference to `choose`, and returns the chosen one, which the caller
   * disposes of. Default: it has no other form.
   */
  withForms?(
    parameters: StructureParameters,
    choose: (forms: readonly InferenceForm[]) => Promise<HeldMatrix>,
  ): Promise<HeldMatrix>;
  /** The form for inference in files; the caller disposes of its tensors. Default: the parameters themselves. */
  pack?(parameters: StructureParameters): Promise<HeldMatrix>;
  /**
   * Reads a matrix of several sizes for cuts. Default: it has one size
   * @throws ShapeError when the parameters do not have these ranks
   */
  nestedMatrix?(parameters: StructureParameters, ranks: SizeRanks): Promise<NestedMatrix>;
  /** Numbers that are saved with the trainable form, each as a tensor of rank 0. Default none. */
  scalars?(): Readonly<Record<string, number>>;
  /** The parameters in the form of the reference's checkpoints. Default: the reference has no such layers */
  toReference?(parameters: StructureParameters, size: MatrixSize): Promise<ReferenceBlocks>;
}

/** A GBLR layer in the form of the reference's checkpoints. */
export interface ReferenceBlocks {
  /** lr_weight1, lr_weight2, widths, locations */
  parameters: Readonly<Record<string, Tensor>>;
  /** whether the caller must dispose of the parameters */
  isCopy: boolean;
  /** smoothness of the masks; undefined for no Gaussian */
  sigma?: number | undefined;
}

/**
 * Checks that all parameters of these names are present, and returns them.
 * @throws ShapeError such as `lowrank: right is missing, got left`
 */
export function parametersNamed<Name extends string>(
  structure: string,
  parameters: StructureParameters,
  names: readonly Name[],
): Record<Name, Tensor> {
  const found = {} as Record<Name, Tensor>;
  for (const name of names) {
    const tensor = parameters[name];
    if (tensor === undefined) {
      const present = Object.keys(parameters).join(", ") || "nothing";
      throw new ShapeError(`${structure}: ${name} is missing, got ${present}`);
    }
    found[name] = tensor;
  }
  return found;
}

/**
 * Checks that the covariance of a layer is present, and returns it.
 * @throws EngineError when the layer was not calibrated
 */
export function expectCovariance(
  { name }: LayerToHold,
  covariance: Tensor2D | undefined,
  init: Init = "activation",
): Tensor2D {
  if (covariance) return covariance;
  throw new EngineError(`init ${init}: ${name} has no covariance of its inputs`, "calibrate it first");
}

/** Yields to the event loop so that signals and timers run between two pieces of work. */
export const eventLoopTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
