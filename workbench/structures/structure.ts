// What a structure of linear layers is: one object that answers all that the workbench asks about it, from the title in
// tables to the way in which it is trained, saved and exported. A structure defined anywhere works everywhere once it is
// registered (registry.ts); docs/add-a-structure.md tells how to write one.
//
// A kind (`StructureKind`) is what is known before a layer is: facts and `forLayer`. Bound to a layer it is a
// `Structure`, which computes. Where sizes, kernels and masks do not matter both are the same object.

import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import type { StoredLayer, StoredStructure } from "../../hub/model-folder/index.ts";
import { EngineError, ShapeError } from "../engine/core/errors.ts";
import type { MaskSettings } from "../gblr/mask.ts";
import type { MatrixSize } from "./budget.ts";

/** Tensors by parameter name. */
export type StructureParameters = Readonly<Record<string, Tensor>>;

/** How a kernel moves over an image; rows and columns alike. */
export interface ConvolutionGeometry {
  /** rows and columns */
  readonly kernel: readonly [number, number];
  readonly stride: number;
  /** zeros on each side of rows and columns */
  readonly padding: number;
}

/** A layer that is, or is to be, held in a structure. */
export interface LayerToHold extends MatrixSize {
  readonly name: string;
  /** of a convolution; n_in is then rows · columns · channels */
  readonly convolution?: ConvolutionGeometry;
}

/**
 * What parameters can start as. `svd`: nearest in the entries; `search`: GBLR's budgeted block search; `activation`:
 * nearest in the outputs, for inputs as calibration saw them.
 */
export const INITS = ["svd", "search", "activation"] as const;
/** Name of an initialization. */
export type Init = (typeof INITS)[number];

/** A layer in a conversion, with what its structure needs to start. */
export interface StartOptions {
  /** bound to the layer */
  structure: Structure;
  /** `allowed` and `cost` in multiply-adds a row: what it may cost, and what the plan says that it will */
  layer: LayerToHold & { readonly allowed: number; readonly cost: number };
  /** Σ (n_in, n_in) of its inputs: `activation` needs it */
  covariance?: Tensor2D | undefined;
  /** GBLR: rules of gblr/init for widths and locations */
  widths?: string;
  locations?: string;
  /** default 0 */
  seed?: number;
  /** optimizer steps of `search` */
  searchSteps: number;
  /** ends a search between two of its events */
  signal?: AbortSignal | undefined;
}

export interface SearchProgress {
  kind: "search";
  name: string;
  step: number;
  steps: number;
  /** ‖W − W'‖ / ‖W‖ so far */
  error: number;
}

export interface StartedLayer {
  /** by the structure's names, the caller's to dispose */
  parameters: StructureParameters;
  /** `svd` where a search found nothing nearer */
  by: Init;
}

/** @param weight float32 (n_out, n_in) */
export type Start = (weight: Tensor2D, options: StartOptions) => AsyncGenerator<SearchProgress, StartedLayer>;

/** The live blocks of a matrix (n_out, n_in): block b covers `length` samples from `start` on, cyclic, on both sides. */
export interface BlockLayout extends MatrixSize {
  /** (B), in samples */
  startIn: ArrayLike<number>;
  lengthIn: ArrayLike<number>;
  startOut: ArrayLike<number>;
  lengthOut: ArrayLike<number>;
}

/** What a layer in a file costs and, where it is made of blocks, where these lie. */
export interface Inspected {
  /** multiply-adds a row */
  cost: number;
  /** `all`: how many there are, dead ones counted; `rank`: of each */
  blocks?: { layout: BlockLayout; all: number; rank: number };
}

/** A structure and the parameters of one layer in it. */
export interface HeldMatrix {
  structure: Structure;
  parameters: StructureParameters;
}

export interface StructureKind {
  /** as flags name it, e.g. `lowrank` */
  readonly name: string;
  /** as files, tables, cards and Python know it */
  readonly stored: StoredStructure;
  /** the layer stays an ordinary one. Default false */
  readonly isDense?: boolean;
  /** only made by loading, not by converting. Default false */
  readonly isStoredOnly?: boolean;
  /** only convolutions can be held in it, and only whole. Default false */
  readonly needsConvolution?: boolean;
  /** its cost is one rank of factors, so that a budget can be shared out by singular values. Default true */
  readonly hasRank?: boolean;
  /**
   * it learns the widths of its blocks: rules on widths act on them, published settings give them, and files hold the
   * whole layer beside the packed one. Default false
   */
  readonly hasWidths?: boolean;
  /** what its parameters can start as, beside `svd` */
  readonly starts?: Readonly<Partial<Record<Init, Start>>>;

