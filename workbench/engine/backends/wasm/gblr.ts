// Gaudi masks and their gradient for the wasm engine, as loops over its memory. The composition of tf.* operations
// gathers value by value and takes fifty times as long; only the starts and ends of windows are computed with its
// functions.

import { type Tensor, type TensorInfo, tidy } from "@tensorflow/tfjs-core";
import { roundedWindows } from "../../ops/gblr/gaudi-mask.ts";
import {
  GAUDI_MASK,
  GAUDI_MASK_GRADIENT,
  type GaudiMaskAttributes,
  type GaudiMaskGradientInputs,
  type GaudiMaskInputs,
  LEAST_ENTRY,
} from "../../ops/gblr/kernels.ts";
import type { Tensors } from "../../ops/op.ts";
import { defineKernel } from "../../tfjs/registry.ts";
import { floats, type WasmBackend } from "../../tfjs/wasm.ts";

/** The windows of one kernel call as numbers, and the table repeated twice, so that no index wraps around. */
interface Rows {
  starts: Float32Array;
  ends: Float32Array;
  widths: Float32Array;
  table: Float32Array;
  n: number;
}

function rowsOf(
  backend: WasmBackend,
  { widths, locations, table }: { widths: Tensor; locations: Tensor; table: Tensor },
  evaluate: boolean,
): Rows {
  const [count, n] = [widths.size, table.shape[0] as number];
  const windows = roundedWindows({ widths, locations, n, evaluate });
  // The values are copied, because an allocation may move the memory.
  const copy = (tensor: Tensor, size: number) => floats(backend, tensor, size).slice();
  const twice = new Float32Array(2 * n);
  twice.set(copy(table, n));
  twice.copyWithin(n, 0, n);
  const [starts, ends] = [copy(windows.start, count), copy(windows.end, count)];
  return { starts, ends, widths: copy(windows.width, count), table: twice, n };
}

function fillBoxcar(mask: Float32Array, start: number, width: number): void {
  const n = mask.length;
  const samples = Math.round(width * n) + 0; // never -0
  const turns = Math.floor(samples / n);
  const stop = start + samples - turns * n;
  mask.fill(turns);
  mask.fill(turns + 1, start, Math.min(stop, n));
  mask.fill(turns + 1, 0, Math.max(stop - n, 0));
}

function fillSmooth(mask: Float32Array, k: number, { starts, ends, widths, table, n }: Rows): void {
  const from = n - (starts[k] as number);
  const to = n - (ends[k] as number);
  const width = widths[k] as number;
  for (let j = 0; j < n; j++) {
    mask[j] = (table[from + j] as number) - (table[to + j] as number) + width;
  }
}

function zeroSmallEntries(mask: Float32Array): void {
  for (let j = 0; j < mask.length; j++) {
    if (Math.abs(mask[j] as number) <= LEAST_ENTRY) {
      mask[j] = 0;
    }
  }
}

function forward(
  { widths, locations, edges }: Tensors<GaudiMaskInputs>,
  { boxcar, evaluate }: GaudiMaskAttributes,
  backend: WasmBackend,
): TensorInfo {
  const rows = tidyNumbers(() => rowsOf(backend, { widths, locations, table: edges }, evaluate));
  const output = backend.makeOutput([widths.size, rows.n], "float32");
  const masks = floats(backend, output, widths.size * rows.n);
  for (let k = 0; k < widths.size; k++) {
    const mask = masks.subarray(k * rows.n, (k + 1) * rows.n);
    if (boxcar) {
      fillBoxcar(mask, rows.starts[k] as number, rows.widths[k] as number);
      continue;
    }
    fillSmooth(mask, k, rows);
    if (evaluate) {
      zeroSmallEntries(mask);
    }
  }
  return output;
}

function backward(
  { dy, widths, locations, slopes }: Tensors<GaudiMaskGradientInputs>,
  _: unknown,
  backend: WasmBackend,
): TensorInfo[] {
  const rows = tidyNumbers(() => rowsOf(backend, { widths, locations, table: slopes }, false));
  const { starts, ends, table, n } = rows;
  const outputs = [backend.makeOutput(widths.shape, "float32"), backend.makeOutput(widths.shape, "float32")];
  const [toWidth, toLocation] = outputs.map((output) => floats(backend, output, widths.size)) as [
    Float32Array,
    Float32Array,
  ];
  const outer = floats(backend, dy, dy.size);
  for (let k = 0; k < widths.size; k++) {
    const row = outer.subarray(k * n, (k + 1) * n);
    const to = n - (ends[k] as number);
    const atEnd = weightedSum(row, table, to);
    toWidth[k] = atEnd;
    const from = n - (starts[k] as number);
    // This is exactly 0 if both edges coincide, because both sums then have the same terms in the same order.
    toLocation[k] = atEnd - weightedSum(row, table, from);
  }
  return outputs;
}

// Four independent sums are faster than one, in which each addition waits for the previous one.
function weightedSum(row: Float32Array, table: Float32Array, from: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let j = 0;
  for (; j + 4 <= row.length; j += 4) {
    a += (row[j] as number) * (table[from + j] as number);
    b += (row[j + 1] as number) * (table[from + j + 1] as number);
    c += (row[j + 2] as number) * (table[from + j + 2] as number);
    d += (row[j + 3] as number) * (table[from + j + 3] as number);
  }
  for (; j < row.length; j++) {
    a += (row[j] as number) * (table[from + j] as number);
  }
  return a + b + c + d;
}

// tf.tidy for a function whose result is not made of tensors.
function tidyNumbers<T extends object>(compute: () => T): T {
  let result: T | undefined;
  tidy(() => {
    result = compute();
  });
  return result as T;
}

/** Registers both kernels in place of the compositions that ops/gblr registers. */
export function registerGaudiMasks(): void {
  defineKernel(GAUDI_MASK, "wasm", forward);
  defineKernel(GAUDI_MASK_GRADIENT, "wasm", backward);
}
