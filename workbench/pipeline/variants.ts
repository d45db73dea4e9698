// Variants: the ways to compress that one experiment compares. A variant is a structure, an initialization and an
// allocation of the budget. It is `gblr:activation:global` in flags, `gblr-activation-global` in folder names, and
// `GBLR, activation-aware, global` in tables.

import { ALLOCATIONS, type Allocation, expectInit, INITS, type Init } from "../compress/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { dense } from "../structures/dense.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import type { StructureKind } from "../structures/structure.ts";
import { SettingsError } from "./stage.ts";

export interface Variant {
  /** as the registry names it */
  structure: string;
  init: Init;
  /** how layers share the budget */
  allocation: Allocation;
  /** in folder names */
  key: string;
  /** in tables */
  title: string;
  /** whether layers are converted; false: the model is trained as it is */
  converts: boolean;
}

/** The variant of a model that is trained as it is. @param structure of most of its layers; `dense` if not compressed */
export function asItIs(structure: string): Variant {
  const { name, stored } = structures().find((each) => each.name === structure) ?? dense;
  return { structure: name, init: "svd", allocation: "uniform", key: name, title: stored.title, converts: false };
}

const STARTS: Record<Variant["init"], string> = { svd: "SVD", search: "block search", activation: "activation-aware" };

export interface VariantNames {
  structure: string;
  init?: string | undefined;
  allocation?: string | undefined;
}

/** @throws SettingsError for an unknown structure, start or allocation, or a combination that does not exist */
export function variantOf({ structure: named, init = "svd", allocation = "uniform" }: VariantNames): Variant {
  const structure = expectOne(named, { what: "structure", known: structures().map(({ name }) => name) });
  const start = expectOne(init, { what: "start", known: INITS });
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

/** The title of a structure with a search always names its initialization; others name it if it is not SVD. */
function titled({ stored, isDense, starts = {} }: StructureKind, init: Init, allocation: Allocation): string {
  if (isDense) return stored.title;
  const start = starts.search || init !== "svd" ? [STARTS[init]] : [];
  return [stored.title, ...start, ...(allocation === "global" ? ["global"] : [])].join(", ");
}

function expectOne<Name extends string>(name: string, { what, known }: { what: string; known: readonly Name[] }): Name {
  const found = known.find((one) => one === name);
  if (found === undefined) throw new SettingsError(`there is no ${what} "${name}": there is ${known.join(", ")}`);
  return found;
}

/** @param text `structure`, `structure:init` or `structure:init:allocation` */
export function parseVariant(text: string): Variant {
  const [structure = "", init, allocation, ...rest] = text.split(":");
  if (rest.length > 0) throw new SettingsError(`"${text}" is no way to compress; give structure:init:allocation`);
  return variantOf({ structure, init, allocation });
}
