// Encoded images as the items of a stream: each row of a parquet file is one. Their bytes are copied, so that a row group
// is freed when a lane goes on to the next one.

import type { ParquetFile } from "../../dataset/parquet-file.ts";
import type { Collector, RowFormat } from "../../stream/row-format.ts";
import type { ImageClasses, ImageSet } from "../types.ts";
import { type ImageColumns, imageBytes, imageColumns, type RawLabel, rawLabels } from "./parquet-columns.ts";
import type { StreamedClasses } from "./streamed-classes.ts";

/** An image as it is stored, with its label. */
export interface EncodedImage {
  /** empty if the row has none, which is an error when it is decoded */
  bytes: Uint8Array<ArrayBuffer>;
  label: number;
  /** name in messages: `data/train-0.parquet, row 17` */
  name: string;
}

/** Values of the columns of a row group. */
interface ImageRows {
  /** file in messages */
  path: string;
  /** row of the file with which the row group begins */
  start: number;
  length: number;
  images: Uint8Array[];
  labels: RawLabel[];
}

/** Makes images with labels of rows. @param columns of the first file, which all must have */
export function encodedImages(
  { image, label = "" }: ImageColumns,
  { labelOf }: Pick<StreamedClasses, "labelOf">,
): RowFormat<EncodedImage, ImageRows> {
  const collect = (): Collector<EncodedImage, ImageRows> => {
    const items: EncodedImage[] = [];
    return {
      items: () => items.length,
      hasAdded: () => items.length > 0,
      async add({ path, start, images, labels }, row) {
        const name = `${path}, row ${start + row}`;
        const bytes = Uint8Array.from(images[row] as Uint8Array);
        items.push({ bytes, label: labelOf(labels[row] as RawLabel, name), name });
        return row + 1;
      },
      end: () => ({ items, carry: [] }),
    };
  };
  const read = async (file: ParquetFile, only: number): Promise<ImageRows | undefined> => {
    const { path } = file;
    imageColumns(file, { imageColumn: image, labelColumn: label });
    for await (const { values, rowStart } of file.groups([image], { utf8: false, only })) {
      const images = imageBytes(values[0] ?? []);
      let labels: RawLabel[] = [];
      for await (const { values } of file.groups([label], { only }))
        labels = rawLabels(values[0] ?? [], { path, column: label, rowStart });
      return { path, start: rowStart, length: images.length, images, labels };
    }
  };
  return { content: "images", read, collect };
}

/** A set of images that are in memory. */
export function setInMemory(images: readonly EncodedImage[], classes: ImageClasses): ImageSet {
  const at = (i: number): EncodedImage => {
    const image = images[i];
    if (image) return image;
    throw new RangeError(`image ${i}: there are ${images.length}`);
  };
  return {
    ...classes,
    length: images.length,
    label: (i) => at(i).label,
    place: (i) => ({ bytes: at(i).bytes }),
    nameOf: (i) => at(i).name,
  };
}
