// Loads batches of images with worker threads. Jobs are sent to the threads before `read` returns, and the threads read
// the files, so that the next batch is prepared while the calling thread computes.

import os from "node:os";
import { formatBytes } from "../../../hub/text/numbers.ts";
import { isOwn } from "../../distributed/shares.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import { DataError } from "../errors.ts";
import { seedWithin } from "../random.ts";
import { startPool } from "../worker-pool.ts";
import { type ImageAnswer, type ImageJob, type LoaderSettings, prepareImages, roomForDecoded } from "./prepare.ts";
import { checkTransform, type ImageLoaderOptions } from "./transform.ts";
import type { ImageBatch, ImageLoader, ImageSet, SkippedImage } from "./types.ts";

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

/** Batches prepared ahead by `batches`. */
const AHEAD = 2;

/** Opens a loader for a set. @throws ShapeError if a setting is invalid */
export function imageLoader(images: ImageSet, options: ImageLoaderOptions): ImageLoader {
  const {
    size,
    mean,
    std,
    transparency,
    skipBad = false,
    workers = Math.min(os.availableParallelism(), MOST_WORKERS),
  } = options;
  const transform = options.transform === "evaluate" ? { kind: "evaluate" as const } : options.transform;
  const prepare = { size, transform, mean, std };
  checkTransform(prepare);
  const holds = Number.isInteger(workers) && workers >= 0 && workers <= WORKERS_ALLOWED;
  expectSetting("imageLoader", { workers }, `a whole number from 0 to ${WORKERS_ALLOWED}`, holds);
  const settings: LoaderSettings = {
    ...prepare,
    transparency,
    decoded: roomForDecoded({ images: images.length, size }),
  };
  const pool = startPool<ImageJob, ImageAnswer>({
    module: new URL("./worker.ts", import.meta.url),
    workerData: settings,
    workers,
    here: (job) => prepareImages(job, settings),
  });
  const skipped = new Map<number, SkippedImage>();
  const clipped = new Set<number>();
  const each = size * size * 3;

  const roomFor = (count: number): Float32Array<ArrayBuffer> => {
    try {
      return new Float32Array(count * each);
    } catch (error) {
      const what = `${count} images of ${size} × ${size} at once take ${formatBytes(count * each * 4)}`;
      throw new DataError(images.dataset, `${what}, more than the available memory; use smaller batches`, {
        cause: error,
      });
    }
  };

  const start = (items: readonly number[], seed: number): Promise<ImageAnswer>[] => {
    const count = Math.max(1, Math.min(MOST_IMAGES, Math.ceil(items.length / (JOBS_EACH * Math.max(1, pool.workers)))));
    const jobs: Promise<ImageAnswer>[] = [];
    for (let from = 0; from < items.length; from += count) {
      const some = items.slice(from, from + count);
      const job = pool.run({
        items: some,
        places: some.map((item) => images.place(item)),
        seeds: some.map((item) => seedWithin(seed, item)),
      });
      // A rejection is handled when its batch is gathered.
      job.catch(() => {});
      jobs.push(job);
    }
    return jobs;
  };

  const gathered = async (items: readonly number[], jobs: Promise<ImageAnswer>[]): Promise<ImageBatch> => {
    const pixels = roomFor(items.length);
    const good: number[] = [];
    let at = 0;
    for (const job of jobs) {
      const answer = await job;
      for (const i of answer.clipped) clipped.add(items[at + i] as number);
      for (let i = 0; i < answer.pixels.length / each; i++, at++) {
        const item = items[at] as number;
        const problem = answer.problems[i];
        if (problem === undefined) {
          pixels.set(answer.pixels.subarray(i * each, (i + 1) * each), good.length * each);
          good.push(item);
          continue;
        }
        const name = images.nameOf(item);
        if (!skipBad) throw new DataError(name, `${problem}; repair or remove it, or skip such images with --skip-bad`);
        skipped.set(item, { item, name, problem });
      }
    }
    const labels = Int32Array.from(good, (item) => images.label(item));
    return { items: good, pixels: pixels.subarray(0, good.length * each), labels, size };
  };

  const read: ImageLoader["read"] = (items, { seed = 0 } = {}) => {
    const batch = gathered(items, start(items, seed));
    return batch.then((found) => {
      if (found.items.length > 0 || items.length === 0) return found;
      const { name, problem } = skipped.get(items[0] as number) as SkippedImage;
      throw new DataError(name, `${problem}; none of the ${items.length} images of its batch can be used`);
    });
  };

  return {
    images,
    size,
    get skipped() {
      return [...skipped.values()];
    },
    get clipped() {
      return [...clipped].map((item) => images.nameOf(item));
    },
    get workers() {
      return pool.workers;
    },
    read,
    async *batches({ batch, limit = images.length, ranks, signal }) {
      const count = Math.min(limit, images.length);
      const waiting: { items: number[]; jobs: Promise<ImageAnswer>[] }[] = [];
      let next = 0;
      while (next < count || waiting.length > 0) {
        signal?.throwIfAborted();
        while (next < count && waiting.length <= AHEAD) {
          const items = Array.from({ length: Math.min(batch, count - next) }, (_, i) => next + i);
          if (isOwn(ranks, next / batch)) waiting.push({ items, jobs: start(items, 0) });
          next += items.length;
        }
        const { items, jobs } = waiting.shift() ?? { items: [], jobs: [] };
        const found = await gathered(items, jobs);
        if (found.items.length > 0) yield found;
      }
    },
    close: () => pool.close(),
  };
}
