// Shows a run in TensorBoard: an event file that has the metrics of metrics.jsonl as scalars. A run that is resumed writes
// the file again from metrics.jsonl, which no longer has the steps after the checkpoint, so that each step is in it once.

import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { reason } from "../../../hub/files/byte-source.ts";
import type { Metrics, SampleMetrics } from "../../train/metrics.ts";
import { readRun } from "../run-files.ts";
import { RunError } from "../run-record.ts";
import { headRecords, scalarRecord } from "./event-file.ts";

/** An event file, open for appending. Must be closed. */
export interface Board {
  append(metrics: Metrics): Promise<void>;
  close(): Promise<void>;
}

/** Event files of this workbench; TensorBoard reads those with `tfevents` in their names, in the order of the names. */
const OWN_FILE = /^events\.out\.tfevents\.\d+\.gblr\.\d+$/;

/**
 * Writes the metrics that a run has so far to a new event file, and deletes the run's earlier ones.
 * @param folder for the event files of this run alone; created if it does not exist
 * @param run run folder
 * @throws RunError if the folder cannot be written
 */
export async function openBoard(folder: string, run: string): Promise<Board> {
  const { record, metrics } = await readRun(run);
  const begun = Date.parse(record?.started ?? "") || Date.now();
  const name = `events.out.tfevents.${Math.floor(Date.now() / 1000)}.gblr.${process.pid}`;
  const bytesOf = (line: Metrics) => (line.kind === "sample" ? [] : [scalarRecord(eventOf(line, begun / 1000))]);
  const file = await replaced(folder, name, [headRecords(begun / 1000), ...metrics.flatMap(bytesOf)]).catch(
    refused(folder),
  );
  return {
    append: (line) => file.appendFile(Buffer.concat(bytesOf(line))).catch(refused(folder)),
    close: () => file.close(),
  };
}

/** Writes a file whole, and then deletes the other event files. @returns the file, to append to */
async function replaced(folder: string, name: string, records: readonly Uint8Array[]): Promise<FileHandle> {
  await mkdir(folder, { recursive: true });
  const before = (await readdir(folder)).filter((other) => OWN_FILE.test(other) && other !== name);
  const unfinished = join(folder, "unfinished.part");
  const file = await open(unfinished, "w");
  try {
    await file.appendFile(Buffer.concat(records));
    await rename(unfinished, join(folder, name));
    for (const other of before) await rm(join(folder, other), { force: true });
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

const refused = (folder: string) => (error: unknown) => {
  const file = folder;
  throw new RunError(`cannot be written to: ${reason(error)}; give another --tensorboard`, { file }, { cause: error });
};

/** Lines that have numbers. */
type Scalars = Exclude<Metrics, SampleMetrics>;

/**
 * A line of metrics.jsonl as scalars. The wall time is the start of the run and its training time, so that curves over
 * time have no gaps where a run was interrupted.
 * @param begun start of the run, seconds since 1970
 */
function eventOf(metrics: Scalars, begun: number) {
  const { step, seconds } = metrics;
  return { step, wallTime: begun + seconds, scalars: scalarsOf(metrics) };
}

function scalarsOf(metrics: Scalars): Record<string, number> {
  if (metrics.kind === "step") {
    const { loss, learningRate, gradientNorm, rate, sigma, meanWidth, relativeCost } = metrics;
    return {
      ...{ "train/loss": loss, "train/learning_rate": learningRate },
      ...{ "train/gradient_norm": gradientNorm, "train/rate": rate },
      ...(sigma !== undefined && { "structure/sigma": sigma }),
      ...(meanWidth !== undefined && { "structure/mean_width": meanWidth }),
      ...(relativeCost !== undefined && { "structure/relative_cost": relativeCost }),
    };
  }
  if (metrics.kind === "evaluation") {
    const { split, values } = metrics;
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${split}/${name}`, value]));
  }
  const { reference, actual } = metrics.relativeFlops;
  return { "structure/relative_flops_reference": reference, "structure/relative_flops_actual": actual };
}
