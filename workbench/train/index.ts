// Training: the public surface of this folder.

export type { DistillationOptions, TeachingOptions } from "./distillation.ts";
export type { CheckpointWritten, Ended, FitEvent, Started, StepDone } from "./events.ts";
export { fit } from "./fit.ts";
export { type ImageTaskOptions, imageTask } from "./image-task.ts";
export { type LanguageTaskOptions, languageTask, type StreamedWindows } from "./language-task.ts";
export { expectLora, type LoraOptions } from "./lora.ts";
export type { EvaluationMetrics, Metrics, SampleMetrics, StepMetrics, StructureMetrics } from "./metrics.ts";
export type {
  CheckpointOptions,
  Evaluation,
  EvaluationOptions,
  FitOptions,
  LossOptions,
  OptimizerOptions,
  ReadOptions,
  Sample,
  Settings,
  SettingValue,
  Task,
} from "./options.ts";
export type { LearningRateSchedule, RateTime, Span } from "./schedule.ts";
export { storedAdapters } from "./stored-adapters.ts";
export { blocksOf, summaryOf } from "./structure.ts";
