// Defines the variants that an experiment compares. A variant is a structure with an initialization, an allocation of
// the budget and, optionally, a budget and further settings of its own. For example, one variant is written as
// `gblr:search:global@0.6+quantum=8` in flags, as `gblr-search-global-0.6-quantum-8` in folder names, and as `GBLR, block
// search, global, budget 60 %, quantum 8` in tables.

import { ALLOCATIONS, type Allocation, expectInit, INIT_KINDS, INITS, type Init } from "../compress/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { dense } from "../structures/dense.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import type { StructureKind } from "../structures/structure.ts";
import type { ExperimentSettings } from "./settings.ts";
import { SettingsError } from "./stage.ts";
import { isOfCompression, isSeed, keyParts, parseOwn, titleParts, type VariantSettings } from "./variant-settings.ts";

/** One way to compress a model. */
export interface Variant {
  /** name in the registry of structures */
  structure: string;
  init: Init;
  /** allocation of the budget */
  allocation: Allocation;
  /** cost of the converted layers relative to dense. Default: that of the settings */
  budget?: number;
  /** further settings of its own. Default: those of the settings */
  own?: VariantSettings;
  /** name in folder names, and the identity of its rows */
  key: string;
  /** the title without budget and further settings */
  method: string;
  /** name in tables */
  title: string;
  /** whether layers are converted; if not, the model is trained as it is */
  converts: boolean;
}

/**
 * The variant of a model that is trained without conversion.
 * @param structure structure of most of its layers; `dense` if it is not compressed
 */
export function asItIs(structure: string): Variant {
  const { name, stored } = structures().find((each) => each.name === structure) ?? dense;
  const { title } = stored;
  return { structure: name, init: "svd", allocation: "uniform", key: name, method: title, title, converts: false };
}

const SHARED: Record<Allocation, string[]> = { uniform: [], global: ["global"], loss: ["by loss"] };

/** A variant by the names in the settings. */
export interface VariantNames {
  structure: string;
  init?: string | undefined;
  allocation?: string | undefined;
}

/** The settings of an experiment as they apply to a variant, with its own budget and settings if it has any. */
export function settingsOf<Settings extends { budget?: number | undefined; flops?: number | undefined }>(
  { budget, own }: Variant,
  settings: Settings,
): Settings {
  return { ...settings, ...(budget !== undefined && { budget, flops: undefined }), ...own };
}

/**
 * Makes a variant of the names in the settings.
 * @throws SettingsError for an unknown structure, initialization or allocation, or a combination that does not exist
 */
export function variantOf({ structure: named, init = "svd", allocation = "uniform" }: VariantNames): Variant {
  const structure = expectOne(named, { what: "structure", known: structures().map(({ name }) => name) });
  const start = expectOne(init, { what: "initialization", known: INITS });
  const shared = expectOne(allocation, { what: "allocation", known: ALLOCATIONS });
  const kind = structureNamed(structure);
  try {
    expectInit(start, structure);
  } catch (error) {
    throw error instanceof EngineError ? new SettingsError(error.message) : error;
  }
  const parts = [structure, ...(start === "svd" ? [] : [start]), ...(shared === "uniform" ? [] : [shared])];
  const title = titled(kind, start, shared);
  return {
    structure,
    init: start,
    allocation: shared,
    key: parts.join("-"),
    method: title,
    title,
    converts: !kind.isDense,
  };
}

/** The title of a variant. It contains the initialization if the structure supports a search, or if it is not SVD. */
function titled({ stored, isDense, starts = {} }: StructureKind, init: Init, allocation: Allocation): string {
  if (isDense) return stored.title;
  const start = starts.search || init !== "svd" ? [INIT_KINDS[init].title] : [];
  return [stored.title, ...start, ...SHARED[allocation]].join(", ");
}

function expectOne<Name extends string>(name: string, { what, known }: { what: string; known: readonly Name[] }): Name {
  const found = known.find((one) => one === name);
  if (found === undefined) throw new SettingsError(`there is no ${what} "${name}"; give one of ${known.join(", ")}`);
  return found;
}

/**
 * Parses a variant.
 * @param text `structure`, `structure:init` or `structure:init:allocation`, optionally `@budget`, and optionally settings
 *   such as `+quantum=8` or `+sequential`
 * @throws SettingsError as `variantOf` does, if there are more parts, if the budget is not a share, or for a setting that
 *   a variant cannot have or a value that it cannot take
 */
