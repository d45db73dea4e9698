// The metrics by which results are compared: those that were measured, and the mean errors of the layers of conversions.
// Also the quantities for the x axis.

import { metricsOf } from "../../../hub/card/comparison.ts";
import type { ResultRecord } from "../results.ts";

/** Errors of a conversion by the names under which they are compared. */
const ERRORS = {
  outputError: ({ layerErrors }: ResultRecord) => layerErrors?.outputs,
  weightError: ({ layerErrors }: ResultRecord) => layerErrors?.weights,
} as const;

/** The first metric, in the order of importance; undefined if there is none. */
export function mainMetric(all: readonly ResultRecord["metrics"][]): string | undefined {
  return metricsOf(all.map((metrics) => ({ metrics })))[0];
}

/** The metrics of a record, with the errors of its conversion. */
export function valuesOf(record: ResultRecord): Record<string, number> {
  const errors = Object.entries(ERRORS).flatMap(([name, of]) => {
    const value = of(record);
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...record.metrics, ...Object.fromEntries(errors) };
}

/** A quantity for the x axis. */
export interface Abscissa {
  title: string;
  /** whether it is a share, shown in percent */
  isShare: boolean;
  of(record: ResultRecord): number | undefined;
}

/** The quantities for the x axis by name; the first one is the default. */
export const ABSCISSAS = {
  linear: {
    title: "parameters of the linear layers, relative to dense",
    isShare: true,
    of: ({ linear }) => linear && linear.parameters / linear.dense,
  },
  parameters: {
    title: "parameters of the model, relative to dense",
    isShare: true,
    of: ({ parameters, linear }) =>
      parameters === undefined || !linear ? undefined : parameters / (parameters - linear.parameters + linear.dense),
  },
  flops: { title: "relative FLOPs (actual)", isShare: true, of: ({ relativeFlops }) => relativeFlops?.actual },
  reference: {
    title: "relative FLOPs (reference)",
    isShare: true,
    of: ({ relativeFlops }) => relativeFlops?.reference,
  },
  file: { title: "file, MB", isShare: false, of: ({ fileBytes }) => fileBytes && fileBytes / 1e6 },
  seconds: { title: "conversion and fine-tuning, seconds", isShare: false, of: ({ seconds }) => seconds },
} as const satisfies Record<string, Abscissa>;

/** Name of a quantity for the x axis. */
export type AbscissaName = keyof typeof ABSCISSAS;
