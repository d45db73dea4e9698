// The `webgpu` engine: TensorFlow.js's WebGPU backend on the WebGPU that is built into Deno, for GPUs of any maker. Its
// tensors cannot be read synchronously (in browsers that goes through a canvas): use `await tensor.data()`.

import * as tf from "@tensorflow/tfjs-core";
import { plainEngine, requireDevice, requireFloat32, useBackend } from "../../core/backend.ts";
import { EngineError } from "../../core/errors.ts";
import type { DeviceInfo, Engine, EngineAdapter, Probe, ResolvedOptions } from "../../core/types.ts";
import { drainQueue, guardBackend, type WebgpuBackend } from "../../tfjs/webgpu.ts";
import { registerWebgpuKernels } from "./kernels.ts";

async function findAdapter(): Promise<GPUAdapter | undefined> {
  const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
  return (await gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? undefined;
}

function describe({ info }: GPUAdapter): DeviceInfo {
  const name = info.description || [info.vendor, info.architecture, info.device].filter(Boolean).join(" ");
  const software = info.isFallbackAdapter || /llvmpipe|swiftshader|software|basic render/i.test(name);
  return { id: "gpu", name: name || "unnamed adapter", ...(software ? { software: true } : {}) };
}

async function probe(): Promise<Probe> {
  if (!(globalThis.navigator as Navigator | undefined)?.gpu) {
    return {
      available: false,
      reason: "this runtime has no WebGPU",
      remedy: "run under Deno, which has it built in",
    };
  }
  const adapter = await findAdapter().catch(() => undefined);
  if (!adapter) {
    return {
      available: false,
      reason: "WebGPU finds no GPU",
      remedy: "install a Vulkan driver (Debian: mesa-vulkan-drivers, which has a software one too)",
    };
  }
  const device = describe(adapter);
  return {
    available: true,
    version: `tfjs-backend-webgpu ${tf.version_core}`,
    devices: [device],
    detail: device.software ? `${device.name}, a software renderer` : device.name,
  };
}

async function open(options: ResolvedOptions): Promise<Engine> {
  const device = requireDevice("webgpu", options.device, ["gpu"]);
  requireFloat32("webgpu", options.precision);
  const found = await probe();
  if (!found.available) {
    throw new EngineError(`engine "webgpu" is not available: ${found.reason}`, found.remedy);
  }
  await import("@tensorflow/tfjs-backend-webgpu");
  await registerWebgpuKernels();
  await useBackend("webgpu", "webgpu");
  const backend = tf.backend() as WebgpuBackend;
  guardBackend(backend);
  return plainEngine({
    name: "webgpu",
    backendName: "webgpu",
    device,
    threads: 1,
    version: found.version,
    synchronize: () => drainQueue(backend),
  });
}

/** The adapter of the `webgpu` engine. */
export const webgpuAdapter: EngineAdapter = { name: "webgpu", probe, open };
