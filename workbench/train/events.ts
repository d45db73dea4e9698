// The events that a run yields, and the errors that end it.

import type { EvaluationMetrics, StepMetrics, StructureMetrics } from "./metrics.ts";

/** Training begins, or is resumed at a step. */
export interface Started {
  /** `resumed`: from a checkpoint of the same settings */
  kind: "started" | "resumed";
  /** optimizer steps done already */
  step: number;
  /** optimizer steps of the whole run */
  steps: number;
  stepsPerEpoch: number;
  /** what rates are counted in */
  unit: string;
  /** newer checkpoints that were not whole, one line each */
  passedOver: string[];
}

/** One optimizer step, with its metrics. */
export interface StepDone extends StepMetrics {
  steps: number;
  /** until the last step, at the pace of this process so far, evaluations included */
  secondsLeft: number;
}

/** A checkpoint is on disk, whole. */
export interface CheckpointWritten {
  kind: "checkpoint";
  step: number;
  /** the file that names it */
  file: string;
}

/** Ended by its signal or by the last step; a checkpoint of this step is on the disk. */
export interface Ended {
  kind: "interrupted" | "finished";
  step: number;
  steps: number;
  /** of training, over all processes */
  seconds: number;
}

/** What training reports: start, steps, evaluations, structure, checkpoints, end. */
export type FitEvent = Started | StepDone | EvaluationMetrics | StructureMetrics | CheckpointWritten | Ended;

/** A loss, gradient or metric that is not a finite number; the parameters are those before the step. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  readonly step: number;

  constructor(problem: string, step: number) {
    super(problem);
    this.step = step;
  }
}

/** A run that cannot start, go on or be resumed as asked. */
export class RunError extends Error {
  override readonly name = "RunError";
}