export function parseVariant(text: string): Variant {
  const [method = "", ...settings] = text.split("+");
  const [names = "", share, ...others] = method.split("@");
  const [structure = "", init, allocation, ...rest] = names.split(":");
  if (rest.length + others.length > 0) {
    throw new SettingsError(
      `"${text}" has too many parts; give structure[:init[:allocation]][@budget][+setting=value]`,
    );
  }
  const variant = variantOf({ structure, init, allocation });
  if (share !== undefined && !variant.converts) {
    throw new SettingsError(`"${text}" converts nothing; leave out its budget`);
  }
  const budget = share === undefined ? undefined : Number(share);
  if (budget !== undefined && !(budget > 0 && budget <= 1)) {
    throw new SettingsError(`the budget of "${text}" must be a number above 0 and at most 1, such as 0.6`);
  }
  const { hasWidths = false } = structureNamed(variant.structure);
  const own = settings.length === 0 ? {} : parseOwn(settings, { text, structure, init: variant.init, hasWidths });
  const key = [variant.key, ...(budget === undefined ? [] : [budget]), ...keyParts(own)].join("-");
  const title = titleWith(variant, { budget, settings: own, names: Object.keys(own) });
  const given = { ...(budget !== undefined && { budget }), ...(settings.length > 0 && { own }) };
  return { ...variant, ...given, key, title };
}

interface TitleOptions {
  budget: number | undefined;
  /** those of the variant */
  settings: Partial<ExperimentSettings>;
  /** settings that the title names if they have another value than usual */
  names: Iterable<string>;
}

function titleWith({ method }: Variant, { budget, settings, names }: TitleOptions): string {
  const share = budget === undefined ? [] : [`budget ${Number((100 * budget).toPrecision(4))} %`];
  return [method, ...share, ...titleParts(settings, names)].join(", ");
}

/**
 * Variants with the titles that they have in an experiment. If some have a budget of their own, all titles name their
 * budgets: rows of a table then say which of them have the same cost. The same holds for settings of the compression,
 * where their value is not the default.
 * @param settings those of the experiment
 */
export function withTitles(variants: readonly Variant[], settings: Partial<ExperimentSettings>): readonly Variant[] {
  const shared = new Set(variants.flatMap(({ own = {} }) => Object.keys(own).filter(isOfCompression)));
  const haveBudgets = variants.some(({ budget }) => budget !== undefined);
  return variants.map((variant) => {
    if (!variant.converts) return variant;
    const [all, names] = [settingsOf(variant, settings), new Set([...shared, ...Object.keys(variant.own ?? {})])];
    return {
      ...variant,
      title: titleWith(variant, { budget: haveBudgets ? all.budget : undefined, settings: all, names }),
    };
  });
}

/** Distinguishes a variant from others: its title, and its seeds, which titles leave out. */
export function identityOf({ title, own = {} }: Variant): string {
  const seeds = Object.entries(own).filter(([name]) => isSeed(name));
  return [title, ...seeds.map(([name, value]) => `${name} ${value}`)].join(", ");
}

/**
 * The variants that an experiment trains.
 * @param names variants as in flags, or `none`; undefined for all variants
 * @throws SettingsError for a name that is none of the variants, or a variant that would be neither converted nor trained
 */
export function variantsToTrain(
  variants: readonly Variant[],
  names: readonly string[] | undefined,
): readonly Variant[] {
  if (names === undefined) return variants;
  const named = names.filter((name) => name !== "none").map((name) => ({ name, key: parseVariant(name).key }));
  const strange = named.find(({ key }) => !variants.some((variant) => variant.key === key));
  if (strange) {
    const known = variants.map(({ key }) => key).join(", ");
    throw new SettingsError(`--fine-tune ${strange.name} is none of the variants ${known}; leave it out`);
  }
  const trained = variants.filter((variant) => named.some(({ key }) => key === variant.key));
  const idle = variants.find((variant) => !variant.converts && !trained.includes(variant));
  if (idle) throw new SettingsError(`${idle.key} would be neither converted nor trained; add it to --fine-tune`);
  return trained;
}
