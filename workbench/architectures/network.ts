// Describes a network as a list of modules, in the order in which their parameters are saved. Each module names its
// parameters, the linear layer or convolution that may be structured, and its multiply-adds. Loading, saving, the
// selection of layers, plans and both counts of multiply-adds are derived from this list. The list holds no tensors.

import type { WeightLayout } from "../engine/ops/index.ts";

/** Geometry of a convolution. Stride and padding are the same for rows and columns. */
export interface ConvolutionInfo {
  /** rows and columns */
  kernel: readonly [number, number];
  stride: number;
  /** zeros on each side of rows and columns */
  padding: number;
}

/** A linear layer, or a convolution seen as a linear layer that is applied to the patches under its kernel. */
export interface LayerInfo {
  /** name of its weight among the parameters, without `.weight` */
  name: string;
  /** for a convolution rows · columns · channels, in this order */
  nIn: number;
  nOut: number;
  /** layout of the dense weight: `in_out` (GPT-2, kernels) is (n_in, n_out), `out_in` (most others) is (n_out, n_in) */
  layout: WeightLayout;
  /** rows that go through the layer for one image or one full sequence; for a convolution its output positions */
  rows: number;
  /**
   * Rows that the reference implementation counts for this layer if it is structured. For a dense layer it counts
   * `rows`. 0 means that the reference always counts the layer as dense. Default: `rows`
   */
  referenceRows?: number;
  /**
   * Name of another layer. The reference does not count this layer if both are structured and the other one has cost 0,
   * because its counter removes computations that no output depends on. Default: none
   */
  referenceNeeds?: string;
  /**
   * Name of the part to which each count adds this layer, dense or structured. Default: `linears` or `convolutions` if
   * it is dense, and `structured linears` or `structured convolutions` if it is structured
   */
  countedAs?: Partial<Record<"reference" | "actual", string>>;
  /** whether the published experiments convert this layer. Default true */
  inRecipe?: boolean;
  convolution?: ConvolutionInfo;
  /**
   * set if this layer is one position of the kernel of the convolution `of`, which maps channels to channels. Positions
   * are numbered row by row from 0
   */
  position?: { of: string; index: number; convolution: ConvolutionInfo };
}

/**
 * Initial values of a parameter in training from scratch. `normal` has mean 0 and the standard deviation `deviation`;
 * `uniform` is in [-bound, bound).
 */
export type Start =
  | { kind: "zeros" }
  | { kind: "ones" }
  | { kind: "constant"; value: number }
  | { kind: "normal"; deviation: number }
  | { kind: "uniform"; bound: number };

/** A parameter without its values. */
export interface ParameterInfo {
  /** shape in memory */
  shape: readonly number[];
  start: Start;
  /** whether it is saved but not trained, such as running statistics. Default false */
  buffer?: boolean;
  /**
   * whether it is a kernel: (rows, columns, in, out) in memory, (out, in, rows, columns) in checkpoints. Default false
   */
  kernel?: boolean;
}

/** Multiply-adds of a part that cannot be structured, such as norms, attention products, embeddings and heads. */
export interface CountedPart {
  /** multiply-adds of parts with the same name are added up */
  name: string;
  multiplyAdds: number;
  /**
   * The counts that include it, see count.ts. `dense reference` means the reference count of a model without structured
   * layers. Default `both`
   */
  in?: "both" | "actual" | "reference" | "dense reference";
}

/** A part of a network: its parameters, its layer that may be structured, and its further multiply-adds. */
export interface Module {
  /** its parameters by name, in the order in which they are saved. Default: none */
  parameters?: readonly (readonly [name: string, info: ParameterInfo])[];
  /** the layer that may be structured; its weight is the parameter `<name>.weight`. Default: none */
  layer?: LayerInfo;
  /** parts that cannot be structured. Default: none */
  parts?: readonly CountedPart[];
}

/** Initial values 0. */
export const ZEROS: Start = { kind: "zeros" };
/** Initial values 1. */
export const ONES: Start = { kind: "ones" };
/** Normally distributed initial values with mean 0. @param deviation standard deviation */
export const normal = (deviation: number): Start => ({ kind: "normal", deviation });
/** Uniformly distributed initial values in [-bound, bound). */
export const uniform = (bound: number): Start => ({ kind: "uniform", bound });

/** A module of one parameter that does not belong to a layer, such as an embedding table, gains or a class token. */
export const parameter = (name: string, shape: readonly number[], start: Start): Module => ({
  parameters: [[name, { shape, start }]],
});

export interface LinearOptions extends Omit<LayerInfo, "convolution" | "position"> {
  /** initial values of the weight */
  start: Start;
  /** initial values of the bias; undefined if there is no bias */
  bias?: Start | undefined;
}

/** A linear layer x Wᵀ + b that may be structured. */
export function linearLayer({ start, bias, ...layer }: LinearOptions): Module {
  const { name, nIn, nOut, layout } = layer;
  return { parameters: matrixParameters({ name, nIn, nOut, layout, start, bias }), layer };
}

export interface ConvolutionOptions extends Omit<LayerInfo, "convolution" | "position" | "nIn" | "layout"> {
  /** channels of its input */
  channels: number;
  /** rows and columns of the kernel, an odd number */
  kernel: number;
  stride: number;
  start: Start;
}

/**
 * A convolution without bias that may be structured. It is padded by (kernel − 1) / 2, so stride 1 keeps the image's
 * size.
 */
