// Defines the stages of the pipeline. A stage is an async generator that yields events during its work and returns its
// result. Verbs and recipes compose stages and show their events. A stage never prints.

import type { HubAccess } from "../../hub/access/repository.ts";
import type { PullEvent } from "../../hub/pull/events.ts";
import type { PushEvent } from "../../hub/push/index.ts";
import type {
  CalibrateEvent,
  ConversionPlan,
  ConvertEvent,
  ReorderEvent,
  SensitivityEvent,
} from "../compress/index.ts";
import type { ImagesEvent } from "../data/images/index.ts";
import type { TokenizeEvent } from "../data/index.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import type { Engine } from "../engine/core/types.ts";
import type { AccuracyEvent } from "../evaluate/accuracy.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import type { PerplexityEvent } from "../evaluate/perplexity.ts";
import type { LoadEvent, SaveEvent } from "../models/index.ts";
import type { PullZooEvent } from "../models/reference/index.ts";
import type { ImportGgufEvent } from "../models/weights/index.ts";
import type { FitEvent } from "../train/index.ts";
import type { HarnessProgress } from "./harness/progress.ts";

/** The error that settings are invalid or contradict each other, thrown before any work. The message is one line. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** The error that a stage does not support a model or a data set. The message is one line. */
export class StageError extends Error {
  override readonly name = "StageError";
}

/** The event that the tokens of a split were cut into windows. */
export interface WindowsEvent {
  split: string;
  windows: number;
  /** tokens per window */
  context: number;
  /** number of tokens at the end that no window predicts */
  leftOut: number;
}

/** The event that a split is opened as a stream. */
export interface StreamEvent {
  split: string;
  files: number;
  /** of all files, compressed */
  bytes: number;
  /** micro-batches of a step, among which the files are divided */
  lanes: number;
  /** number of the images; undefined for text */
  images?: number | undefined;
}

/** Unchanged events of the module that does the work of a stage. `of` names the kind of work. */
export type InnerEvent =
  | { of: "pull"; name: string; event: PullEvent }
  | { of: "zoo"; name: string; event: PullZooEvent }
  | { of: "import"; file: string; event: Exclude<ImportGgufEvent, { kind: "imported" }> }
  | { of: "tokenize"; event: TokenizeEvent }
  | { of: "windows"; event: WindowsEvent }
  | { of: "stream"; event: StreamEvent }
  | { of: "images"; event: ImagesEvent }
  /** `folder` is the model folder that is read */
  | { of: "load"; folder: string; event: Exclude<LoadEvent, { kind: "loaded" }> }
  /** `total` is the number of inputs, counted in `unit` */
  | { of: "calibrate"; total: number; unit: string; event: CalibrateEvent }
  | { of: "reorder"; event: ReorderEvent }
  /** `total` is the number of inputs whose gradients are computed, counted in `unit` */
  | { of: "gradients"; total: number; unit: string; event: SensitivityEvent }
  | { of: "convert"; event: ConvertEvent }
  | { of: "evaluate"; event: PerplexityEvent }
  | { of: "accuracy"; event: AccuracyEvent }
  | { of: "harness"; event: HarnessProgress }
  | { of: "fit"; event: FitEvent }
  | { of: "save"; event: SaveEvent }
  | { of: "push"; event: PushEvent };

/** Events of all stages. */
export type PipelineEvent =
  /** a stage begins, e.g. `convert` of `GBLR, SVD`; with `done` it is skipped, because its result exists already */
  | { kind: "stage"; stage: string; of?: string; done?: boolean }
  | ({ kind: "inner" } & InnerEvent)
  /** one line for the user, shown on stderr */
  | { kind: "note"; text: string }
  /** the plan of a conversion, before it begins */
  | { kind: "planned"; plan: ConversionPlan }
  /** a model was measured: its row of the comparison, and all rows so far */
  | { kind: "row"; row: ComparisonRow; rows: readonly ComparisonRow[] }
  /** the signal stopped the run, which can be resumed from its folder */
  | { kind: "interrupted"; folder: string }
  | { kind: "finished"; folder: string; model: string; rows: readonly ComparisonRow[]; pushed?: string };

/** The context that all stages need besides their inputs. */
export interface StageContext {
  access: HubAccess;
  /** URL of another copy of the authors' released checkpoints. Default: the original release */
  zooRelease?: string | undefined;
  /** opens an engine for packing the layers of a zoo model that is fetched. Default: an engine is open already */
  openEngine?: (() => Promise<unknown>) | undefined;
  /** folder for derived data: token ids in `tokens`, images in `images`, models of GGUF files in `models` */
  cache: string;
  /** stops the work after the current step; results so far are kept */
  signal: AbortSignal;
}

/** How a result was computed, for records and model cards. */
export interface Origin {
  /** the engine that is open and in use */
  engine: Engine;
  /** the command line as typed */
  command: string;
  /** versions by name, e.g. `gblr`, `libtorch` */
  versions: Readonly<Record<string, string>>;
}

/** The context that an experiment needs besides its settings. */
export interface ExperimentContext extends StageContext, Origin {
  /** name of the recipe, e.g. `gpt2-wt103` */
  recipe: string;
  /** the processes of the run; the first one does everything, and the others train with it. Default: there is one */
  ranks?: ProcessGroup | undefined;
}

/**
 * Makes a stage of a generator whose last event is its result.
 * @param kind kind of the last event
 * @param told maps each event, including the last, to the pipeline event to yield; undefined yields none
 * @returns the last event, without its kind
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

/** Runs a stage to its end. @param show called with each event @returns the result of the stage */
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
