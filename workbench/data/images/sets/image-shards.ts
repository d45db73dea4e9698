// The parquet files of a split of images that are read while a model trains on them, on the disk or on the Hub. Only the
// row groups that are needed next are read, and nothing is stored.

import { isDeepStrictEqual } from "node:util";
import type { ParquetFile } from "../../dataset/parquet-file.ts";
import { DataError } from "../../errors.ts";
import { contentsOf, firstPass, type ItemStream, openLanes } from "../../stream/lanes.ts";
import {
  divided,
  groupsIn,
  type LaneSizes,
  openStreamFile,
  rowGroupReader,
  type StreamShare,
} from "../../stream/stream-file.ts";
import type { ImageClasses, ImageSet, OpenImagesOptions } from "../types.ts";
import { type EncodedImage, encodedImages, setInMemory } from "./encoded-images.ts";
import { type ImageColumns, imageColumns, namesInParquet, namesInReadme } from "./parquet-columns.ts";
import { type StreamedClasses, type StreamedClassesOptions, streamedClasses } from "./streamed-classes.ts";

/** Options of `openImageShards`. */
export interface ImageShardsOptions
  extends Pick<OpenImagesOptions, "dataset" | "split" | "imageColumn" | "labelColumn" | "signal">,
    Pick<StreamedClassesOptions, "classOrder" | "labels" | "head"> {
  config: string;
  /** parquet files of the split, in order, or some of their row groups; at least one */
  files: readonly StreamShare[];
  /** content of the README, which may declare the classes */
  readme?: string | undefined;
}

/** How images are read in order. */
export interface ImageStreamOptions extends LaneSizes {
  /** seed of the order */
  seed: number;
  /** smallest number of images of a lane that are shuffled together. They are in memory, encoded, as are the next ones */
  shuffled: number;
}

/** Encoded images in several lanes, each an endless sequence. */
export interface ImageStream extends ItemStream<EncodedImage>, ImageClasses {
  /** number of images, which are those of a pass over all lanes */
  readonly length: number;
}

/** The images of some files, of which only the number and the classes are known before they are read. */
export interface ImageShards extends ImageClasses {
  /** number of images */
  readonly length: number;
  /** @throws DataError if there are fewer row groups than lanes */
  stream(options: ImageStreamOptions): Promise<ImageStream>;
  /** Reads the first images of a stream with this seed, at most `count`. */
  first(options: { count: number; seed: number }): Promise<ImageSet>;
  /** Reads other files with the same columns and classes: their first images in order, at most `count`. */
  firstOf(files: readonly StreamShare[], count: number): Promise<ImageSet>;
}

/**
 * Opens the files. Their ends are read, with the columns and the numbers of rows.
 * @throws DataError if a file is not a parquet file or lacks a column, or classes are not known before all are read
 */
export async function openImageShards(options: ImageShardsOptions): Promise<ImageShards> {
  const { dataset, split, files, signal } = options;
  const { columns, labels, check, ...classes } = await columnsAndClasses(options);
  const rowGroupsOf = rowGroupReader(check);
  const groups = (await groupsIn(files, rowGroupsOf)).flat();
  const length = groups.reduce((sum, { rows }) => sum + rows, 0);
  if (length === 0) throw new DataError(dataset, `has no images in split ${JSON.stringify(split)}: it has no rows`);
  const format = encodedImages(columns, labels);
  const contents = contentsOf(files, columns, classes.classes);
  const lanesOf = async (of: readonly StreamShare[], { seed, shuffled, ...sizes }: ImageStreamOptions) => {
    const shares = await divided(of, { ...sizes, rowGroupsOf });
    return openLanes({ shares, seed, shuffled, format, signal, contents });
  };
  const setOf = async (
    of: readonly StreamShare[],
    { seed = 0, shuffled = 1, count = shuffled }: Partial<SetOptions>,
  ) => {
    const stream = await lanesOf(of, { lanes: 1, seed, shuffled });
    try {
      return setInMemory(await firstPass(stream, count), classes);
    } finally {
      await stream.close();
    }
  };
  return {
    ...classes,
    length,
    stream: async (how) => ({ ...(await lanesOf(files, how)), ...classes, length }),
    first: ({ count, seed }) => setOf(files, { seed, shuffled: count }),
    firstOf: (others, count) => setOf(others, { count }),
  };
}

interface SetOptions extends Omit<ImageStreamOptions, keyof LaneSizes> {
  count: number;
}

/** The classes of a split, as far as its first file tells them. @throws DataError as `openImageShards` does */
export async function shardClasses(options: ImageShardsOptions): Promise<ImageClasses> {
  const { columns: _, labels: __, check: ___, ...classes } = await columnsAndClasses(options);
  return classes;
}

interface ColumnsAndClasses extends ImageClasses {
  columns: ImageColumns;
  labels: Pick<StreamedClasses, "labelOf">;
  /** @throws DataError if another file does not have these columns, or other kinds of labels or classes */
  check(file: ParquetFile): void;
}

async function columnsAndClasses(options: ImageShardsOptions): Promise<ColumnsAndClasses> {
  const { dataset, config, split, files, readme, ...others } = options;
  const file = await openStreamFile((files[0] as StreamShare).file);
  try {
    const columns = imageColumns(file, options);
    const column = columns.label as string;
    const first = labelsIn(file, column);
    const inReadme = readme && namesInReadme(readme, { file: `${dataset}: README.md`, config, column });
    const { labelOf, ...classes } = streamedClasses({
      ...others,
      ...first,
      dataset,
      declared: inReadme || first.declared,
    });
    const check = (other: ParquetFile): void => {
      imageColumns(other, { imageColumn: columns.image, labelColumn: column });
      const expected = inReadme ? { ...first, declared: undefined } : first;
      expectAlike(labelsIn(other, column), expected, { path: other.path, first: file.path, column });
    };
    return { dataset, config, split, ...classes, columns, labels: { labelOf }, check };
  } finally {
    await file.close();
  }
}

/** What a file tells of its labels before they are read. */
function labelsIn(
  { columns, metadata }: ParquetFile,
  column: string,
): Pick<StreamedClassesOptions, "named" | "declared"> {
  return {
    named: columns.find(({ element }) => element.name === column)?.element.type === "BYTE_ARRAY",
    declared: namesInParquet(metadata.key_value_metadata, column),
  };
}

type LabelsIn = ReturnType<typeof labelsIn>;

/** Checks that labels of two files mean the same. Classes are compared where both declare them. @throws DataError */
function expectAlike(
  own: LabelsIn,
  expected: LabelsIn,
  { path, first, column }: { path: string; first: string; column: string },
): void {
  const kindOf = ({ named }: LabelsIn) => (named ? "names" : "numbers");
  if (own.named !== expected.named) {
    const kinds = `has ${kindOf(own)} in column ${JSON.stringify(column)}, and ${first} has ${kindOf(expected)}`;
    throw new DataError(path, `${kinds}; write the files again with labels of one kind`);
  }
  if (!own.declared || !expected.declared || isDeepStrictEqual(own.declared, expected.declared)) return;
  throw new DataError(path, `declares other classes than ${first}; declare those that hold for all in the README`);
}
