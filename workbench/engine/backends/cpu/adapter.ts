// The `cpu` engine: TensorFlow.js's plain-JavaScript backend. It is slow, complete and available everywhere; tests
// compare other engines with it. It uses no native code: for that, ask for the torch engine on device `cpu`. Kernels
// that the backend gets wrong are replaced: some gradients, einsum, reductions over nothing, and stacks of matrices
// that broadcast.

import * as tf from "@tensorflow/tfjs-core";
import { plainEngine, requireDevice, requireFloat32, useBackend } from "../../core/backend.ts";
import type { Engine, EngineAdapter, Probe, ResolvedOptions } from "../../core/types.ts";
import { assertVersion, silenceCpuBackend } from "../../tfjs/internals.ts";
import { registerEmptyReductions, registerMatMulEdges } from "../shared/edge-cases.ts";
import { registerEinsum } from "../shared/einsum.ts";
import { loadHost } from "../shared/host-fallback.ts";
import { registerAveragePoolGradient, registerResizeGradients } from "../shared/image-gradients.ts";

let kernels: Promise<void> | undefined;

/** @returns the version of the backend's package */
async function register(): Promise<string> {
  const { version_cpu } = await import("@tensorflow/tfjs-backend-cpu");
  silenceCpuBackend(tf.findBackend("cpu"));
  kernels ??= registerKernels();
  await kernels;
  return version_cpu;
}

async function registerKernels(): Promise<void> {
  await loadHost();
  registerAveragePoolGradient("cpu");
  registerResizeGradients("cpu");
  registerEinsum("cpu");
  registerEmptyReductions("cpu");
  registerMatMulEdges("cpu");
}

async function probe(): Promise<Probe> {
  return {
    available: true,
    version: `tfjs-backend-cpu ${await register()}`,
    devices: [{ id: "cpu", name: "plain JavaScript" }],
    detail: "one thread of JavaScript, no native code",
  };
}

async function open(options: ResolvedOptions): Promise<Engine> {
  const device = requireDevice("cpu", options.device, ["cpu"]);
  requireFloat32("cpu", options.precision);
  const version = await register();
  assertVersion("@tensorflow/tfjs-backend-cpu", version);
  await useBackend("cpu", "cpu");
  return plainEngine({ name: "cpu", backendName: "cpu", device, threads: 1, version: `tfjs-backend-cpu ${version}` });
}

/** The adapter of the `cpu` engine. */
export const cpuAdapter: EngineAdapter = { name: "cpu", probe, open };
