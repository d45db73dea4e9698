// An image set in memory's stead: small plain pictures in folders of classes, for what is tested with images but is not
// about them.

import { join } from "node:path";
import type { ImageSet } from "../../../workbench/data/images/index.ts";
import { openImagesNow, plainImage, write } from "./image-sets.ts";

/** Images of `classes` classes by turns, each class of a color of its own. Its folder is `dataset`. */
export async function madeImages(
  root: string,
  { count, classes, size = 16 }: { count: number; classes: number; size?: number },
): Promise<ImageSet> {
  const files: Record<string, Uint8Array> = {};
  for (let i = 0; i < count; i++) {
    const label = i % classes;
    const name = `train/class-${String(label).padStart(3, "0")}/${String(i).padStart(4, "0")}.png`;
    files[name] = await plainImage(label + classes * (i % 2), { width: size, height: size });
  }
  return openImagesNow({ dataset: write(root, files), split: "train", cache: join(root, "cache") });
}
