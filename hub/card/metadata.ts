// The front matter of a card, YAML between two lines of three dashes: read of a base model's README, so that what holds
// for it is carried on, and written for the Hub. A card that has none, or a broken one, says nothing.

import { parse } from "yaml";
import { isDense } from "../model-folder/index.ts";
import type { BaseMetadata, CardFacts, MeasuredMetric } from "./facts.ts";
import { metricNamed } from "./metric-names.ts";
import { yamlOf } from "./yaml.ts";

/** @param readme a whole README.md */
export function parseCardMetadata(readme: string): BaseMetadata {
  const { license, license_name, license_link, language, tags, datasets, pipeline_tag } = frontMatter(readme);
  const licenses = textsOf(license);
  const metadata = {
    license: licenses && licenses.length === 1 ? licenses[0] : licenses,
    licenseName: textOf(license_name),
    licenseLink: textOf(license_link),
    language: textsOf(language),
    tags: textsOf(tags),
    datasets: textsOf(datasets),
    pipelineTag: textOf(pipeline_tag),
  };
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== undefined));
}

/** What stands between the dashes, by name; empty when there is nothing, or nothing that can be read. */
export function frontMatter(readme: string): Record<string, unknown> {
  const [, block] = readme.match(/^\ufeff?\s*---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/) ?? [];
  if (block === undefined) return {};
  try {
    const value: unknown = parse(block);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Our own front matter, its dashes too. Fields without a value are left out. */
export function cardMetadata(facts: CardFacts): string {
  const { base = {}, baseModel, dataset, hasPython = false, task } = facts;
  const index = modelIndex(facts);
  const fields = {
    license: base.license,
    license_name: base.licenseName,
    license_link: base.licenseLink,
    language: base.language && several(base.language),
    library_name: hasPython ? "transformers" : "gblr",
    pipeline_tag: task,
    base_model: baseModel !== undefined && isRepositoryId(baseModel) ? baseModel : undefined,
    datasets: several([...(dataset ? [dataset.id] : []), ...(base.datasets ?? [])].filter(isRepositoryId)),
    tags: several([...ownTags(facts), ...(base.tags ?? [])]),
    ...(index && { "model-index": [index] }),
  };
  const present = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ""));
  // A value with line ends stands in quotes, where it cannot end the front matter.
  return `---\n${yamlOf(present)}---\n`;
}

/** `gblr` is on every card that is ours, by which it is known again; a dense model is neither compressed nor of a structure. */
const ownTags = ({ structure }: CardFacts): string[] =>
  isDense(structure) ? ["gblr"] : ["gblr", structure, "model-compression"];

/** `owner/name`, or a bare name as old repositories have; a folder's path is none. */
export function isRepositoryId(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9_][\w.-]*)?$/.test(name) && !name.includes("..") && name.length <= 96;
}

/** The Hub's `model-index`: needs a data set to say what was measured on. */
function modelIndex({ title, task, dataset, metrics = [] }: CardFacts): object | undefined {
  const measured = metrics.filter(({ value }) => Number.isFinite(value));
  if (!dataset || !isRepositoryId(dataset.id) || measured.length === 0) return undefined;
  const splits = [...new Set(measured.map(({ split }) => split))];
  const results = splits.map((split) => ({
    task: { type: task, name: taskName(task) },
    dataset: {
      type: dataset.id,
      name: dataset.name ?? dataset.id,
      ...(dataset.config !== undefined && { config: dataset.config }),
      split,
      ...(dataset.revision !== undefined && { revision: dataset.revision }),
    },
    metrics: measured.filter((metric) => metric.split === split).map(metricEntry),
  }));
  return { name: title, results };
}

function metricEntry({ type, name, value }: MeasuredMetric): object {
  return { type, name: name ?? capitalized(metricNamed(type).label), value };
}

/** `Text Generation` */
const taskName = (task: string): string => task.split("-").map(capitalized).join(" ");

const capitalized = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** A text or a list of texts; other things in the list are passed over. */
function textsOf(value: unknown): string[] | undefined {
  return several((Array.isArray(value) ? value : [value]).flatMap((each) => textOf(each) ?? []));
}

function several(texts: readonly string[]): string[] | undefined {
  const distinct = [...new Set(texts)].filter((text) => text !== "");
  return distinct.length > 0 ? distinct : undefined;
}
