// The `torch` engine: TensorFlow.js on libtorch, on the CPU or a CUDA device. The adapter finds the devices and opens
// one with a given precision.

import * as tf from "@tensorflow/tfjs-core";
import { BUILD_COMMAND } from "../../../../hub/files/about.ts";
import { EngineError } from "../../core/errors.ts";
import type {
  DeviceInfo,
  Engine,
  EngineAdapter,
  EngineMemory,
  Precision,
  Probe,
  ResolvedOptions,
} from "../../core/types.ts";
import { type Addon, loadAddon } from "./addon.ts";
import { lackingOperators } from "./aten.ts";
import { TorchBackend } from "./backend.ts";
import { registerKernels } from "./kernels/index.ts";
import { BACKEND_NAME } from "./register.ts";

const FACTORY_PRIORITY = 4;

/** The adapter of the `torch` engine. */
export const torchAdapter: EngineAdapter = {
  name: "torch",
  async probe(): Promise<Probe> {
    try {
      const { addon, stamp } = loadAddon();
      const { origin, lib } = stamp.libtorch;
      return {
        available: true,
        version: `libtorch ${addon.version()}`,
        devices: devices(addon),
        detail: `${lib} (${origin})`,
      };
    } catch (error) {
      if (!(error instanceof EngineError))
        return { available: false, reason: String(error), remedy: `run \`${BUILD_COMMAND}\`` };
      const reason = error.message.slice(0, -error.remedy.length - 2);
      return { available: false, reason, remedy: error.remedy };
    }
  },
  async open(options: ResolvedOptions): Promise<Engine> {
    const { addon, stamp } = loadAddon();
    const available = devices(addon);
    const device = chooseDevice(options.device, available);
    const gpu = device === "cpu" ? undefined : available.find(({ id }) => id === device)?.name;
    const { precision } = options;
    checkPrecision(precision, device);
    const threads = addon.setThreads(options.threads);
    await useBackend(addon, device);
    setPrecision(addon, precision, device);
    return {
      name: "torch",
      backendName: BACKEND_NAME,
      device,
      ...(gpu && { gpu }),
      precision,
      threads,
      version: `libtorch ${addon.version()}`,
      why: `found in ${stamp.libtorch.lib}`,
      seed: (seed) => addon.seed(seed),
      synchronize: () => settled(addon, device),
      memory: () => memoryOf(addon, device),
    };
  },
};

function devices(addon: Addon): DeviceInfo[] {
  const cuda = addon.cudaDevices().map(({ name, total }, i) => ({ id: `cuda:${i}`, name, memory: total }));
  return [...cuda, { id: "cpu", name: "CPU" }];
}

/** `cuda` means the first GPU; the default is the best device available. */
function chooseDevice(asked: string | undefined, available: DeviceInfo[]): string {
  const wanted = asked === "cuda" ? "cuda:0" : (asked ?? (available[0] as DeviceInfo).id);
  if (available.some(({ id }) => id === wanted)) return wanted;
  const list = available.map(({ id }) => id).join(", ");
  throw new EngineError(
    `device "${asked}" is not available: libtorch sees ${list}`,
    wanted.startsWith("cuda")
      ? `install a libtorch with CUDA and an NVIDIA driver and run \`${BUILD_COMMAND}\`, or ask for device "cpu"`
      : `ask for ${list}`,
  );
}

function checkPrecision(precision: Precision, device: string): void {
  if (precision === "float32" || device.startsWith("cuda")) return;
  throw new EngineError(
    `precision "${precision}" needs a CUDA device, the engine runs on ${device}`,
    'ask for precision "float32"',
  );
}

function setPrecision(addon: Addon, precision: Precision, device: string): void {
  // With bfloat16, the products that stay in float32 are at least as precise as the others.
  if (device.startsWith("cuda")) addon.allowTf32(precision !== "float32");
  (tf.backend() as TorchBackend).useBfloat16(precision === "bfloat16");
}

/** Registers the backend for the device, in place of one that was opened on another device. */
async function useBackend(addon: Addon, device: string): Promise<void> {
  await registerKernels();
  const lacking = lackingOperators();
  if (lacking.length > 0) {
    throw new EngineError(
      `libtorch ${addon.version()} has no ${lacking.join(", ")}, which kernels call`,
      "build the native engine with another version of PyTorch",
    );
  }
  const current = tf.findBackend(BACKEND_NAME) as TorchBackend | null;
  if (current && current.device !== device) tf.removeBackend(BACKEND_NAME);
  if (!current || current.device !== device) {
    addon.selectDevice(device);
    tf.registerBackend(BACKEND_NAME, () => new TorchBackend(device), FACTORY_PRIORITY);
  }
  await tf.setBackend(BACKEND_NAME);
}

function memoryOf(addon: Addon, device: string): EngineMemory {
  const { inUse, cached, peak, fresh } = addon.memory();
  const host = { inUse, cached, peak, fresh };
  if (device === "cpu") return host;
  return { ...host, gpu: addon.cudaMemory(device) };
}

/** Waits for the GPU on a worker thread, by reading a number that is queued after all pending computations. */
async function settled(addon: Addon, device: string): Promise<void> {
  if (device === "cpu") return;
  const mark = addon.fromBytes(new Float32Array(1), "float32", [1], device);
  await addon.readAsync(mark);
  addon.free(mark);
}
