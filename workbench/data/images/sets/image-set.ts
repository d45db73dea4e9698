// Subsets of image sets, e.g. for validation if a data set has no split for it, and notices for users about a set's
// images.

import { gathered, type Sharing } from "../../../distributed/shares.ts";
import { RandomStream } from "../../random.ts";
import type { ImageLoader, ImageSet, SkippedImage } from "../types.ts";

/** Some images of a set, in the given order. */
export function subsetOf(images: ImageSet, items: ArrayLike<number>): ImageSet {
  const kept = Uint32Array.from(items);
  const at = (i: number): number => {
    if (Number.isInteger(i) && i >= 0 && i < kept.length) return kept[i] as number;
    throw new RangeError(`image ${i}: there are ${kept.length}`);
  };
  return {
    dataset: images.dataset,
    config: images.config,
    split: images.split,
    length: kept.length,
    classes: images.classes,
    declared: images.declared,
    classOrder: images.classOrder,
    label: (i) => images.label(at(i)),
    place: (i) => images.place(at(i)),
    nameOf: (i) => images.nameOf(at(i)),
  };
}

/** A random sample of a set without replacement, in random order; all images if there are fewer than `count`. */
export function sampleOf(images: ImageSet, { count, seed }: { count: number; seed: number }): ImageSet {
  return subsetOf(images, new RandomStream(seed).order(images.length).slice(0, count));
}

/**
 * Splits a set at random into a part for validation and the rest for training. Both keep the order of the set.
 * @param options.share fraction of the images for validation
 */
export function heldOut(
  images: ImageSet,
  { share, seed }: { share: number; seed: number },
): { train: ImageSet; validation: ImageSet } {
  const order = new RandomStream(seed).order(images.length);
  const count = Math.round(share * images.length);
  const sorted = (items: number[]) =>
    subsetOf(
      images,
      items.sort((a, b) => a - b),
    );
  return { train: sorted(order.slice(count)), validation: sorted(order.slice(0, count)) };
}

/** Notice about what determined the labels; undefined if it was the data set or the order of names as text. */
export function classOrderNotice({ classOrder, split }: Pick<ImageSet, "classOrder" | "split">): string | undefined {
  if (classOrder === undefined) return undefined;
  const by = { number: "by their names, which are numbers", model: "by the model's labels" };
  return `classes of ${split} are numbered ${by[classOrder]}; --class-order text sorts them as text, as torchvision does`;
}

/** Images that a loader could not decode, and names of those whose values it has clipped. */
export interface ImageFaults {
  skipped: SkippedImage[];
  clipped: string[];
}

/** The faults that all processes have found, in the order of ranks; skipped images are in their own order. */
export async function imageFaults(loader: ImageLoader, sharing: Sharing): Promise<ImageFaults> {
  const own = async () => ({ skipped: [...loader.skipped], clipped: [...loader.clipped] });
  const shares = await gathered("an evaluation", own, sharing);
  return {
    skipped: shares.flatMap(({ skipped }) => skipped).toSorted((a, b) => a.item - b.item),
    clipped: [...new Set(shares.flatMap(({ clipped }) => clipped))],
  };
}

/** Notice about images whose values were clipped; undefined if there are none. */
export function clippedNotice({ clipped }: { clipped: readonly string[] }): string | undefined {
  if (clipped.length === 0) return undefined;
  const count = clipped.length === 1 ? "1 image is" : `${clipped.length} images are`;
  return `${count} 16-bit grayscale, and values above 255 were clipped, as in Pillow; the first is ${clipped[0]}`;
}
