// The product of rows with a weight that is held in bfloat16 or float16. The result is that of float32 arithmetic on
// the weight's values. For a few rows on the CPU, the addon's operator converts the weight in registers. Otherwise a
// part of the weight is converted at a time, so that no float32 copy of a large weight is ever in memory.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type { WeightLayout } from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, keepNone, STRIDED } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";

const fewRows = aten("half_product", "", "gblr");
const cast = aten("to", "dtype");
const transpose = aten("t");
const narrow = aten("narrow");
const empty = aten("empty", "memory_format");
const matrixProductInto = aten("mm", "out");
const addInPlace = aten("add_", "Tensor");

/** Most rows for which the addon's operator is used. It is limited by memory, a matrix product by arithmetic. */
const FEW_ROWS = 8;
/** Values of a weight that are converted at a time, 64 MB of float32. */
const PART = 1 << 24;

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

/** x Wᵀ + b, or x W + b with the layout `in_out`; (rows, n_out). */
export function halfProduct({ left, rows, weight, half, bias, layout }: HalfProduct, backend: TorchBackend): Handle {
  const isInOut = layout === "in_out";
  if (backend.device === "cpu" && rows <= FEW_ROWS) return fewRows(left, half, bias ?? null, isInOut);
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
