// The native addon: the types of its exports, and the function that loads it, which throws an error if the addon is
// missing or does not match its libtorch any more. Nothing here depends on TensorFlow.js.

import { createRequire } from "node:module";
import { BUILD_COMMAND } from "../../../../hub/files/about.ts";
import { kernelsToAskFor } from "../../../../native/blas/kernel-record.ts";
import { addonPath, type BuildState, buildState, type Stamp } from "../../../../native/build-state.ts";
import { EngineError } from "../../core/errors.ts";
import type { GpuMemory } from "../../core/types.ts";

/** A tensor in the addon. */
export type Handle = number;

/** An argument of an operator. Handles are numbers, too; the operator's schema distinguishes them. */
export type Argument = number | boolean | string | null | undefined | readonly (number | boolean | null)[];

/** Dtypes of torch that the addon can upload or convert to. */
export type DtypeName =
  | "float32"
  | "float64"
  | "float16"
  | "bfloat16"
  | "int32"
  | "int64"
  | "uint8"
  | "bool"
  | "complex64";

/**
 * The exports of the addon. Every function throws TypeError for wrong handles, counts and types, and Error for errors of
 * ATen, e.g. `aten::mm: …`.
 */
export interface Addon {
  has(name: string, overload: string): boolean;
  /** throws when this libtorch has no such operator */
  lookup(name: string, overload: string): number;
  /**
   * for each result of an operator, whether it is a tensor's handle or a list of handles; other results may be numbers
   * too
   */
  tensorResults(operator: number): boolean[];
  schema(name: string, overload: string): string;
  call(operator: number, ...args: Argument[]): unknown;
  /** `call` writes [dtype code, rank, sizes…] of each tensor it returns into this array */
  attach(meta: Float64Array): void;
  fromBytes(data: ArrayBufferView, dtype: DtypeName, shape: readonly number[], device: string): Handle;
  /**
   * converts numbers of `dtype` to the tensor's dtype and stores them from element `at` on; returns how many. The tensor
   * must be contiguous
   */
  writeValues(tensor: Handle, at: number, data: ArrayBufferView, dtype: DtypeName): number;
  read(tensor: Handle): ArrayBuffer;
  /** does not block while a GPU computes */
  readAsync(tensor: Handle): Promise<ArrayBuffer>;
  /** [dtype name, device, …shape] */
  describe(tensor: Handle): [string, string, ...number[]];
  /** whether another live tensor shares the memory */
  isShared(tensor: Handle): boolean;
  free(tensor: Handle): void;
  generator(device: string, seed: number): number;
  freeGenerator(generator: number): void;
  seed(seed: number): void;
  /** returns the count in force */
  setThreads(count: number): number;
  autocast(device: string, enabled: boolean, dtype: DtypeName): void;
  allowTf32(enabled: boolean): void;
  selectDevice(device: string): void;
  synchronize(device: string): void;
  /** total bytes; creates no context on any GPU */
  cudaDevices(): { name: string; uuid: string; total: number }[];
  /**
   * bytes; creates the device's context if there is none. `inUse`, `peak` and `cached` are those of live tensors and of
   * memory kept for reuse, from libtorch 2.9
   */
  cudaMemory(device: string): GpuMemory;
  /** bytes of host memory; `fresh` counts how often the system was asked for more */
  memory(): { inUse: number; cached: number; peak: number; fresh: number; tensors: number };
  releaseCache(): void;
  version(): string;
  /** the library that multiplies matrices on the CPU; of OpenBLAS also the kernels in use, e.g. `SkylakeX` */
  blas(): { description: string; core?: string };
  /** whether this libtorch has process groups (c10d and Gloo) */
  hasProcessGroups(): boolean;
  /**
   * Resolves with the handle of a group when all ranks have joined. `serves` is 1 for the process that serves the store.
   * `network` is an interface, `host` the address of this process; both may be empty.
   */
  joinGroup(
    address: string,
    port: number,
    serves: 0 | 1,
    prefix: string,
    rank: number,
    size: number,
    seconds: number,
    network: string,
    host: string,
  ): Promise<number>;
  /** whether this build has NCCL */
  hasNccl(): boolean;
  /** from then on, tensors of GPUs are exchanged through NCCL. All ranks call it, each with the device of its own GPU */
  useNccl(group: number, device: string): Promise<void>;
  leaveGroup(group: number): void;
  /** starts a collective in place, and returns the handle of its work */
  allReduce(group: number, tensors: readonly Handle[], reduction: "sum" | "max" | "min"): number;
  broadcast(group: number, tensors: readonly Handle[], root: number): number;
  allGather(group: number, tensors: readonly Handle[], gathered: readonly Handle[]): number;
  reduceScatter(
    group: number,
    tensors: readonly Handle[],
    own: readonly Handle[],
    reduction: "sum" | "max" | "min",
  ): number;
  barrier(group: number): number;
  /** resolves when the work has ended, and frees its handle */
  waitFor(work: number): Promise<void>;
  /** keeps a text for all ranks */
  storeSet(group: number, key: string, text: string): Promise<void>;
  /** the text that a rank has kept; undefined if none has yet */
  storeGet(group: number, key: string): Promise<string | undefined>;
}

/**
 * The exports of the file that is loaded first. `load` loads the rest of the addon, with the OpenBLAS kernels of the
 * given name, if any.
 */
interface Loader {
  load(kernels?: string): Addon;
}

let loaded: { addon: Addon; stamp: Stamp } | undefined;

const BUILD = `run \`${BUILD_COMMAND}\``;
const INSTALL = `install g++ and libtorch (Debian: apt-get install g++ libtorch-dev libopenblas0-pthread), then ${BUILD}`;

/**
 * The addon. It is loaded by the first call.
 * @throws EngineError when the addon is not built, is stale, or does not load
 */
export function loadAddon(): { addon: Addon; stamp: Stamp } {
  if (loaded) return loaded;
  const state = buildState();
  const stamp = usable(state);
  try {
    const loader = createRequire(import.meta.url)(addonPath) as Loader;
    loaded = { addon: loader.load(kernelsToAskFor(stamp.libtorch)), stamp };
  } catch (cause) {
    const message = (cause as Error).message.split("\n")[0];
    throw new EngineError(`the native engine did not load: ${message}`, BUILD, { cause });
  }
  return loaded;
}

function usable(state: BuildState): Stamp {
  if (state.state === "missing") throw new EngineError("the native engine is not built", INSTALL);
  if (state.state === "stale") throw new EngineError(`the native engine is stale: ${state.why}`, BUILD);
  return state.stamp;
}
