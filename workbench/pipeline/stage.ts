// What an experiment tells while it goes on: which stage it is in, what that stage itself tells, and each result. The
// command line draws them; nothing else depends on them.

import type { HubAccess } from "../../hub/access/repository.ts";
import type { PullEvent } from "../../hub/pull/events.ts";
import type { PushEvent } from "../../hub/push/index.ts";
import type { CalibrateEvent, ConvertEvent } from "../compress/index.ts";
import type { ImagesEvent } from "../data/images/index.ts";
import type { TokenizeEvent } from "../data/index.ts";
import type { Engine } from "../engine/core/types.ts";
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

export interface ExperimentContext {
  access: HubAccess;
  /** address of another copy of the zoo of released checkpoints. Default where they are released */
  zooRelease?: string | undefined;
  /** open, and current */
  engine: Engine;
  /** folder for what is made of data sets once: files of token ids in `tokens`, of images in `images` */
  cache: string;
  /** the recipe's name, e.g. `gpt2-wt103` */
  recipe: string;
  /** the command line as typed */
  command: string;
  /** by name, e.g. `gblr`, `libtorch` */
  versions: Readonly<Record<string, string>>;
  /** ends the experiment after the present step, with what is done kept */
  signal: AbortSignal;
}

/**
 * Runs work to the event that is its result.
 * @param kind of that event
 * @param told what becomes of those before it
 * @returns the result, without its kind
 */
export async function* lastEvent<Event extends { kind: string }, Kind extends Event["kind"]>(
  work: AsyncIterable<Event>,
  kind: Kind,
  told: (event: Event) => ExperimentEvent,
): AsyncGenerator<ExperimentEvent, Omit<Extract<Event, { kind: Kind }>, "kind">> {
  for await (const event of work) {
    if (event.kind === kind) {
      const { kind: _, ...result } = event as Extract<Event, { kind: Kind }>;
      return result;
    }
    yield told(event);
  }
  throw new Error(`the work ended before its ${kind}`);
}

/** Runs a stage that nobody watches to its end. */
export async function resultOf<Result>(stage: AsyncGenerator<unknown, Result>): Promise<Result> {
  for (;;) {
    const { value, done } = await stage.next();
    if (done) return value;
  }
}
