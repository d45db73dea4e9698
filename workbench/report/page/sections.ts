// The sections of a report, each from the part of a run that it shows. A section whose part is not there says so in a
// sentence. Which charts there are is in ../charts, how tables look in the files beside this one.

import { Buffer } from "node:buffer";
import { type Chart, chartElement } from "../charts/chart.ts";
import { confusionChart, MOST_CLASSES } from "../charts/classification.ts";
import { structureCharts, trainingCharts } from "../charts/run-charts.ts";
import type { Described } from "../describe-model.ts";
import { structuresOf } from "../metrics-log.ts";
import { structurePicture } from "../pictures/structure-picture.ts";
import type { Run } from "../run-files.ts";
import { comparisonSentence, comparisonTable } from "./comparison.ts";
import { drawing, type Html, html, section, sentence } from "./html.ts";
import { layerRows, layerTable } from "./layers.ts";
import { environmentTable, gapTable, mistakesTable, settingsTable } from "./tables.ts";

/** A run and what has been read of its model. */
export interface Shown {
  run: Run;
  /** of the folder model/ */
  model?: Described | undefined;
  /** why the model could not be read */
  modelProblem?: string | undefined;
  /** structure.png, where the model cannot be drawn */
  picture?: Uint8Array | undefined;
}

export function comparisonSection({ run: { record, comparison = [] } }: Shown): Html {
  const said = comparisonSentence(comparison);
  const split = record?.comparisonSplit;
  const on = split === undefined ? undefined : html`<p class="soft">Measured on the split ${split}.</p>`;
  const body =
    comparison.length === 0
      ? sentence("No model has been measured yet: the table stands here once there is a comparison.json.")
      : html`${said === undefined ? undefined : html`<p class="lead">${said}</p>`}${comparisonTable(comparison)}${on}`;
  return section("comparison", "Comparison", body);
}

/** Undefined for a finished run that trained nothing, such as an evaluation. */
export async function trainingSection({ run }: Shown): Promise<Html | undefined> {
  const charts = trainingCharts(run);
  if (charts.length === 0 && run.record?.status === "finished") return undefined;
  const body =
    charts.length > 0
      ? await figures("training", charts)
      : sentence("No step has been trained yet: metrics.jsonl has none.");
  return section("training", "Training", body);
}

/** Whether a run converts no layer and leaves no model with structured layers: its report has no sections about structure. */
const isPlain = ({ run: { record, conversion, metrics }, model }: Shown): boolean =>
  (record?.settings.structure === "dense" || (record?.status === "finished" && metrics.length === 0)) &&
  !conversion &&
  (!model || layerRows({ inspection: model.inspection }).length === 0);

export async function structureSection(shown: Shown): Promise<Html | undefined> {
  if (isPlain(shown)) return undefined;
  const charts = structureCharts(shown.run);
  const body =
    charts.length > 0
      ? await figures("structure", charts)
      : sentence("Nothing is known of the widths of blocks: metrics.jsonl has no line about the structure.");
  return section("structure", "Widths by layer", body);
}

export function layoutSection(shown: Shown): Html | undefined {
  if (isPlain(shown)) return undefined;
  const { model, modelProblem, picture } = shown;
  const svg = model && structurePicture(model, "Final model");
  const label = "Where the blocks of each GBLR matrix lie; brighter where more of them overlap";
  const body = svg
    ? html`<figure class="picture">${drawing(labeled(svg, label))}</figure>`
    : picture
      ? html`<figure class="picture"><img alt="${label}" src="data:image/png;base64,${base64(picture)}"></figure>`
      : sentence(
          modelProblem ??
            (model
              ? "The model has no GBLR layer, so there are no blocks to draw."
              : "There is no model yet: its blocks are drawn once the folder model/ is written."),
        );
  return section("layout", "Block layout", body);
}

export function layersSection(shown: Shown): Html | undefined {
  if (isPlain(shown)) return undefined;
  const { run, model } = shown;
  const rows = layerRows({
    inspection: model?.inspection,
    structure: structuresOf(run.metrics).at(-1),
    conversion: run.conversion,
  });
  const body =
    rows.length > 0
      ? layerTable(rows)
      : sentence(
          "No layer has been converted: there is neither a model, nor conversion.json, nor a line about structure.",
        );
  return section("layers", "Layers", body);
}

/** Undefined for runs that tell no classes apart. */
export async function classificationSection({ run }: Shown): Promise<Html | undefined> {
  const { classification, record } = run;
  if (!classification) {
    if (record?.task !== "image-classification") return undefined;
    return section("classes", "Classes", sentence("Nothing is known of classes yet: there is no classification.json."));
  }
  const { classes, confusion, splits } = classification;
  const gap = Object.keys(splits).length > 0 ? gapTable(classification) : undefined;
  const square =
    confusion === undefined
      ? undefined
      : classes.length <= MOST_CLASSES
        ? await figures("classes", [confusionChart(classes, confusion)], "own")
        : html`<h3>Mistakes made most often</h3>${mistakesTable(classification)}`;
  return section("classes", "Generalization and classes", html`${gap}<p></p>${square}`);
}

export function factsSection({ run: { record } }: Shown): Html {
  if (!record) {
    return section("facts", "Settings", sentence("There is no run.json, so settings and versions are not known."));
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
