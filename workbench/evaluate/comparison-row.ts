// The central record of the workbench: one measured model, with what it costs. Experiments make a row each time that they
// measure a model (pipeline/measure.ts); run folders keep the rows in comparison.json; reports, cards, sweeps and the
// command line show them.

import { z } from "zod";

export const comparisonRowSchema = z.object({
  /** for people, e.g. `GBLR, activation-aware` */
  name: z.string(),
  /** by the registry's name; `dense`: the model as it was */
  structure: z.string(),
  /** before or after fine-tuning */
  stage: z.enum(["before", "after"]),
  /** by name, e.g. `perplexity`, the one that counts first; accuracies are shares of 1 */
  metrics: z.record(z.string(), z.number()),
  /** multiply-adds of the whole model as a share of the dense one's: as the reference counts them, and all of them */
  relativeFlops: z.object({ reference: z.number(), actual: z.number() }).optional(),
  /** stored numbers of the whole model */
  parameters: z.number().optional(),
  /** bytes of the files with the weights */
  fileBytes: z.number().optional(),
  /** wall clock of conversion and fine-tuning */
  seconds: z.number().optional(),
  note: z.string().optional(),
});

/** One row of the comparison of an experiment's models. */
export type ComparisonRow = z.output<typeof comparisonRowSchema>;
