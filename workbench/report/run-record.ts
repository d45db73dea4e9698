// The files of a run folder as types and schemas: run.json (settings and environment), comparison.json (the table of
// models), conversion.json (cost and error of each layer) and classification.json. The lines of metrics.jsonl are
// defined in ../train/metrics.ts; run-files.ts reads and writes the files.

import { z } from "zod";
import { FileError } from "../../hub/files/file-error.ts";
import { formatVersion, recordOf } from "../../hub/text/json.ts";
import { type ComparisonRow, comparisonRowSchema } from "../evaluate/comparison-row.ts";

export type { ComparisonRow };

const repository = z.object({
  /** `owner/name`, or a folder */
  name: z.string(),
  revision: z.string().optional(),
  /** configuration of a data set */
  config: z.string().optional(),
});

const RUN_STATUS = ["running", "finished", "interrupted", "failed"] as const;

export const runRecordSchema = z.object({
  format: formatVersion(1),
  /** name of the run in the report */
  name: z.string(),
  /** name of the recipe, e.g. `gpt2-wt103` */
  recipe: z.string(),
  /** the command line as typed */
  command: z.string(),
  status: z.enum(RUN_STATUS),
  /** error message of a failed run, one line */
  error: z.string().optional(),
  /** time of the start and of the last change, ISO 8601 */
  started: z.iso.datetime(),
  updated: z.iso.datetime(),
  task: z.enum(["text-generation", "image-classification"]),
  /** every setting of the recipe, defaults included; infinite numbers are written as text */
  settings: z.record(z.string(), z.json()),
  /** versions by name: gblr, runtime, tfjs, libtorch */
  versions: z.record(z.string(), z.string()),
  engine: z.string(),
  device: z.string().optional(),
  precision: z.string(),
  seed: z.number(),
  model: repository.optional(),
  dataset: repository.optional(),
  /** target of training: multiply-adds of the converted layers, as a share of dense */
  targetCost: z.number().optional(),
  /** split on which the comparison is measured, e.g. `test` */
  comparisonSplit: z.string().optional(),
  /** planned optimizer steps */
  steps: z.number().optional(),
});

/** run.json */
export type RunRecord = z.infer<typeof runRecordSchema>;

export const comparisonSchema = z.array(comparisonRowSchema);

export const conversionSchema = z.array(
  z.object({
    layer: z.string(),
    structure: z.string(),
    nIn: z.number(),
    nOut: z.number(),
    /** multiply-adds per row of input */
    costBefore: z.number(),
    costAfter: z.number(),
    /** ‖W − Ŵ‖ / ‖W‖ */
    relativeError: z.number().optional(),
  }),
);

/** A layer in conversion.json. */
export type ConvertedLayer = z.infer<typeof conversionSchema>[number];

const classification = z.object({
  /** names of the classes, by label */
  classes: z.array(z.string()),
  /** metrics (`loss`, `accuracy`, …) by split (`train`, `validation`, …) */
  splits: recordOf(recordOf(z.number())),
  /** confusion matrix: number of images by true class (row) and predicted class (column) */
  confusion: z.array(z.array(z.number())).optional(),
});

export const classificationSchema = classification.refine(
  ({ classes, confusion }) =>
    confusion === undefined || [confusion, ...confusion].every(({ length }) => length === classes.length),
  { message: "must have a row and a column for each class", path: ["confusion"] },
);

/** classification.json */
export type Classification = z.infer<typeof classification>;

/** An error about a run folder: it contains no run, or one of its files cannot be written. */
export class RunError extends FileError {
  override readonly name = "RunError";
}
