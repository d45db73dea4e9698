// The columns of images and labels in parquet files: which they are, their values, and the names of the classes that a
// data set declares.

import type { DecodedArray } from "hyparquet";
import { z } from "zod";
import { mapOf } from "../../../../hub/text/json.ts";
import type { ParquetColumn, ParquetFile } from "../../dataset/parquet-file.ts";
import { frontMatter } from "../../dataset/readme-configs.ts";
import { DataError, listed } from "../../errors.ts";

const IMAGE_NAMES = ["image", "img"];
const LABEL_NAMES = ["label", "labels", "fine_label"];

/** Names of the columns of a parquet file with images. */
export interface ImageColumns {
  image: string;
  /** undefined if classes are ignored */
  label?: string | undefined;
}

interface ColumnsOptions {
  imageColumn?: string | undefined;
  labelColumn?: string | undefined;
  unlabeled?: boolean | undefined;
}

/**
 * Chooses the columns.
 * @throws DataError if there are none, or not the requested ones; the message lists the columns
 */
export function imageColumns(
  { path, columns }: ParquetFile,
  { imageColumn, labelColumn, unlabeled = false }: ColumnsOptions,
): ImageColumns {
  const names = columns.map(({ element }) => element.name);
  const images = columns.filter(holdsImages).map(({ element }) => element.name);
  const asked = [imageColumn, labelColumn].find((name) => name !== undefined && !names.includes(name));
  if (asked !== undefined)
    throw new DataError(path, `has no column ${JSON.stringify(asked)}; available: ${listed(names)}`);
  const image = imageColumn ?? IMAGE_NAMES.find((name) => images.includes(name)) ?? images[0];
  if (image === undefined || !images.includes(image)) {
    const what =
      image === undefined ? "has no column of images" : `column ${JSON.stringify(image)} does not contain images`;
    throw new DataError(path, `${what}, {bytes, path}; available: ${listed(names)}`);
  }
  if (unlabeled) return { image };
  const label = labelColumn ?? LABEL_NAMES.find((name) => names.includes(name));
  if (label === undefined) {
    const wanted = LABEL_NAMES.join(", ");
    throw new DataError(
      path,
      `has no column of labels (${wanted}); choose one of ${listed(names)} with --label-column`,
    );
  }
  return { image, label };
}

/** Whether a column contains images: structs with bytes and path, or bytes. */
function holdsImages({ element, children }: ParquetColumn): boolean {
  if (children.length > 0) return children.some((child) => child.element.name === "bytes");
  const isText = element.converted_type === "UTF8" || element.logical_type?.type === "STRING";
  return element.type === "BYTE_ARRAY" && !isText;
}

/**
 * Encoded images of a column's values. A row without bytes becomes an empty image, which is reported when it is
 * decoded.
 */
export function imageBytes(values: DecodedArray): Uint8Array[] {
  return Array.from({ length: values.length }, (_, i) => {
    const value: unknown = values[i];
    if (value instanceof Uint8Array) return value;
    const bytes = (value as { bytes?: unknown } | null | undefined)?.bytes;
    return bytes instanceof Uint8Array ? bytes : new Uint8Array(0);
  });
}

/** A label as the data set stores it: a number or the name of a class. */
export type RawLabel = number | string;

/** Labels of a column's values. @throws DataError if a row has no label, or one that is neither a number nor a name */
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
    throw new DataError(path, `row ${rowStart + i}: column ${JSON.stringify(column)} contains ${held}, not a label`);
  });
}

const Name = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const Names = z.union([z.array(Name), z.record(z.string(), Name).transform(inOrder)]);
const Feature = z.looseObject({
  name: z.string(),
  dtype: z.looseObject({ class_label: z.looseObject({ names: Names }) }),
});
const Info = z.looseObject({
  config_name: z.string().default("default"),
  // Features of other types have other forms.
  features: z.array(z.unknown()).default([]),
});
const FrontMatter = z.looseObject({
  dataset_info: z.union([z.array(Info), Info.transform((one) => [one])]).default([]),
});
const Stored = z.looseObject({ info: z.looseObject({ features: mapOf(z.unknown()) }) });
const StoredFeature = z.looseObject({ names: Names });

/** Names in the order of their numbers, from a map such as `{ "0": "cat" }`. */
function inOrder(names: Record<string, string>): string[] {
  return Object.entries(names)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, name]) => name);
}

/**
 * Names of the classes of a column by label, from `dataset_info` in the README.
 * @returns undefined if the README does not declare them
 */
export function namesInReadme(
  readme: string,
  { file, config, column }: { file: string; config: string; column: string },
): string[] | undefined {
  const infos = FrontMatter.safeParse(frontMatter(readme, file)).data?.dataset_info ?? [];
  const info = infos.find(({ config_name }) => config_name === config) ?? (infos.length === 1 ? infos[0] : undefined);
  for (const feature of info?.features ?? []) {
    const found = Feature.safeParse(feature).data;
    if (found?.name === column) return found.dtype.class_label.names;
  }
  return undefined;
}

/**
 * Names of the classes of a column by label, from the metadata that Hugging Face's `datasets` writes into parquet
 * files.
 * @param entries key-value metadata of the parquet file
 * @returns undefined if the metadata do not declare them
 */
export function namesInParquet(
  entries: readonly { key: string; value?: string | undefined }[] | undefined,
  column: string,
): string[] | undefined {
  const text = entries?.find(({ key }) => key === "huggingface")?.value;
  if (text === undefined) return undefined;
  try {
    const { features } = Stored.parse(JSON.parse(text)).info;
    return StoredFeature.safeParse(features.get(column)).data?.names;
  } catch {
    return undefined;
  }
}
