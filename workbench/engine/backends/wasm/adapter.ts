// The `wasm` engine: TensorFlow.js's WebAssembly backend, which runs on every machine. Its binaries come from the
// installed package, never from the network. It runs on one thread: outside browsers the backend refuses threads, and
// with threads forced on, products take longer under Bun, and small products hundreds of times as long on busy cores.

import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { plainEngine, requireDevice, requireFloat32, useBackend } from "../../core/backend.ts";
import type { Engine, EngineAdapter, Probe, ResolvedOptions } from "../../core/types.ts";
import { assertVersion } from "../../tfjs/internals.ts";
import { registerWasmKernels } from "./kernels.ts";

/** @returns the version of the backend's package */
async function register(): Promise<string> {
  const backend = await import("@tensorflow/tfjs-backend-wasm");
  const folder = dirname(fileURLToPath(import.meta.resolve("@tensorflow/tfjs-backend-wasm")));
  backend.setWasmPaths(`${folder}/`);
  await registerWasmKernels();
  return backend.version_wasm;
}

async function probe(): Promise<Probe> {
  const version = await register();
  const simd = await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT");
  return {
    available: true,
    version: `tfjs-backend-wasm ${version}`,
    devices: [{ id: "cpu", name: "WebAssembly" }],
    detail: `${simd ? "128-bit SIMD" : "no SIMD"}, one thread`,
  };
}

async function open(options: ResolvedOptions): Promise<Engine> {
  const device = requireDevice("wasm", options.device, ["cpu"]);
  requireFloat32("wasm", options.precision);
  const version = await register();
  assertVersion("@tensorflow/tfjs-backend-wasm", version);
  await withoutErrorListeners(() => useBackend("wasm", "wasm"));
  return plainEngine({
    name: "wasm",
    backendName: "wasm",
    device,
    threads: 1,
    version: `tfjs-backend-wasm ${version}`,
  });
}

/**
 * Runs `start`, then removes the listeners for uncaught errors that the compiled module adds. They only throw the error
 * again.
 */
async function withoutErrorListeners(start: () => Promise<void>): Promise<void> {
  const events = ["uncaughtException", "unhandledRejection"];
  const before = events.map((event) => process.listeners(event as "exit"));
  await start();
  for (const [index, event] of events.entries()) {
    for (const listener of process.listeners(event as "exit")) {
      if (!before[index]?.includes(listener)) {
        process.removeListener(event, listener);
      }
    }
  }
}

/** The adapter of the `wasm` engine. */
export const wasmAdapter: EngineAdapter = { name: "wasm", probe, open };
