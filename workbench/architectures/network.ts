// What a network is made of: one list of modules, in the order in which they run and in which their parameters are
// saved. Each module names its parameters, the linear layer or convolution that may be structured, and what it costs.
// Loading, saving, layer selection, plans and both operation counts are derived from this list. No tensors.

import type { WeightLayout } from "../engine/ops/index.ts";

/** How a kernel moves over an image; rows and columns alike. */
export interface ConvolutionInfo {
  /** rows and columns */
  kernel: readonly [number, number];
  stride: number;
  /** zeros on each side of rows and columns */
  padding: number;
}

/**
 * A linear layer by the checkpoint's name, without `.weight`. A convolution is one too: of the patches under its kernel.
 */
export interface LayerInfo {
  name: string;
  /** of a convolution rows · columns · channels, in this order */
  nIn: number;
  nOut: number;
  /** how the dense weight lies in memory: GPT-2's and kernels (n_in, n_out), most others' (n_out, n_in) */
  layout: WeightLayout;
  /**
   * rows that go through the layer in one pass for one image or one full sequence; of a convolution output positions
   */
  rows: number;
  /**
   * The rows by which the reference implementation counts this layer where it is structured. A dense layer it counts by
   * `rows`. 0: it counts the layer as dense, whatever structure it has. Default `rows`
   */
  referenceRows?: number;
  /**
   * Name of another layer. The reference does not count this layer where it and that one are structured and that one
   * costs nothing: its counter removes what no output depends on. Default none
   */
  referenceNeeds?: string;
  /**
   * The part of a count that this layer belongs to, dense or structured. Default `linears` or `convolutions`, and
   * `structured linears` or `structured convolutions`
   */
  countedAs?: Partial<Record<"reference" | "actual", string>>;
  /** whether the published recipe converts this layer. Default true */
  inRecipe?: boolean;
  convolution?: ConvolutionInfo;
  /** one position of a convolution's kernel as a layer of its own, from channels to channels; row by row from 0 */
  position?: { of: string; index: number; convolution: ConvolutionInfo };
}

/** What training from scratch starts a parameter with. */
export type Start =
  | { kind: "zeros" }
  | { kind: "ones" }
  | { kind: "constant"; value: number }
  | { kind: "normal"; deviation: number }
  | { kind: "uniform"; bound: number };

export interface ParameterInfo {
  /** in memory */
  shape: readonly number[];
  start: Start;
  /** running statistics and the like: saved, never trained. Default false */
  buffer?: boolean;
  /** (rows, columns, in, out) in memory, (out, in, rows, columns) in checkpoints. Default false */
  kernel?: boolean;
}

/** Multiply-adds of what cannot be structured: norms, attention products, embeddings, heads. */
export interface CountedPart {
  /** parts of one name are added up */
  name: string;
  multiplyAdds: number;
  /**
   * Which counts have it, see count.ts. `dense reference`: the reference's, and only of a model without a structured
   * layer. Default `both`
   */
  in?: "both" | "actual" | "reference" | "dense reference";
}

export interface Module {
  /** by name, in the order in which they are saved. Default none */
  parameters?: readonly (readonly [name: string, info: ParameterInfo])[];
  /** its weight is `<name>.weight` among the parameters. Default none */
  layer?: LayerInfo;
  /** default none */
  parts?: readonly CountedPart[];
}

export const ZEROS: Start = { kind: "zeros" };
export const ONES: Start = { kind: "ones" };
export const normal = (deviation: number): Start => ({ kind: "normal", deviation });
export const uniform = (bound: number): Start => ({ kind: "uniform", bound });

/** A parameter that belongs to no layer: tables of embeddings, gains, tokens. */
export const parameter = (name: string, shape: readonly number[], start: Start): Module => ({
  parameters: [[name, { shape, start }]],
});

export interface LinearOptions extends Omit<LayerInfo, "convolution" | "position"> {
  /** of the weight */
  start: Start;
  /** of the bias; undefined: there is none */
  bias?: Start | undefined;
}

/** A linear layer that may be structured: x Wᵀ + b. */
export function linearLayer({ start, bias, ...layer }: LinearOptions): Module {
  const { name, nIn, nOut, layout } = layer;
  return { parameters: matrixParameters({ name, nIn, nOut, layout, start, bias }), layer };
}

export interface ConvolutionOptions extends Omit<LayerInfo, "convolution" | "position" | "nIn" | "layout"> {
  /** of its input */
  channels: number;
  /** rows and columns are alike */
  kernel: number;
  stride: number;
  start: Start;
}

/** A convolution without bias that may be structured, padded so that stride 1 keeps the image's size. */
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

/** A linear map that stays dense and is applied once for each image: a classifier's head, or a layer before it. */
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

/** Multiply-adds that the reference's counter takes for each entry that a layer normalization sees. */
const LAYER_NORM_PER_ENTRY = 5;
/** Of a batch normalization: one scale, one shift. */
const BATCH_NORM_PER_ENTRY = 2;

/** @param rows that it normalizes @param options.in see CountedPart */
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

/** @param positions of the image that it normalizes @param gain what its weight starts with. Default ones */
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
  /** of the image */
  colors: number;
  /** n, of the embedding */
  width: number;
  /** of the image */
  patches: number;
  start: Start;
  bias: Start;
}

/** Embeds patches that do not overlap by one linear map, which stays dense. */
export function patchEmbedding(name: string, { patch, colors, width, patches, start, bias }: PatchOptions): Module {
  return {
    parameters: [
      [`${name}.weight`, { shape: [patch, patch, colors, width], start, kernel: true }],
      [`${name}.bias`, { shape: [width], start: bias }],
    ],
    parts: [{ name: "patch embedding", multiplyAdds: patches * width * colors * patch ** 2 }],
  };
}

/** Every parameter of the dense model, in the order in which they are saved. */
export const parametersIn = (network: readonly Module[]): Map<string, ParameterInfo> =>
  new Map(network.flatMap(({ parameters = [] }) => parameters));

/** Every linear layer and convolution that may be structured, in the order in which they run. */
export const layersIn = (network: readonly Module[]): LayerInfo[] => network.flatMap(({ layer }) => layer ?? []);

/** The layers of a convolution's positions, from channels to channels, counted alike; none for a linear layer. */
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
