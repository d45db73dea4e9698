// Decoded images as pixels, and copying parts of them.

/** A decoded image: red, green and blue of each pixel, 0 to 255, row by row. */
export interface Pixels {
  width: number;
  height: number;
  /** (height, width, 3) */
  data: Uint8Array<ArrayBuffer>;
}

/** A rectangle in an image, in whole pixels. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** A black image. */
export const blank = (width: number, height: number): Pixels => ({
  width,
  height,
  data: new Uint8Array(3 * width * height),
});

/** An image of one color. @param color red, green and blue, 0 to 255 */
export function plain(width: number, height: number, color: readonly [number, number, number]): Pixels {
  const image = blank(width, height);
  for (let i = 0; i < image.data.length; i++) image.data[i] = color[i % 3] as number;
  return image;
}

/** Copies an image into another one, in place, at the given upper left corner. */
export function paste({ width, data }: Pixels, part: Pixels, { left, top }: Pick<Box, "left" | "top">): void {
  for (let y = 0; y < part.height; y++) {
    const row = part.data.subarray(3 * y * part.width, 3 * (y + 1) * part.width);
    data.set(row, 3 * ((top + y) * width + left));
  }
}

/** Copies a part of an image. */
export function cut({ width, data }: Pixels, box: Box): Pixels {
  const part = blank(box.width, box.height);
  for (let y = 0; y < box.height; y++) {
    const from = 3 * ((box.top + y) * width + box.left);
    part.data.set(data.subarray(from, from + 3 * box.width), 3 * y * box.width);
  }
  return part;
}

/** Flips an image horizontally, in place. */
export function mirror({ width, height, data }: Pixels): void {
  for (let y = 0; y < height; y++) {
    for (let a = 3 * y * width, b = a + 3 * (width - 1); a < b; a += 3, b -= 3) {
      for (let c = 0; c < 3; c++) {
        const kept = data[a + c] as number;
        data[a + c] = data[b + c] as number;
        data[b + c] = kept;
      }
    }
  }
}
