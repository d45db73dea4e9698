// What users should know of how their images were taken, one line each.

import type { ImageLoader, ImageSet } from "./types.ts";

/** What decided on the numbers of classes; nothing where it is the order of text, or the data set itself. */
export function classOrderTold({ classOrder, split }: Pick<ImageSet, "classOrder" | "split">): string | undefined {
  if (classOrder === undefined) return undefined;
  const by = { number: "by their names, which are numbers", model: "as the model's labels are" };
  return `classes of ${split} are numbered ${by[classOrder]}; --class-order text sorts them as text, as torchvision does`;
}

/** Which images lost levels; nothing where none did. */
export function clippedTold({ clipped }: Pick<ImageLoader, "clipped">): string | undefined {
  if (clipped.length === 0) return undefined;
  const count = clipped.length === 1 ? "1 image is" : `${clipped.length} images are`;
  return `${count} 16 bit grayscale: what is above 255 became 255, as in Pillow; the first is ${clipped[0]}`;
}
