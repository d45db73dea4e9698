// The settings that identify a run, as flat JSON. A run can be resumed only with equal settings. The run folder and the
// times of checkpoints are not part of them.

import { createHash } from "node:crypto";
import { ShapeError } from "../engine/core/errors.ts";
import { loraSettings } from "./lora.ts";
import type { FitOptions, Settings, SettingValue } from "./options.ts";
import type { Schedule } from "./schedule.ts";

/** The settings of a run by name. Defaults are filled in. */
export function runSettings(options: FitOptions, schedule: Schedule): Settings {
  const {
    model,
    task,
    optimizer,
    lastBatch = "keep",
    sigma,
    shrink,
    shrinkEvery = 1,
    evaluation,
    settings = {},
  } = options;
  const { learningRate, structureLearningRate = learningRate } = optimizer;
  const own: Record<string, unknown> = {
    steps: schedule.steps,
    batch: schedule.batch,
    "micro-batch": schedule.microBatch,
    "last batch": lastBatch,
    items: schedule.items,
    seed: schedule.seed,
    "learning rate": learningRate,
    "structure learning rate": structureLearningRate,
    betas: optimizer.betas ?? [0.9, 0.999],
    epsilon: optimizer.epsilon ?? 1e-8,
    "weight decay": optimizer.weightDecay ?? 0,
    "clip norm": optimizer.clipNorm ?? null,
    "learning rate schedule": optimizer.schedule ?? { decay: "constant" },
    sigma: sigma ?? null,
    shrink: shrink?.name ?? null,
    ...(shrinkEvery > 1 && { "shrink every": shrinkEvery }),
    ...(options.lora && loraSettings(options.lora)),
    evaluation: evaluation ? [evaluation.every ?? { epochs: 1 }, evaluation.first ?? true] : null,
    "model parameters": fingerprint(model.parameters),
  };
  const flat = Object.entries(own).map(([name, value]) => [name, flattened(value)]);
  return { ...Object.fromEntries(flat), ...prefixed("task", task.settings), ...settings };
}

const prefixed = (prefix: string, settings: Settings) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [`${prefix} ${name}`, value]));

const flattened = (value: unknown): SettingValue =>
  typeof value === "object" && value !== null ? JSON.stringify(value) : (value as SettingValue);

/**
 * A hash of the parameters' values. Checkpoints of adapters do not have the parameters they were trained on, so a resumed
 * run must find the same ones in the model.
 */
export async function valuesDigest(parameters: FitOptions["model"]["parameters"]): Promise<string> {
  const hash = createHash("sha256");
  for (const parameter of parameters.values()) {
    const { buffer, byteOffset, byteLength } = await parameter.data();
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest("hex").slice(0, 12);
}

/** A hash of the parameters' names, shapes and types, without their values. */
function fingerprint(parameters: FitOptions["model"]["parameters"]): string {
  const shapes = Array.from(parameters, ([name, { shape, dtype, trainable }]) => [name, shape, dtype, trainable]);
  return `${shapes.length} of ${digest(JSON.stringify(shapes)).slice(0, 12)}`;
}

/** SHA-256 of settings, independent of their order. */
export function settingsHash(settings: Settings): string {
  return digest(JSON.stringify(Object.entries(settings).sort(([a], [b]) => (a < b ? -1 : 1))));
}

const digest = (text: string): string => createHash("sha256").update(text).digest("hex");

/** The first setting that differs, e.g. `seed is 1, requested 2`; undefined if none does. */
export function firstDifference(made: Settings, asked: Settings): string | undefined {
  const shown = (value: SettingValue | undefined) => (value === undefined ? "absent" : JSON.stringify(value));
  for (const name of new Set([...Object.keys(asked), ...Object.keys(made)])) {
    if (made[name] !== asked[name]) return `${name} is ${shown(made[name])}, requested ${shown(asked[name])}`;
  }
  return undefined;
}

/**
 * Checks that settings are unchanged by JSON.
 * @throws ShapeError when a setting is not plain JSON
 */
export function expectPlain(settings: Settings): void {
  for (const [name, value] of Object.entries(settings)) {
    const plain = value === null || ["string", "boolean"].includes(typeof value) || Number.isFinite(value);
    if (!plain) throw new ShapeError(`fit: setting "${name}" must be a finite number, text, boolean or null`);
  }
}
