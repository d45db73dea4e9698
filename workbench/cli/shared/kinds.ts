// Options of verbs that take a language model or an image classifier. Which of them apply follows from the model's
// config.json, which is read when the verb runs, so the help shows the settings of both kinds: first those that both
// have, then those of each.

import type { Option } from "commander";
import { z } from "zod";
import { isClassifier } from "../../models/index.ts";
import { type ImageSettings, imageExperiment } from "../../pipeline/domains/image-settings.ts";
import { CONTEXT, type LanguageSettings, languageSettings } from "../../pipeline/domains/language.ts";
import { fetchKind } from "../../pipeline/fetch.ts";
import { experimentShape } from "../../pipeline/settings.ts";
import { UsageError } from "./program.ts";
import { defaultsOf, flagOf, optionsOf } from "./settings.ts";
import { runStages } from "./stages.ts";

/** Kinds of models, by what they were made for. */
export type Kind = "language" | "images";

const KINDS = ["language", "images"] as const;
const SCHEMAS: Readonly<Record<Kind, z.ZodObject>> = { language: languageSettings, images: imageExperiment };
const PLURALS: Readonly<Record<Kind, string>> = { language: "language models", images: "image classifiers" };
const HEADINGS: Readonly<Record<Kind, string>> = { language: "Language models:", images: "Image classifiers:" };

/** Defaults of a verb for each kind, which replace those of the settings. */
export interface KindDefaults {
  language: Partial<LanguageSettings>;
  images: Partial<ImageSettings>;
}

/** The settings of a verb for both kinds of models. */
export interface KindSettings {
  defaults: KindDefaults;
  /** whether a setting of this kind has a flag */
  isOffered: (name: string, setting: z.ZodType, kind: Kind) => boolean;
  /** descriptions that replace those of settings that both kinds have */
  descriptions?: Readonly<Record<string, string>>;
}

/** The flags of a verb for both kinds of models. */
export class KindFlags {
  readonly options: readonly Option[];
  private readonly names: Readonly<Record<Kind, readonly string[]>>;

  constructor({ defaults, isOffered, descriptions = {} }: KindSettings) {
    const namesOf = (kind: Kind) =>
      Object.entries(SCHEMAS[kind].shape as Record<string, z.ZodType>)
        .filter(([name, setting]) => isOffered(name, setting, kind))
        .map(([name]) => name);
    this.names = { language: namesOf("language"), images: namesOf("images") };
    const shared = this.names.language.filter((name) => this.names.images.includes(name));
    const context = `${CONTEXT}, at most the model's positions`;
    const own = KINDS.flatMap((kind) =>
      chosen(optionsOf(SCHEMAS[kind], { ...defaults[kind], context }), this.onlyOf(kind)).map((option) =>
        option.helpGroup(HEADINGS[kind]),
      ),
    );
    const both = optionsOf(described(descriptions), sharedDefaults(shared, defaults));
    this.options = [...chosen(both, shared), ...own];
  }

  /** Checks the flags. @throws UsageError that names the flags which do not apply to this kind of model */
  expectOf({ kind, type }: ModelKind, flags: Readonly<Record<string, unknown>>, model: string): void {
    const strange = this.onlyOf(other(kind)).filter((name) => flags[name] !== undefined);
    if (strange.length === 0) return;
    const names = strange.map(flagOf).join(" and ");
    throw new UsageError(
      `${names} ${strange.length > 1 ? "are" : "is"} for ${PLURALS[other(kind)]}; ${model} is a ${type}`,
    );
  }

  private onlyOf(kind: Kind): string[] {
    return this.names[kind].filter((name) => !this.names[other(kind)].includes(name));
  }
}

/** What a model is, by its config.json. */
export interface ModelKind {
  kind: Kind;
  /** its architecture, e.g. `gpt2` */
  type: string;
  /** the number of tokens to train a language model on at a time: at most its positions */
  context?: number;
}

/** Fetches the config.json of a model, and says what it is. */
export async function kindOf(model: string, offline?: boolean): Promise<ModelKind> {
  const interrupted = "interrupted; nothing is done yet";
  const { architecture, positions = CONTEXT } = await runStages({ interrupted, offline }, (context) =>
    fetchKind(model, context),
  );
  const { type } = architecture;
  if (isClassifier({ architecture })) return { kind: "images", type };
  return { kind: "language", type, context: Math.min(CONTEXT, positions) };
}

const other = (kind: Kind): Kind => (kind === "language" ? "images" : "language");

const chosen = (options: readonly Option[], names: readonly string[]): Option[] =>
  options.filter((option) => names.includes(option.attributeName()));

/** The settings of all experiments, some with other descriptions. */
function described(descriptions: Readonly<Record<string, string>>): z.ZodObject {
  const shape: Record<string, z.ZodType> = { ...experimentShape("windows or images") };
  for (const [name, description] of Object.entries(descriptions)) {
    const schema = shape[name] as z.ZodType;
    shape[name] = schema.meta({ ...schema.meta(), description, unit: undefined });
  }
  return z.object(shape);
}

/** For each shared setting its default, or both if they differ; none if its description tells the defaults. */
function sharedDefaults(names: readonly string[], { language, images }: KindDefaults): Record<string, unknown> {
  const text = defaultsOf(SCHEMAS.language, language);
  const pictures = defaultsOf(SCHEMAS.images, images);
  const isSame = (name: string) => JSON.stringify(text[name]) === JSON.stringify(pictures[name]);
  const both = (name: string) =>
    text[name] === undefined || pictures[name] === undefined
      ? undefined
      : `${text[name]} for text, ${pictures[name]} for images`;
  return Object.fromEntries(names.map((name) => [name, isSame(name) ? text[name] : both(name)]));
}
