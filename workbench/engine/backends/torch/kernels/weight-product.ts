// The product of rows with a weight, the kernel of `linear`. For a few rows on the CPU it is the addon's operator. A
// weight may be held in bfloat16 or float16; the result is then that of float32 arithmetic on its values. The operator
// converts such a weight in registers. For many rows a part of the weight is converted at a time, so that no float32 copy
// of a large weight is ever in memory.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type { LinearInputs, WeightLayout } from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, bfloat16CopyOf, halfHandleOf, keepNone, STRIDED } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";

const fewRows = aten("few_rows_product", "", "gblr");
const reshape = aten("reshape");
const cast = aten("to", "dtype");
const transpose = aten("t");
const narrow = aten("narrow");
const empty = aten("empty", "memory_format");
const matrixProduct = aten("mm");
const matrixProductInto = aten("mm", "out");
const addMatrixProduct = aten("addmm");
const addInPlace = aten("add_", "Tensor");

/** Most rows for which the addon's operator is used. It is limited by memory, a matrix product by arithmetic. */
const FEW_ROWS = { single: 4, half: 8 };
/** Values of a weight that are converted at a time, 64 MB of float32. */
const PART = 1 << 24;

/** x Wᵀ + b, or x W + b with the layout `in_out`; (..., n_out). */
export function weightProduct(inputs: LinearInputs, layout: WeightLayout, backend: TorchBackend): Handle {
  const { x, weight, bias } = inputs;
  const { shape } = x;
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const half = backend.mixed ? undefined : halfHandleOf(weight);
  if (backend.device === "cpu" && !backend.mixed && rows <= FEW_ROWS[half === undefined ? "single" : "half"]) {
    return fewRows(x, half ?? weight, bias ?? null, layout === "in_out");
  }
  const left = shape.length === 2 ? x : reshape(x, [rows, shape[shape.length - 1] as number]);
  const result =
    half === undefined
      ? singleProduct(left, inputs, layout, backend)
      : halfProduct({ left, rows, weight, half, bias, layout }, backend);
  const nOut = weight.shape[layout === "out_in" ? 0 : 1] as number;
  return shape.length === 2 ? result : reshape(result, [...shape.slice(0, -1), nOut]);
}

/** `left`: x as (rows, n_in) */
function singleProduct(
  left: TensorInfo | Handle,
  { weight, bias }: LinearInputs,
  layout: WeightLayout,
  backend: TorchBackend,
): Handle {
  const held = (backend.mixed && bfloat16CopyOf(weight)) || weight;
  const right = layout === "out_in" ? transpose(held) : held;
  return bias ? addMatrixProduct(bias, left, right) : matrixProduct(left, right);
}

interface HalfProduct {
  /** (rows, n_in) */
  left: TensorInfo | Handle;
  rows: number;
  weight: TensorInfo;
  /** handle of the weight in half precision */
  half: Handle;
  bias: TensorInfo | undefined;
  layout: WeightLayout;
}

function halfProduct({ left, rows, weight, half, bias, layout }: HalfProduct, backend: TorchBackend): Handle {
  const isInOut = layout === "in_out";
  const [nIn, nOut] = (isInOut ? weight.shape : [...weight.shape].reverse()) as [number, number];
  const y = empty([rows, nOut], "float32", STRIDED, backend.device);
  const count = Math.max(1, Math.floor(PART / Math.max(1, nIn)));
  for (let first = 0; first < nOut; first += count) {
    keepNone(() => {
      const own = Math.min(count, nOut - first);
      const part = cast(narrow(half, isInOut ? 1 : 0, first, own), "float32");
      matrixProductInto(left, isInOut ? part : transpose(part), narrow(y, 1, first, own));
    });
  }
  if (bias) addInPlace(y, bias);
  return y;
}
