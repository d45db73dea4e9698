// The tables behind Gaudi masks as tensors, one set a length and smoothness on each engine. Kept between calls, since
// every step asks for them again; the oldest go first.

import { engine, keep, type Tensor2D, tensor2d, tidy } from "@tensorflow/tfjs-core";
import type { GaudiMaskTables } from "../engine/ops/gblr/gaudi-mask.ts";
import { type EdgeOptions, edgeFunctions, type Series } from "./kernels.ts";

const MOST_KEPT = 32;
const kept = new WeakMap<object, Map<string, GaudiMaskTables>>();

/** The tensors belong to this cache: do not dispose of them. */
export function maskTables(options: EdgeOptions): GaudiMaskTables {
  const tables = tablesOf(engine().backend);
  const key = `${options.length} ${options.sigma} ${options.terms}`;
  const known = tables.get(key);
  if (known && !known.edges.isDisposed && !known.slopes.isDisposed) {
    return known;
  }
  const { edges, slopes } = edgeFunctions(options);
  const made = tidy(() => ({ edges: keep(toTensor(edges)), slopes: keep(toTensor(slopes)) }));
  if (tables.size >= MOST_KEPT) {
    const [oldest, { edges, slopes }] = tables.entries().next().value as [string, GaudiMaskTables];
    edges.dispose();
    slopes.dispose();
    tables.delete(oldest);
  }
  tables.set(key, made);
  return made;
}

function tablesOf(backend: object): Map<string, GaudiMaskTables> {
  const tables = kept.get(backend) ?? new Map<string, GaudiMaskTables>();
  kept.set(backend, tables);
  return tables;
}

function toTensor(series: Series): Tensor2D {
  const width = series[0]?.length ?? 0;
  const values = new Float32Array(series.length * width);
  for (const [m, row] of series.entries()) {
    values.set(row, m * width);
  }
  return tensor2d(values, [series.length, width], "float32");
}
