// Which columns of a parquet file are images and classes, and the values in them.

import type { DecodedArray } from "hyparquet";
import type { ParquetColumn, ParquetFile } from "../dataset/parquet-file.ts";
import { DataError, listed } from "../errors.ts";

const IMAGE_NAMES = ["image", "img"];
const LABEL_NAMES = ["label", "labels", "fine_label"];

export interface ImageColumns {
  image: string;
  /** none where classes are not looked at */
  label?: string | undefined;
}

interface ColumnsOptions {
  imageColumn?: string | undefined;
  labelColumn?: string | undefined;
  unlabeled?: boolean | undefined;
}

/** @throws DataError, with what there is, when there are none, or not those asked for */
export function imageColumns(
  { path, columns }: ParquetFile,
  { imageColumn, labelColumn, unlabeled = false }: ColumnsOptions,
): ImageColumns {
  const names = columns.map(({ element }) => element.name);
  const images = columns.filter(holdsImages).map(({ element }) => element.name);
  const asked = [imageColumn, labelColumn].find((name) => name !== undefined && !names.includes(name));
  if (asked !== undefined)
    throw new DataError(path, `has no column ${JSON.stringify(asked)}; there is ${listed(names)}`);
  const image = imageColumn ?? IMAGE_NAMES.find((name) => images.includes(name)) ?? images[0];
  if (image === undefined || !images.includes(image)) {
    const what = image === undefined ? "has no column of images" : `column ${JSON.stringify(image)} holds no images`;
    throw new DataError(path, `${what}, {bytes, path}; there is ${listed(names)}`);
  }
  if (unlabeled) return { image };
  const label = labelColumn ?? LABEL_NAMES.find((name) => names.includes(name));
  if (label === undefined) {
    const wanted = LABEL_NAMES.join(", ");
    throw new DataError(path, `has no column of classes (${wanted}); name one of ${listed(names)}`);
  }
  return { image, label };
}

/** A pair of bytes and path, or bytes alone. */
function holdsImages({ element, children }: ParquetColumn): boolean {
  if (children.length > 0) return children.some((child) => child.element.name === "bytes");
  const isText = element.converted_type === "UTF8" || element.logical_type?.type === "STRING";
  return element.type === "BYTE_ARRAY" && !isText;
}

/** A row without bytes gives an empty image, which is named when it is met. */
export function imageBytes(values: DecodedArray): Uint8Array[] {
  return Array.from({ length: values.length }, (_, i) => {
    const value: unknown = values[i];
    if (value instanceof Uint8Array) return value;
    const bytes = (value as { bytes?: unknown } | null | undefined)?.bytes;
    return bytes instanceof Uint8Array ? bytes : new Uint8Array(0);
  });
}

export type RawLabel = number | string;

/** @throws DataError when a row has no label, or one that is neither a number nor a name */
export function rawLabels(
  values: DecodedArray,
  { path, column, rowStart }: { path: string; column: string; rowStart: number },
): RawLabel[] {
  return Array.from({ length: values.length }, (_, i) => {
    const value: unknown = values[i];
    if (typeof value === "bigint") return Number(value);
    if (typeof value === "string" || (typeof value === "number" && Number.isInteger(value))) return value;
    const held =
      value === null || value === undefined ? "nothing" : typeof value === "object" ? "an object" : `a ${typeof value}`;
    throw new DataError(path, `row ${rowStart + i}: column ${JSON.stringify(column)} holds ${held}, no class`);
  });
}
