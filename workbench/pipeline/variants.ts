// Variants: the ways to compress that one experiment compares. A variant is a structure, an initialization and an
// allocation of the budget. It is `gblr:activation:global` in flags, `gblr-activation-global` in folder names, and
// `GBLR, activation-aware, global` in tables.

import { ALLOCATIONS, type Allocation, INITS, type Init } from "../compress/index.ts";
import { STRUCTURE_NAMES } from "./settings.ts";
import { SettingsError } from "./stage.ts";

export interface Variant {
  structure: (typeof STRUCTURE_NAMES)[number];
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

const TITLES: Record<Variant["structure"], string> = {
  gblr: "GBLR",
  lowrank: "low rank",
  monarch: "Monarch",
  "block-low-rank": "block low rank",
  "block-sparse": "block sparse",
  tucker: "Tucker-2",
  dense: "dense",
};

/** The variant of a model that is trained as it is. @param structure of most of its layers; `dense` if it is not compressed */
export function asItIs(structure: string): Variant {
  const known = STRUCTURE_NAMES.find((name) => name === structure) ?? "dense";
  return { structure: known, init: "svd", allocation: "uniform", key: known, title: titleOf(known), converts: false };
}

export const titleOf = (structure: string): string =>
  Object.hasOwn(TITLES, structure) ? TITLES[structure as Variant["structure"]] : structure;

const STARTS: Record<Variant["init"], string> = { svd: "SVD", search: "block search", activation: "activation-aware" };

export interface VariantNames {
  structure: string;
  init?: string | undefined;
  allocation?: string | undefined;
}

/** @throws SettingsError for an unknown structure, start or allocation, or a combination that does not exist */
export function variantOf({ structure: named, init = "svd", allocation = "uniform" }: VariantNames): Variant {
  const structure = expectOne(named, { what: "structure", known: STRUCTURE_NAMES });
  const start = expectOne(init, { what: "start", known: INITS });
  const shared = expectOne(allocation, { what: "allocation", known: ALLOCATIONS });
  if (start === "search" && structure !== "gblr")
    throw new SettingsError(`a block search is for gblr, not for ${named}`);
  if (start === "activation" && structure !== "gblr" && structure !== "lowrank") {
    throw new SettingsError(`activation-aware factors are for gblr and lowrank, not for ${named}`);
  }
  const parts = [structure, ...(start === "svd" ? [] : [start]), ...(shared === "uniform" ? [] : [shared])];
  return {
    structure,
    init: start,
    allocation: shared,
    key: parts.join("-"),
    title: titled(structure, start, shared),
    converts: structure !== "dense",
  };
}

/** The title of GBLR always names its initialization; others name it if it is not SVD. */
function titled(structure: Variant["structure"], init: Variant["init"], allocation: Allocation): string {
  if (structure === "dense") return TITLES.dense;
  const start = structure === "gblr" || init !== "svd" ? [STARTS[init]] : [];
  return [TITLES[structure], ...start, ...(allocation === "global" ? ["global"] : [])].join(", ");
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
