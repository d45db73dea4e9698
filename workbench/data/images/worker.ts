// A worker thread that prepares images: reads, decodes, transforms and normalises those that it is told of. Runs only as
// a worker.

import { workerData } from "node:worker_threads";
import { answerJobs } from "../workers/answer.ts";
import { type ImageAnswer, type ImageJob, prepareImages } from "./job.ts";
import type { PrepareSettings } from "./prepare.ts";

const settings = workerData as PrepareSettings;

answerJobs<ImageJob, ImageAnswer>((job) => prepareImages(job, settings), { transfer: ({ pixels }) => [pixels.buffer] });
