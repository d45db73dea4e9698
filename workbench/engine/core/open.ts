// Opens the engine that a caller asked for, or the best one that this machine has. This file lists the engines and the
// order in which they are tried; the adapter of each engine in backends/ finds and starts it.

import { version_core } from "@tensorflow/tfjs-core";
import { BUILD_COMMAND } from "../../../hub/files/about.ts";
import { registerGradients } from "../tfjs/gradients.ts";
import { assertVersion } from "../tfjs/internals.ts";
import { useBackend } from "./backend.ts";
import { EngineError } from "./errors.ts";
import { resolveOptions } from "./options.ts";
import {
  ENGINE_NAMES,
  type Engine,
  type EngineAdapter,
  type EngineName,
  type OpenEngineOptions,
  type Probe,
  type ResolvedOptions,
} from "./types.ts";

/**
 * The adapter of each engine. Adapters are imported when needed, because each imports a backend with several hundred
 * kernels.
 */
const ADAPTERS: Record<EngineName, () => Promise<EngineAdapter>> = {
  torch: async () => (await import("../backends/torch/adapter.ts")).torchAdapter,
  webgpu: async () => (await import("../backends/webgpu/adapter.ts")).webgpuAdapter,
  wasm: async () => (await import("../backends/wasm/adapter.ts")).wasmAdapter,
  tensorflow: async () => (await import("../backends/tensorflow/adapter.ts")).tensorflowAdapter,
  cpu: async () => (await import("../backends/cpu/adapter.ts")).cpuAdapter,
};

/** The engines and devices that `auto` tries, in this order. */
const CANDIDATES: readonly { engine: EngineName; device: "cuda" | "gpu" | "cpu" }[] = [
  { engine: "torch", device: "cuda" },
  { engine: "torch", device: "cpu" },
  { engine: "webgpu", device: "gpu" },
  { engine: "wasm", device: "cpu" },
];

const CUDA_REMEDY = `leave out the device, or set LIBTORCH to a CUDA build of libtorch and run \`${BUILD_COMMAND}\``;

interface EngineProbe {
  name: EngineName;
  probe: Probe;
}

/** Looks for every engine on this machine, in the order of `ENGINE_NAMES`. Opens none. */
export async function probeEngines(): Promise<EngineProbe[]> {
  const found: EngineProbe[] = [];
  for (const name of ENGINE_NAMES) {
    found.push({ name, probe: await probeEngine(name) });
  }
  return found;
}

/** Looks for one engine on this machine. Opens nothing. */
export async function probeEngine(name: EngineName): Promise<Probe> {
  const adapter = await ADAPTERS[name]();
  return adapter.probe();
}

let opened: Engine | undefined;

/** The engine that tf.* computes on; undefined if none was opened. */
export const openedEngine = (): Engine | undefined => opened;

/**
 * Opens an engine and makes tf.* compute on it. An engine that is open already can be opened again, also with other
 * options. Tensors stay on the engine that created them.
 *
 * @throws EngineError when an option is unknown, when this machine does not have the requested engine or device, or
 *   when TensorFlow.js has a version that was not checked
 */
export async function openEngine(options: OpenEngineOptions = {}): Promise<Engine> {
  const { engine: name, ...resolved } = resolveOptions(options);
  assertVersion("@tensorflow/tfjs-core", version_core);
  await registerGradients();
  return name === "auto" ? openBest(resolved) : openNamed(name, resolved);
}

async function openNamed(name: EngineName, options: ResolvedOptions): Promise<Engine> {
  const probe = await probeEngine(name);
  if (!probe.available) {
    throw new EngineError(`engine "${name}" is not available: ${probe.reason}`, probe.remedy);
  }
  const engine = await start(name, options);
  engine.why = `engine "${name}" was asked for`;
  return engine;
}

async function start(name: EngineName, options: ResolvedOptions): Promise<Engine> {
  const adapter = await ADAPTERS[name]();
  const engine = await adapter.open(options);
  await useBackend(name, engine.backendName);
  opened = engine;
  return engine;
}

