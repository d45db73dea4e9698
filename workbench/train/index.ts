// Training.

export {
  type DistillationOperands,
  type DistillationOptions,
  distillationLoss,
  type TaughtOperands,
  type TeachingOptions,
  taughtLoss,
} from "./distillation.ts";
export {
  type CheckpointWritten,
  type Ended,
  type FitEvent,
  NonFiniteError,
  RunError,
  type Started,
  type StepDone,
} from "./events.ts";
export { fit } from "./fit.ts";
export { type ImageTaskOptions, imageTask } from "./image-task.ts";
export { type LanguageTaskOptions, languageTask } from "./language-task.ts";
export type { EvaluationMetrics, Metrics, StepMetrics, StructureMetrics } from "./metrics.ts";
export type {
  CheckpointOptions,
  Evaluation,
  EvaluationOptions,
  FitOptions,
  LossOptions,
  OptimizerOptions,
  ReadOptions,
  Settings,
  SettingValue,
  Task,
} from "./options.ts";
export { type LearningRateSchedule, learningRateAt, type RateTime, type Span, stepsOf } from "./schedule.ts";
export { blocksOf, summaryOf } from "./structure.ts";
