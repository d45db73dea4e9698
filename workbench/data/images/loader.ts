// Loads batches of images: of a set in any order, or of a stream in the order of its lanes. Threads decode and transform
// them, so that the next batch is prepared while the calling thread computes.

import { isOwn, type Sharing } from "../../distributed/shares.ts";
import type { StreamPlace, StreamReader } from "../stream/lanes.ts";
import { type BatchPreparer, batchPreparer, type EncodedBatch, type StartedBatch } from "./prepared-batches.ts";
import type { EncodedImage } from "./sets/encoded-images.ts";
import type { ImageStream } from "./sets/image-shards.ts";
import type { ImageLoaderOptions } from "./transform.ts";
import type { ImageBatch, ImageLoader, ImageSet, ImageThreads, SkippedImage } from "./types.ts";

/** Decodes and transforms the images of a stream in worker threads. Must be closed. */
export interface ImageStreamLoader extends ImageThreads {
  readonly images: ImageStream;
  readonly size: number;
  /** Begins to read the stream from its beginning. Closed with the stream */
  reader(): ImageStreamReader;
}

/** The place of a batch in the stream, and the seed of its random transforms. */
export interface StreamedBatchPlace extends StreamPlace {
  seed: number;
}

/** Reads batches of a stream in order. */
export interface ImageStreamReader {
  /** where the stream goes on */
  readonly position: Omit<StreamReader<EncodedImage>, "take">;
  /**
   * Prepares the next images of a micro-batch. Calls for a lane must be in the order of steps.
   * @param items numbers of the images, which count them and are part of the seeds of their transforms
   * @throws DataError as `ImageLoader.read` does, and if a file is damaged
   */
  read(items: readonly number[], place: StreamedBatchPlace): Promise<ImageBatch>;
}

/** Opens a loader for a set. @throws ShapeError if a setting is invalid */
export const imageLoader = (images: ImageSet, options: ImageLoaderOptions): ImageLoader =>
  new SetLoader(images, options);

/** Opens a loader for a stream. @throws ShapeError if a setting is invalid */
export const imageStreamLoader = (images: ImageStream, options: ImageLoaderOptions): ImageStreamLoader =>
  new StreamLoader(images, options);

/** Batches prepared ahead by `batches`. */
const AHEAD = 2;

/** What all loaders have. */
class Threads implements ImageThreads {
  readonly size: number;
  protected readonly threads: BatchPreparer;

  constructor(source: { dataset: string; images?: number }, options: ImageLoaderOptions) {
    this.size = options.size;
    this.threads = batchPreparer(source, options);
  }

  get skipped(): readonly SkippedImage[] {
    return this.threads.skipped;
  }

  get clipped(): readonly string[] {
    return this.threads.clipped;
  }

  get workers(): number {
    return this.threads.workers;
  }

  close(): Promise<void> {
    return this.threads.close();
  }
}

class SetLoader extends Threads implements ImageLoader {
  readonly images: ImageSet;

  constructor(images: ImageSet, options: ImageLoaderOptions) {
    super({ dataset: images.dataset, images: images.length }, options);
    this.images = images;
  }

  read(items: readonly number[], { seed = 0 }: { seed?: number } = {}): Promise<ImageBatch> {
    return this.threads.finishNonEmpty(this.threads.start(this.batchOf(items), seed));
  }

  async *batches({
    batch,
    limit = this.images.length,
    ranks,
    signal,
  }: { batch: number; limit?: number } & Sharing): AsyncGenerator<ImageBatch> {
    const count = Math.min(limit, this.images.length);
    const waiting: StartedBatch[] = [];
    let next = 0;
    while (next < count || waiting.length > 0) {
      signal?.throwIfAborted();
      while (next < count && waiting.length <= AHEAD) {
        const items = Array.from({ length: Math.min(batch, count - next) }, (_, i) => next + i);
        if (isOwn(ranks, next / batch)) waiting.push(this.threads.start(this.batchOf(items), 0));
        next += items.length;
      }
      const first = waiting.shift();
      const found = first && (await this.threads.finish(first));
      if (found && found.items.length > 0) yield found;
    }
  }

  private batchOf(items: readonly number[]): EncodedBatch {
    const { images } = this;
    const item = (at: number) => items[at] as number;
    return {
      items,
      place: (at) => images.place(item(at)),
      label: (at) => images.label(item(at)),
      nameOf: (at) => images.nameOf(item(at)),
    };
  }
}

class StreamLoader extends Threads implements ImageStreamLoader {
  readonly images: ImageStream;

  constructor(images: ImageStream, options: ImageLoaderOptions) {
    super({ dataset: images.dataset }, options);
    this.images = images;
  }

  reader(): ImageStreamReader {
    const position = this.images.reader();
    const read = async (items: readonly number[], { seed, ...place }: StreamedBatchPlace) => {
      const found = await position.take(items.length, place);
      const image = (at: number) => found[at] as EncodedImage;
      const batch: EncodedBatch = {
        items,
        place: (at) => ({ bytes: image(at).bytes }),
        label: (at) => image(at).label,
        nameOf: (at) => image(at).name,
      };
      return this.threads.finishNonEmpty(this.threads.start(batch, seed));
    };
    return { position, read };
  }
}
