// What a model folder says its matrices are, by the text of docs/format.md alone, in plain float64: each structured layer
// as a dense matrix, and the whole folder as one of a dense model. Strict: what breaks a rule throws.

import { decodeTensors, float32Tensor, type RawTensor, valuesOf } from "./files.ts";

interface Settings {
  structure?: string;
  n_in: number;
  n_out: number;
  blocks?: number;
}

type Kernel = Settings & { kernel: readonly [number, number] | undefined };

type Tensors = Map<string, RawTensor>;

/** Data types of structured layers, by version of the format. */
const TYPES = new Map<unknown, readonly string[]>([
  [1, ["F32"]],
  [2, ["F32", "F16", "BF16"]],
  // Also I8, which no folder here has.
  [3, ["F32", "F16", "BF16"]],
]);

/** (n_out, n_in) row by row. */
type Matrix = Float64Array;

export interface Evaluated {
  config: Record<string, unknown>;
  tensors: RawTensor[];
  /** the largest of all numbers; what is no number counts as infinite */
  largest: number;
}

/**
 * The dense model that a folder stands for.
 * @param files bytes of config.json, model.safetensors and, for the trainable form, trainable.safetensors
 * @param turned whether the architecture's dense weights are (n_in, n_out)
 * @param kernels rows and columns of the architecture's convolutions, by layer
 */
export function denseModel(
  files: { config: string; model: Uint8Array; trainable?: Uint8Array | undefined },
  { turned, kernels }: { turned: boolean; kernels: ReadonlyMap<string, readonly [number, number]> },
): Evaluated {
  const { gblr, auto_map: _, architectures: _1, ...rest } = JSON.parse(files.config) as Record<string, unknown>;
  const part = gblr as { format: unknown; structure?: string; sigma?: number; layers: Record<string, Settings> };
  const types = TYPES.get(part.format) ?? [];
  must(types.length > 0, "format");
  const config = { ...rest, model_type: String(rest.model_type).replace("gblr_", "") };
  if (typeof rest.architecture === "string") delete (config as Record<string, unknown>).model_type;
  const tensors: Tensors = new Map(decodeTensors(files.model).map((tensor) => [tensor.name, tensor]));
  const trainable: Tensors = new Map(
    files.trainable ? decodeTensors(files.trainable).map((tensor) => [tensor.name, tensor]) : [],
  );
  for (const [layer, settings] of Object.entries(part.layers)) {
    const structure = settings.structure ?? part.structure ?? "gblr";
    const isTrainable = structure === "gblr" && files.trainable !== undefined;
    const source = isTrainable ? trainable : tensors;
    const matrix = isTrainable
      ? trainableMatrix(layer, source, settings, part.sigma)
      : matrixOf(layer, structure, source, settings, types);
    for (const name of PARTS) tensors.delete(`${layer}.${name}`);
    const weight = `${layer}.weight`;
    must(!tensors.has(weight), `${weight} beside a structured layer`);
    tensors.set(weight, weightOf(weight, matrix, { ...settings, kernel: kernels.get(layer) }, turned));
  }
  const all = [...tensors.values()];
  return { config, tensors: all, largest: Math.max(...all.map(largestOf)) };
}

function largestOf(tensor: RawTensor): number {
  if (!["F64", "F32", "F16", "BF16"].includes(tensor.dtype)) return 0;
  return valuesOf(tensor).reduce(
    (most, value) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : Math.max(most, Math.abs(value))),
    0,
  );
}

const PARTS = "spans values_in values_out left right values first second input core output".split(" ");

function weightOf(name: string, matrix: Matrix, { n_in, n_out, kernel }: Kernel, turned: boolean): RawTensor {
  if (kernel) {
    // Column (i · columns + j) · channels + c is row i, column j, channel c; checkpoints have (n_out, c, i, j).
    const positions = kernel[0] * kernel[1];
    const channels = n_in / positions;
    const values = new Float64Array(n_out * n_in);
    for (let o = 0; o < n_out; o++) {
      for (let at = 0; at < n_in; at++) {
        const [position, c] = [Math.floor(at / channels), at % channels];
        values[o * n_in + c * positions + position] = matrix[o * n_in + at] as number;
      }
    }
    return float32Tensor(name, [n_out, channels, ...kernel], values);
  }
  if (!turned) return float32Tensor(name, [n_out, n_in], matrix);
  const values = Float64Array.from({ length: n_in * n_out }, (_, at) => {
    return matrix[(at % n_out) * n_in + Math.floor(at / n_out)] as number;
  });
  return float32Tensor(name, [n_in, n_out], values);
}

