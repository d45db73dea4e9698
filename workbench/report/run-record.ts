// The files of a run folder as types and schemas: run.json (settings and environment), comparison.json (the table of
// models), conversion.json (cost and error of each layer) and classification.json. The lines of metrics.jsonl are
// defined in ../train/metrics.ts; run-files.ts reads and writes the files.

import { z } from "zod";
import { FileError } from "../../hub/files/file-error.ts";
import { formatVersion, recordOf } from "../../hub/text/json.ts";
import { type ComparisonRow, comparisonRowSchema } from "../evaluate/comparison-row.ts";

export type { ComparisonRow };

const repository = z.object({
  name: z.string().describe("`owner/name`, or a folder"),
  revision: z.string().optional().describe("commit of the repository"),
  config: z.string().optional().describe("configuration of a data set"),
  base: z.string().optional().describe("of a derived model: the model from which it was made"),
  baseRevision: z.string().optional().describe("commit of the repository of the base, if it is known"),
});

const machine = z
  .object({
    processor: z.string().describe("name of the processor, as the system gives it"),
    cores: z.number().describe("processor cores that the process may use"),
    memory: z.number().describe("memory, bytes"),
    system: z.string().describe("operating system and its version"),
  })
  .describe("the machine of the run");

const RUN_STATUS = ["running", "finished", "interrupted", "failed"] as const;

// The descriptions are published in the JSON schema of results.json.
export const runRecordSchema = z.object({
  format: formatVersion(1),
  name: z.string().describe("name of the run in the report"),
  recipe: z.string().describe("name of the recipe or verb, e.g. `gpt2-wt103`"),
  command: z.string().describe("the command line as typed"),
  status: z.enum(RUN_STATUS).describe("state of the run; after a process was killed it stays `running`"),
  error: z.string().optional().describe("error message of a failed run, one line"),
  started: z.iso.datetime().describe("time of the start, ISO 8601"),
  updated: z.iso.datetime().describe("time of the last change, ISO 8601"),
  task: z.enum(["text-generation", "image-classification"]),
  settings: z
    .record(z.string(), z.json())
    .describe("every setting of the run, defaults included; infinite numbers are written as text"),
  versions: z
    .record(z.string(), z.string())
    .describe("versions by name: gblr, the runtime, tfjs, the engine's library"),
  engine: z.string().describe("name of the engine, e.g. `torch`"),
  device: z.string().optional().describe("device of the engine, e.g. `cpu`"),
  precision: z.string().describe("precision of matrix products"),
  machine: machine.optional(),
  seed: z.number().describe("random seed of the run"),
  model: repository.optional().describe("the model to start from"),
  dataset: repository.optional().describe("the data set"),
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

const tile = z.object({
  /** [first, end) */
  rows: z.tuple([z.number(), z.number()]),
  /** [first, end) */
  columns: z.tuple([z.number(), z.number()]),
  rank: z.number(),
  /** multiply-adds per row of input */
  cost: z.number(),
  /** by how much the square of the output error would be larger without this tile */
  worth: z.number(),
});

/** A part of a matrix for which a block search by outputs has found blocks. */
export type Tile = z.infer<typeof tile>;

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
    /** ‖(W − Ŵ) Σ^½‖ / ‖W Σ^½‖, if the layer was calibrated */
    outputError: z.number().optional(),
    tiles: z.array(tile).optional(),
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
