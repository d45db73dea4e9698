// Small images kept as pixels once they are decoded, in memory that all threads of a loader share: at 32 × 32 decoding
// is nearly all there is to do. Not for photographs, which would fill the memory.

import type { Pixels } from "./pixels.ts";

export interface DecodedImages {
  /** pixels; images of another width or height are not kept */
  edge: number;
  /** (images, edge, edge, 3) bytes */
  pixels: SharedArrayBuffer;
  /** (images) bytes, 1 where there is one */
  kept: SharedArrayBuffer;
}

const MOST_EDGE = 64;
const MOST_BYTES = 2 ** 29;

/** Room for a set whose images are as large as they are asked for; nothing where that is too much. */
export function roomForDecoded({ images, size }: { images: number; size: number }): DecodedImages | undefined {
  const bytes = images * size * size * 3;
  if (size > MOST_EDGE || bytes > MOST_BYTES) return undefined;
  return { edge: size, pixels: new SharedArrayBuffer(bytes), kept: new SharedArrayBuffer(images) };
}

/** The caller's own to change. */
export function recalled({ edge, pixels, kept }: DecodedImages, item: number): Pixels | undefined {
  if (Atomics.load(new Uint8Array(kept), item) === 0) return undefined;
  const each = edge * edge * 3;
  return { width: edge, height: edge, data: new Uint8Array(new Uint8Array(pixels, item * each, each)) };
}

/** Two threads may keep the same image at once: they write the same bytes. */
export function keep({ edge, pixels, kept }: DecodedImages, item: number, { width, height, data }: Pixels): void {
  if (width !== edge || height !== edge) return;
  new Uint8Array(pixels, item * data.length, data.length).set(data);
  Atomics.store(new Uint8Array(kept), item, 1);
}
