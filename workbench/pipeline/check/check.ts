// The check stage of `gblr convert --check`: converts a model, measures it on the user's data before and after, and puts
// layers back to dense where the loss rises beyond a limit, the most harmful first. harm.ts sorts the layers, back-off.ts
// finds how many of them, record.ts keeps the measurements. Nothing is written before the check has ended.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { clone } from "@tensorflow/tfjs-core";
import { type Conversion, type ConvertedLayer, plannedWeight, totalsOf } from "../../compress/index.ts";
import { copyModel } from "../../models/create.ts";
import { countsWith, type Model, replaceLayer } from "../../models/index.ts";
import { dense } from "../../structures/dense.ts";
import { structureNamed } from "../../structures/registry.ts";
import { type Converted, type ConvertStageOptions, convertModel } from "../convert.ts";
import type { Scored } from "../domains/domain.ts";
import { type PipelineEvent, StageError } from "../stage.ts";
import { fewestPutBack } from "./back-off.ts";
import { layerHarms } from "./harm.ts";
import { type OpenCheck, releaseBatch } from "./open-check.ts";
import type { CheckRecord } from "./record.ts";

/** Options of `convertChecked`. */
export interface CheckOptions {
  check: OpenCheck;
  /** largest increase of the loss, in per cent of perplexity or points of accuracy. Default: it is only measured */
  limit?: number | undefined;
  record: CheckRecord;
  convert: ConvertStageOptions;
}

/** A layer that was put back to dense. */
export interface PutBack {
  layer: string;
  /** loss that its conversion added, nats; an estimate on the first inputs of the data */
  harm: number;
  /** share of the harms of all layers that were converted, those without harm left out */
  share: number;
}

/** The result of a check. */
export interface CheckOutcome {
  metric: string;
  /** unit of the increases and the limit, e.g. `% of perplexity` */
  unit: string;
  limit?: number;
  before: Scored;
  /** with all layers of the plan converted */
  converted: Scored;
  /** of the resulting model */
  after: Scored;
  /** increase of the loss with all layers converted, and of the resulting model */
  increase: { converted: number; after: number };
  /** layers that were put back, the most harmful first */
  putBack: PutBack[];
  /** evaluations of the model on the data, in this process and in earlier ones */
  evaluations: number;
}

/**
 * Converts a model and checks it. Memory: with a limit, the dense matrices of the converted layers are kept as float32
 * until the end.
 * @param model dense model, changed in place
 * @throws StageError if no layer can stay converted within the limit; otherwise as `convertModel` does
 */
export async function* convertChecked(
  model: Model,
  { check, limit, record, convert }: CheckOptions,
): AsyncGenerator<PipelineEvent, Converted & { outcome: CheckOutcome }> {
  const { signal } = convert;
  const { measure } = check;
  let evaluations = 0;
  async function* scoreOf(what: string, scored: Model, of: string): AsyncGenerator<PipelineEvent, Scored> {
    evaluations++;
    const known = record.score(what);
    yield { kind: "stage", stage: "check", of, done: known !== undefined };
    if (known) return known;
    const score = yield* check.score(scored, signal);
    await record.addScore(what, score);
    return score;
  }
  const before = yield* scoreOf("before", model, "the model before its conversion");
  const kept = new Map<string, Tensor2D>();
  try {
    const converted = yield* capturing(model, convert, limit === undefined ? undefined : kept);
    const whole = yield* scoreOf("0", model, "the converted model");
    const increase = measure.increase(before, whole);
    const told = { metric: measure.metric, unit: measure.unit, ...(limit !== undefined && { limit }), before };
    if (limit === undefined || increase <= limit) {
      const increases = { converted: increase, after: increase };
      const outcome = { ...told, converted: whole, after: whole, increase: increases, putBack: [], evaluations };
      return { ...converted, outcome };
    }
    const said = `${measure.text(increase)} of ${measure.metric} is beyond --max-loss-increase ${limit}`;
    yield { kind: "note", text: `${said}; the most harmful layers are put back to dense` };
    const harms = yield* sorted(model, { dense: kept, check, record, signal });
    const scores = new Map<number, Scored>();
    const count = yield* fewestPutBack({
      harms: harms.map(([, harm]) => harm),
      allowed: allowedHarm(harms, { limit, increase, measure }),
      async *isWithin(put) {
        const trial = withPutBack(copyModel(model), harms.slice(0, put), kept);
        try {
          const score = yield* scoreOf(String(put), trial, `${put} of ${harms.length} layers put back`);
          scores.set(put, score);
          return measure.increase(before, score) <= limit;
        } finally {
          trial.dispose();
        }
      },
    });
    const after = scores.get(count);
    if (!after) throw nothingLeft(harms.length, { limit, measure, increase });
    // 1 where no layer has a harm on the first inputs, though the loss has risen on all of them.
    const total = harms.reduce((sum, [, harm]) => sum + Math.max(0, harm), 0) || 1;
    const putBack = harms.slice(0, count).map(([layer, harm]) => ({ layer, harm, share: Math.max(0, harm) / total }));
    withPutBack(model, harms.slice(0, count), kept);
    const increases = { converted: increase, after: measure.increase(before, after) };
    const outcome = { ...told, converted: whole, after, increase: increases, putBack, evaluations };
    const conversion = conversionWith(converted.conversion, model, new Set(putBack.map(({ layer }) => layer)));
    return { ...converted, conversion, outcome };
  } finally {
    for (const weight of kept.values()) weight.dispose();
  }
}

