// The facts of a model card. A fact that is missing is left out of the card; there are no placeholders.

import type { SizesFacts } from "./sizes.ts";
import type { StorageFacts } from "./storage.ts";

/** One row of the results table: what a card shows of workbench/evaluate's ComparisonRow, on which hub/ does not depend. */
export interface CardRow {
  /** text for the reader, e.g. `GBLR, activation-aware` */
  name: string;
  /** name of the structure; `dense` for the original model */
  structure: string;
  /** before or after fine-tuning */
  stage: "before" | "after";
  /** by name, e.g. `perplexity`; accuracies are fractions in [0, 1] */
  metrics: Readonly<Record<string, number>>;
  /** multiply-adds divided by those of the dense model: by the reference count, and of all operations */
  relativeFlops?: { reference: number; actual: number };
  /** number of stored values of the whole model */
  parameters?: number;
  /** size of the weights in bytes */
  fileBytes?: number;
  /** time for conversion and fine-tuning, in seconds */
  seconds?: number;
  note?: string;
}

/** A measurement in the Hub's `model-index`. */
export interface MeasuredMetric {
  /** the Hub's name of the metric, e.g. `perplexity`, `accuracy` */
  type: string;
  name?: string;
  value: number;
  /** split of the data set on which the metric was measured, e.g. `test` */
  split: string;
}

/** A data set on the Hub. */
export interface DatasetFacts {
  /** `owner/name` */
  id: string;
  /** name for people. Default: the id */
  name?: string;
  config?: string;
  revision?: string;
}

/** Metadata of the base model's card that also applies to models derived from it. */
export interface BaseMetadata {
  license?: string | readonly string[];
  /** for licenses that are not in the Hub's list */
  licenseName?: string;
  licenseLink?: string;
  language?: readonly string[];
  tags?: readonly string[];
  datasets?: readonly string[];
  pipelineTag?: string;
}

/** Everything a card can state. */
export interface CardFacts {
  /** heading of the card */
  title: string;
  /** `owner/name` to pull the model from. Without it, the card explains how to load a folder */
  repository?: string;
  /** the Hub's name of the task: `text-generation` or `image-classification` */
  task: string;
  structure: string;
  /** `owner/name`. A folder, or `scratch:` with an architecture, is only named in the text */
  baseModel?: string;
  /** whether `baseModel` is the name of a local folder, which the card cannot link to. Default false */
  isFolder?: boolean;
  baseRevision?: string;
  base?: BaseMetadata;
  /** the data set of fine-tuning, if any, and of the measurements */
  dataset?: DatasetFacts;
  metrics?: readonly MeasuredMetric[];
  comparison?: readonly CardRow[];
  /** of a model that can be cut to several sizes */
  sizes?: SizesFacts | undefined;
  /** of a model that was exported to another number type */
  storage?: StorageFacts | undefined;
  /** multiply-adds of the model divided by those of the dense model, by both counts */
  relativeFlops?: { reference: number; actual: number };
  /** number of tokens in a window */
  context?: number;
  /**
   * number of windows or images that were measured, if it is not the whole split. These are the first ones of the
   * split, unless the run drew a sample
   */
  limit?: number;
  /** whether structure.png is beside the card */
  hasPicture?: boolean;
  /** whether modeling_gblr.py and the files it needs are beside the card */
  hasPython?: boolean;
  /** whether config.json names classes for transformers to load. Default as `hasPython` */
  hasTransformers?: boolean;
  /** whether preprocessor_config.json is beside the card */
  hasProcessor?: boolean;
  /** whether trainable.safetensors is beside the card */
  hasTrainable?: boolean;
  /** the command line that made the model */
  command?: string;
  /** by name, e.g. `gblr`, `libtorch` */
  versions?: Readonly<Record<string, string>>;
  engine?: string;
  device?: string;
  precision?: string;
  seed?: number;
  /** settings of the recipe, by name */
  settings?: Readonly<Record<string, unknown>>;
}
