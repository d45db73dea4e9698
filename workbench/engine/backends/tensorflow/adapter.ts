// The `tensorflow` engine: TensorFlow's C library through @tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node, where the
// user has installed one of them. Neither is a dependency: both are old and download a binary when they are installed.

import { createRequire } from "node:module";
import { plainEngine, requireDevice, requireFloat32, useBackend } from "../../core/backend.ts";
import { EngineError } from "../../core/errors.ts";
import type { DeviceInfo, Engine, EngineAdapter, Probe, ResolvedOptions } from "../../core/types.ts";
import { describeNodeBackend } from "../../tfjs/internals.ts";

const PACKAGES = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"] as const;
const REMEDY =
  "install one with `npm install @tensorflow/tfjs-node` (CPU) or `npm install @tensorflow/tfjs-node-gpu` " +
  "(CUDA 11.2); either brings TensorFlow 2.9, wants Node 22 or older, and downloads a binary while it is installed";

function installedPackage(): string | undefined {
  const require = createRequire(import.meta.url);
  return PACKAGES.find((name) => {
    try {
      return require.resolve(`${name}/package.json`) !== "";
    } catch {
      return false;
    }
  });
}

async function probe(): Promise<Probe> {
  const name = installedPackage();
  if (!name) {
    return { available: false, reason: `neither ${PACKAGES.join(" nor ")} is installed`, remedy: REMEDY };
  }
  try {
    // Registers backend `tensorflow`; rejects when the package's binary does not load.
    await import(name);
    const { tensorflowVersion, onGpu } = describeNodeBackend();
    const device: DeviceInfo = onGpu
      ? { id: "gpu", name: "TensorFlow's first CUDA device" }
      : { id: "cpu", name: "TensorFlow on the CPU" };
    return { available: true, version: `TensorFlow ${tensorflowVersion}`, devices: [device], detail: `from ${name}` };
  } catch (error) {
    const message = String(error instanceof Error ? error.message : error).split("\n")[0];
    return { available: false, reason: `${name} is installed but does not load (${message})`, remedy: REMEDY };
  }
}

async function open(options: ResolvedOptions): Promise<Engine> {
  const found = await probe();
  if (!found.available) {
    throw new EngineError(`engine "tensorflow" is not available: ${found.reason}`, found.remedy);
  }
  const ids = found.devices.map(({ id }) => id);
  const device = requireDevice("tensorflow", options.device, ids);
  requireFloat32("tensorflow", options.precision);
  await useBackend("tensorflow", "tensorflow");
  return plainEngine({
    name: "tensorflow",
    backendName: "tensorflow",
    device,
    threads: options.threads,
    version: found.version,
  });
}

/** The adapter of the `tensorflow` engine. */
export const tensorflowAdapter: EngineAdapter = { name: "tensorflow", probe, open };
