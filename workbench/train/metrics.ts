// The metrics of a run: the types of the lines of metrics.jsonl, each a JSON object, and the writer of the file. Only
// `seconds` and `rate` depend on the clock. The file is flushed to disk at each checkpoint. A resumed run truncates it
// to its length at the checkpoint, so that no step appears twice. During a run the last line may be incomplete.

import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { reason } from "../../hub/files/byte-source.ts";
import { RunError } from "./events.ts";

interface At {
  /** completed optimizer steps; 0 before the first one */
  step: number;
  /** completed epochs, including the share of the current one */
  epoch: number;
  /** training time so far, without interruptions */
  seconds: number;
}

/** Metrics of one optimizer step. */
export interface StepMetrics extends At {
  kind: "step";
  /** mean loss over the batch */
  loss: number;
  /** learning rate of weights */
  learningRate: number;
  /** Euclidean norm over all parameters, before clipping */
  gradientNorm: number;
  /** tokens or images a second */
  rate: number;
  /** sigma of the masks in this step; absent if they have no Gaussian */
  sigma?: number;
  /** mean over GBLR layers of their mean width, with widths of dead blocks as 0; absent without GBLR layers */
  meanWidth?: number;
  /** relative cost of the GBLR layers, counted from widths in whole samples regardless of σ; absent without them */
  relativeCost?: number;
}

/** Metrics of one split, such as `perplexity`, `nll` or `accuracy`. */
export interface EvaluationMetrics extends At {
  kind: "evaluation";
  split: string;
  values: Record<string, number>;
}

/** The structure of every GBLR layer at an evaluation. Costs take σ into account. */
export interface StructureMetrics extends At {
  kind: "structure";
  layers: Record<string, { live: number; cost: number; meanWidthIn: number; meanWidthOut: number }>;
  /** relative FLOPs of the whole model by both counts */
  relativeFlops: { reference: number; actual: number };
}

/** A text that the model has written at an evaluation. */
export interface SampleMetrics extends At {
  kind: "sample";
  prompt: string;
  /** what the model adds to the prompt */
  text: string;
}

/** A line of metrics.jsonl. */
export type Metrics = StepMetrics | EvaluationMetrics | StructureMetrics | SampleMetrics;

export const METRICS_FILE = "metrics.jsonl";

/** The file metrics.jsonl, open for appending. */
export class MetricsFile {
  readonly path: string;
  private readonly handle: FileHandle;
  private end: number;

  private constructor(path: string, handle: FileHandle, end: number) {
    [this.path, this.handle, this.end] = [path, handle, end];
  }

  /**
   * Opens the file for appending; it is created if it does not exist.
   * @param length bytes to keep; the rest is truncated
   * @throws RunError when the file is shorter than that or cannot be written
   */
  static async open(path: string, length: number): Promise<MetricsFile> {
    const handle = await mkdir(dirname(path), { recursive: true })
      .then(() => open(path, "a+"))
      .catch(refused(path));
    try {
      const { size } = await handle.stat();
      if (size < length) {
        const problem = `${path}: has ${size} bytes, but had ${length} when the checkpoint was saved`;
        throw new RunError(`${problem}; restore the file, or start a new run`);
      }
      await handle.truncate(length).catch(refused(path));
      return new MetricsFile(path, handle, length);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** length of the file in bytes */
  get length(): number {
    return this.end;
  }

  /** Appends one line. Call `flush` to make it safe from a power failure. */
  async append(metrics: Metrics): Promise<void> {
    const line = `${JSON.stringify(metrics)}\n`;
    await this.handle.appendFile(line).catch(refused(this.path));
    this.end += Buffer.byteLength(line);
  }

  async flush(): Promise<void> {
    await this.handle.sync().catch(refused(this.path));
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

const refused = (path: string) => (error: unknown) => {
  throw new RunError(`${path}: cannot be written: ${reason(error)}`, { cause: error });
};
