// Reports: what a run leaves behind for people. The one door for recipes and verbs; drawings and tables that others
// make themselves are in the files of this folder.

export { type Chart, chartSvg } from "./chart.ts";
export { chartToFiles } from "./chart-files.ts";
export { structureCharts, trainingCharts } from "./page/charts.ts";
export { RunError } from "./run-error.ts";
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
export { describeModel, structurePicture } from "./structure-picture.ts";
export { writeReport } from "./write-report.ts";
