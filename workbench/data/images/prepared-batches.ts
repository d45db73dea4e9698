// Prepares batches of encoded images in worker threads. Jobs are sent to the threads before `start` returns, so that the
// next batch is prepared while the calling thread computes.

import os from "node:os";
import { formatBytes } from "../../../hub/text/numbers.ts";
import { seedAt } from "../../engine/core/random.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import { DataError } from "../errors.ts";
import { startPool } from "../worker-pool.ts";
import { type ImageAnswer, type ImageJob, type LoaderSettings, prepareImages, roomForDecoded } from "./prepare.ts";
import { checkTransform, type ImageLoaderOptions } from "./transform.ts";
import type { ImageBatch, ImagePlace, ImageThreads, SkippedImage } from "./types.ts";

/** Largest default number of workers. */
const MOST_WORKERS = 16;

/**
 * Largest number of workers that may be requested. Each takes tens of megabytes, so a mistyped number could exhaust the
 * memory.
 */
const WORKERS_ALLOWED = 256;

/** Largest number of images in a job. */
const MOST_IMAGES = 16;
/** Jobs for each thread in a batch. With several jobs, threads finish at about the same time. */
const JOBS_EACH = 4;

/** The encoded images of a batch. */
export interface EncodedBatch {
  /** numbers of the images */
  items: readonly number[];
  /** the image at place `at` of the batch */
  place(at: number): ImagePlace;
  label(at: number): number;
  nameOf(at: number): string;
}

/** A batch whose images are being prepared. */
export interface StartedBatch {
  batch: EncodedBatch;
  jobs: Promise<ImageAnswer>[];
}

/** Threads that prepare batches. */
export interface BatchPreparer extends ImageThreads {
  /** sends the images of a batch to the threads. @param seed of the random transforms */
  start(batch: EncodedBatch, seed: number): StartedBatch;
  /** the prepared batch, which lacks the images that were skipped. @throws DataError as `ImageLoader.read` does */
  finish(started: StartedBatch): Promise<ImageBatch>;
  /** the same. @throws DataError if no image of the batch can be used */
  finishNonEmpty(started: StartedBatch): Promise<ImageBatch>;
}

/**
 * Starts the threads.
 * @param source name of the data set in messages, and the number of its images if their numbers tell which they are
 * @throws ShapeError if a setting is invalid
 */
export function batchPreparer(
  { dataset, images }: { dataset: string; images?: number },
  options: ImageLoaderOptions,
): BatchPreparer {
  const { size, skipBad = false } = options;
  const { settings, workers } = settingsOf(options, images);
  const pool = startPool<ImageJob, ImageAnswer>({
    module: new URL("./worker.ts", import.meta.url),
    workerData: settings,
    workers,
    here: (job) => prepareImages(job, settings),
  });
  const skipped = new Map<string, SkippedImage>();
  const clipped = new Set<string>();
  const each = size * size * 3;

  const start: BatchPreparer["start"] = (batch, seed) => {
    const { items, place } = batch;
    const count = Math.max(1, Math.min(MOST_IMAGES, Math.ceil(items.length / (JOBS_EACH * Math.max(1, pool.workers)))));
    const jobs: Promise<ImageAnswer>[] = [];
    for (let from = 0; from < items.length; from += count) {
      const some = items.slice(from, from + count);
      const job = pool.run({
        items: some,
        places: some.map((_, i) => place(from + i)),
        seeds: some.map((item) => seedAt(seed, item)),
      });
      // A rejection is handled when its batch is finished.
      job.catch(() => {});
      jobs.push(job);
    }
    return { batch, jobs };
  };

  const finish: BatchPreparer["finish"] = async ({ batch: { items, label, nameOf }, jobs }) => {
    const pixels = roomFor(items.length, { size, dataset });
    const good: number[] = [];
    let at = 0;
    for (const job of jobs) {
      const answer = await job;
      for (const i of answer.clipped) clipped.add(nameOf(at + i));
      for (let i = 0; i < answer.pixels.length / each; i++, at++) {
        const problem = answer.problems[i];
        if (problem === undefined) {
          pixels.set(answer.pixels.subarray(i * each, (i + 1) * each), good.length * each);
          good.push(at);
          continue;
        }
        const name = nameOf(at);
        if (!skipBad) throw new DataError(name, `${problem}; repair or remove it, or skip such images with --skip-bad`);
        skipped.set(name, { item: items[at] as number, name, problem });
      }
    }
    return {
      items: good.map((at) => items[at] as number),
      pixels: pixels.subarray(0, good.length * each),
      labels: Int32Array.from(good, label),
      size,
    };
  };

  return {
    get skipped() {
      return [...skipped.values()];
    },
    get clipped() {
      return [...clipped];
    },
    get workers() {
      return pool.workers;
    },
    start,
    finish,
    async finishNonEmpty(started) {
      const found = await finish(started);
      const { items, nameOf } = started.batch;
      if (found.items.length > 0 || items.length === 0) return found;
      const { name, problem } = skipped.get(nameOf(0)) as SkippedImage;
      throw new DataError(name, `${problem}; none of the ${items.length} images of its batch can be used`);
    },
    close: () => pool.close(),
  };
}

function settingsOf(
  options: ImageLoaderOptions,
  images: number | undefined,
): { settings: LoaderSettings; workers: number } {
  const { size, mean, std, transparency, workers = Math.min(os.availableParallelism(), MOST_WORKERS) } = options;
  const transform = options.transform === "evaluate" ? { kind: "evaluate" as const } : options.transform;
  const prepare = { size, transform, mean, std };
  checkTransform(prepare);
  const holds = Number.isInteger(workers) && workers >= 0 && workers <= WORKERS_ALLOWED;
  expectSetting("imageLoader", { workers }, `a whole number from 0 to ${WORKERS_ALLOWED}`, holds);
  const decoded = images === undefined ? undefined : roomForDecoded({ images, size });
  return { settings: { ...prepare, transparency, decoded }, workers };
}

function roomFor(count: number, { size, dataset }: { size: number; dataset: string }): Float32Array<ArrayBuffer> {
  try {
    return new Float32Array(count * size * size * 3);
  } catch (error) {
    const what = `${count} images of ${size} × ${size} at once take ${formatBytes(count * size * size * 3 * 4)}`;
    throw new DataError(dataset, `${what}, more than the available memory; use smaller batches`, { cause: error });
  }
}
