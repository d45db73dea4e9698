// Defines the row of a comparison: one measured model with its method, metrics, cost, size and speed. Experiments make a
// row for each measured model (pipeline/measure.ts) and save the rows in comparison.json of the run folder; results.json
// has them too (report/results.ts). Reports, model cards, sweeps and the command line show them. The descriptions of the
// fields are published in the JSON schema of results.json.

import { z } from "zod";

const number = (description: string) => z.number().describe(description);
const option = z.union([z.string(), z.number(), z.boolean()]);

/** The two counts of multiply-adds of a model. */
const twoCounts = () =>
  z.object({
    reference: number("as the reference implementation counts"),
    actual: number("all multiply-adds of one pass"),
  });

const methodSchema = z
  .object({
    init: z.string().optional().describe("initialization, e.g. svd"),
    allocation: z.string().optional().describe("allocation of the budget over the layers, e.g. uniform"),
  })
  .catchall(option)
  .describe("how the layers were converted; further options of the conversion stand under their own names");

const budgetSchema = z
  .object({
    budget: number("share of the multiply-adds of the converted layers").optional(),
    flops: number("relative FLOPs (reference) of the whole model").optional(),
    widths: z.string().optional().describe("rule for initial widths"),
  })
  .describe("the cost that was asked for: one of the three");

const calibrationSchema = z
  .object({
    dataset: z.string().optional().describe("data set, if it is not that of the run"),
    samples: number("windows or images"),
    sha256: z.string().describe("SHA-256 of the model's inputs, in order: token ids or pixels, little-endian"),
  })
  .describe("the data on which the conversion was calibrated");

export const comparisonRowSchema = z.object({
  name: z.string().describe("title in tables, e.g. `GBLR, activation-aware`"),
  variant: z
    .string()
    .optional()
    .describe("key of the variant in its run, which is also the name of its folder in `compare/`"),
  structure: z.string().describe("name of the structure; `dense` if no layer is converted"),
  stage: z.enum(["before", "after"]).describe("before or after fine-tuning"),
  metrics: z
    .record(z.string(), z.number())
    .describe("metrics by name, e.g. `perplexity`, the main metric first; accuracies are shares, 0 to 1"),
  method: methodSchema.optional(),
  budget: budgetSchema.optional(),
  seeds: z
    .record(z.string(), z.number())
    .optional()
    .describe("random seeds by name: `seed` of the run, and others on which the row depends"),
  calibration: calibrationSchema.optional(),
  relativeFlops: twoCounts().optional().describe("multiply-adds of the whole model relative to dense"),
  multiplyAdds: twoCounts().optional().describe("multiply-adds of one pass of the whole model"),
  parameters: number("number of parameters of the whole model").optional(),
  linear: z
    .object({
      parameters: number("parameters of these layers, without biases; of GBLR layers those of live blocks"),
      dense: number("parameters of the same layers when dense"),
    })
    .optional()
    .describe("all linear layers and convolutions that can be converted, whether they are or not"),
  layerErrors: z
    .object({
      weights: number("‖W − Ŵ‖ / ‖W‖"),
      outputs: number("‖(W − Ŵ) Σ^½‖ / ‖W Σ^½‖, with Σ of the calibration").optional(),
    })
    .optional()
    .describe("relative errors of the conversion, means over the converted layers"),
  fileBytes: number("bytes of the files with the weights").optional(),
  seconds: number("wall-clock seconds of conversion and fine-tuning").optional(),
  stageSeconds: z
    .record(z.string(), z.number())
    .optional()
    .describe("wall-clock seconds of each stage, e.g. `convert`, `train`, `measure`"),
  speed: z
    .object({
      tokensPerSecond: number("tokens").optional(),
      imagesPerSecond: number("images").optional(),
    })
    .optional()
    .describe("throughput of the evaluation, reading and preparing the data included"),
  peakMemory: number("largest resident memory of the process until the row was measured, bytes").optional(),
  measured: z
    .record(z.string(), option)
    .optional()
    .describe("on what the metrics were measured: tokens, windows and context, or images and their preparation"),
  note: z.string().optional(),
});

/** One row of the comparison of an experiment's models. */
export type ComparisonRow = z.output<typeof comparisonRowSchema>;
