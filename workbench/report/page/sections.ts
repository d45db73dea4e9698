// The sections of a report. A section without content is left out. While the run is running, it contains a sentence
// about its later content instead.

import { Buffer } from "node:buffer";
import { isDense } from "../../../hub/model-folder/index.ts";
import { type Chart, chartElement } from "../charts/chart.ts";
import { confusionChart, MOST_CLASSES } from "../charts/classification.ts";
import { structureCharts, trainingCharts } from "../charts/run-charts.ts";
import type { Described } from "../describe-model.ts";
import { samplesOf, structuresOf } from "../metrics-log.ts";
import { structurePicture } from "../pictures/layout-picture.ts";
import type { Run } from "../run-files.ts";
import { comparisonSentence, comparisonTable } from "./comparison.ts";
import { drawing, type Html, html, section, sentence } from "./html.ts";
import { layerRows, layerTable } from "./layers.ts";
import { environmentTable, gapTable, mistakesTable, samplesTable, settingsTable } from "./tables.ts";
import { worthRows, worthTable } from "./worth.ts";

/** The content of a report: a run, and its model or the reason why the model cannot be read. */
export interface Shown {
  run: Run;
  /** the model in the folder model/, or the converted one if it is not trained */
  model?: Described | undefined;
  /** title of its picture */
  modelTitle?: string;
  /** why the model could not be read, as a sentence */
  modelProblem?: string | undefined;
  /** structure.png, if the model itself could not be read */
  picture?: Uint8Array | undefined;
}

/** A section without content: a sentence if the run is running, else undefined. */
function pendingSection({ record }: Run, { id, heading, text }: { id: string; heading: string; text: string }) {
  return record?.status === "running" ? section(id, heading, sentence(text)) : undefined;
}

/** The table of models. */
export function comparisonSection({ run }: Shown): Html | undefined {
  const { record, comparison = [] } = run;
  const [id, heading] = ["comparison", "Comparison"];
  if (comparison.length === 0) {
    const text = "No model has been measured yet. The comparison appears here when comparison.json is written.";
    return pendingSection(run, { id, heading, text });
  }
  const summary = comparisonSentence(comparison);
  const lead = summary === undefined ? undefined : html`<p class="lead">${summary}</p>`;
  const split = record?.comparisonSplit;
  const on = split === undefined ? undefined : html`<p class="soft">Measured on the ${split} split.</p>`;
  return section(id, heading, html`${lead}${comparisonTable(comparison)}${on}`);
}

/** The curves of training. */
export async function trainingSection({ run }: Shown): Promise<Html | undefined> {
  const [id, heading] = ["training", "Training"];
  const charts = trainingCharts(run);
  if (charts.length > 0) return section(id, heading, await figures("training", charts));
  return pendingSection(run, { id, heading, text: "No step has been trained yet: metrics.jsonl has none." });
}

/** The texts that the model has written during training; undefined for runs without. */
export function samplesSection({ run }: Shown): Html | undefined {
  const samples = samplesOf(run.metrics);
  return samples.length > 0 ? section("samples", "Samples", samplesTable(samples)) : undefined;
}

/** Whether the run has no structured layer, so that sections about structure are left out. */
const isPlain = ({ run: { record, conversion }, model }: Shown): boolean =>
  isDense(String(record?.settings.structure)) &&
  !conversion &&
  (!model || layerRows({ inspection: model.inspection }).length === 0);

/** The widths of the blocks. */
export async function structureSection(shown: Shown): Promise<Html | undefined> {
  if (isPlain(shown)) return undefined;
  const [id, heading] = ["structure", "Widths by layer"];
  const charts = structureCharts(shown.run);
  if (charts.length > 0) return section(id, heading, await figures("structure", charts));
  return pendingSection(shown.run, {
    id,
    heading,
    text: "No widths yet: metrics.jsonl has no line of kind structure.",
  });
}

/** The block layout picture, or the reason why the model cannot be read. */
export function layoutSection(shown: Shown): Html | undefined {
  if (isPlain(shown)) return undefined;
  const { run, model, modelTitle = "Final model", modelProblem, picture } = shown;
  const [id, heading] = ["layout", "Block layout"];
  const svg = model && structurePicture(model, modelTitle);
  const label = "Block layout of each GBLR matrix: brighter where more blocks overlap";
  if (svg) return section(id, heading, html`<figure class="picture">${drawing(labeled(svg, label))}</figure>`);
  if (picture) {
    const image = html`<img alt="${label}" src="data:image/png;base64,${base64(picture)}">`;
    return section(id, heading, html`<figure class="picture">${image}</figure>`);
  }
  if (modelProblem !== undefined) return section(id, heading, sentence(modelProblem));
  if (model) return undefined;
  const text = "There is no model yet. Its blocks are drawn when the folder model/ is written.";
  return pendingSection(run, { id, heading, text });
}

/** The table of converted layers. */
export function layersSection(shown: Shown): Html | undefined {
  if (isPlain(shown)) return undefined;
  const { run, model } = shown;
  const [id, heading] = ["layers", "Layers"];
  const rows = layerRows({
    inspection: model?.inspection,
    structure: structuresOf(run.metrics).at(-1),
    conversion: run.conversion,
  });
  if (rows.length > 0) return section(id, heading, layerTable(rows));
  return pendingSection(run, { id, heading, text: "No layer has been converted yet." });
}

/** What the blocks of each layer are worth; undefined if no layer has been searched by outputs. */
export function worthSection({ run }: Shown): Html | undefined {
  const rows = worthRows(run.conversion ?? []);
  return rows.length > 0 ? section("worth", "What blocks are worth", worthTable(rows)) : undefined;
}

/** Metrics by split and confusions of classes; undefined for runs without classification. */
export async function classificationSection({ run }: Shown): Promise<Html | undefined> {
  const { classification, record } = run;
  if (!classification) {
    if (record?.task !== "image-classification") return undefined;
    const text = "No classes have been evaluated yet: there is no classification.json.";
    return pendingSection(run, { id: "classes", heading: "Classes", text });
  }
  const { classes, confusion, splits } = classification;
  const gap = Object.keys(splits).length > 0 ? gapTable(classification) : undefined;
  const square =
    confusion === undefined
      ? undefined
      : classes.length <= MOST_CLASSES
        ? await figures("classes", [confusionChart(classes, confusion)], "own")
        : html`<h3>Most frequent confusions</h3>${mistakesTable(classification)}`;
  if (!gap && !square) return undefined;
  return section("classes", "Generalization and classes", html`${gap}<p></p>${square}`);
}

/** Settings and environment. */
export function factsSection({ run: { record } }: Shown): Html {
  if (!record) {
    return section("facts", "Settings", sentence("There is no run.json, so settings and versions are unknown."));
  }
  return html`${section("facts", "Settings", settingsTable(record))}${section("environment", "Environment", environmentTable(record))}`;
}

async function figures(id: string, charts: readonly Chart[], kind = ""): Promise<Html> {
  const drawn: Html[] = [];
  for (const [i, chart] of charts.entries()) {
    const svg = drawing(await chartElement(chart, `${id}-${i}`));
    drawn.push(html`<figure class="${kind}"><figcaption>${chart.title}</figcaption>${svg}</figure>\n`);
  }
  return html`<div class="charts">${drawn}</div>`;
}

const labeled = (svg: string, label: string): string => svg.replace("<svg ", `<svg role="img" aria-label="${label}" `);

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
