// The one update that all shrink rules make: take a shift off the widths, clip them, wrap the locations. How large the
// shift is, each rule says for itself.

import {
  floor,
  less,
  maximum,
  minimum,
  mul,
  type Scalar,
  sub,
  type Tensor,
  tensor2d,
  tidy,
} from "@tensorflow/tfjs-core";
import { expectSetting } from "../../engine/ops/operands.ts";
import type { ShrinkLayer } from "./rule.ts";

/** Smallest and largest width, input side then output side. */
export interface WidthBounds {
  /** default [0, 0] */
  min?: readonly [number, number];
  /** default [1, 1] */
  max?: readonly [number, number];
}

const UNIT: Required<WidthBounds> = { min: [0, 0], max: [1, 1] };

/**
 * w ← min(max(w - shift, min), max) and l ← l mod 1, in place. With bounds of at least 0 this is soft thresholding
 * followed by the clamp: what a negative width gains there, the clamp takes back.
 * @param shift a scalar on the device, at least 0
 */
export function shiftWidths(layers: readonly ShrinkLayer[], shift: Scalar, bounds: WidthBounds = UNIT): void {
  const { min = UNIT.min, max = UNIT.max } = bounds;
  tidy("shiftWidths", () => {
    const [lowest, highest] = [min, max].map((sides) => tensor2d([...sides], [2, 1])) as [Tensor, Tensor];
    for (const { widths, locations } of layers) {
      tidy(() => widths.assign(minimum(maximum(sub(widths, shift), lowest), highest)));
      wrapLocations(locations);
    }
  });
}

/** l ← l mod 1 in place, into [0, 1): an l so little below 0 that the sum rounds to 1 becomes 0. */
export function wrapLocations(locations: ShrinkLayer["locations"]): void {
  tidy("wrapLocations", () => {
    const rest = sub(locations, floor(locations));
    locations.assign(mul(rest, less(rest, 1)));
  });
}

/** @throws ShapeError unless 0 <= min <= max <= 1 on both sides */
export function expectBounds(rule: string, { min = UNIT.min, max = UNIT.max }: WidthBounds): void {
  const ordered = min.every((lowest, side) => 0 <= lowest && lowest <= (max[side] as number));
  const bounds = `(${min.join(", ")}) to (${max.join(", ")})`;
  expectSetting(
    rule,
    { bounds },
    "two pairs with 0 <= min <= max <= 1",
    ordered && max.every((highest) => highest <= 1),
  );
}