function matrixOf(
  layer: string,
  structure: string,
  tensors: Tensors,
  settings: Settings,
  types: readonly string[],
): Matrix {
  const get = (part: string) => {
    const found = tensors.get(`${layer}.${part}`);
    must(types.includes(found?.dtype ?? ""), `${layer}.${part} in ${types}`);
    return { shape: (found as RawTensor).shape, values: valuesOf(found as RawTensor) };
  };
  if (structure === "gblr") return packedMatrix(layer, tensors, settings, types);
  if (structure === "lowrank") return product(get("left"), get("right"), settings);
  if (structure === "monarch") return blocksMatrix(get("first"), get("second"), settings, "strided");
  if (structure === "block-low-rank") return blocksMatrix(get("first"), get("second"), settings, "contiguous");
  if (structure === "block-sparse") return sparseMatrix(get("values"), get("left"), get("right"), settings);
  must(structure === "tucker", `structure ${structure}`);
  return tuckerMatrix(get("input"), get("core"), get("output"), settings);
}

interface Values {
  shape: number[];
  values: Float64Array;
}

function packedMatrix(
  layer: string,
  tensors: Tensors,
  { n_in, n_out, blocks = 0 }: Settings,
  types: readonly string[],
): Matrix {
  const [spans, valuesIn, valuesOut] = ["spans", "values_in", "values_out"].map((part) => {
    const found = tensors.get(`${layer}.${part}`);
    must(found !== undefined, `${layer}.${part}`);
    return found as RawTensor;
  }) as [RawTensor, RawTensor, RawTensor];
  must(spans.dtype === "I32" && spans.shape.length === 2 && spans.shape[0] === 4, "spans I32 (4, B)");
  must(types.includes(valuesIn.dtype) && types.includes(valuesOut.dtype), `values in ${types}`);
  must(valuesIn.shape.length === 1 && valuesOut.shape.length === 1, "values of one axis");
  const live = spans.shape[1] as number;
  must(live <= blocks, "no more live blocks than blocks");
  const rows = new Int32Array(spans.bytes.slice().buffer);
  const [vs, us] = [valuesOf(valuesIn), valuesOf(valuesOut)];
  const matrix = new Float64Array(n_in * n_out);
  let [atIn, atOut] = [0, 0];
  for (let b = 0; b < live; b++) {
    const [startIn, lengthIn, startOut, lengthOut] = [0, 1, 2, 3].map((row) => rows[row * live + b] as number) as [
      number,
      number,
      number,
      number,
    ];
    for (const [start, length, n] of [
      [startIn, lengthIn, n_in],
      [startOut, lengthOut, n_out],
    ] as const) {
      must(start >= 0 && start < n && length >= 2 && length <= n && (length < n || start === 0), `span ${b}`);
    }
    for (let i = 0; i < lengthOut; i++) {
      for (let j = 0; j < lengthIn; j++) {
        const at = ((startOut + i) % n_out) * n_in + ((startIn + j) % n_in);
        matrix[at] = (matrix[at] as number) + (us[atOut + i] as number) * (vs[atIn + j] as number);
      }
    }
    atIn += lengthIn;
    atOut += lengthOut;
  }
  must(atIn === vs.length && atOut === us.length, "as many values as spans cover");
  return matrix;
}

function product(left: Values, right: Values, { n_in, n_out }: Settings): Matrix {
  const rank = left.shape[1] as number;
  must(left.shape.join() === `${n_out},${rank}` && right.shape.join() === `${rank},${n_in}`, "left and right");
  const matrix = new Float64Array(n_in * n_out);
  for (let o = 0; o < n_out; o++) {
    for (let p = 0; p < rank; p++) {
      for (let c = 0; c < n_in; c++) {
        const at = o * n_in + c;
        const added = (left.values[o * rank + p] as number) * (right.values[p * n_in + c] as number);
        matrix[at] = (matrix[at] as number) + added;
      }
    }
  }
  return matrix;
}

function blocksMatrix(
  first: Values,
  second: Values,
  { n_in, n_out }: Settings,
  rows: "strided" | "contiguous",
): Matrix {
  const [, rank, J] = first.shape as [number, number, number];
  const [, K] = second.shape as [number, number, number];
  must(first.shape.join() === `${n_in},${rank},${J}` && second.shape.join() === `${n_out},${K},${rank}`, "blocks");
  const [height, width] = [Math.ceil(n_out / J), Math.ceil(n_in / K)];
  return Float64Array.from({ length: n_in * n_out }, (_, at) => {
    const [o, c] = [Math.floor(at / n_in), at % n_in];
    const j = rows === "strided" ? o % J : Math.floor(o / height);
    const k = Math.floor(c / width);
    let sum = 0;
    for (let p = 0; p < rank; p++) {
      sum += (second.values[(o * K + k) * rank + p] as number) * (first.values[(c * rank + p) * J + j] as number);
    }
    return sum;
  });
}

