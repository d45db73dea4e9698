// A worker thread that prepares images: reads, decodes, transforms and normalizes those that it is told of. Runs only as
// a worker.

import { workerData } from "node:worker_threads";
import { answerJobs } from "../worker-pool.ts";
import { type ImageAnswer, type ImageJob, type LoaderSettings, prepareImages } from "./prepare.ts";

const settings = workerData as LoaderSettings;

answerJobs<ImageJob, ImageAnswer>((job) => prepareImages(job, settings), { transfer: ({ pixels }) => [pixels.buffer] });
