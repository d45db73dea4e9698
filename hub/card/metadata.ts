// The front matter of a card, YAML between two lines of three dashes: read of a base model's README, so that what holds
// for it is carried on, and written for the Hub. A card that has none, or a broken one, says nothing.

import { parse, type ScalarTag, stringify } from "yaml";
import type { BaseMetadata, CardFacts, MeasuredMetric } from "./facts.ts";
import { metricNamed } from "./metric-names.ts";

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
  const { base = {}, baseModel, dataset, hasPython = false, hasTransformers = hasPython, task } = facts;
  const index = modelIndex(facts);
  const fields = {
    license: base.license,
    license_name: base.licenseName,
    license_link: base.licenseLink,
    language: base.language && several(base.language),
    library_name: hasTransformers ? "transformers" : "gblr",
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
  structure === "dense" ? ["gblr"] : ["gblr", structure, "model-compression"];

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

/** Begins with a letter, and has nothing that YAML gives a meaning. */
const PLAIN = /^\p{L}[\p{L}\p{N}_./+-]*( [\p{L}\p{N}_./+-]+)*$/u;

/** An exponent alone, such as `e0`, which some readers of version 1.1 take for a number. */
const EXPONENT = /^e[-+]?[\d_]+$/i;

/** Words of version 1.1 for true, false and null, in any case. */
const WORDS = new Set(["y", "yes", "n", "no", "on", "off", "true", "false", "null"]);

/** Of double quotes: what JSON leaves as it is and PyYAML refuses, or takes for the end of a line. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;

const TEXT: ScalarTag = {
  tag: "tag:yaml.org,2002:str",
  default: true,
  identify: (value) => typeof value === "string",
  resolve: (text) => text,
  stringify: ({ value }) => yamlText(String(value)),
};

const NUMBER: ScalarTag = {
  tag: "tag:yaml.org,2002:float",
  default: true,
  identify: (value) => typeof value === "number",
  // The library prefers tags that have one; nothing is read here.
  test: /./,
  resolve: Number,
  stringify: ({ value }) => yamlNumber(value as number),
};

/** Block style, a line end at the end. @param value of objects, lists, texts, numbers, true, false and null */
export function yamlOf(value: unknown): string {
  return stringify(value, { customTags: (tags) => [TEXT, NUMBER, ...tags], lineWidth: 0 });
}

function yamlText(text: string): string {
  if (PLAIN.test(text) && !WORDS.has(text.toLowerCase()) && !EXPONENT.test(text)) return text;
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text.toWellFormed()).replace(UNPRINTABLE, escaped);
}

/** Version 1.1 takes an exponent for one behind a point only, and with its sign. */
function yamlNumber(value: number): string {
  if (Number.isNaN(value)) return ".nan";
  if (!Number.isFinite(value)) return value < 0 ? "-.inf" : ".inf";
  return String(value).replace(/^(-?\d+)e/, "$1.0e");
}
