// Some images of a set as a set: what is held out for validation where a data set has no split for it.

import { openFile } from "../../../../hub/files/byte-source.ts";
import { DataError } from "../../errors.ts";
import { RandomStream } from "../random.ts";
import type { ImageLoader, ImagePlace, ImageSet } from "../types.ts";

/** In the order given. The set stays open for the whole's owner to close. */
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
    bytes: async (i) => images.bytes(at(i)),
    close: async () => {},
  };
}

/** So many of the images by the seed, in an order that has nothing to do with the set's; all where there are fewer. */
export function sampleOf(images: ImageSet, { count, seed }: { count: number; seed: number }): ImageSet {
  return subsetOf(images, new RandomStream(seed).order(images.length).slice(0, count));
}

/** A share of the images at random, by the seed, and the rest; both in the set's order. */
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

// Reads the bytes of an image from where they are. Files are opened for each: there may be more of them than a process may
// hold open in all its threads, and next to decoding it costs nothing.

/** @throws DataError when the file is not there, or ends before */
export async function readPlace({ file, start, length }: ImagePlace): Promise<Uint8Array<ArrayBuffer>> {
  const source = await openFile(file, (problem, options) => new DataError(file, problem, options));
  try {
    return await source.read(start, length ?? source.size - start);
  } finally {
    await source.close();
  }
}

// What users should know of how their images were taken, one line each.

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
