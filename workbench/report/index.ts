// Run folders and their reports: the public interface of this folder for the pipeline and the verbs.

export { type Chart, chartSvg, chartToFiles } from "./charts/chart.ts";
export { structureCharts, trainingCharts } from "./charts/run-charts.ts";
export { describeModel } from "./describe-model.ts";
export { writeReport } from "./page/write-report.ts";
export { structurePicture } from "./pictures/layout-picture.ts";
export {
  type Clock,
  makeRunFolder,
  RUN_FILES,
  type Run,
  type RunFacts,
  readRun,
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
  RunStatus,
} from "./run-record.ts";
export { RunError } from "./run-record.ts";
