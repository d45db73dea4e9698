// metrics.jsonl as it grows: a line at a time, on the disk for certain at each checkpoint, cut back to a checkpoint's
// length when a run is resumed from it.

import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { reason } from "../../hub/files/byte-source.ts";
import { RunError } from "./errors.ts";
import type { Metrics } from "./metrics.ts";

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
