// Defines the row of a comparison: one measured model with its metrics, cost and size. Experiments make a row for each
// measured model (pipeline/measure.ts) and save the rows in comparison.json of the run folder. Reports, model cards,
// sweeps and the command line show them.

import { z } from "zod";

export const comparisonRowSchema = z.object({
  /** title in tables, e.g. `GBLR, activation-aware` */
  name: z.string(),
  /** name of the structure in the registry; `dense` if no layer is converted */
  structure: z.string(),
  /** before or after fine-tuning */
  stage: z.enum(["before", "after"]),
  /** metrics by name, e.g. `perplexity`, the main metric first; accuracies are shares, 0 to 1 */
  metrics: z.record(z.string(), z.number()),
  /** multiply-adds of the whole model relative to dense: as the reference counts them, and all of them */
  relativeFlops: z.object({ reference: z.number(), actual: z.number() }).optional(),
  /** number of parameters of the whole model */
  parameters: z.number().optional(),
  /** bytes of the files with the weights */
  fileBytes: z.number().optional(),
  /** wall-clock seconds of conversion and fine-tuning */
  seconds: z.number().optional(),
  note: z.string().optional(),
});

/** One row of the comparison of an experiment's models. */
export type ComparisonRow = z.output<typeof comparisonRowSchema>;
