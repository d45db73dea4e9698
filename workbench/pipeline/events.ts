// What an experiment tells while it goes on: which stage it is in, what that stage itself tells, and each result. The
// command line draws them; nothing else depends on them.

import type { PullEvent } from "../../hub/pull/events.ts";
import type { PushEvent } from "../../hub/push/index.ts";
import type { CalibrateEvent, ConvertEvent } from "../compress/index.ts";
import type { ImagesEvent } from "../data/images/index.ts";
import type { TokenizeEvent } from "../data/index.ts";
import type { AccuracyEvent } from "../evaluate/accuracy.ts";
import type { PerplexityEvent } from "../evaluate/perplexity.ts";
import type { LoadEvent } from "../models/index.ts";
import type { PullZooEvent } from "../models/reference/index.ts";
import type { ComparisonRow } from "../report/index.ts";
import type { FitEvent } from "../train/index.ts";

/** How a split's tokens are cut. */
export interface WindowsEvent {
  split: string;
  windows: number;
  /** tokens of a window */
  context: number;
  /** tokens at the end that no window predicts */
  leftOut: number;
}

/** Events of the part of the workbench that is at work. */
export type InnerEvent =
  | { of: "pull"; event: PullEvent }
  | { of: "zoo"; event: PullZooEvent }
  | { of: "tokenize"; event: TokenizeEvent }
  | { of: "windows"; event: WindowsEvent }
  | { of: "images"; event: ImagesEvent }
  | { of: "load"; event: LoadEvent }
  | { of: "calibrate"; event: CalibrateEvent }
  | { of: "convert"; event: ConvertEvent }
  | { of: "evaluate"; event: PerplexityEvent }
  | { of: "accuracy"; event: AccuracyEvent }
  | { of: "fit"; event: FitEvent }
  | { of: "push"; event: PushEvent };

export type ExperimentEvent =
  /** begins a stage, e.g. `convert` of `GBLR, SVD`; `done`: its result was there from before */
  | { kind: "stage"; stage: string; of?: string; done?: boolean }
  | ({ kind: "inner" } & InnerEvent)
  /** what the user should know */
  | { kind: "note"; text: string }
  /** a line of the table */
  | { kind: "row"; row: ComparisonRow; rows: readonly ComparisonRow[] }
  /** ended by its signal; the run folder can be gone on with */
  | { kind: "interrupted"; folder: string }
  | { kind: "finished"; folder: string; model: string; rows: readonly ComparisonRow[]; pushed?: string };