  /**
   * The structure as this layer has it.
   * @param masks settings of the model's masks, read anew at each product
   * @throws EngineError when the layer cannot be held so
   */
  forLayer(layer: LayerToHold, masks: MaskSettings): Structure;
  /** The structure as a file holds the layer. Default `forLayer` */
  forStored?(stored: StoredLayer, layer: LayerToHold, masks: MaskSettings): Structure;
  /** Cost and blocks of a layer in a file, without its tensors. Default one multiply-add for each stored value */
  inspect?(stored: StoredLayer, options: { sigma?: number | undefined }): Promise<Inspected>;
}

export interface Structure<Options extends object = object> extends Omit<StructureKind, "forLayer"> {
  /** in the order in which they are saved; `bias` is not among them, it belongs to the layer */
  readonly parameterNames: readonly string[];
  /** what else config.json says of the layer: K, of GBLR */
  readonly blocks?: number;
  /** whether its parameters learn. Default true */
  readonly isTrainable?: boolean;
  /** parameters that say where blocks lie: they learn in a group of their own. Default none */
  readonly places?: readonly string[];
  forLayer?(layer: LayerToHold, masks: MaskSettings): Structure;

  /**
   * The nearest matrix of this structure that the budget allows.
   * @param weight float32 (n_out, n_in)
   * @param budget multiply-adds a row as a share of the dense n_out · n_in; the result's cost never exceeds it
   */
  fromDense(weight: Tensor2D, budget: number, options?: Options): Promise<StructureParameters>;
  /**
   * Multiply-adds a row of what `fromDense` makes of any matrix of this size, at most, without making it: sizes and
   * budget alone decide, unless an option asks to look at the matrix.
   * @throws EngineError when the budget does not pay for the structure
   */
  costWithin(size: MatrixSize, budget: number, options?: Options): number;
  /** x (…, n_in) → (…, n_out), differentiable in x and all parameters */
  apply(parameters: StructureParameters, x: Tensor): Tensor;
  /** the matrix itself, (n_out, n_in) */
  dense(parameters: StructureParameters): Tensor2D;
  /** multiply-adds that `apply` needs a row of x */
  cost(parameters: StructureParameters): Promise<number>;

  /**
   * The convolution with the kernel that the matrix is, differentiable as `apply` is.
   * Default: with the kernel of `dense`.
   * @param x float32 (batch, height, width, channels)
   * @returns float32 (batch, height', width', n_out)
   */
  convolve?(parameters: StructureParameters, x: Tensor4D, geometry: ConvolutionGeometry): Tensor4D;
  /** the matrix as evaluation has it, (n_out, n_in). Default `dense` */
  denseInEvaluation?(parameters: StructureParameters): Tensor2D;
  /**
   * The form that multiplies fastest without learning, its tensors the caller's to dispose of.
   * @param options.packed whether the packed product is the fastest here
   * @returns undefined: as it is. Default that
   */
  fastest?(parameters: StructureParameters, options: MatrixSize & { packed: boolean }): Promise<HeldMatrix | undefined>;
  /** What files hold for inference, where that is not the parameters themselves; the caller's to dispose of. */
  pack?(parameters: StructureParameters): Promise<HeldMatrix>;
  /** Numbers that are saved beside the parameters to train on, one tensor without sides each. */
  scalars?(): Readonly<Record<string, number>>;
  /** The parameters as the reference's checkpoints have them. Default: it has no such layers */
  toReference?(parameters: StructureParameters, size: MatrixSize): Promise<ReferenceBlocks>;
}

export interface ReferenceBlocks {
  /** lr_weight1, lr_weight2, widths, locations */
  parameters: Readonly<Record<string, Tensor>>;
  /** whether the parameters are the caller's to dispose of */
  isCopy: boolean;
  /** smoothness of the masks; undefined: no Gaussian */
  sigma?: number | undefined;
}

/** @throws ShapeError such as `lowrank: right is missing, there is left` */
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
      throw new ShapeError(`${structure}: ${name} is missing, there is ${present}`);
    }
    found[name] = tensor;
  }
  return found;
}

/** @throws EngineError when calibration has not seen the layer */
export function expectCovariance({ name }: LayerToHold, covariance: Tensor2D | undefined): Tensor2D {
  if (covariance) return covariance;
  throw new EngineError(`init activation: ${name} has no covariance of its inputs`, "calibrate it first");
}

/** Yields to the event loop so that signals and timers run between two pieces of work. */
export const eventLoopTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
