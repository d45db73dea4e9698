// Refuses settings of image transforms that make no sense, by name, before a thread is started.

import { expectSetting } from "../../engine/ops/operands.ts";
import type { PrepareSettings } from "./prepare.ts";

const OPERATION = "imageLoader";

/** @throws ShapeError */
export function checkTransform({ size, transform, mean, std }: PrepareSettings): void {
  const share = (value: number) => value >= 0 && value <= 1;
  const range = ([low, high]: readonly [number, number]) => low > 0 && low <= high && Number.isFinite(high);
  const expect = (name: string, value: unknown, what: string, holds: boolean) =>
    expectSetting(OPERATION, { [name]: value }, what, holds);
  expect("size", size, "a whole number of pixels, 1 or more", Number.isInteger(size) && size >= 1);
  expect("mean", mean, "three numbers", mean.length === 3 && mean.every(Number.isFinite));
  expect("std", std, "three numbers above 0", std.length === 3 && std.every((value) => value > 0));
  const evaluated = transform.kind === "evaluate" ? transform : transform.crop;
  if (evaluated?.kind === "evaluate") {
    const { cropShare = 1 } = evaluated;
    expect("cropShare", cropShare, "above 0, at most 1", cropShare > 0 && cropShare <= 1);
  }
  if (transform.kind === "evaluate") return;
  const { crop, flip = 0, erasing, randAugment, autoAugment, colorJitter } = transform;
  const chosen = Object.entries({ randAugment, autoAugment, colorJitter }).filter(([, value]) => value !== undefined);
  const names = chosen.map(([name]) => name).join(" and ");
  expect("augmentation", names, "one of randAugment, autoAugment and colorJitter", chosen.length <= 1);
  expect("flip", flip, "from 0 to 1", share(flip));
  if (crop?.kind === "resized") {
    if (crop.scale)
      expect("scale", crop.scale, "two shares above 0, the lesser first", range(crop.scale) && crop.scale[1] <= 1);
    if (crop.ratio) expect("ratio", crop.ratio, "two numbers above 0, the lesser first", range(crop.ratio));
  }
  const { padding = 0 } = crop?.kind === "padded" ? crop : {};
  expect("padding", padding, "a whole number, 0 or more", Number.isInteger(padding) && padding >= 0);
  const { probability = 0, area = [0.1, 0.1], aspect = 1 } = erasing ?? {};
  expect("erasing probability", probability, "from 0 to 1", share(probability));
  expect("erasing area", area, "two shares above 0, the lesser first", range(area) && area[1] <= 1);
  expect("erasing aspect", aspect, "above 0, at most 1", aspect > 0 && aspect <= 1);
  const { magnitude = 0, hue = 0 } = { ...randAugment, ...colorJitter };
  expect("magnitude", magnitude, "from 0 to 10", magnitude >= 0 && magnitude <= 10);
  expect("hue", hue, "from 0 to 0.5", hue >= 0 && hue <= 0.5);
}
