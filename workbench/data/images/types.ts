// The interfaces of image data: sets of encoded images with labels, the options and events of opening one, and loaders
// of batches.

import type { Sharing } from "../../distributed/shares.ts";
import type { ClassOrder } from "./sets/classes.ts";

/** The bytes of an encoded image, or their location. */
export type ImagePlace =
  | {
      file: string;
      /** first byte */
      start: number;
      /** number of bytes. Default: to the end of the file */
      length?: number;
    }
  | { bytes: Uint8Array<ArrayBuffer> };

/** A split of an image data set and its classes. */
export interface ImageClasses {
  readonly dataset: string;
  readonly config: string;
  readonly split: string;
  /** names of the classes by label; the labels as text if the data set has no names */
  readonly classes: readonly string[];
  /** whether the data set declares its classes; if not, `classes` ends at the largest label that occurs */
  readonly declared: boolean;
  /** what determined the labels, if neither the data set nor the order of the names as text */
  readonly classOrder?: "number" | "model" | undefined;
}

/** The images of a split, in the order of its files. */
export interface ImageSet extends ImageClasses {
  readonly length: number;
  /** label of image i */
  label(i: number): number;
  place(i: number): ImagePlace;
  /** name of image i in messages: `data/train-0.parquet, row 17` */
  nameOf(i: number): string;
}

/** Options of `openImages`. */
export interface OpenImagesOptions {
  /** folder of the data set, laid out as on the Hub, or with a folder per split that contains a folder per class */
  dataset: string;
  /** configuration. Default: the only one, or the one that the data set declares as default */
  config?: string | undefined;
  /** `train`, `validation`, `test`, … */
  split: string;
  /** column of the images. Default `image`, else `img`, else the first column with images */
  imageColumn?: string | undefined;
  /** column of the labels. Default `label`, else `labels`, else `fine_label` */
  labelColumn?: string | undefined;
  /**
   * names of the classes by label, of another split or a model. Default: as the data set declares, else its names,
   * sorted
   */
  classes?: readonly string[] | undefined;
  /**
   * order of classes that are names; `number`: names are numbers. Overrides the data set. Default: see sets/classes.ts
   */
  classOrder?: ClassOrder | undefined;
  /** ignore classes: all labels are 0, and no column or folder of classes is needed. Default false */
  unlabeled?: boolean | undefined;
  /** number of images, at most: the first ones; of folders of classes, evenly spaced ones */
  limit?: number | undefined;
  /** folder for images extracted from parquet files; created if it does not exist */
  cache: string;
  signal?: AbortSignal | undefined;
}

/** Events of `openImages`: the chosen files, progress, and the images as the last one. */
export type ImagesEvent =
  | {
      kind: "data";
      config: string;
      split: string;
      /** paths relative to the data set's folder, in reading order; of folders of images those of the classes */
      files: string[];
    }
  | {
      kind: "extracting";
      /** share of all files, 0 to 1 */
      fraction: number;
      images: number;
      bytes: number;
    }
  | { kind: "images"; images: ImageSet };

/** An image that was skipped, and why. */
export interface SkippedImage {
  item: number;
  name: string;
  problem: string;
}

/** Decoded images, transformed and normalized. */
export interface ImageBatch {
  /** indices in the set, in the order of the rows */
  items: readonly number[];
  /** (items, size, size, 3), row by row; red, green, blue */
  pixels: Float32Array<ArrayBuffer>;
  /** (items) */
  labels: Int32Array<ArrayBuffer>;
  /** side in pixels */
  size: number;
}

/** What threads that decode and transform images have met. Must be closed. */
export interface ImageThreads {
  /** images skipped so far, each once */
  readonly skipped: readonly SkippedImage[];
  /** names of the 16-bit grayscale images so far whose values above 255 were clipped, each once */
  readonly clipped: readonly string[];
  /** worker threads alive; 0 if this thread does the work */
  readonly workers: number;
  close(): Promise<void>;
}

/** Decodes and transforms the images of a set in worker threads. Must be closed. */
export interface ImageLoader extends ImageThreads {
  readonly images: ImageSet;
  readonly size: number;
  /**
   * Prepares some images as one batch, in the given order. Work begins before this returns.
   * @param options.seed seed of the random transforms. Default 0
   * @throws DataError if an image cannot be decoded; with `skipBad`, only if none of the batch can
   */
  read(items: readonly number[], options?: { seed?: number }): Promise<ImageBatch>;
  /**
   * Prepares all images in order, in batches, some of them ahead; with several processes, the batches of this one.
   * Batches without readable images are left out.
   */
  batches(options: { batch: number; limit?: number } & Sharing): AsyncGenerator<ImageBatch>;
}