type Kind = (typeof CANDIDATES)[number]["device"];

/** Descriptions of the candidates that `auto` passed over, and what the user can do about each. */
interface Passed {
  over: string[];
  remedies: string[];
}

async function openBest(options: ResolvedOptions): Promise<Engine> {
  const passed: Passed = { over: [], remedies: [] };
  const probes = new Map<EngineName, Probe>();
  for (const { engine: name, device } of CANDIDATES.filter((candidate) => suits(candidate.device, options))) {
    const seenBefore = probes.has(name);
    const probe = probes.get(name) ?? (await probeEngine(name));
    probes.set(name, probe);
    const obstacle = obstacleTo(probe, device, options);
    if (obstacle === undefined) {
      const engine = await tryStart(name, { ...options, device: exactDevice(device, options) }, passed);
      if (engine) {
        engine.why = explain(engine, passed);
        return engine;
      }
    } else if (probe.available) {
      passed.over.push(`${name} on ${device} (${obstacle})`);
      passed.remedies.push(...(device === "cuda" ? [CUDA_REMEDY] : []));
    } else if (!seenBefore) {
      passed.over.push(`${name} (${obstacle})`);
      passed.remedies.push(probe.remedy);
    }
  }
  throw nothingFound(options, passed);
}

async function tryStart(name: EngineName, options: ResolvedOptions, passed: Passed): Promise<Engine | undefined> {
  try {
    return await start(name, options);
  } catch (error) {
    if (!(error instanceof EngineError)) {
      throw error;
    }
    passed.over.push(`${name} on ${options.device} (${error.message})`);
    passed.remedies.push(error.remedy);
  }
}

/** Whether `device` matches the request: `gpu` matches any GPU, and reduced precision needs CUDA. */
function suits(device: Kind, options: ResolvedOptions): boolean {
  if (options.precision !== "float32" && device !== "cuda") {
    return false;
  }
  if (options.device === undefined) {
    return true;
  }
  return options.device === "gpu" ? device !== "cpu" : deviceKind(options.device) === device;
}

function exactDevice(device: Kind, options: ResolvedOptions): string {
  return options.device?.startsWith(device) ? options.device : device;
}

/** Why this engine cannot run on that device here; undefined when it can. */
function obstacleTo(probe: Probe, device: Kind, options: ResolvedOptions): string | undefined {
  if (!probe.available) {
    return probe.reason;
  }
  const fit = probe.devices.filter(({ id }) => deviceKind(id) === device);
  if (fit.length === 0) {
    return `no ${device === "cuda" ? "CUDA" : device} device`;
  }
  if (options.device === undefined && fit.every(({ software }) => software)) {
    return `${fit.map(({ name }) => name).join(", ")} is a software renderer`;
  }
  return undefined;
}

function explain(engine: Engine, { over }: Passed): string {
  const reason = over.length === 0 ? "it is the first choice" : `passed over ${over.join(", ")}`;
  return `auto took ${engine.name} on ${engine.device}: ${reason}`;
}

function nothingFound(options: ResolvedOptions, { over, remedies }: Passed): EngineError {
  const { device, precision } = options;
  const reduced = precision !== "float32";
  const asked = [device && `device "${device}"`, reduced && `precision "${precision}"`].filter(Boolean);
  const why = over.length === 0 ? "only torch on CUDA has that precision" : `passed over ${over.join(", ")}`;
  return new EngineError(
    `no engine here for ${asked.join(" with ") || "this machine"}: ${why}`,
    remedies[0] ?? "run `gblr doctor` to see what this machine has",
  );
}

/** Number of GPUs that the native engine sees; 0 where it is not built. */
export async function countGpus(): Promise<number> {
  const probe = await probeEngine("torch");
  return probe.available ? probe.devices.filter(({ id }) => deviceKind(id) === "cuda").length : 0;
}

/** The kind of a device, without its number: `cuda` of `cuda:1`. */
export const deviceKind = (device: string): string => device.split(":")[0] as string;