function sparseMatrix(values: Values, left: Values, right: Values, settings: Settings): Matrix {
  const { n_in, n_out } = settings;
  const [side, height, kept, width] = values.shape as [number, number, number, number];
  must(values.shape.length === 4 && Number.isInteger(Math.log2(side)) && kept >= 1 && kept <= side, "block-sparse");
  must(height === Math.ceil(n_out / side) && width === Math.ceil(n_in / side), "block-sparse sizes");
  const ones = (mask: number) => mask.toString(2).replaceAll("0", "").length;
  const masks = Array.from({ length: side }, (_, mask) => mask)
    .sort((a, b) => ones(a) - ones(b) || a - b)
    .slice(0, kept);
  const matrix = product(left, right, settings);
  for (let i = 0; i < side; i++) {
    for (const [m, mask] of masks.entries()) {
      for (let h = 0; h < height; h++) {
        for (let w = 0; w < width; w++) {
          const [o, c] = [i * height + h, (i ^ mask) * width + w];
          if (o >= n_out || c >= n_in) continue;
          const value = values.values[((i * height + h) * kept + m) * width + w] as number;
          matrix[o * n_in + c] = (matrix[o * n_in + c] as number) + value;
        }
      }
    }
  }
  return matrix;
}

function tuckerMatrix(input: Values, core: Values, output: Values, { n_in, n_out }: Settings): Matrix {
  const [rows, columns, rIn, rOut] = core.shape as [number, number, number, number];
  const channels = n_in / (rows * columns);
  must(input.shape.join() === `${channels},${rIn}` && output.shape.join() === `${rOut},${n_out}`, "tucker");
  return Float64Array.from({ length: n_in * n_out }, (_, at) => {
    const [o, column] = [Math.floor(at / n_in), at % n_in];
    const [position, c] = [Math.floor(column / channels), column % channels];
    let sum = 0;
    for (let a = 0; a < rIn; a++) {
      for (let b = 0; b < rOut; b++) {
        const middle = core.values[(position * rIn + a) * rOut + b] as number;
        sum += (input.values[c * rIn + a] as number) * middle * (output.values[b * n_out + o] as number);
      }
    }
    return sum;
  });
}

/** Evaluation of the reference's parameters, by docs/method.md. */
function trainableMatrix(
  layer: string,
  tensors: Tensors,
  { n_in, n_out, blocks }: Settings,
  sigma = Number.POSITIVE_INFINITY,
): Matrix {
  const get = (part: string) => {
    const found = tensors.get(`${layer}.${part}`);
    must(found !== undefined, `${layer}.${part}`);
    return { shape: (found as RawTensor).shape, values: valuesOf(found as RawTensor) };
  };
  const [first, second, widths, locations] = ["lr_weight1", "lr_weight2", "widths", "locations"].map(get) as [
    Values,
    Values,
    Values,
    Values,
  ];
  const [K, rank] = first.shape as [number, number, number];
  must(first.shape.join() === `${K},${rank},${n_in}` && second.shape.join() === `${K},${n_out},${rank}`, "factors");
  must(widths.shape.join() === `2,${K}` && locations.shape.join() === `2,${K}` && K * rank === blocks, "widths");
  const matrix = new Float64Array(n_in * n_out);
  for (let k = 0; k < K; k++) {
    const [maskIn, maskOut] = [
      [0, n_in],
      [K, n_out],
    ].map(([row = 0, n = 0]) =>
      maskOf(widths.values[row + k] as number, locations.values[row + k] as number, n, sigma),
    );
    for (let o = 0; o < n_out; o++) {
      for (let c = 0; c < n_in; c++) {
        let sum = 0;
        for (let p = 0; p < rank; p++) {
          const u = second.values[(k * n_out + o) * rank + p] as number;
          sum += u * (first.values[(k * rank + p) * n_in + c] as number);
        }
        const at = o * n_in + c;
        matrix[at] = (matrix[at] as number) + sum * (maskIn?.[c] as number) * (maskOut?.[o] as number);
      }
    }
  }
  return matrix;
}

/**
 * A window of round(w n) samples from round(l n) on, smoothed by a Gaussian where σ is finite; small entries are 0. One of
 * negative width lies before its location and counts as taken away.
 */
function maskOf(w: number, l: number, n: number, sigma: number): Float64Array {
  const [width, begin] = [w, l].map((share) => rounded(Math.fround(Math.fround(share) * n))) as [number, number];
  const mask = new Float64Array(n);
  if (Math.abs(width) <= 1) return mask;
  const kernel = Float64Array.from({ length: n }, (_, j) => {
    let sum = 1;
    for (let f = 1; f <= Math.floor(n / 2); f++) {
      const gauss = Number.isFinite(sigma) ? Math.exp(-((f / sigma) ** 2) / 2) : 1;
      sum += gauss * (2 * f === n ? 1 : 2) * Math.cos((2 * Math.PI * f * j) / n);
    }
    return sum / n;
  });
  for (let i = Math.min(0, width); i < Math.max(0, width); i++) {
    for (let j = 0; j < n; j++) {
      const value = kernel[(((j - begin - i) % n) + n) % n] as number;
      mask[j] = (mask[j] as number) + (width < 0 ? -value : value);
    }
  }
  return mask.map((value) => (Math.abs(value) < 1e-3 ? 0 : value));
}

function rounded(x: number): number {
  const down = Math.floor(x);
  return x - down === 0.5 ? down + (down % 2 === 0 ? 0 : 1) : Math.round(x);
}

function must(met: boolean, rule: string): void {
  if (!met) throw new Error(`the file breaks a rule: ${rule}`);
}
