// What evaluation does to an image: resized to size / crop share, then the center, with the roundings of torchvision and
// timm.

import { type Pixels, paste, plain } from "./pixels.ts";
import { resize } from "./resample.ts";
import type { CropMode, CropRounding, EvaluationTransform } from "./transform.ts";

interface Size {
  width: number;
  height: number;
}

/** What an image is resized to. @param edge what one of its sides becomes, or both */
const SIZES: Readonly<Record<CropMode, (edge: number, image: Size) => Size>> = {
  center: (edge, { width, height }) =>
    width <= height
      ? { width: edge, height: Math.trunc((edge * height) / width) }
      : { width: Math.trunc((edge * width) / height), height: edge },
  squash: (edge) => ({ width: edge, height: edge }),
  border: (edge, { width, height }) => {
    const ratio = Math.max(width, height) / edge;
    return { width: Math.max(1, roundEven(width / ratio)), height: Math.max(1, roundEven(height / ratio)) };
  },
};

/** @param settings.size edge of the result, pixels */
export function evaluationView(
  image: Pixels,
  {
    size,
    cropShare = 0.875,
    interpolation = "bicubic",
    cropMode = "center",
    cropRounding = "half-even",
    border = [0, 0, 0],
  }: Omit<EvaluationTransform, "kind"> & { size: number },
): Pixels {
  const { width, height } = SIZES[cropMode](Math.floor(size / cropShare), image);
  const [across, down] = [width, height].map((length) => seen(length, size, cropRounding)) as [Seen, Seen];
  const window = { left: across.first, top: down.first, width: across.count, height: down.count };
  const view = resize(image, { width, height, interpolation, window });
  if (view.width === size && view.height === size) return view;
  const whole = plain(size, size, border);
  paste(whole, view, { left: across.before, top: down.before });
  return whole;
}

/** The center of a side: what of it is kept, and how much border comes before. */
interface Seen {
  first: number;
  count: number;
  before: number;
}

function seen(length: number, size: number, rounding: CropRounding): Seen {
  const round = rounding === "down" ? Math.floor : roundEven;
  if (length >= size) return { first: round((length - size) / 2), count: size, before: 0 };
  return { first: 0, count: length, before: Math.floor((size - length) / 2) };
}

/** The mean, which becomes 0 when it is normalized, or nearly. @param mean of values from 0 to 1 */
export const borderOf = (mean: readonly [number, number, number]): [number, number, number] =>
  mean.map((value) => roundEven(255 * value)) as [number, number, number];

/** Python rounds halves to the even one. */
function roundEven(value: number): number {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}