export function convolutionLayer({ channels, kernel, stride, start, ...layer }: ConvolutionOptions): Module {
  const { name, nOut } = layer;
  const convolution = { kernel: [kernel, kernel] as const, stride, padding: (kernel - 1) / 2 };
  const shape = [kernel, kernel, channels, nOut];
  return {
    parameters: [[`${name}.weight`, { shape, start, kernel: true }]],
    layer: { ...layer, nIn: kernel ** 2 * channels, layout: "in_out", convolution },
  };
}

export interface HeadOptions {
  name: string;
  nIn: number;
  nOut: number;
  start: Start;
  bias?: Start | undefined;
}

/** A linear map that stays dense and is applied once per image, such as a classifier's head. */
export const headLayer = (options: HeadOptions): Module => ({
  parameters: matrixParameters({ ...options, layout: "out_in" }),
  parts: [{ name: "head", multiplyAdds: options.nIn * options.nOut }],
});

interface MatrixOptions extends HeadOptions {
  layout: WeightLayout;
}

function matrixParameters({ name, nIn, nOut, layout, start, bias }: MatrixOptions): Module["parameters"] {
  const shape = layout === "in_out" ? [nIn, nOut] : [nOut, nIn];
  const weight = [`${name}.weight`, { shape, start }] as const;
  return bias === undefined ? [weight] : [weight, [`${name}.bias`, { shape: [nOut], start: bias }]];
}

/** Multiply-adds that the reference counts per entry of the input of a layer normalization. */
const LAYER_NORM_PER_ENTRY = 5;
/** Multiply-adds per entry of the input of a root mean square normalization: one square, one scale, one gain. */
const RMS_NORM_PER_ENTRY = 3;
/** Multiply-adds per entry of the input of a batch normalization: one scale, one shift. */
const BATCH_NORM_PER_ENTRY = 2;

/**
 * A layer normalization with gain and bias.
 * @param options.width number of entries that are normalized together
 * @param options.rows number of rows that are normalized
 * @param options.in see CountedPart
 */
export function layerNormModule(
  name: string,
  { width, rows, ...counted }: { width: number; rows: number } & Pick<CountedPart, "in">,
): Module {
  return {
    parameters: [
      [`${name}.weight`, { shape: [width], start: ONES }],
      [`${name}.bias`, { shape: [width], start: ZEROS }],
    ],
    parts: [{ name: "layer norms", multiplyAdds: rows * width * LAYER_NORM_PER_ENTRY, ...counted }],
  };
}

/**
 * A root mean square normalization with a gain (Zhang and Sennrich 2019).
 * @param options as of `layerNormModule`
 */
export const rmsNormModule = (
  name: string,
  { width, rows, ...counted }: { width: number; rows: number } & Pick<CountedPart, "in">,
): Module => ({
  parameters: [[`${name}.weight`, { shape: [width], start: ONES }]],
  parts: [{ name: "RMS norms", multiplyAdds: rows * width * RMS_NORM_PER_ENTRY, ...counted }],
});

/**
 * A batch normalization with gain, bias and running statistics.
 * @param options.positions number of positions of an image
 * @param options.gain initial values of its weight. Default: ones
 */
export function batchNormModule(
  name: string,
  { channels, positions, gain = ONES }: { channels: number; positions: number; gain?: Start },
): Module {
  const shape = [channels];
  return {
    parameters: [
      [`${name}.weight`, { shape, start: gain }],
      [`${name}.bias`, { shape, start: ZEROS }],
      [`${name}.running_mean`, { shape, start: ZEROS, buffer: true }],
      [`${name}.running_var`, { shape, start: ONES, buffer: true }],
    ],
    parts: [{ name: "batch norms", multiplyAdds: positions * channels * BATCH_NORM_PER_ENTRY }],
  };
}

export interface PatchOptions {
  /** rows and columns of a patch */
  patch: number;
  /** channels of the image */
  colors: number;
  /** n, width of the embedding */
  width: number;
  /** number of patches of an image */
  patches: number;
  start: Start;
  bias: Start;
}

/** An embedding of non-overlapping patches by one linear map, which stays dense. */
export function patchEmbedding(name: string, { patch, colors, width, patches, start, bias }: PatchOptions): Module {
  return {
    parameters: [
      [`${name}.weight`, { shape: [patch, patch, colors, width], start, kernel: true }],
      [`${name}.bias`, { shape: [width], start: bias }],
    ],
    parts: [{ name: "patch embedding", multiplyAdds: patches * width * colors * patch ** 2 }],
  };
}

/** All parameters of the dense model by name, in the order in which they are saved. */
export const parametersIn = (network: readonly Module[]): Map<string, ParameterInfo> =>
  new Map(network.flatMap(({ parameters = [] }) => parameters));

/** All linear layers and convolutions that may be structured, in the order of the modules. */
export const layersIn = (network: readonly Module[]): LayerInfo[] => network.flatMap(({ layer }) => layer ?? []);

/**
 * Splits a convolution into one linear layer per kernel position, each from channels to channels and with the same
 * number of rows.
 * @returns layers `<name>.0`, `<name>.1`, … row by row; an empty list for a linear layer
 */
export function positionLayers(layer: LayerInfo): LayerInfo[] {
  const { name, nIn, nOut, rows, referenceRows, inRecipe, convolution } = layer;
  if (!convolution) return [];
  const [height, width] = convolution.kernel;
  const counted = {
    rows,
    ...(referenceRows !== undefined && { referenceRows }),
    ...(inRecipe === false && { inRecipe }),
  };
  return Array.from({ length: height * width }, (_, index) => ({
    name: `${name}.${index}`,
    nIn: nIn / (height * width),
    nOut,
    layout: "out_in",
    ...counted,
    position: { of: name, index, convolution },
  }));
}
