// Follows a run: its record, run.json, and the lines that it appends to metrics.jsonl. The folder may appear later, and
// the run may be resumed or started anew meanwhile.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { reason } from "../../hub/files/byte-source.ts";
import { parseMetricsLine, RUN_FILES, type RunRecord, readRunRecord } from "../report/index.ts";
import type { Metrics } from "../train/metrics.ts";
import { FollowedFile } from "./followed-file.ts";

/** What the page shows of a run beside its curves. */
export interface RunState {
  /** whether the run has a record or metrics */
  exists: boolean;
  /** name in its record */
  name?: string;
  status?: RunRecord["status"];
  /** error of a failed run */
  error?: string;
  /** steps that the run will have */
  steps?: number;
  /** what the speed counts: tokens or images */
  unit?: string;
  /** target cost of the converted layers, as a share of dense */
  targetCost?: number;
  /** a sentence about a file that cannot be read */
  problem?: string;
}

/** What has happened to a run. */
export type RunEvent =
  | { kind: "state"; state: RunState }
  /** earlier metrics are void, and come again if they are still in the file */
  | { kind: "restarted" }
  /** new metrics, and when the file was last written, milliseconds since 1970 */
  | { kind: "metrics"; lines: Metrics[]; written?: number };

/** A run that is followed. */
export class FollowedRun {
  readonly #folder: string;
  readonly #metrics: FollowedFile;
  /** the state that was told last, and the version of run.json that it was read from */
  #told = "";
  #version = "";
  #record: Awaited<ReturnType<typeof readRunRecord>>;
  hasMore = false;

  constructor(folder: string) {
    this.#folder = folder;
    this.#metrics = new FollowedFile(join(folder, RUN_FILES.metrics));
  }

  /** What has happened since the last look. The first look tells the state. */
  async look(): Promise<RunEvent[]> {
    await this.#readRecord();
    const found = await this.#metrics.look().catch((error: unknown) => ({
      ...{ exists: true, restarted: false, lines: [], hasMore: false, written: undefined },
      problem: `${RUN_FILES.metrics} cannot be read: ${reason(error)}.`,
    }));
    this.hasMore = found.hasMore;
    const problem = "problem" in found ? found.problem : this.#record?.problem;
    const lines = found.lines.flatMap((line) => parseMetricsLine(line) ?? []);
    const { written } = found;
    return [
      ...this.#changed({ exists: this.#record !== undefined || found.exists, ...this.#facts(), problem }),
      ...(found.restarted ? [{ kind: "restarted" as const }] : []),
      ...(lines.length > 0 ? [{ kind: "metrics" as const, lines, ...(written !== undefined && { written }) }] : []),
    ];
  }

  /** Reads run.json if it has changed. It is replaced as a whole. */
  async #readRecord(): Promise<void> {
    const status = await stat(join(this.#folder, RUN_FILES.record)).catch(() => undefined);
    const version = status ? `${status.ino} ${status.size} ${status.mtimeMs}` : "";
    if (version === this.#version) return;
    this.#version = version;
    this.#record = await readRunRecord(this.#folder);
  }

  #facts(): Partial<RunState> {
    const { name, status, error, steps, targetCost, task } = this.#record?.record ?? {};
    return {
      name,
      status,
      error,
      steps,
      targetCost,
      ...(task && { unit: task === "text-generation" ? "tokens" : "images" }),
    };
  }

  #changed(state: { [Key in keyof RunState]: RunState[Key] | undefined }): RunEvent[] {
    // Fields without a value are not in the text.
    const text = JSON.stringify(state);
    if (text === this.#told) return [];
    this.#told = text;
    return [{ kind: "state", state: JSON.parse(text) as RunState }];
  }
}
