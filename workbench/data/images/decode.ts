// Encoded images to red, green and blue, as PIL's `convert("RGB")` gives them: color profiles and the camera's
// orientation are not applied, transparency is dropped, CMYK is converted by its plain formula, 16 bit grayscale is not
// scaled: what is above 255 becomes 255. Equal to the last bit for JPEG, PNG, WebP, TIFF and GIF (its first picture).

import sharp, { type Sharp } from "sharp";
import { isLfsPointer, POINTER_PROBLEM } from "../../../hub/files/byte-source.ts";
import { why } from "../errors.ts";
import { blank, type Pixels } from "./pixels.ts";

/** An image that cannot be decoded; says what is wrong with it, not which it is. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

/** Above this a small file would take gigabytes, as PIL warns. */
const MOST_PIXELS = 2 ** 28;

/** Vector graphics and documents, which sharp draws, have no pixels of their own, and PIL refuses them. */
const FORMATS: readonly string[] = ["jpeg", "png", "webp", "gif", "tiff", "heif"];

const KNOWN = "JPEG, PNG, WebP, GIF, TIFF or AVIF";

// What `cut off` is to PIL is an error; what libjpeg merely warns of is none.
const READING = { ignoreIcc: true, failOn: "truncated", limitInputPixels: MOST_PIXELS } as const;

// Threads are the caller's to have, and no image comes twice in a row.
sharp.concurrency(1);
sharp.cache(false);

export interface DecodeOptions {
  /** what is behind transparent pixels. Default none: transparency is dropped */
  transparency?: "white" | undefined;
}

export interface DecodedImage extends Pixels {
  /** whether it is 16 bit grayscale with values above 255, which became 255 */
  clipped: boolean;
}

/** @throws ImageError, a clause, when the bytes are no image that is known here, or a damaged one */
export async function decodeImage(bytes: Uint8Array, { transparency }: DecodeOptions = {}): Promise<DecodedImage> {
  if (bytes.length === 0) throw new ImageError("is empty, 0 bytes");
  if (isLfsPointer(bytes)) throw new ImageError(POINTER_PROBLEM);
  try {
    const image = sharp(bytes, READING);
    const { space, format, channels, hasAlpha } = await image.metadata();
    if (!FORMATS.includes(format)) throw new Error(`it is ${format.toUpperCase()}, not ${KNOWN}`);
    if (space === "cmyk") return { ...(await fromCmyk(image)), clipped: false };
    // A PNG's type of color tells grayscale with one transparent level from grayscale with transparency.
    const isGray = channels === 1 || (format === "png" && bytes[PNG_COLOR_TYPE] === 0);
    if (space === "grey16" && isGray) return await fromDeepGray(image);
    const isOpaque = transparency === undefined || !hasAlpha;
    const colors = isOpaque ? image.toColourspace("srgb").removeAlpha() : image.toColourspace("srgb").ensureAlpha();
    const { data, info } = await colors.raw().toBuffer({ resolveWithObject: true });
    const size = { width: info.width, height: info.height };
    if (!isOpaque) return { ...overWhite(data, size), clipped: false };
    // Of some kinds grayscale stays so.
    const pixels = info.channels === 1 ? fromGray(data, size) : { ...size, data: owned(data) };
    return { ...pixels, clipped: false };
  } catch (error) {
    throw new ImageError(`cannot be decoded: ${clauseOf(error)}`, { cause: error });
  }
}

/** red = (255 - cyan) (255 - black) / 255, rounded as PIL does. */
async function fromCmyk(image: Sharp): Promise<Pixels> {
  // All of the way in CMYK: sharp would take a printer's profile.
  const raw = image.pipelineColourspace("cmyk").toColourspace("cmyk").raw();
  const { data, info } = await raw.toBuffer({ resolveWithObject: true });
  const pixels = blank(info.width, info.height);
  const { channels } = info;
  for (let from = 0, to = 0; to < pixels.data.length; from += channels, to += 3) {
    const light = 255 - (data[from + 3] as number);
    for (let c = 0; c < 3; c++) {
      const product = (data[from + c] as number) * light + 128;
      pixels.data[to + c] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return pixels;
}

/** Where a PNG says its type of color, in its first chunk. */
const PNG_COLOR_TYPE = 25;

/** 16 bits a pixel; the first channel, where a transparent level has made a second one. */
async function fromDeepGray(image: Sharp): Promise<DecodedImage> {
  const raw = image.toColourspace("grey16").raw({ depth: "ushort" });
  const { data, info } = await raw.toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const levels = new Uint16Array(owned(data).slice().buffer);
  const gray = new Uint8ClampedArray(width * height);
  let clipped = false;
  for (let i = 0; i < gray.length; i++) {
    const level = levels[i * channels] as number;
    gray[i] = level;
    clipped ||= level > 255;
  }
  return { ...fromGray(gray, { width, height }), clipped };
}

/** Red, green, blue and opacity over white, with the roundings of PIL's `alpha_composite`. */
function overWhite(data: Uint8Array, { width, height }: { width: number; height: number }): Pixels {
  const pixels = blank(width, height);
  for (let from = 0, to = 0; to < pixels.data.length; from += 4, to += 3) {
    const opacity = data[from + 3] as number;
    for (let c = 0; c < 3; c++) {
      const sum = ((data[from + c] as number) * opacity + 255 * (255 - opacity)) * 128 + 128 * 128;
      pixels.data[to + c] = (((sum >> 8) + sum) >> 8) >> 7;
    }
  }
  return pixels;
}

function fromGray(data: ArrayLike<number>, { width, height }: { width: number; height: number }): Pixels {
  const pixels = blank(width, height);
  for (let i = 0; i < data.length; i++) pixels.data.fill(data[i] as number, 3 * i, 3 * i + 3);
  return pixels;
}

/** Without a copy: the buffer is sharp's own, and nobody else's. */
const owned = ({ buffer, byteOffset, length }: Uint8Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, length);

/** libvips keeps one list of errors for all threads: of two at a time one may have lost its own. */
const CLAUSES: Record<string, string> = {
  "Input buffer contains unsupported image format": `it is not ${KNOWN}`,
  "Input image exceeds pixel limit": `it has more than ${MOST_PIXELS.toLocaleString("en")} pixels`,
  "Unknown error": "it is damaged",
};

function clauseOf(error: unknown): string {
  const text = why(error).replace(/^vips\w+: |:\s*$/gi, "");
  return CLAUSES[text] ?? text;
}
