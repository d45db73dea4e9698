// Decodes images to red, green and blue with sharp, bit-identical to Pillow's `Image.open(…).convert("RGB")` for JPEG,
// PNG, WebP, TIFF and the first frame of GIF. As in Pillow, color profiles and the camera's orientation are ignored,
// opacity is dropped, CMYK is converted without a profile, and values above 255 of 16-bit grayscale are clipped.

import sharp, { type Sharp } from "sharp";
import { isLfsPointer, POINTER_PROBLEM } from "../../../hub/files/byte-source.ts";
import { why } from "../errors.ts";
import { blank, type Pixels } from "./pixels.ts";

/** An image cannot be decoded. The message is a clause without a subject, because the caller knows the image's name. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

/**
 * Largest number of pixels of an image, because a small file could otherwise take gigabytes of memory. Pillow warns of
 * such images.
 */
const MOST_PIXELS = 2 ** 28;

/** Formats that are accepted. sharp also renders vector graphics and documents, which Pillow rejects. */
const FORMATS: readonly string[] = ["jpeg", "png", "webp", "gif", "tiff", "heif"];

const KNOWN = "JPEG, PNG, WebP, GIF, TIFF or AVIF";

// As in Pillow, truncated files are errors, but libjpeg's warnings are not.
const READING = { ignoreIcc: true, failOn: "truncated", limitInputPixels: MOST_PIXELS } as const;

// The loader has its own threads, and caching does not help because no image is decoded twice in a row.
sharp.concurrency(1);
sharp.cache(false);

/** Options of decoding. */
export interface DecodeOptions {
  /** background of transparent pixels. Default: none, opacity is dropped */
  transparency?: "white" | undefined;
}

interface DecodedImage extends Pixels {
  /** whether values above 255 of 16-bit grayscale were clipped */
  clipped: boolean;
}

/** Decodes an image. @throws ImageError if the bytes are not an image of a supported format, or are damaged */
export async function decodeImage(bytes: Uint8Array, { transparency }: DecodeOptions = {}): Promise<DecodedImage> {
  if (bytes.length === 0) throw new ImageError("is empty, 0 bytes");
  if (isLfsPointer(bytes)) throw new ImageError(POINTER_PROBLEM);
  try {
    const image = sharp(bytes, READING);
    const { space, format, channels, hasAlpha } = await image.metadata();
    if (!FORMATS.includes(format)) throw new Error(`it is ${format.toUpperCase()}, not ${KNOWN}`);
    if (space === "cmyk") return { ...(await fromCmyk(image)), clipped: false };
    // The color type of a PNG distinguishes grayscale with one transparent level from grayscale with opacity.
    const isGray = channels === 1 || (format === "png" && bytes[PNG_COLOR_TYPE] === 0);
    if (space === "grey16" && isGray) return await fromDeepGray(image);
    const isOpaque = transparency === undefined || !hasAlpha;
    const colors = isOpaque ? image.toColourspace("srgb").removeAlpha() : image.toColourspace("srgb").ensureAlpha();
    const { data, info } = await colors.raw().toBuffer({ resolveWithObject: true });
    const size = { width: info.width, height: info.height };
    if (!isOpaque) return { ...overWhite(data, size), clipped: false };
    // Some formats keep one channel for grayscale.
    const pixels = info.channels === 1 ? fromGray(data, size) : { ...size, data: owned(data) };
    return { ...pixels, clipped: false };
  } catch (error) {
    throw new ImageError(`cannot be decoded: ${clauseOf(error)}`, { cause: error });
  }
}

/** Converts CMYK with red = (255 − cyan) (255 − black) / 255, rounded as in Pillow. */
async function fromCmyk(image: Sharp): Promise<Pixels> {
  // The pipeline stays in CMYK, because sharp would apply a printer's profile when converting.
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

/** Offset of the color type in a PNG file. */
const PNG_COLOR_TYPE = 25;

/** Converts 16-bit grayscale. Only the first channel is used; an image with a transparent level has a second one. */
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

/** Composites RGBA over white with the rounding of Pillow's `alpha_composite`. */
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

/** Views a buffer of sharp without a copy. Nothing else uses the buffer. */
const owned = ({ buffer, byteOffset, length }: Uint8Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, length);

/**
 * Replacements for messages of libvips. Threads share its list of errors, so a message may be missing ("Unknown
 * error").
 */
const CLAUSES: Record<string, string> = {
  "Input buffer contains unsupported image format": `it is not ${KNOWN}`,
  "Input image exceeds pixel limit": `it has more than ${MOST_PIXELS.toLocaleString("en")} pixels`,
  "Unknown error": "it is damaged",
};

function clauseOf(error: unknown): string {
  const text = why(error).replace(/^vips\w+: |:\s*$/gi, "");
  return CLAUSES[text] ?? text;
}
