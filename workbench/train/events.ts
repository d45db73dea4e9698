// The events that a training run yields, and the errors that end it.

import type { EvaluationMetrics, SampleMetrics, StepMetrics, StructureMetrics } from "./metrics.ts";

/** Training starts, or resumes at a step. */
export interface Started {
  /** `resumed` from a checkpoint with the same settings */
  kind: "started" | "resumed";
  /** completed optimizer steps */
  step: number;
  /** optimizer steps of the whole run */
  steps: number;
  stepsPerEpoch: number;
  /** unit of rates, such as tokens */
  unit: string;
  /** number of values in adapters and in the parameters trained in full beside them; undefined without adapters */
  adapted?: number | undefined;
  /** newer checkpoints that were incomplete, one line each */
  passedOver: string[];
}

/** One optimizer step, with its metrics. */
export interface StepDone extends StepMetrics {
  steps: number;
  /** estimated seconds until the last step, at the speed of this process so far, including evaluations */
  secondsLeft: number;
}

/** A checkpoint has been written completely. */
export interface CheckpointWritten {
  kind: "checkpoint";
  step: number;
  /** path of its state */
  file: string;
}

/** The run ended, by its signal or after the last step. A checkpoint of this step has been written. */
export interface Ended {
  kind: "interrupted" | "finished";
  step: number;
  steps: number;
  /** training time over all processes */
  seconds: number;
}

/** An event of training: start, step, evaluation, sample, structure, checkpoint or end. */
export type FitEvent =
  | Started
  | StepDone
  | EvaluationMetrics
  | SampleMetrics
  | StructureMetrics
  | CheckpointWritten
  | Ended;

/** A loss, gradient or metric is not finite. The parameters are those before the step. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  readonly step: number;

  constructor(problem: string, step: number) {
    super(problem);
    this.step = step;
  }
}

/** A run cannot be started, continued or resumed as requested. */
export class RunError extends Error {
  override readonly name = "RunError";
}
