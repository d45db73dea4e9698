// Reports: what a run leaves behind for people. The one door for recipes and verbs; drawings and tables that others
// make themselves are in the files of this folder.

export { type Chart, chartSvg, chartToFiles } from "./charts/chart.ts";
export { structureCharts, trainingCharts } from "./charts/run-charts.ts";
export { writeReport } from "./page/write-report.ts";
export { describeModel, structurePicture } from "./pictures/structure-picture.ts";
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
