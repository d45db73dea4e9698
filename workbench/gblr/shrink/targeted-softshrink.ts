// TargetedSoftshrink: Softshrink until the mean width is below a target; optionally slower on the way there, within
// bounds, and with the structure frozen once it has arrived.

import { div, greaterEqual, mul, pow, relu, type Scalar, scalar, sub, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { expectSetting } from "../../engine/ops/operands.ts";
import { meanWidth } from "./mean-width.ts";
import {
  expectNonNegative,
  expectRate,
  expectTarget,
  isDue,
  NOT_DUE,
  type RateOptions,
  type ShrinkRule,
} from "./rule.ts";
import { expectBounds, shiftWidths, type WidthBounds } from "./shift-widths.ts";

export interface TargetOptions {
  /** shift of widths for a learning rate of 1 */
  threshold: number;
  /** mean width below which nothing is taken off any more */
  target: number;
  /** power p that scales the threshold by ((μ - target) / (1 - target))^p on the way; default: not scaled */
  approach?: number;
}

export interface TargetedSoftshrinkOptions extends TargetOptions, RateOptions {
  /** default: widths in [0, 1] */
  bounds?: WidthBounds;
  /** leave widths and locations alone for good once the mean width is below target. Default false */
  freeze?: boolean;
}

/**
 * The threshold in force at mean width μ: 0 when μ < target, else `threshold`, scaled by ((μ - target) / (1 - target))^p
 * if there is an approach p.
 * @param mean μ, a float32 scalar
 * @returns float32 scalar
 */
export function targetedThreshold(mean: Scalar, { threshold, target, approach }: TargetOptions): Scalar {
  return tidy("targetedThreshold", () => {
    if (approach === undefined) {
      return mul<Scalar>(greaterEqual(mean, target), threshold);
    }
    return mul<Scalar>(pow(div(relu(sub(mean, target)), 1 - target), scalar(approach)), threshold);
  });
}

/** @throws ShapeError when a setting is out of range */
export function expectTargetOptions(rule: string, { threshold, target, approach }: TargetOptions): void {
  expectNonNegative(rule, { threshold });
  expectTarget(rule, { target });
  expectSetting(rule, { approach }, "a number above 0", approach === undefined || approach > 0);
}

/**
 * w ← clamp(softshrink(w, targetedThreshold(μ) · learningRate)), μ the mean width. Reads nothing from the device, but
 * for μ each time while `freeze` waits for it to fall below target: the step that sees this still clamps and wraps.
 * State: `frozen`.
 * @throws ShapeError when a setting is out of range
 */
export function targetedSoftshrink(options: TargetedSoftshrinkOptions): ShrinkRule {
  const { target, bounds, rate = 1, freeze = false } = options;
  expectTargetOptions("targetedSoftshrink", options);
  expectBounds("targetedSoftshrink", bounds ?? {});
  expectRate("targetedSoftshrink", rate);
  let frozen = false;
  return {
    name: "targeted-softshrink",
    state: () => ({ frozen }),
    restore: (state) => {
      frozen = state.frozen === true;
    },
    async apply(layers, step) {
      if (frozen || !isDue(step, rate)) {
        return { ...NOT_DUE, frozen };
      }
      const mean = meanWidth(layers);
      tidy(() => shiftWidths(layers, mul(targetedThreshold(mean, options), step.learningRate), bounds));
      frozen = freeze && (await readNumber(mean)) < target;
      mean.dispose();
      return { applied: true, frozen };
    },
  };
}

const readNumber = async (value: Tensor): Promise<number> => (await value.data())[0] as number;
