// Writes a model card: front matter, what the model is, its results, how to use it, how it was made, and the
// citation. Sentences whose facts are unknown are left out.

import { isDense, storedStructure } from "../model-folder/index.ts";
import { countOf } from "../text/numbers.ts";
import { comparisonColumns, flopsText } from "./comparison.ts";
import type { CardFacts, CardRow } from "./facts.ts";
import { loadingSection } from "./loading.ts";
import { code, codeBlock, markdownTable, plain, type TableColumn } from "./markdown.ts";
import { cardMetadata, isRepositoryId } from "./metadata.ts";
import { sizesSection } from "./sizes.ts";
import { storageSection } from "./storage.ts";

/**
 * Writes the card.
 * @returns the text of a README.md
 */
export function modelCard(facts: CardFacts): string {
  const sections = [
    `# ${plain(facts.title)}`,
    introduction(facts),
    resultsSection(facts),
    sizesSection(facts),
    storageSection(facts),
    pictureSection(facts),
    loadingSection(facts),
    originSection(facts),
    citation(facts),
  ];
  return `${cardMetadata(facts)}\n${sections.filter((part) => part !== undefined).join("\n\n")}\n`.toWellFormed();
}

function introduction({ baseModel, isFolder = false, baseRevision, ...facts }: CardFacts): string {
  const { structure, relativeFlops, dataset } = facts;
  const kind = storedStructure(structure)?.matrices ?? `matrices of structure ${code(structure)}`;
  const revision = baseRevision === undefined ? "" : ` at revision ${code(baseRevision)}`;
  const [, architecture] = /^scratch:(.+)$/.exec(baseModel ?? "") ?? [];
  const name = isFolder ? code : named;
  const trained = baseModel === undefined ? "a network" : `${name(baseModel)}${revision}`;
  const base = architecture === undefined ? trained : `a ${code(architecture)} that started from random weights`;
  const [reference, actual] = [finite(relativeFlops?.reference), finite(relativeFlops?.actual)];
  const cost =
    reference === undefined || actual === undefined
      ? ""
      : ` It needs ${flopsText(reference)} of the dense model's multiply-adds as the paper's tables count them, ${flopsText(actual)} of all of them.`;
  const data = dataset ? ` The data set is ${named(dataset.id, "datasets/")}.` : "";
  if (isDense(structure))
    return `This is ${base}, ${facts.storage ? "with dense matrices" : "trained without compression"}.${data}`;
  return `This is ${base}, with its linear layers replaced by ${kind}.${cost}${data}`;
}

/** The command, environment and settings that made the model. */
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
    ...(command === undefined ? [] : ["Command:", codeBlock("sh", command)]),
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

/**
 * Formats a name as a link to the repository on the Hub. Other names, such as those of folders, are formatted as code.
 */
function named(name: string, prefix = ""): string {
  return isRepositoryId(name) ? `[${plain(name)}](https://huggingface.co/${prefix}${name})` : code(name);
}

/** The text of a setting. Undefined for a setting without a value, which is left out. */
function settingText(value: unknown): string | undefined {
  if (value === undefined || value === null || value === "" || Number.isNaN(value)) return undefined;
  if (Array.isArray(value)) return value.flatMap((each) => settingText(each) ?? []).join(", ") || undefined;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const finite = (value: number | undefined): number | undefined =>
  value !== undefined && Number.isFinite(value) ? value : undefined;

/** The table of compared models. Undefined if nothing was measured. */
function resultsSection({
  comparison = [],
  dataset,
  context,
  limit,
  task,
  metrics = [],
}: CardFacts): string | undefined {
  const rows = comparison.map(withFiniteMetrics);
  if (rows.length === 0) return undefined;
  const splits = [...new Set(metrics.map(({ split }) => split))];
  const on = [
    dataset && plain([dataset.name ?? dataset.id, dataset.config].filter(Boolean).join(", ")),
    splits.length === 1 && `split ${plain(splits[0] as string)}`,
    limit !== undefined && `${countOf(limit, task === "text-generation" ? "window" : "image")} only`,
    context !== undefined && `windows of ${context} tokens`,
  ].filter((part) => typeof part === "string");
  const columns = comparisonColumns(rows);
  const hasBest = rows.some((row) => columns.some(({ isBest }) => isBest?.(row)));
  const bold = hasBest ? " The best of the compressed models is in bold." : "";
  return [
    "## Results",
    ...(on.length > 0 ? [`Measured on ${on.join(", ")}.${bold}`] : []),
    markdownTable(rows, columnsFor(rows)),
    "Relative FLOPs are the multiply-adds of the whole model as a share of those of the dense model: (reference) is counted as in the paper's tables, (actual) includes every operation.",
  ].join("\n\n");
}

/** Undefined if there is no picture. */
function pictureSection({ hasPicture = false }: CardFacts): string | undefined {
  if (!hasPicture) return undefined;
  return [
    "## Block layout",
    "![Where the blocks of each matrix lie](structure.png)",
    "Each square is a matrix: inputs run from left to right, outputs from top to bottom. Black entries are zero; brighter entries are covered by more blocks.",
  ].join("\n\n");
}

/** The columns of the comparison in Markdown, with the best values in bold. */
function columnsFor(rows: readonly CardRow[]): TableColumn<CardRow>[] {
  return comparisonColumns(rows).map(({ heading, align, cell, isBest }) => ({
    heading: plain(heading),
    align,
    cell: (row) => (isBest?.(row) ? `**${plain(cell(row))}**` : plain(cell(row))),
  }));
}

function withFiniteMetrics(row: CardRow): CardRow {
  return { ...row, metrics: Object.fromEntries(Object.entries(row.metrics).filter(([, v]) => Number.isFinite(v))) };
}
