// A contestant that calls OpenBLAS's cblas_sgemm through Bun's foreign function interface: the speed of matrix products
// on this machine without a tensor library. It runs products only.

import { dlopen, FFIType, ptr } from "bun:ffi";
import process from "node:process";
import type { Case } from "./cases.ts";
import { serve } from "./protocol.ts";

const ROW_MAJOR = 101;
const AS_IS = 111;
const { i32, f32, pointer, cstring, void: nothing } = FFIType;

const threads = Number(process.argv[2]);
const library = dlopen("libopenblas.so.0", {
  cblas_sgemm: {
    args: [i32, i32, i32, i32, i32, i32, f32, pointer, i32, pointer, i32, f32, pointer, i32],
    returns: nothing,
  },
  openblas_set_num_threads: { args: [i32], returns: nothing },
  openblas_get_num_threads: { args: [], returns: i32 },
  openblas_get_config: { args: [], returns: cstring },
}).symbols;
library.openblas_set_num_threads(threads);

let product: (() => void) | undefined;

function prepare(of: Case): string | undefined {
  if (of.kind !== "product") return "products only";
  const n = of.size;
  const [a, b] = [random(n * n), random(n * n)];
  const c = new Float32Array(n * n);
  product = () => library.cblas_sgemm(ROW_MAJOR, AS_IS, AS_IS, n, n, n, 1, ptr(a), n, ptr(b), n, 0, ptr(c), n);
  return undefined;
}

function random(length: number): Float32Array {
  return Float32Array.from({ length }, () => Math.random() * 2 - 1);
}

function time(calls: number): number {
  if (product === undefined) throw new Error("openblas: a case has to be prepared before it is timed");
  const start = performance.now();
  for (let call = 0; call < calls; call++) product();
  return (performance.now() - start) / 1000;
}

await serve({
  about: () => ({
    version: String(library.openblas_get_config()).split(" ").slice(0, 2).join(" "),
    device: "cpu",
    threads: library.openblas_get_num_threads(),
  }),
  prepare,
  time,
  faults: () => Promise.reject(new Error("openblas: allocates nothing")),
  release: () => {
    product = undefined;
  },
});
