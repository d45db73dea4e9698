// Run folders and their reports: the public interface of this folder for the pipeline and the verbs.

export { type Chart, chartToFiles } from "./charts/chart.ts";
export { structureCharts, trainingCharts } from "./charts/run-charts.ts";
export { sizesPicture } from "./charts/sizes.ts";
export { describeModel, type LayerLayout, readLayouts } from "./describe-model.ts";
export { parseMetricsLine } from "./metrics-log.ts";
export { writeReport } from "./page/write-report.ts";
export { structurePicture } from "./pictures/layout-picture.ts";
export {
  makeRunFolder,
  RUN_FILES,
  type RunFacts,
  readRun,
  readRunRecord,
  startRun,
  updateRun,
  writeClassification,
  writeComparison,
  writeConversion,
} from "./run-files.ts";
export type {
  Classification,
  ComparisonRow,
  ConvertedLayer,
  RunRecord,
} from "./run-record.ts";
export { RunError } from "./run-record.ts";
export { type Board, openBoard } from "./tensorboard/board.ts";
