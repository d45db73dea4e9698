// The ways to compress that one experiment compares: a structure, what its factors start as, how layers share the budget.
// `gblr:activation:global` as flags name one, `gblr-activation-global` as folders do, `GBLR, activation-aware` as tables.

import { ALLOCATIONS, type Allocation, INITS, type Init } from "../compress/index.ts";
import { STRUCTURE_NAMES } from "./settings.ts";
import { SettingsError } from "./stage.ts";

export interface Variant {
  structure: (typeof STRUCTURE_NAMES)[number];
  init: Init;
  /** how layers share the budget */
  allocation: Allocation;
  /** of folders */
  key: string;
  /** of tables */
  title: string;
  /** whether layers are replaced, or the model is trained on as it is */
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

/** A model that is trained on as it is. @param structure of most of its layers, `dense` where it was never compressed */
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

/** @throws SettingsError when there is no such structure, start or allocation, or they do not go together */
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

/** Unlike others, GBLR always says what it starts from. */
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
