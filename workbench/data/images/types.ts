// What the rest of the workbench knows of images: a set of encoded ones with their labels, what opening it tells, and
// batches of decoded ones. Interfaces only.

import type { ClassOrder } from "./sets/classes.ts";

/** Where the bytes of an encoded image are, for any thread to read. */
export interface ImagePlace {
  file: string;
  /** first byte */
  start: number;
  /** bytes; to the end of the file where there is none given */
  length?: number;
}

/** One split of an image data set, in the order of its files. */
export interface ImageSet {
  readonly dataset: string;
  readonly config: string;
  readonly split: string;
  readonly length: number;
  /** by label; the numbers themselves where the data set names no classes */
  readonly classes: readonly string[];
  /** whether the data set says which classes there are; else `classes` goes to the largest label in it */
  readonly declared: boolean;
  /** what decided on the numbers of names, where that is neither the order of text nor the data set */
  readonly classOrder?: "number" | "model" | undefined;
  /** class of image i */
  label(i: number): number;
  place(i: number): ImagePlace;
  /** how messages name image i: `data/train-0.parquet, row 17` */
  nameOf(i: number): string;
  /** encoded, as stored. @throws DataError when the file cannot be read */
  bytes(i: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

export interface OpenImagesOptions {
  /** folder of the data set, laid out as on the Hub, or with a folder a split and in it a folder a class */
  dataset: string;
  /** default the only one, or the one that the data set calls its default */
  config?: string | undefined;
  /** `train`, `validation`, `test`, … */
  split: string;
  /** column of the images; default `image`, else `img`, else the only one that holds images */
  imageColumn?: string | undefined;
  /** column of the classes; default `label`, else `labels`, else `fine_label` */
  labelColumn?: string | undefined;
  /** the classes in the order of their numbers, where they are those of another split or of a model; default what the
   *  data set declares, else the names in it, sorted */
  classes?: readonly string[] | undefined;
  /** how classes that are names are numbered, whatever else would decide; `number`: names are numbers. Default as
   *  class-order.ts says */
  classOrder?: ClassOrder | undefined;
  /** classes are not looked at: all images are of one, and need no column or folder of it. Default false */
  unlabeled?: boolean | undefined;
  /** so many images only: the first, without opening files after them; of folders of classes evenly many of all */
  limit?: number | undefined;
  /** folder for the images taken out of parquet files; made when it is not there */
  cache: string;
  signal?: AbortSignal | undefined;
}

export type ImagesEvent =
  | {
      kind: "data";
      config: string;
      split: string;
      /** paths below the data set's folder, in reading order; of folders of images those of the classes */
      files: string[];
    }
  | {
      kind: "extracting";
      /** of all files, 0 to 1 */
      fraction: number;
      images: number;
      bytes: number;
    }
  | { kind: "images"; images: ImageSet };

/** An image that was left out, and why. */
export interface SkippedImage {
  item: number;
  name: string;
  problem: string;
}

/** Decoded images, transformed and normalized. */
export interface ImageBatch {
  /** of the set, in the order of the rows */
  items: readonly number[];
  /** float32 (items, size, size, 3), row by row, red green blue */
  pixels: Float32Array<ArrayBuffer>;
  /** (items) */
  labels: Int32Array<ArrayBuffer>;
  /** edge in pixels */
  size: number;
}

/** Decodes and transforms images of a set, in threads of its own. Close it. */
export interface ImageLoader {
  readonly images: ImageSet;
  readonly size: number;
  /** left out so far, each once */
  readonly skipped: readonly SkippedImage[];
  /** names of 16 bit grayscale images with values above 255, which became 255; each once, of those prepared so far */
  readonly clipped: readonly string[];
  /** threads alive now, 0 when it is done in this one */
  readonly workers: number;
  /**
   * These images, all at once; in their order, whatever the number of threads. Work begins before this returns.
   * @param options.seed of all that is random in them
   * @throws DataError on an image that cannot be decoded, unless bad ones are skipped and some are left
   */
  read(items: readonly number[], options?: { seed?: number; signal?: AbortSignal | undefined }): Promise<ImageBatch>;
  /** All images in their order, `batch` at a time, a few batches read ahead. Batches without readable images are left out. */
  batches(options: { batch: number; limit?: number; signal?: AbortSignal | undefined }): AsyncGenerator<ImageBatch>;
  close(): Promise<void>;
}
