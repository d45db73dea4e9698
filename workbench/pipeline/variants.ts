// Defines the variants that an experiment compares. A variant is a structure with an initialization, an allocation of
// the budget and, optionally, a budget of its own. For example, one variant is written as `gblr:activation:global@0.6`
// in flags, as `gblr-activation-global-0.6` in folder names, and as `GBLR, activation-aware, global, budget 60 %` in
// tables.

import { ALLOCATIONS, type Allocation, expectInit, INIT_KINDS, INITS, type Init } from "../compress/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { dense } from "../structures/dense.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import type { StructureKind } from "../structures/structure.ts";
import { SettingsError } from "./stage.ts";

/** One way to compress a model. */
export interface Variant {
  /** name in the registry of structures */
  structure: string;
  init: Init;
  /** allocation of the budget */
  allocation: Allocation;
  /** cost of the converted layers relative to dense. Default: that of the settings */
  budget?: number;
  /** name in folder names */
  key: string;
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
  return { structure: name, init: "svd", allocation: "uniform", key: name, title: stored.title, converts: false };
}

const SHARED: Record<Allocation, string[]> = { uniform: [], global: ["global"], loss: ["by loss"] };

/** A variant by the names in the settings. */
export interface VariantNames {
  structure: string;
  init?: string | undefined;
  allocation?: string | undefined;
}

/**
 * The settings of an experiment as they apply to a variant.
 * @returns the same settings, or for a variant with a budget of its own, settings with that budget
 */
export function settingsOf<Settings extends { budget?: number | undefined; flops?: number | undefined }>(
  { budget }: Variant,
  settings: Settings,
): Settings {
  return budget === undefined ? settings : { ...settings, budget, flops: undefined };
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
  return {
    structure,
    init: start,
    allocation: shared,
    key: parts.join("-"),
    title: titled(kind, start, shared),
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
 * @param text `structure`, `structure:init` or `structure:init:allocation`, and optionally `@budget`
 * @throws SettingsError as `variantOf` does, if there are more parts, or if the budget is not a share
 */
export function parseVariant(text: string): Variant {
  const [names = "", share, ...others] = text.split("@");
  const [structure = "", init, allocation, ...rest] = names.split(":");
  if (rest.length + others.length > 0) {
    throw new SettingsError(`"${text}" has too many parts; give structure[:init[:allocation]][@budget]`);
  }
  const variant = variantOf({ structure, init, allocation });
  return share === undefined ? variant : withBudget(variant, { text, budget: Number(share) });
}

function withBudget(variant: Variant, { text, budget }: { text: string; budget: number }): Variant {
  if (!variant.converts) throw new SettingsError(`"${text}" converts nothing; leave out its budget`);
  if (!(budget > 0 && budget <= 1)) {
    throw new SettingsError(`the budget of "${text}" must be a number above 0 and at most 1, such as 0.6`);
  }
  return { ...variant, budget, key: `${variant.key}-${budget}`, title: withShare(variant.title, budget) };
}

const withShare = (title: string, budget: number) => `${title}, budget ${Number((100 * budget).toPrecision(4))} %`;

/**
 * Variants whose titles all name their budgets, if some have a budget of their own: rows of a table then say which of
 * them have the same cost.
 * @param budget that of the settings. Without it, titles stay as they are
 */
export function withTitledBudgets(variants: readonly Variant[], budget: number | undefined): readonly Variant[] {
  if (budget === undefined || variants.every((variant) => variant.budget === undefined)) return variants;
  return variants.map((variant) =>
    variant.budget !== undefined || !variant.converts
      ? variant
      : { ...variant, title: withShare(variant.title, budget) },
  );
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
