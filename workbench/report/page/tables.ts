// Tables of a report: metrics by split, confusions of classes, settings, environment.

import { metricNamed, metricsOf, valueText } from "../../../hub/card/comparison.ts";
import { percent } from "../../../hub/text/numbers.ts";
import type { SampleMetrics } from "../../train/index.ts";
import { commonMistakes, type Mistake } from "../charts/classification.ts";
import type { Classification, RunRecord } from "../run-record.ts";
import { type Html, html, table } from "./html.ts";

/** Metrics by split and, if the first split is `train`, the gap between it and the last one. */
export function gapTable({ splits }: Pick<Classification, "splits">): Html {
  const names = Object.keys(splits);
  const metrics = metricsOf(Object.values(splits).map((values) => ({ metrics: values })));
  const last = names.at(-1) as string;
  const hasGap = names.length > 1 && names[0] === "train";
  const gap = (metric: string): string => {
    const [train, other] = [splits.train?.[metric], splits[last]?.[metric]];
    if (train === undefined || other === undefined) return "";
    const difference = other - train;
    const sign = difference < 0 ? "−" : "+";
    if (metricNamed(metric).isShare) return `${sign}${(100 * Math.abs(difference)).toFixed(2)} points`;
    return `${sign}${valueText(metric, Math.abs(difference))}`;
  };
  return table(metrics, {
    caption: "Splits side by side",
    columns: [
      { heading: "", cell: (metric) => metricNamed(metric).label },
      ...names.map((split) => ({
        heading: split,
        align: "right" as const,
        cell: (metric: string) => {
          const value = splits[split]?.[metric];
          return value === undefined ? "–" : valueText(metric, value);
        },
      })),
      ...(hasGap ? [{ heading: `gap, ${last} − train`, align: "right" as const, cell: gap }] : []),
    ],
  });
}

/** The most frequent confusions, for data sets with too many classes for a confusion matrix. */
export function mistakesTable({ classes, confusion = [] }: Classification): Html {
  return table<Mistake>(commonMistakes(classes, confusion), {
    caption: "Most frequent confusions",
    columns: [
      { heading: "class", cell: ({ actual }) => actual },
      { heading: "predicted", cell: ({ taken }) => taken },
      { heading: "images", align: "right", cell: ({ count }) => count },
      { heading: "share of the class", align: "right", cell: ({ share }) => percent(share) },
    ],
  });
}

/** Samples that a report has: the last ones. */
const MOST_SAMPLES = 10;

/** What the model has added to a prompt, at the last evaluations. */
export function samplesTable(samples: readonly SampleMetrics[]): Html {
  const shown = samples.slice(-MOST_SAMPLES);
  const more = samples.length > shown.length ? `, the last ${shown.length} of ${samples.length}` : "";
  return table(shown, {
    caption: `Texts that the model has written during training${more}`,
    columns: [
      { heading: "step", align: "right", cell: ({ step }) => step },
      { heading: "prompt", cell: ({ prompt }) => prompt },
      { heading: "text", cell: ({ text }) => text },
    ],
  });
}

function factsTable(caption: string, facts: readonly (readonly [string, string])[]): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table class="facts">
<caption>${caption}</caption>
<tbody>${facts.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`)}</tbody>
</table></div>`;
}

/** Every setting of the run. */
export function settingsTable({ settings }: RunRecord): Html {
  return factsTable(
    "Settings",
    Object.entries(settings).map(([name, value]) => [name, settingText(value)]),
  );
}

/** Engine, model, data set, versions and times of the run. */
export function environmentTable(record: RunRecord): Html {
  const { recipe, engine, device, precision, seed, model, dataset, versions, started, updated } = record;
  const at = (revision: string | undefined) => (revision === undefined ? "" : ` at ${revision}`);
  const facts: [string, string | undefined][] = [
    ["recipe", recipe],
    ["model", model && `${model.name}${at(model.revision)}`],
    ["data set", dataset && [`${dataset.name}${at(dataset.revision)}`, dataset.config].filter(Boolean).join(", ")],
    ["engine", device === undefined ? engine : `${engine} on ${device}`],
    ["precision", precision],
    ["seed", String(seed)],
    ...Object.entries(versions).map(([name, version]): [string, string] => [`version of ${name}`, version]),
    ["started", dateText(new Date(started))],
    ["last written", dateText(new Date(updated))],
  ];
  return factsTable(
    "Environment",
    facts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
  );
}

/** `2026-03-14 15:09:26 UTC` */
export function dateText(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function settingText(value: unknown): string {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.map(settingText).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
