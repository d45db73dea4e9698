// What a run leaves on the disk about itself, as types and as schemas that check what is read back: who ran what with
// which settings, the table that models are compared in, what conversion did to each layer, how well classes are told
// apart. The lines of metrics.jsonl are in ../train/metrics.ts; reading and writing the files is in run-files.ts.

import { z } from "zod";
import { FileError } from "../../hub/files/file-error.ts";
import { formatVersion, recordOf } from "../../hub/text/json.ts";
import { type ComparisonRow, comparisonRowSchema } from "../evaluate/comparison-row.ts";

export type { ComparisonRow };

const repository = z.object({
  /** `owner/name`, or a folder */
  name: z.string(),
  revision: z.string().optional(),
  /** of a data set */
  config: z.string().optional(),
});

export const RUN_STATUS = ["running", "finished", "interrupted", "failed"] as const;

export const runRecordSchema = z.object({
  format: formatVersion(1),
  /** of the run, for people */
  name: z.string(),
  /** the recipe's, e.g. `gpt2-wt103` */
  recipe: z.string(),
  /** the command line as typed */
  command: z.string(),
  status: z.enum(RUN_STATUS),
  /** one line, of a failed run */
  error: z.string().optional(),
  /** ISO 8601 */
  started: z.iso.datetime(),
  updated: z.iso.datetime(),
  /** what is trained and measured */
  task: z.enum(["text-generation", "image-classification"]),
  /** every setting of the recipe, defaults too; numbers that are not finite are written as text */
  settings: z.record(z.string(), z.json()),
  /** by name: gblr, runtime, tfjs, libtorch */
  versions: z.record(z.string(), z.string()),
  engine: z.string(),
  device: z.string().optional(),
  precision: z.string(),
  seed: z.number(),
  model: repository.optional(),
  dataset: repository.optional(),
  /** multiply-adds a row of the converted layers, as a share of dense, that training aims at */
  targetCost: z.number().optional(),
  /** that the comparison is measured on, e.g. `test` */
  comparisonSplit: z.string().optional(),
  /** optimizer steps that are planned */
  steps: z.number().optional(),
});

/** run.json */
export type RunRecord = z.infer<typeof runRecordSchema>;
export type RunStatus = RunRecord["status"];

export const comparisonSchema = z.array(comparisonRowSchema);

export const conversionSchema = z.array(
  z.object({
    layer: z.string(),
    structure: z.string(),
    nIn: z.number(),
    nOut: z.number(),
    /** multiply-adds a row */
    costBefore: z.number(),
    costAfter: z.number(),
    /** ‖W − Ŵ‖ / ‖W‖ */
    relativeError: z.number().optional(),
  }),
);

/** A line of conversion.json. */
export type ConvertedLayer = z.infer<typeof conversionSchema>[number];

const classification = z.object({
  /** names of the classes, in the order of their ids */
  classes: z.array(z.string()),
  /** by split, e.g. `train`, `validation`: `loss`, `accuracy`, … */
  splits: recordOf(recordOf(z.number())),
  /** images of each class (row) that were taken for each class (column) */
  confusion: z.array(z.array(z.number())).optional(),
});

export const classificationSchema = classification.refine(
  ({ classes, confusion }) =>
    confusion === undefined || [confusion, ...confusion].every(({ length }) => length === classes.length),
  { message: "must have a row and a column for each class", path: ["confusion"] },
);

/** classification.json */
export type Classification = z.infer<typeof classification>;

// The one error of run folders: which file, what is wrong with it.

/** A folder that holds no run, a record that cannot be written, numbers that are none. */
export class RunError extends FileError {
  override readonly name = "RunError";
}
