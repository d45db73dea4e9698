// metrics.jsonl: the types of its lines, one JSON object each, and the file that a run appends them to. Only `seconds` and
// rates depend on the clock. The file is flushed to the disk at each checkpoint. A resumed run truncates it to the length
// that it had at the checkpoint, so that no step appears twice. During a run the last line may be incomplete.

import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { reason } from "../../hub/files/byte-source.ts";
import { RunError } from "./events.ts";

interface At {
  /** optimizer steps done: from 1, and 0 for what was found before the first */
  step: number;
  /** epochs done, with the share of the present one */
  epoch: number;
  /** of training so far, interruptions not counted */
  seconds: number;
}

/** Metrics of one optimizer step. */
export interface StepMetrics extends At {
  kind: "step";
  /** mean over the global batch */
  loss: number;
  /** of the weights' group */
  learningRate: number;
  /** Euclidean, over all parameters, before clipping */
  gradientNorm: number;
  /** tokens or images a second */
  rate: number;
  /** of the masks in this step; absent where they have no Gaussian */
  sigma?: number;
  /** mean over GBLR layers of the mean of their widths, those of dead blocks counting as 0; absent without such layers */
  meanWidth?: number;
  /** multiply-adds of the GBLR layers' whole samples, whatever σ, as a share of dense matrices' in their place */
  relativeCost?: number;
}

/** `perplexity`, `nll`, `accuracy`, … of a split. */
export interface EvaluationMetrics extends At {
  kind: "evaluation";
  split: string;
  values: Record<string, number>;
}

/** The structure of every GBLR layer at the evaluations' times; masks and cost as σ makes them. */
export interface StructureMetrics extends At {
  kind: "structure";
  layers: Record<string, { live: number; cost: number; meanWidthIn: number; meanWidthOut: number }>;
  /** of the whole model as the reference counts, and as it is */
  relativeFlops: { reference: number; actual: number };
}

/** A line of metrics.jsonl. */
export type Metrics = StepMetrics | EvaluationMetrics | StructureMetrics;

export const METRICS_FILE = "metrics.jsonl";

export class MetricsFile {
  readonly path: string;
  private readonly handle: FileHandle;
  private end: number;

  private constructor(path: string, handle: FileHandle, end: number) {
    [this.path, this.handle, this.end] = [path, handle, end];
  }

  /**
   * @param length bytes to keep; what follows is cut off
   * @throws RunError when it is shorter than that, or cannot be written
   */
  static async open(path: string, length: number): Promise<MetricsFile> {
    const handle = await mkdir(dirname(path), { recursive: true })
      .then(() => open(path, "a+"))
      .catch(refused(path));
    try {
      const { size } = await handle.stat();
      if (size < length) {
        const problem = `${path}: has ${size} bytes, the checkpoint was made when it had ${length}`;
        throw new RunError(`${problem}; put the file back, or start anew`);
      }
      await handle.truncate(length).catch(refused(path));
      return new MetricsFile(path, handle, length);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** bytes so far */
  get length(): number {
    return this.end;
  }

  /** One line, whole as soon as this resolves, but not yet safe from a power cut. */
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
