// What an engine is, apart from which one: the options it opens with, what a look at the machine finds, and what a
// caller gets. No backend is imported here.

import type { DataType } from "@tensorflow/tfjs-core";

/** `auto` tries these in order; `tensorflow` and `cpu` only run on request. */
export const ENGINE_NAMES = ["torch", "webgpu", "wasm", "tensorflow", "cpu"] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/**
 * How matrix products and attention compute. Tensors always read as float32.
 * - `float32`: IEEE single precision throughout
 * - `tf32`: products with 10-bit mantissas on NVIDIA tensor cores (CUDA only)
 * - `bfloat16`: products and attention in bfloat16, weights and reductions in float32 (CUDA only)
 */
export const PRECISIONS = ["float32", "tf32", "bfloat16"] as const;
export type Precision = (typeof PRECISIONS)[number];

export interface OpenEngineOptions {
  /** default `auto`: torch on CUDA, torch on the CPU, webgpu, wasm, whichever comes first */
  engine?: EngineName | "auto";
  /** `cpu`, `cuda`, `cuda:1`, `gpu`; default: the best device that the engine has */
  device?: string;
  /** default `float32` */
  precision?: Precision;
  /** CPU threads; default: what the machine has */
  threads?: number;
}

export interface DeviceInfo {
  /** as `openEngine({ device })` takes it: `cpu`, `cuda:0`, `gpu` */
  id: string;
  /** the maker's name, e.g. `NVIDIA H200` */
  name: string;
  /** bytes of memory, when the device tells */
  memory?: number;
  /** a GPU in name only, such as a software Vulkan driver: slower than wasm, so `auto` passes it over */
  software?: boolean;
}

/** What a look at this machine found of one engine. */
export type Probe =
  | {
      available: true;
      /** version of the library that computes, e.g. `libtorch 1.13.0` */
      version: string;
      devices: DeviceInfo[];
      /** where it was found, or which variant runs, one clause */
      detail: string;
    }
  | {
      available: false;
      /** why not, one clause */
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
  /** times the allocator had to ask the system for fresh memory */
  fresh: number;
  /** of the GPU that computes, whoever uses it; the figures above are then of host memory */
  gpu?: { total: number; available: number };
}

/** An open engine: the registered tfjs backend is current, and tf.* computes on it. */
export interface Engine {
  readonly name: EngineName;
  /** name under which the backend is registered with tfjs (`tensorflow` registers as `tensorflow`) */
  readonly backendName: string;
  readonly device: string;
  readonly precision: Precision;
  readonly threads: number;
  readonly version: string;
  /** why this one: what was asked, or what `auto` passed over */
  why: string;
  /** seeds the engine's own random numbers (tfjs ops that take a seed keep taking theirs) */
  seed(seed: number): void;
  /** resolves when everything queued so far has been computed */
  synchronize(): Promise<void>;
  /** undefined where the backend does not tell */
  memory(): EngineMemory | undefined;
}

/** Everything `openEngine` needs to know about an engine; one object an engine, in a file of its own. */
export interface EngineAdapter {
  readonly name: EngineName;
  /** Looks whether the engine can run here. Never throws, changes nothing that lasts. */
  probe(): Promise<Probe>;
  /** Opens it; rejects with an EngineError. `options` are validated, the device may still be absent. */
  open(options: ResolvedOptions): Promise<Engine>;
}

export interface ResolvedOptions {
  device?: string;
  precision: Precision;
  threads: number;
}

/** A tensor as kernels see it. */
export interface Described {
  shape: readonly number[];
  dtype: DataType;
}
