// Creates the model folder of a model from scratch. Its name is `scratch:` followed by timm's name of the model. The
// random weights depend only on the settings and the seed.

import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { lockFile } from "../../../hub/cache/lock.ts";
import {
  ARCHITECTURES,
  architectureInTimm,
  architectureOfConfig,
  createModel,
  saveModelNow,
} from "../../models/index.ts";
import type { Source } from "../fetch.ts";
import { SettingsError } from "../stage.ts";
import type { ImageSettings } from "./image-settings.ts";

const PREFIX = "scratch:";

/** Settings that apply only to models from scratch. */
export const SCRATCH_SETTINGS = ["width", "blocks", "heads", "size", "mean", "std"] as const;

/** timm's name of a model from scratch; undefined for other models. */
export const scratchName = (model: string): string | undefined =>
  model.startsWith(PREFIX) ? model.slice(PREFIX.length) : undefined;

/** Checks the settings for models from scratch. @throws SettingsError if one does not apply, or the name is unknown */
export function checkScratch({ model, ...settings }: ImageSettings): void {
  const name = scratchName(model);
  if (name === undefined) {
    const own = SCRATCH_SETTINGS.find((one) => settings[one] !== undefined);
    if (own === undefined) return;
    throw new SettingsError(`--${own} is for models from scratch, and --model ${model} is none; leave it out`);
  }
  const sizes = architectureInTimm(name)?.timm?.sizes;
  if (!sizes) {
    const known = `${ARCHITECTURES.flatMap(({ timm }) => timm?.example ?? []).join(", ")} and others of their kind`;
    throw new SettingsError(`--model ${model}: timm's "${name}" is not supported; give one of ${known}`);
  }
  if (settings.newHead) {
    throw new SettingsError("--new-head is for trained models, and a model from scratch has a new head; leave it out");
  }
  if (settings.heads !== undefined && !sizes.heads) {
    throw new SettingsError(`--heads: a ${name} has no attention heads; leave it out`);
  }
  const own = (["width", "blocks"] as const).find((one) => settings[one] !== undefined && !sizes[one]);
  if (own) throw new SettingsError(`--${own}: the name ${name} determines this; leave it out`);
}

export interface ScratchOptions {
  /** classes of the data set, in the order of their numbers */
  classes: readonly string[];
  /** folder of caches, which holds the model folder; runs with the same settings share it */
  cache: string;
}

/**
 * Creates the model folder, unless the cache has it for the same settings.
 * @throws ModelError if a size is invalid
 */
export async function scratchModel(settings: ImageSettings, { classes, cache }: ScratchOptions): Promise<Source> {
  const json = scratchConfig(settings, classes);
  const key = createHash("sha256")
    .update(JSON.stringify([json, settings.seed]))
    .digest("hex")
    .slice(0, 32);
  const place = join(cache, "scratch", key);
  const unlock = await lockFile(`${place}.lock`);
  try {
    if (!(await stat(join(place, "config.json")).catch(() => undefined))) await make(json, settings, place);
    return { name: settings.model, folder: place, untrained: true };
  } finally {
    await unlock();
  }
}

async function make(json: Record<string, unknown>, settings: ImageSettings, place: string): Promise<void> {
  const model = createModel(architectureOfConfig(json, settings.model), json, { seed: settings.seed });
  try {
    await saveModelNow(model, place);
  } finally {
    model.dispose();
  }
}

/** The config.json of the model, in timm's format. */
function scratchConfig(settings: ImageSettings, classes: readonly string[]): Record<string, unknown> {
  const { model, width, blocks, heads, size, mean, std, crop, cropMode, interpolation } = settings;
  const name = scratchName(model) as string;
  const edge = size ?? Number(/_(\d+)$/.exec(name)?.[1] ?? 224);
  const fields = architectureInTimm(name)?.timm?.sizes ?? {};
  const asked = { image: edge, width, blocks, heads };
  const sizes = Object.entries(asked).flatMap(([size, value]) => {
    const field = fields[size as keyof typeof fields];
    return field !== undefined && value !== undefined ? [[field, value] as const] : [];
  });
  return {
    architecture: name,
    num_classes: classes.length,
    model_args: Object.fromEntries(sizes),
    pretrained_cfg: {
      input_size: [3, edge, edge],
      num_classes: classes.length,
      ...(mean && { mean }),
      ...(std && { std }),
      ...(crop !== undefined && { crop_pct: crop }),
      ...(cropMode !== undefined && { crop_mode: cropMode }),
      ...(interpolation !== undefined && { interpolation }),
    },
    label_names: classes,
  };
}