/** Converts, and keeps the dense matrices of the layers from before their conversion. */
async function* capturing(
  model: Model,
  options: ConvertStageOptions,
  kept: Map<string, Tensor2D> | undefined,
): AsyncGenerator<PipelineEvent, Converted> {
  const work = convertModel(model, options);
  for (;;) {
    const { value, done } = await work.next();
    if (done) return value;
    // Units may have been reordered by now, so the matrices are taken from the model and not from its folder.
    if (kept && value.kind === "planned") {
      const converted = value.plan.layers.filter(({ structure }) => !structureNamed(structure).isDense);
      for (const layer of converted) kept.set(layer.name, plannedWeight(model, layer));
    }
    yield value;
  }
}

interface Sorting {
  dense: ReadonlyMap<string, Tensor2D>;
  check: OpenCheck;
  record: CheckRecord;
  signal: AbortSignal;
}

/** The converted layers with their harms, the most harmful first. */
async function* sorted(
  model: Model,
  { dense: kept, check, record, signal }: Sorting,
): AsyncGenerator<PipelineEvent, readonly (readonly [string, number])[]> {
  const known = record.harms;
  yield { kind: "stage", stage: "sort", of: "the layers by their harm", done: known !== undefined };
  if (known) return known;
  const { total, unit, loss } = check;
  const options = { dense: kept, inputs: check.batches(), release: releaseBatch, loss, signal };
  for await (const event of layerHarms(model, options)) {
    if (event.kind === "progress") {
      const progress = { kind: "progress", inputs: event.inputs, rows: 0 } as const;
      yield { kind: "inner", of: "calibrate", total, unit, event: progress };
      continue;
    }
    const harms = [...event.harms].sort(([, a], [, b]) => b - a);
    await record.addHarms(harms);
    return harms;
  }
  throw new Error("the harms ended early");
}

interface Exceeded {
  limit: number;
  increase: number;
  measure: OpenCheck["measure"];
}

/** The loss that layers which stay converted may add. Where the limit does not say, the same share of all harms. */
function allowedHarm(harms: readonly (readonly [string, number])[], { limit, increase, measure }: Exceeded): number {
  return measure.allowedLoss(limit) ?? (harms.reduce((sum, [, harm]) => sum + harm, 0) * limit) / increase;
}

/** Puts layers back to their dense matrices, in place. */
function withPutBack(
  model: Model,
  layers: readonly (readonly [string, number])[],
  kept: ReadonlyMap<string, Tensor2D>,
): Model {
  for (const [name] of layers) replaceLayer(model, name, dense, { weight: clone(kept.get(name) as Tensor2D) });
  return model;
}

/** The conversion without the layers that were put back: they have their dense cost and no error. */
function conversionWith(conversion: Conversion, model: Model, putBack: ReadonlySet<string>): Conversion {
  const layers = conversion.layers.map((converted): ConvertedLayer => {
    if (!putBack.has(converted.name)) return converted;
    const { tiles: _, ...layer } = converted;
    const errors = { error: 0, ...(layer.outputError !== undefined && { outputError: 0 }) };
    return { ...layer, ...errors, structure: dense.name, cost: layer.dense };
  });
  const totals = { ...totalsOf(layers, conversion.totals.budget), allowed: conversion.totals.allowed };
  const costs = Object.fromEntries(layers.map(({ name, cost }) => [name, cost]));
  return { ...conversion, layers, totals, counts: countsWith(model, costs) };
}

function nothingLeft(count: number, { limit, increase, measure }: Exceeded): StageError {
  const all = count === 1 ? "with the one layer converted" : `with all ${count} layers converted`;
  return new StageError(
    `--max-loss-increase ${limit} (${measure.unit}) leaves no layer converted: ${measure.text(increase)} ${all}; give a larger limit or a larger budget`,
  );
}
