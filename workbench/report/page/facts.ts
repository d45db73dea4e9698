// Names and values below each other: the settings of a run, and what it ran on.

import type { RunRecord } from "../run-record.ts";
import { type Html, html } from "./html.ts";

export function factsTable(caption: string, facts: readonly (readonly [string, string])[]): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table class="facts">
<caption>${caption}</caption>
<tbody>${facts.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`)}</tbody>
</table></div>`;
}

export function settingsTable({ settings }: RunRecord): Html {
  return factsTable(
    "Settings",
    Object.entries(settings).map(([name, value]) => [name, settingText(value)]),
  );
}

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
