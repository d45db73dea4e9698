// What a model card can say, as data. A fact that is missing is left out of the card: nothing here has a stand-in.
// Where the numbers come from is the caller's business.

/** A row of a card's comparison: what a card shows of workbench/evaluate's ComparisonRow, which hub/ does not depend on. */
export interface CardRow {
  /** what the reader sees, e.g. `GBLR, activation-aware` */
  name: string;
  /** as the structures are named; `dense`: the model as it was */
  structure: string;
  /** fine-tuning */
  stage: "before" | "after";
  /** by name, e.g. `perplexity`; accuracies are shares of 1 */
  metrics: Readonly<Record<string, number>>;
  /** multiply-adds as a share of the dense model's: as the reference counts, and as they are */
  relativeFlops?: { reference: number; actual: number };
  /** stored numbers of the whole model */
  parameters?: number;
  /** of the weights */
  fileBytes?: number;
  /** that making it took, conversion and fine-tuning */
  seconds?: number;
  note?: string;
}

/** A measurement for the Hub's `model-index`. */
export interface MeasuredMetric {
  /** as the Hub names metrics, e.g. `perplexity`, `accuracy` */
  type: string;
  name?: string;
  value: number;
  /** of the data set that it was measured on, e.g. `test` */
  split: string;
}

/** A data set on the Hub. */
export interface DatasetFacts {
  /** `owner/name` */
  id: string;
  /** for people; default the id */
  name?: string;
  config?: string;
  revision?: string;
}

/** What the base model's card says about itself and holds for what is made of it. */
export interface BaseMetadata {
  license?: string | readonly string[];
  /** for licenses that the Hub has no name of */
  licenseName?: string;
  licenseLink?: string;
  language?: readonly string[];
  tags?: readonly string[];
  datasets?: readonly string[];
  pipelineTag?: string;
}

export interface CardFacts {
  /** the heading */
  title: string;
  /** `owner/name` under which the model can be pulled; without it the card says how to load a folder */
  repository?: string;
  /** `text-generation` or `image-classification`, as the Hub names tasks */
  task: string;
  structure: string;
  /** `owner/name`; a folder, or `scratch:` and what it is, are named in the text only */
  baseModel?: string;
  /** `baseModel` is the name of a folder, to which nothing can link. Default false */
  isFolder?: boolean;
  baseRevision?: string;
  base?: BaseMetadata;
  /** trained on, if fine-tuned, and measured on */
  dataset?: DatasetFacts;
  metrics?: readonly MeasuredMetric[];
  comparison?: readonly CardRow[];
  /** multiply-adds of the model as a share of the dense one's */
  relativeFlops?: { reference: number; actual: number };
  /** tokens of a window */
  context?: number;
  /** measured on so many windows or images of the split only, the first ones unless the run drew them */
  limit?: number;
  /** is there a structure.png beside the card? */
  hasPicture?: boolean;
  /** are modeling_gblr.py and its neighbors beside the card? */
  hasPython?: boolean;
  /** is there a preprocessor_config.json beside the card? */
  hasProcessor?: boolean;
  /** is there a trainable.safetensors beside the card? */
  hasTrainable?: boolean;
  /** the command line that made the model, as typed */
  command?: string;
  /** by name, e.g. `gblr`, `libtorch` */
  versions?: Readonly<Record<string, string>>;
  engine?: string;
  device?: string;
  precision?: string;
  seed?: number;
  /** of the recipe, by name */
  settings?: Readonly<Record<string, unknown>>;
}
