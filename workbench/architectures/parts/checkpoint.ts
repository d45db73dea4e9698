// Reads what a config.json needs from a checkpoint without one: sizes from the names and shapes of tensors, and
// settings from the hyper-parameters stored beside the tensors. Values of tensors are not read.

import type { Json } from "../../../hub/checkpoint/index.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import type { WeightsFile } from "../architecture.ts";
import { IMAGENET } from "./image-terms.ts";

type Shapes = Pick<WeightsFile, "tensors" | "file">;

/**
 * The length of one axis of a tensor.
 * @throws ModelError if there is no such tensor, or it does not have this axis
 */
export function sideOf({ tensors, file }: Shapes, tensor: string, axis: number): number {
  const length = tensors.get(tensor)?.shape[axis];
  if (length !== undefined) return length;
  throw new ModelError(tensors.has(tensor) ? `has no axis ${axis}` : "is missing", { file, tensor });
}

/** timm's `mlp_ratio`: a ratio for which floor(ratio · width) is the inner width. */
export function ratioOf(inner: number, width: number): number {
  const ratio = inner / width;
  return Math.floor(ratio * width) === inner ? ratio : (inner + 0.5) / width;
}

/**
 * Counts the different numbers that the pattern's group matches in the names of tensors. The result is not the largest
 * number plus one, because a malicious file may have any number in a name.
 */
export function countNumbered({ tensors }: Shapes, pattern: RegExp): number {
  const numbers = Array.from(tensors.keys(), (name) => pattern.exec(name)?.[1]).filter((found) => found !== undefined);
  return new Set(numbers).size;
}

const WIDTH_OF_HEAD = 64;

/** The error that a checkpoint does not determine the number of attention heads. */
export class HeadsUnknown extends ModelError {}

/**
 * The number of attention heads if each is 64 wide, as in GPT-2 and ViT.
 * @throws HeadsUnknown if the width is not a multiple of 64
 */
export function usualHeads(width: number, file: string): number {
  if (width % WIDTH_OF_HEAD === 0) return width / WIDTH_OF_HEAD;
  const problem = `does not tell how many heads it has, and its width ${width} is no multiple of 64; say how many with --heads`;
  throw new HeadsUnknown(problem, { file });
}

/** A checkpoint's hyper-parameters, or a part of them. */
export type Settings = Json | { readonly [key: string]: Json } | undefined;

/** The first value under one of these keys for which `accepts` is true. Outer levels are searched before inner ones. */
export function findSetting<T extends Json>(
  value: Settings,
  keys: readonly string[],
  accepts: (value: Json) => value is T,
): T | undefined {
  let level: unknown[] = [value];
  while (level.length > 0) {
    const next: unknown[] = [];
    for (const each of level) {
      if (typeof each !== "object" || each === null) continue;
      for (const [key, inner] of Object.entries(each)) {
        if (keys.includes(key) && accepts(inner as Json)) return inner as T;
        next.push(inner);
      }
    }
    level = next;
  }
  return undefined;
}

export const isCount = (value: Json): value is number => Number.isSafeInteger(value) && (value as number) >= 1;

export const isBoolean = (value: Json): value is boolean => typeof value === "boolean";

export const isText = (value: Json): value is string => typeof value === "string";

export const isRecord = (value: Json): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Preparation of images for evaluation in the reference implementation, as fields of timm's `pretrained_cfg`. */
export interface ReferencePreparation {
  interpolation: string;
  /** side of the center crop as a share of the image's shorter side */
  crop_pct: number;
  mean: readonly number[];
  std: readonly number[];
}

/**
 * The reference's mean and standard deviation of each color, from 0 to 255. It does not crop images of these data sets.
 */
const CIFAR: ReadonlyMap<string, { mean: number[]; std: number[] }> = new Map([
  ["CIFAR10", { mean: [125.3, 123, 113.9], std: [63, 62.1, 66.7] }],
  ["CIFAR100", { mean: [129.3, 124.1, 112.4], std: [68.2, 65.4, 70.4] }],
]);

/**
 * The preparation of images for a checkpoint of the reference implementation.
 * @param published settings of the published ImageNet model, used if the hyper-parameters do not name CIFAR-10 or
 * CIFAR-100
 */
export function referencePreparation(
  hyper: Settings,
  published: Pick<ReferencePreparation, "interpolation" | "crop_pct">,
): ReferencePreparation {
  const target = findSetting(findSetting(hyper, ["datamodule"], isRecord), ["_target_"], isText);
  const cifar = CIFAR.get(target?.split(".").at(-1) ?? "");
  if (cifar) {
    const share = (values: number[]) => values.map((value) => value / 255);
    return { interpolation: "bilinear", crop_pct: 1, mean: share(cifar.mean), std: share(cifar.std) };
  }
  return { ...published, ...IMAGENET };
}
