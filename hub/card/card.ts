// A model card whole: front matter, what the model is, how good, how to use it, how it came about, whom to cite. A fact
// that is missing takes its sentence with it.

import { storedStructure } from "../model-folder/index.ts";
import type { CardFacts } from "./facts.ts";
import { loadingSection } from "./loading.ts";
import { code, codeBlock, markdownTable, plain } from "./markdown.ts";
import { cardMetadata, isRepositoryId } from "./metadata.ts";
import { flopsText } from "./metric-names.ts";
import { pictureSection, resultsSection } from "./results.ts";

/** @returns the text of a README.md */
export function modelCard(facts: CardFacts): string {
  const sections = [
    `# ${plain(facts.title)}`,
    introduction(facts),
    resultsSection(facts),
    pictureSection(facts),
    loadingSection(facts),
    originSection(facts),
    citation(facts),
  ];
  return `${cardMetadata(facts)}\n${sections.filter((part) => part !== undefined).join("\n\n")}\n`.toWellFormed();
}

function introduction({ baseModel, baseRevision, structure, relativeFlops, dataset }: CardFacts): string {
  const kind = storedStructure(structure)?.matrices ?? `matrices of structure ${code(structure)}`;
  const revision = baseRevision === undefined ? "" : ` at revision ${code(baseRevision)}`;
  const [, made] = /^scratch:(.+)$/.exec(baseModel ?? "") ?? [];
  const trained = baseModel === undefined ? "a network" : `${named(baseModel)}${revision}`;
  const base = made === undefined ? trained : `a ${code(made)} that began from random weights`;
  const share = finite(relativeFlops?.reference);
  const cost = share === undefined ? "" : ` It takes ${flopsText(share)} of the dense model's multiply-adds.`;
  const data = dataset ? ` The data set is ${named(dataset.id, "datasets/")}.` : "";
  return `This is ${base}, with its linear layers replaced by ${kind}.${cost}${data}`;
}

/** The command, the settings, the versions and the seed. */
function originSection(facts: CardFacts): string | undefined {
  const { command, seed, engine, device, precision, versions = {}, settings = {} } = facts;
  const known: [string, string | undefined][] = [
    ["seed", finite(seed)?.toString()],
    ["engine", engine === undefined || device === undefined ? engine : `${engine} on ${device}`],
    ["precision", precision],
    ...Object.entries(versions).map(([name, version]): [string, string] => [`version of ${name}`, version]),
  ];
  const rows = known.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
  const chosen = Object.entries(settings).flatMap(([name, value]) => {
    const text = settingText(value);
    return text === undefined ? [] : [{ name, value: text }];
  });
  const parts = [
    ...(command === undefined ? [] : ["Made by", codeBlock("sh", command)]),
    ...(rows.length === 0 ? [] : [factTable("environment", rows)]),
    ...(chosen.length === 0
      ? []
      : [`<details>\n<summary>All settings</summary>\n\n${factTable("setting", chosen)}\n\n</details>`]),
  ];
  return parts.length === 0 ? undefined : ["## How it was made", ...parts].join("\n\n");
}

function factTable(heading: string, rows: readonly { name: string; value: string }[]): string {
  return markdownTable(rows, [
    { heading, align: "left", cell: ({ name }) => plain(name) },
    { heading: "value", align: "left", cell: ({ value }) => code(value) },
  ]);
}

function citation({ structure }: CardFacts): string | undefined {
  const cited = storedStructure(structure)?.citation;
  return cited && `## Citation\n\n${cited.text}\n\n${codeBlock("bibtex", cited.bibtex)}`;
}

/** A repository with a link to it; what is no repository's name, such as a folder, stays text. */
function named(name: string, prefix = ""): string {
  return isRepositoryId(name) ? `[${plain(name)}](https://huggingface.co/${prefix}${name})` : code(name);
}

/** Undefined for what has no value: it is left out. */
function settingText(value: unknown): string | undefined {
  if (value === undefined || value === null || value === "" || Number.isNaN(value)) return undefined;
  if (Array.isArray(value)) return value.flatMap((each) => settingText(each) ?? []).join(", ") || undefined;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const finite = (value: number | undefined): number | undefined =>
  value !== undefined && Number.isFinite(value) ? value : undefined;
