// The facts of a row of the comparison that come from settings and from the conversion: method, budget, seeds, errors of
// layers, calibration, and seconds of the stages. measure.ts adds what is measured.

import type { Conversion } from "../../compress/index.ts";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import { structureNamed } from "../../structures/registry.ts";
import type { HashedCalibration } from "../calibration/hash.ts";
import { type ExperimentSettings, experimentShape } from "../settings.ts";
import { askedCost } from "../train.ts";
import { isOfCompression, isSeed } from "../variant-settings.ts";
import type { Variant } from "../variants.ts";

/** Settings of the compression that are not options of the method, or that the row has by another name. */
const NOT_METHOD = ["structure", "compare", "widths", "flops", "budget", "allocate", "init", "layers"];
/** Options of the method that only some initializations use, or that all rows of a run share. */
const SHARED = ["locations", "convolutions", "searchSteps", "calibrationSamples", "calibrationSeed"];

/** Names of the settings that are options of the method, such as `reorder`. */
const OPTIONS = Object.keys(experimentShape("items")).filter(
  (name) => isOfCompression(name) && !isSeed(name) && ![...NOT_METHOD, ...SHARED].includes(name),
);

/** Method, budget and seeds of a variant. A variant that converts nothing has only seeds. */
export function methodFacts(
  { init, allocation, converts }: Pick<Variant, "init" | "allocation" | "converts">,
  settings: ExperimentSettings,
): Pick<ComparisonRow, "method" | "budget" | "seeds"> {
  const values = settings as Readonly<Record<string, unknown>>;
  const seeds = Object.entries(values).flatMap(([name, value]) =>
    isSeed(name) && typeof value === "number" ? [[name, value] as const] : [],
  );
  const own = { seeds: Object.fromEntries(seeds) };
  if (!converts) return own;
  const options = OPTIONS.flatMap((name) => {
    const value = values[name];
    return ["string", "number", "boolean"].includes(typeof value) ? [[name, value as string] as const] : [];
  });
  return { method: { init, allocation, ...Object.fromEntries(options) }, budget: askedCost(settings), ...own };
}

/** What a row keeps of the conversion of its model, also when the model is fine-tuned later. */
export type ConversionFacts = Pick<ComparisonRow, "layerErrors" | "calibration" | "stageSeconds">;

/** Errors of the converted layers, the data of the calibration, and the seconds of the conversion. */
export async function conversionFacts(
  { layers }: Pick<Conversion, "layers">,
  { seconds, calibration }: { seconds: number; calibration?: HashedCalibration | undefined },
): Promise<ConversionFacts> {
  const converted = layers.filter(({ structure }) => !structureNamed(structure).isDense);
  const weights = meanOf(converted.map(({ error }) => error));
  const outputs = meanOf(converted.flatMap(({ outputError }) => (outputError === undefined ? [] : [outputError])));
  const seen = await calibration?.facts();
  return {
    ...(weights !== undefined && { layerErrors: { weights, ...(outputs !== undefined && { outputs }) } }),
    ...(seen && { calibration: seen }),
    stageSeconds: { convert: seconds },
  };
}

function meanOf(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What the row of a converted model says about its conversion. */
export const conversionFactsOf = ({ layerErrors, calibration, stageSeconds }: ComparisonRow): ConversionFacts => ({
  ...(layerErrors && { layerErrors }),
  ...(calibration && { calibration }),
  ...(stageSeconds?.convert !== undefined && { stageSeconds: { convert: stageSeconds.convert } }),
});
