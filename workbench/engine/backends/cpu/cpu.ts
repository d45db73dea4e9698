// The `cpu` engine: TensorFlow.js's plain-JavaScript backend. Slow, complete, always there; tests compare other engines
// with it. It does not use native code: that is the torch engine on device `cpu`.

import * as tf from "@tensorflow/tfjs-core";
import { plainEngine, requireDevice, requireFloat32, useBackend } from "../../core/backend.ts";
import type { Engine, EngineAdapter, Probe, ResolvedOptions } from "../../core/types.ts";
import { registerCpuKernels } from "../../kernels/cpu.ts";

/** Registers the backend, and keeps its first operation from advertising the Node binding on the console. */
async function register(): Promise<string> {
  const { version_cpu } = await import("@tensorflow/tfjs-backend-cpu");
  const backend = tf.findBackend("cpu") as tf.KernelBackend & { firstUse?: boolean };
  backend.firstUse = false;
  await registerCpuKernels();
  return `tfjs-backend-cpu ${version_cpu}`;
}

async function probe(): Promise<Probe> {
  return {
    available: true,
    version: await register(),
    devices: [{ id: "cpu", name: "plain JavaScript" }],
    detail: "one thread of JavaScript, no native code",
  };
}

async function open(options: ResolvedOptions): Promise<Engine> {
  const device = requireDevice("cpu", options.device, ["cpu"]);
  requireFloat32("cpu", options.precision);
  const version = await register();
  await useBackend("cpu", "cpu");
  return plainEngine({ name: "cpu", backendName: "cpu", device, threads: 1, version });
}

export const cpuAdapter: EngineAdapter = { name: "cpu", probe, open };
