// Defines the variants that an experiment compares. A variant is a structure with an initialization and an allocation
// of the budget. For example, one variant is written as `gblr:activation:global` in flags, as `gblr-activation-global`
// in folder names, and as `GBLR, activation-aware, global` in tables.

import { ALLOCATIONS, type Allocation, expectInit, INITS, type Init } from "../compress/index.ts";
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

const STARTS: Record<Variant["init"], string> = { svd: "SVD", search: "block search", activation: "activation-aware" };

/** A variant by the names in the settings. */
export interface VariantNames {
  structure: string;
  init?: string | undefined;
  allocation?: string | undefined;
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
  const start = starts.search || init !== "svd" ? [STARTS[init]] : [];
  return [stored.title, ...start, ...(allocation === "global" ? ["global"] : [])].join(", ");
}

function expectOne<Name extends string>(name: string, { what, known }: { what: string; known: readonly Name[] }): Name {
  const found = known.find((one) => one === name);
  if (found === undefined) throw new SettingsError(`there is no ${what} "${name}"; give one of ${known.join(", ")}`);
  return found;
}

/**
 * Parses a variant.
 * @param text `structure`, `structure:init` or `structure:init:allocation`
 * @throws SettingsError as `variantOf` does, or if there are more parts
 */
export function parseVariant(text: string): Variant {
  const [structure = "", init, allocation, ...rest] = text.split(":");
  if (rest.length > 0)
    throw new SettingsError(`"${text}" has more than three parts; give structure[:init[:allocation]]`);
  return variantOf({ structure, init, allocation });
}
