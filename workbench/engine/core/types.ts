// The types that all engines share: the options to open one with, what probing the machine finds, and the open engine.
// No backend is imported here.

import type { DataType } from "@tensorflow/tfjs-core";

/** The engines. `auto` tries the first three; `tensorflow` and `cpu` are used only on request. */
export const ENGINE_NAMES = ["torch", "webgpu", "wasm", "tensorflow", "cpu"] as const;
/** Name of an engine, as `--engine` takes it. */
export type EngineName = (typeof ENGINE_NAMES)[number];

/**
 * The precision in which matrix products and attention compute. Tensors always read as float32.
 * - `float32`: IEEE single precision throughout
 * - `tf32`: products with 10-bit mantissas on NVIDIA tensor cores (CUDA only)
 * - `bfloat16`: products and attention in bfloat16, weights and reductions in float32 (CUDA only)
 */
export const PRECISIONS = ["float32", "tf32", "bfloat16"] as const;
/** How matrix products and attention are computed. */
export type Precision = (typeof PRECISIONS)[number];

/** Options of `openEngine`: the engine, its device, precision and threads. */
export interface OpenEngineOptions {
  /** default `auto`: the first that is available of torch on CUDA, torch on the CPU, webgpu, wasm */
  engine?: EngineName | "auto";
  /** `cpu`, `cuda`, `cuda:1`, `gpu`; default: the best device that the engine has */
  device?: string;
  /** default `float32` */
  precision?: Precision;
  /** CPU threads; default: `$OMP_NUM_THREADS`, or else as many as there are cores */
  threads?: number;
}

/** A device that an engine can compute on. */
export interface DeviceInfo {
  /** as `openEngine({ device })` takes it: `cpu`, `cuda:0`, `gpu` */
  id: string;
  /** the maker's name, e.g. `NVIDIA H200` */
  name: string;
  /** bytes of memory, if the device reports them */
  memory?: number;
  /** a GPU emulated in software, such as by a software Vulkan driver: slower than wasm, so `auto` skips it */
  software?: boolean;
}

/** The result of looking for one engine on this machine. */
export type Probe =
  | {
      available: true;
      /** version of the library that computes, e.g. `libtorch 1.13.0` */
      version: string;
      devices: DeviceInfo[];
      /** where it was found or which variant runs, as one clause */
      detail: string;
    }
  | {
      available: false;
      /** the reason, as one clause */
      reason: string;
      /** what the user can do, an imperative clause */
      remedy: string;
    };

/** Bytes that an engine holds. */
export interface EngineMemory {
  /** in live tensors */
  inUse: number;
  /** kept for reuse by the caching allocator */
  cached: number;
  /** most in use at one time */
  peak: number;
  /** how often the allocator asked the system for fresh memory */
  fresh: number;
  /** memory of the GPU that computes; the numbers above then refer to host memory */
  gpu?: GpuMemory;
}

/** Bytes of a GPU. */
export interface GpuMemory {
  total: number;
  /** not used by any process */
  available: number;
  /** in live tensors of this process, if the engine reports it; likewise the next two */
  inUse?: number;
  /** most in use at one time */
  peak?: number;
  /** kept for reuse */
  cached?: number;
}

/** An open engine: the registered tfjs backend is current, and tf.* computes on it. */
export interface Engine {
  readonly name: EngineName;
  /** name under which the backend is registered with TensorFlow.js */
  readonly backendName: string;
  readonly device: string;
  /** name of the GPU, if the device is one and the backend knows it */
  readonly gpu?: string;
  readonly precision: Precision;
  readonly threads: number;
  readonly version: string;
  /** why this engine was chosen: it was asked for, or what `auto` passed over */
  why: string;
  /** seeds the engine's own random numbers; operations of TensorFlow.js that take a seed are not affected */
  seed(seed: number): void;
  /** resolves when everything queued so far has been computed */
  synchronize(): Promise<void>;
  /** undefined if the backend does not report it */
  memory(): EngineMemory | undefined;
}

/** Everything that `openEngine` needs to know about an engine. Each folder in backends/ has one such object. */
export interface EngineAdapter {
  readonly name: EngineName;
  /** Checks whether the engine can run here. Never throws and changes nothing permanently. */
  probe(): Promise<Probe>;
  /** Opens the engine; rejects with an EngineError. The options are valid, but the device may be missing. */
  open(options: ResolvedOptions): Promise<Engine>;
}

/** Options of `openEngine` after validation, with defaults filled in. */
export interface ResolvedOptions {
  device?: string;
  precision: Precision;
  threads: number;
}

/** Shape and dtype of a tensor. */
export interface Described {
  shape: readonly number[];
  dtype: DataType;
}
