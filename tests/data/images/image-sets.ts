// The image sets that tests read where they are at hand, small ones that they write, and opening them in one call.

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { readImage } from "../../../workbench/data/images/prepare.ts";
import { openImages } from "../../../workbench/data/images/sets/open-images.ts";
import type { ImageSet, OpenImagesOptions } from "../../../workbench/data/images/types.ts";

const sets = fileURLToPath(new URL("../../../../shared/hub/datasets/gblr/", import.meta.url));

export const IMAGENET = join(sets, "imagenet-sample");
export const CIFAR = join(sets, "cifar10-jpeg");
export const IMAGES_ARE_HERE = existsSync(IMAGENET) && existsSync(CIFAR);

/** The encoded bytes of image i of a set. */
export const bytesOf = async (images: ImageSet, i: number): Promise<Uint8Array<ArrayBuffer>> =>
  readImage(images.place(i));

export async function openImagesNow(options: OpenImagesOptions): Promise<ImageSet> {
  for await (const event of openImages(options)) if (event.kind === "images") return event.images;
  throw new Error("no images came");
}

/** One color and a brighter square in it, at a place of its own. */
export async function plainImage(
  seed: number,
  { width = 12, height = 10, format = "png" }: { width?: number; height?: number; format?: "png" | "jpeg" } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const inside = Math.abs(x - (seed % width)) < 3 && Math.abs(y - (seed % height)) < 3;
    data[i] = ((37 * seed + 80 * (i % 3)) % 200) + (inside ? 50 : 0);
  }
  const image = sharp(data, { raw: { width, height, channels: 3 } });
  return Uint8Array.from(await image.toFormat(format).toBuffer());
}

export function write(folder: string, files: Record<string, string | Uint8Array>): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}
