// The lines of metrics.jsonl, one JSON object each, appended as training goes on: what the progress bar, the report and
// the proof of equal resumption read. No line depends on the clock but for its `seconds` and rates.

interface At {
  /** optimizer steps done, from 1 */
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
  learningRate: number;
  /** before clipping */
  gradientNorm: number;
  /** tokens or images a second */
  rate: number;
  sigma?: number;
  /** mean width of live blocks, and multiply-adds as a share of the dense model's layers, where structure is learned */
  meanWidth?: number;
  relativeCost?: number;
}

/** `perplexity`, `nll`, `accuracy`, … of a split. */
export interface EvaluationMetrics extends At {
  kind: "evaluation";
  split: string;
  values: Record<string, number>;
}

/** The structure of every GBLR layer. */
export interface StructureMetrics extends At {
  kind: "structure";
  layers: Record<string, { live: number; cost: number; meanWidthIn: number; meanWidthOut: number }>;
  /** of the whole model as the reference counts, and as it is */
  relativeFlops: { reference: number; actual: number };
}

export type Metrics = StepMetrics | EvaluationMetrics | StructureMetrics;
