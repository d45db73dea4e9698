// What a stage of the pipeline is: an async generator that yields events while it works and returns its result. Verbs and
// recipes compose stages and render their events; no stage prints anything or depends on how its events are shown.

import type { HubAccess } from "../../hub/access/repository.ts";
import type { PullEvent } from "../../hub/pull/events.ts";
import type { PushEvent } from "../../hub/push/index.ts";
import type { CalibrateEvent, ConversionPlan, ConvertEvent } from "../compress/index.ts";
import type { ImagesEvent } from "../data/images/index.ts";
import type { TokenizeEvent } from "../data/index.ts";
import type { Engine } from "../engine/core/types.ts";
import type { AccuracyEvent } from "../evaluate/accuracy.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import type { PerplexityEvent } from "../evaluate/perplexity.ts";
import type { LoadEvent, SaveEvent } from "../models/index.ts";
import type { PullZooEvent } from "../models/reference/index.ts";
import type { FitEvent } from "../train/index.ts";

/** Settings that contradict each other or name what does not exist. One line, found before any work. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** A stage that cannot do what is asked with this model or these data. One line. */
export class StageError extends Error {
  override readonly name = "StageError";
}

/** How the tokens of a split are cut into windows. */
export interface WindowsEvent {
  split: string;
  windows: number;
  /** tokens of a window */
  context: number;
  /** tokens at the end that no window predicts */
  leftOut: number;
}

/** Events of the part of the workbench that does a stage's work, passed on as they are. */
export type InnerEvent =
  | { of: "pull"; name: string; event: PullEvent }
  | { of: "zoo"; name: string; event: PullZooEvent }
  | { of: "tokenize"; event: TokenizeEvent }
  | { of: "windows"; event: WindowsEvent }
  | { of: "images"; event: ImagesEvent }
  /** `folder`: the model folder that is read */
  | { of: "load"; folder: string; event: Exclude<LoadEvent, { kind: "loaded" }> }
  /** `total`: inputs in all, counted in `unit` */
  | { of: "calibrate"; total: number; unit: string; event: CalibrateEvent }
  | { of: "convert"; event: ConvertEvent }
  | { of: "evaluate"; event: PerplexityEvent }
  | { of: "accuracy"; event: AccuracyEvent }
  | { of: "fit"; event: FitEvent }
  | { of: "save"; event: SaveEvent }
  | { of: "push"; event: PushEvent };

export type PipelineEvent =
  /** a stage begins, e.g. `convert` of `GBLR, SVD`; `done`: its result was there from an earlier run */
  | { kind: "stage"; stage: string; of?: string; done?: boolean }
  | ({ kind: "inner" } & InnerEvent)
  /** one line for the user, shown on stderr */
  | { kind: "note"; text: string }
  /** what a conversion is going to do */
  | { kind: "planned"; plan: ConversionPlan }
  /** a model was measured: its row, and all rows of the table so far */
  | { kind: "row"; row: ComparisonRow; rows: readonly ComparisonRow[] }
  /** ended by its signal; the run folder can be gone on with */
  | { kind: "interrupted"; folder: string }
  | { kind: "finished"; folder: string; model: string; rows: readonly ComparisonRow[]; pushed?: string };

/** What every stage needs besides its own inputs. */
export interface StageContext {
  access: HubAccess;
  /** address of another copy of the zoo of released checkpoints. Default where they are released */
  zooRelease?: string | undefined;
  /** opens an engine for a name of the zoo, whose layers are packed when it is fetched. Default: one is open */
  openEngine?: (() => Promise<unknown>) | undefined;
  /** folder for what is derived from data sets once: token ids in `tokens`, images in `images` */
  cache: string;
  /** ends the work after the present step, with what is done kept */
  signal: AbortSignal;
}

/** What a record of the work says of where and how it was done. */
export interface Origin {
  /** open, and current */
  engine: Engine;
  /** the command line as typed */
  command: string;
  /** by name, e.g. `gblr`, `libtorch` */
  versions: Readonly<Record<string, string>>;
}

export interface ExperimentContext extends StageContext, Origin {
  /** the recipe's name, e.g. `gpt2-wt103` */
  recipe: string;
}

/**
 * Runs work whose last event is its result.
 * @param kind of that event
 * @param told makes a pipeline event of each event, the last one too; nothing is yielded for undefined
 * @returns the result, without its kind
 */
export async function* lastEvent<Event extends { kind: string }, Kind extends Event["kind"]>(
  work: AsyncIterable<Event>,
  kind: Kind,
  told: (event: Event) => PipelineEvent | undefined,
): AsyncGenerator<PipelineEvent, Omit<Extract<Event, { kind: Kind }>, "kind">> {
  for await (const event of work) {
    const shown = told(event);
    if (shown) yield shown;
    if (event.kind === kind) {
      const { kind: _, ...result } = event as Extract<Event, { kind: Kind }>;
      return result;
    }
  }
  throw new Error(`the work ended before its ${kind}`);
}

/** Runs a stage to its end without showing its events, or with `show` for each of them. */
export async function resultOf<Event, Result>(
  stage: AsyncGenerator<Event, Result>,
  show?: (event: Event) => void,
): Promise<Result> {
  for (;;) {
    const { value, done } = await stage.next();
    if (done) return value;
    show?.(value);
  }
}
