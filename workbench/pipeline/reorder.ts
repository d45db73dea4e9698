// The reorder stage: puts the units of a dense model in an order in which blocks fit better, and describes the result for
// the user and for files. It precedes the calibration, whose covariances are then those of the reordered model.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Tensor, tensor1d } from "@tensorflow/tfjs-core";
import { REORDER_FILE } from "../../hub/model-folder/index.ts";
import { groupBy } from "../../hub/text/group-by.ts";
import { countOf, formatCount } from "../../hub/text/numbers.ts";
import {
  type InputPowers,
  inputPowers,
  orderNamed,
  type ReorderedUnits,
  type ReorderOptions,
  reorderModel,
  type SymmetryKind,
} from "../compress/index.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import type { Model } from "../models/index.ts";
import type { CalibrationResults } from "./calibration/cache.ts";
import type { CalibrationData } from "./domains/domain.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

/** The name of the setting with which units stay as they are. */
export const NO_ORDER = "none";

/** The request in settings or options; undefined if units stay as they are. */
export const requestOf = ({
  reorder: order,
  reorderUnits: kinds = [],
}: {
  reorder: string;
  reorderUnits?: readonly SymmetryKind[] | undefined;
}): ReorderRequest | undefined =>
  order === NO_ORDER ? undefined : { order, kinds: kinds.length > 0 ? kinds : undefined };

/** What is reordered, and how. */
export interface ReorderRequest {
  /** name of the order */
  order: string;
  /** kinds of units. Default: all that the architecture has */
  kinds?: readonly SymmetryKind[] | undefined;
  /** the score by which `search` compares orders. Default: the error of plain grids */
  scoreOf?: ReorderOptions["scoreOf"];
}

/** A reordering that was made. */
export interface Reordered {
  order: string;
  units: readonly ReorderedUnits[];
}

interface ReorderStageOptions {
  /** data on which the energies of units are measured, for orders that need them. Default: those of the weights */
  data?: CalibrationData | undefined;
  /** keeps these energies for other conversions of the same model. Default: they are not kept */
  cache?: CalibrationResults | undefined;
  /** processes that share the measurement, all of which call this. Default: there is one */
  ranks?: ProcessGroup | undefined;
  signal: AbortSignal;
}

/**
 * Reorders the units of a model.
 * @param model dense, changed in place
 * @throws EngineError as `reorderModel` does; the signal's reason when it aborts
 */
export async function* reorder(
  model: Model,
  { order, kinds, scoreOf }: ReorderRequest,
  { data, cache, ranks, signal }: ReorderStageOptions,
): AsyncGenerator<PipelineEvent, Reordered> {
  const powers =
    data && orderNamed(order).needsPowers ? yield* powersOf(model, data, { cache, ranks, signal }) : undefined;
  const events = reorderModel(model, { order, kinds, ...(powers && { powers }), ...(scoreOf && { scoreOf }), signal });
  return yield* lastEvent(events, "reordered", (event) => ({ kind: "inner", of: "reorder", event }));
}

async function* powersOf(
  model: Model,
  data: CalibrationData,
  { cache, ranks, signal }: Pick<ReorderStageOptions, "cache" | "ranks" | "signal">,
): AsyncGenerator<PipelineEvent, InputPowers> {
  const known = await cache?.read("powers");
  if (known) {
    const read = Array.from(known.tensors, async ([name, values]) => [name, await values.data()] as const);
    const powers = new Map((await Promise.all(read)) as [string, Float32Array][]);
    for (const values of known.tensors.values()) values.dispose();
    return powers;
  }
  const powers = yield* measured(model, data, { ranks, signal });
  const tensors = new Map(Array.from(powers, ([name, values]) => [name, tensor1d(values)] as const));
  await cache?.write("powers", { tensors, rows: 0 });
  for (const values of tensors.values()) values.dispose();
  return powers;
}

async function* measured(
  model: Model,
  data: CalibrationData,
  sharing: Pick<ReorderStageOptions, "ranks" | "signal">,
): AsyncGenerator<PipelineEvent, InputPowers> {
  const { total, unit } = data;
  const forward = (input: Tensor) => data.forward(model, input);
  const events = inputPowers(model, data.inputs(), { layers: [...model.layers.keys()], forward, ...sharing });
  const { powers } = yield* lastEvent(events, "powers", (event) =>
    event.kind === "progress" ? { kind: "inner", of: "calibrate", total, unit, event } : undefined,
  );
  return powers;
}

/** What the kinds of units are called in text. */
const TITLES: Readonly<Record<SymmetryKind, string>> = {
  hidden: "hidden units",
  channels: "channels",
  keys: "components of queries and keys",
  values: "components of values",
  heads: "heads",
  stream: "residual stream",
};

/** One line for each kind of units: how many symmetries, and how many of their units moved. */
export function reorderedLines({ units }: Pick<Reordered, "units">): string[] {
  return [...groupBy(units, ({ kind }) => kind)].map(([kind, own]) => {
    const all = own.reduce((sum, { order }) => sum + order.length, 0);
    const moved = own.reduce((sum, { order }) => sum + order.filter((from, to) => from !== to).length, 0);
    return `${TITLES[kind]}: ${formatCount(moved)} of ${formatCount(all)} moved, in ${countOf(own.length, "order")}`;
  });
}

const FORMAT = 1;

/**
 * The content of reorder.json: the orders, by which the model before can be computed.
 * @param before that of the model that was reordered, if it had been reordered before
 */
export function reorderText({ order, units }: Reordered, before?: string): string {
  const lines = units.map((each) => `    ${JSON.stringify(each)}`).join(",\n");
  const earlier = before === undefined ? "" : `,\n  "before": ${before.trim()}`;
  return `{\n  "format": ${FORMAT},\n  "order": ${JSON.stringify(order)},\n  "units": [\n${lines}\n  ]${earlier}\n}\n`;
}

/** The further files of a model folder: reorder.json of a model that is saved from the one in `folder`. */
export async function reorderTexts(folder: string, reordered?: Reordered): Promise<Map<string, string>> {
  const before = await readFile(join(folder, REORDER_FILE), "utf8").catch(() => undefined);
  const text = reordered ? reorderText(reordered, before) : before;
  return new Map(text === undefined ? [] : [[REORDER_FILE, text]]);
}
