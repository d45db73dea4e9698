// Training: the one door of this folder. What is not listed here is its own business.

export { type DistillationOperands, type DistillationOptions, distillationLoss } from "./distillation.ts";
export { NonFiniteError, RunError } from "./errors.ts";
export type { CheckpointWritten, Ended, FitEvent, Started, StepDone } from "./events.ts";
export { fit } from "./fit.ts";
export { type ImageTaskOptions, imageTask } from "./image-task.ts";
export { type LanguageTaskOptions, languageTask } from "./language-task.ts";
export { type LearningRateSchedule, learningRateAt, type RateTime, type Span, stepsOf } from "./learning-rate.ts";
export type { EvaluationMetrics, Metrics, StepMetrics, StructureMetrics } from "./metrics.ts";
export type { CheckpointOptions, Evaluation, EvaluationOptions, FitOptions, OptimizerOptions } from "./options.ts";
export { gblrLayers, structureSummary } from "./structure.ts";
export type { LossOptions, ReadOptions, Settings, SettingValue, Task } from "./task.ts";
export { type TaughtOperands, type TeachingOptions, taughtLoss } from "./teaching.ts";
