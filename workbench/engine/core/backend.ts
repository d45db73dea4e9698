// Shared by the adapters of TensorFlow.js's own backends: checks of options that those backends cannot vary, and making
// a backend current. Nothing here depends on a particular backend.

import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "./errors.ts";
import type { Engine, EngineName, Precision } from "./types.ts";

/**
 * Checks the requested device.
 * @returns the requested device, or the engine's first one if none was requested
 * @throws EngineError when the engine does not have the device
 */
export function requireDevice(engine: EngineName, asked: string | undefined, devices: readonly string[]): string {
  const first = devices[0];
  if (first === undefined || (asked !== undefined && !devices.includes(asked))) {
    const known = devices.map((device) => `"${device}"`).join(" or ");
    throw new EngineError(
      `device "${asked}" is not a device of engine "${engine}", which runs on ${known}`,
      `ask for ${known}, or for engine "torch" to use CUDA`,
    );
  }
  return asked ?? first;
}

/**
 * Checks the requested precision of an engine that only computes in float32.
 * @throws EngineError unless it is `float32`
 */
export function requireFloat32(engine: EngineName, asked: Precision): void {
  if (asked !== "float32") {
    throw new EngineError(
      `precision "${asked}" is not available on engine "${engine}", which computes in float32`,
      `ask for "float32", or for engine "torch" on a CUDA device`,
    );
  }
}

/**
 * Makes tf.* compute on a registered backend.
 * @throws EngineError when the backend does not start
 */
export async function useBackend(engine: EngineName, backendName: string): Promise<void> {
  if (tf.getBackend() === backendName) {
    return;
  }
  let cause: unknown;
  const started = await tf.setBackend(backendName).catch((error: unknown) => {
    cause = error;
    return false;
  });
  if (!started) {
    const detail = cause instanceof Error ? `: ${cause.message}` : "";
    throw new EngineError(
      `engine "${engine}" did not start on this machine${detail}`,
      "run `gblr doctor` to see which engines work here",
      { cause },
    );
  }
}

/**
 * The engine of a backend that computes synchronously and has neither a random generator nor memory statistics of its
 * own.
 */
export function plainEngine(
  engine: Pick<Engine, "name" | "backendName" | "device" | "threads" | "version"> & Partial<Engine>,
): Engine {
  return {
    precision: "float32",
    why: "",
    seed: () => undefined,
    synchronize: () => Promise.resolve(),
    memory: () => undefined,
    ...engine,
  };
}
