// The lines of metrics.jsonl, one JSON object each, appended as training goes on: what the progress bar, the report and
// the proof of equal resumption read. No line depends on the clock but for its `seconds` and rates. A resumed run cuts
// the file back to its checkpoint, so no step is there twice; while a run goes on, the last line may be half there.

interface At {
  /** optimizer steps done: from 1, and 0 for what was found before the first */
  step: number;
  /** epochs done, with the share of the present one */
  epoch: number;
  /** of training so far, interruptions not counted */
  seconds: number;
}

export interface StepMetrics extends At {
  kind: "step";
  /** mean over the global batch */
  loss: number;
  /** of the weights' group */
  learningRate: number;
  /** Euclidean, over all parameters, before clipping */
  gradientNorm: number;
  /** tokens or images a second */
  rate: number;
  /** of the masks in this step; absent where they have no Gaussian */
  sigma?: number;
  /** mean over GBLR layers of the mean of their widths, those of dead blocks counting as 0; absent without such layers */
  meanWidth?: number;
  /** multiply-adds of the GBLR layers' whole samples, whatever σ, as a share of dense matrices' in their place */
  relativeCost?: number;
}

/** `perplexity`, `nll`, `accuracy`, … of a split. */
export interface EvaluationMetrics extends At {
  kind: "evaluation";
  split: string;
  values: Record<string, number>;
}

/** The structure of every GBLR layer at the evaluations' times; masks and cost as σ makes them. */
export interface StructureMetrics extends At {
  kind: "structure";
  layers: Record<string, { live: number; cost: number; meanWidthIn: number; meanWidthOut: number }>;
  /** of the whole model as the reference counts, and as it is */
  relativeFlops: { reference: number; actual: number };
}

export type Metrics = StepMetrics | EvaluationMetrics | StructureMetrics;
