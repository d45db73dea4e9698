// Entry point of the worker threads that prepare images: reads, decodes, transforms and normalizes those of each job.

import { workerData } from "node:worker_threads";
import { answerJobs } from "../worker-pool.ts";
import { type ImageAnswer, type ImageJob, type LoaderSettings, prepareImages } from "./prepare.ts";

const settings = workerData as LoaderSettings;

answerJobs<ImageJob, ImageAnswer>((job) => prepareImages(job, settings), { transfer: ({ pixels }) => [pixels.buffer] });
