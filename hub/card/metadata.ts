// The front matter of a model card: YAML between two lines of three dashes. It is read from a base model's card, so
// that derived models keep its metadata, and written for the Hub (huggingface.co/docs/hub/model-cards, "Model card
// metadata"). Readers of YAML 1.1, such as Python's, and of YAML 1.2 read the same values: text that a reader could
// take for another type is quoted, for example `no` (false in 1.1) and `1e3` (a number in 1.2).

import { parse, type ScalarTag, stringify } from "yaml";
import { isDense } from "../model-folder/index.ts";
import { metricNamed } from "./comparison.ts";
import type { BaseMetadata, CardFacts, MeasuredMetric } from "./facts.ts";

/**
 * Reads the metadata that applies to derived models. Empty if the card has no valid front matter.
 * @param readme text of a README.md
 */
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

/** The values of the front matter. Empty if there is none, or it is invalid. */
export function frontMatter(readme: string): Record<string, unknown> {
  const [, block] = readme.match(/^\ufeff?\s*---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/) ?? [];
  if (block === undefined) return {};
  try {
    // The limit prevents a short text from expanding into gigabytes.
    const value: unknown = parse(block, { maxAliasCount: 10, logLevel: "silent" });
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Writes the front matter of a card, including the lines of dashes. Fields without a value are left out. */
export function cardMetadata(facts: CardFacts): string {
  const { base = {}, baseModel, isFolder = false, dataset, hasPython = false, task } = facts;
  const { hasTransformers = hasPython } = facts;
  const index = modelIndex(facts);
  const fields = {
    license: base.license,
    license_name: base.licenseName,
    license_link: base.licenseLink,
    language: base.language && several(base.language),
    library_name: hasTransformers ? "transformers" : "gblr",
    pipeline_tag: task,
    base_model: baseModel !== undefined && !isFolder && isRepositoryId(baseModel) ? baseModel : undefined,
    datasets: several([...(dataset ? [dataset.id] : []), ...(base.datasets ?? [])].filter(isRepositoryId)),
    tags: several([...ownTags(facts), ...(base.tags ?? [])]),
    ...(index && { "model-index": [index] }),
  };
  const present = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ""));
  // Values with line ends are quoted, so they cannot end the front matter.
  return `---\n${yamlOf(present)}---\n`;
}

/**
 * Tags that describe the model: `gblr`, which identifies cards of this project, and for compressed models the
 * structure.
 */
const ownTags = ({ structure }: CardFacts): string[] =>
  isDense(structure) ? ["gblr"] : ["gblr", structure, "model-compression"];

/** Whether the text is `owner/name`, or a bare name of an old repository, rather than the path of a folder. */
export function isRepositoryId(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9_][\w.-]*)?$/.test(name) && !name.includes("..") && name.length <= 96;
}

/** The Hub's `model-index`. Undefined without a data set, since the index must name one. */
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

/** Turns `text-generation` into `Text Generation`. */
const taskName = (task: string): string => task.split("-").map(capitalized).join(" ");

const capitalized = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** The strings of a string or a list; other items are ignored. */
function textsOf(value: unknown): string[] | undefined {
  return several((Array.isArray(value) ? value : [value]).flatMap((each) => textOf(each) ?? []));
}

function several(texts: readonly string[]): string[] | undefined {
  const distinct = [...new Set(texts)].filter((text) => text !== "");
  return distinct.length > 0 ? distinct : undefined;
}

/** Text that starts with a letter and contains nothing that YAML interprets. */
const PLAIN = /^\p{L}[\p{L}\p{N}_./+-]*( [\p{L}\p{N}_./+-]+)*$/u;

/** An exponent alone, such as `e0`, which some readers of version 1.1 take for a number. */
const EXPONENT = /^e[-+]?[\d_]+$/i;

/** Words for true, false and null in version 1.1, in any case. */
const WORDS = new Set(["y", "yes", "n", "no", "on", "off", "true", "false", "null"]);

/** Characters that JSON does not escape in a string, and that PyYAML rejects or reads as a line end. */
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
  // The library prefers tags that have a test; nothing is parsed here.
  test: /./,
  resolve: Number,
  stringify: ({ value }) => yamlNumber(value as number),
};

/**
 * Writes YAML in block style, with a final line end.
 * @param value objects, lists, strings, numbers, booleans and null
 */
export function yamlOf(value: unknown): string {
  return stringify(value, { customTags: (tags) => [TEXT, NUMBER, ...tags], lineWidth: 0 });
}

function yamlText(text: string): string {
  if (PLAIN.test(text) && !WORDS.has(text.toLowerCase()) && !EXPONENT.test(text)) return text;
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text.toWellFormed()).replace(UNPRINTABLE, escaped);
}

/** Formats a number. YAML 1.1 accepts an exponent only after a decimal point and with a sign. */
function yamlNumber(value: number): string {
  if (Number.isNaN(value)) return ".nan";
  if (!Number.isFinite(value)) return value < 0 ? "-.inf" : ".inf";
  return String(value).replace(/^(-?\d+)e/, "$1.0e");
}
