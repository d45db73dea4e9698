// Compares two conversions layer by layer: the output error of each layer relative to that in a reference, by kind of
// layer. Both must have been calibrated on the same data and with the inputs of the dense model, so that each layer has
// the same target and the same inputs in both.

import { groupBy } from "../../../hub/text/group-by.ts";
import { percent, threeDigits } from "../../../hub/text/numbers.ts";
import type { Chart } from "../charts/chart.ts";
import { type LayerRatio, layerErrorChart } from "../charts/layer-errors.ts";
import { RUN_FILES, type Run, readRun } from "../run-files.ts";
import { type ConvertedLayer, RunError } from "../run-record.ts";
import { mean } from "./repeats.ts";
import type { CompareTable } from "./table.ts";

/** A folder of a run, and the one to compare it with. */
export interface LayerPair {
  reference: string;
  folder: string;
}

/** The layers that both conversions of a pair have. */
export interface ComparedLayers {
  /** what was converted: name of the run */
  name: string;
  /** name of the run of the reference */
  reference: string;
  layers: readonly ComparedLayer[];
}

/** Output errors of one layer, ‖(W − Ŵ) Σ^½‖ / ‖W Σ^½‖. */
export interface ComparedLayer {
  layer: string;
  /** its name without numbers and without what all kinds share, e.g. `q_proj` */
  kind: string;
  reference: number;
  error: number;
}

/**
 * Compares the layers of pairs of run folders.
 * @throws RunError if a folder has no output errors, or the conversions of a pair were calibrated differently
 */
export async function compareLayers(pairs: readonly LayerPair[]): Promise<ComparedLayers[]> {
  return Promise.all(
    pairs.map(async ({ reference, folder }) => {
      const [before, after] = await Promise.all([readRun(reference), readRun(folder)]);
      expectSameInputs(before, after);
      const errors = new Map(errorsIn(before));
      const found = errorsIn(after).flatMap(([layer, error]) => {
        const other = errors.get(layer);
        return other === undefined || other === 0 ? [] : [{ layer, error, reference: other }];
      });
      if (found.length === 0) throw new RunError(`shares no converted layer with ${reference}`, { file: folder });
      const kinds = kindsOf(found.map(({ layer }) => layer));
      const layers = found.map((each, i) => ({ ...each, kind: kinds[i] as string }));
      const isSameModel = after.record?.model?.name === before.record?.model?.name;
      return { name: nameOf(after, isSameModel), reference: nameOf(before, isSameModel), layers };
    }),
  );
}

/** The name of a run, without that of its model if it is that of both runs. */
function nameOf({ record, folder }: Run, isSameModel: boolean): string {
  if (record === undefined) return folder;
  const prefix = `${record.model?.name}, `;
  return isSameModel && record.name.startsWith(prefix) ? record.name.slice(prefix.length) : record.name;
}

/** Output errors of converted layers by name. */
function errorsIn({ folder, conversion }: Run): [string, number][] {
  const found = (conversion ?? []).flatMap(({ layer, outputError }: ConvertedLayer): [string, number][] =>
    outputError === undefined ? [] : [[layer, outputError]],
  );
  if (found.length > 0) return found;
  throw new RunError("has no output errors of layers; give the folder of a variant that was calibrated", {
    file: `${folder}/${RUN_FILES.conversion}`,
  });
}

/** Settings that determine the inputs of a layer. */
const INPUTS = [
  ...["model", "dataset", "config", "trainSplit"],
  ...["calibrationSamples", "calibrationContext", "calibrationSeed"],
];

function settingsOf({ folder, record }: Run): Readonly<Record<string, unknown>> {
  if (record) return record.settings;
  throw new RunError("is missing, which says how layers were calibrated; give the run folder of a variant", {
    file: `${folder}/${RUN_FILES.record}`,
  });
}

function expectSameInputs(one: Run, other: Run): void {
  const [first, second] = [settingsOf(one), settingsOf(other)];
  const differs = INPUTS.find((name) => JSON.stringify(first[name]) !== JSON.stringify(second[name]));
  if (differs !== undefined) {
    throw new RunError(`has another ${differs} than ${one.folder}; give conversions with the same calibration`, {
      file: other.folder,
    });
  }
  for (const { folder } of [one, other].filter((run) => settingsOf(run).sequential === true)) {
    const problem = "was calibrated sequentially, so that its layers have inputs of their own; give one that was not";
    throw new RunError(problem, { file: folder });
  }
}

/** The kind of each layer: the shortest ending of its name, without numbers, that no other kind has. */
function kindsOf(layers: readonly string[]): string[] {
  const all = layers.map((layer) => layer.split(".").filter((part) => !/^\d+$/.test(part)));
  const distinct = [...new Set(all.map((parts) => parts.join(".")))];
  return all.map((parts) => {
    const endings = parts.map((_, i) => parts.slice(-1 - i).join("."));
    const isUnique = (ending: string) =>
      distinct.filter((name) => name === ending || name.endsWith(`.${ending}`)).length === 1;
    return endings.find(isUnique) ?? parts.join(".");
  });
}

/** A line for each kind of layer and one for all of them, of each pair. */
export function layerTable(compared: readonly ComparedLayers[]): CompareTable {
  const rows = compared.flatMap(({ name, layers }) => {
    const kinds = groupBy(layers, ({ kind }) => kind);
    const groups = [...kinds, ["all", layers] as const];
    return groups.map(([kind, own]) => [...(compared.length > 1 ? [name] : []), kind, ...cellsOf(own)]);
  });
  const texts = compared.length > 1 ? ["model", "layers"] : ["layers"];
  const headings = ["number", "error", "of the\nreference", "relative", "mean of\nratios", "least", "largest"];
  return { texts: texts.length, headings: [...texts, ...headings], rows };
}

function cellsOf(layers: readonly ComparedLayer[]): string[] {
  const [error, reference] = [mean(layers.map((each) => each.error)), mean(layers.map((each) => each.reference))];
  const ratios = layers.map(ratioOf);
  const numbers = [error / reference, mean(ratios), Math.min(...ratios), Math.max(...ratios)];
  return [String(layers.length), percent(error), percent(reference), ...numbers.map(threeDigits)];
}

const ratioOf = ({ error, reference }: ComparedLayer): number => error / reference;

/** A point for each layer, by kind. */
export function layerChart(compared: readonly ComparedLayers[]): Chart {
  const references = [...new Set(compared.map(({ reference }) => reference))];
  const isNamed = new Set(compared.map(({ name }) => name)).size === compared.length;
  const points = compared.flatMap(({ name, reference, layers }) => {
    const series = isNamed ? name : `${name} / ${reference}`;
    return layers.map((each): LayerRatio => ({ kind: each.kind, ratio: ratioOf(each), series }));
  });
  const of = references.length > 1 ? "" : ` to ${references[0]}`;
  return layerErrorChart(`Output errors by layer, relative${of}`, points);
}
