// How the reference prepares images for evaluation, as fields of timm's `pretrained_cfg`: from the hyper-parameters where
// there are any, else as for the published models.

import { findSetting, isRecord, isText, type Settings } from "./hyper-parameters.ts";

export interface Preparation {
  interpolation: string;
  /** of the shorter side, that the middle square takes */
  crop_pct: number;
  mean: readonly number[];
  std: readonly number[];
}

const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** The reference's own statistics, on values from 0 to 255; such images are not cropped. */
const CIFAR: ReadonlyMap<string, { mean: number[]; std: number[] }> = new Map([
  ["CIFAR10", { mean: [125.3, 123, 113.9], std: [63, 62.1, 66.7] }],
  ["CIFAR100", { mean: [129.3, 124.1, 112.4], std: [68.2, 65.4, 70.4] }],
]);

/** @param published what goes for the published model of ImageNet's */
export function preparation(hyper: Settings, published: Pick<Preparation, "interpolation" | "crop_pct">): Preparation {
  const target = findSetting(findSetting(hyper, ["datamodule"], isRecord), ["_target_"], isText);
  const cifar = CIFAR.get(target?.split(".").at(-1) ?? "");
  if (cifar) {
    const share = (values: number[]) => values.map((value) => value / 255);
    return { interpolation: "bilinear", crop_pct: 1, mean: share(cifar.mean), std: share(cifar.std) };
  }
  return { ...published, ...IMAGENET };
}
