// The ways to compress that one experiment compares: a structure and what its factors start as. `gblr:activation` as
// flags name it, `gblr-activation` as folders do, `GBLR, activation-aware` as tables do.

import { INITS, STRUCTURE_NAMES } from "./language-settings.ts";
import { SettingsError } from "./settings-error.ts";

export interface Variant {
  structure: (typeof STRUCTURE_NAMES)[number];
  init: (typeof INITS)[number];
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
  dense: "dense",
};

/** A model that is trained on as it is. @param structure of most of its layers, `dense` where it was never compressed */
export function asItIs(structure: string): Variant {
  const known = STRUCTURE_NAMES.find((name) => name === structure) ?? "dense";
  return { structure: known, init: "svd", key: known, title: titleOf(known), converts: false };
}

export const titleOf = (structure: string): string => TITLES[structure as Variant["structure"]] ?? structure;

const STARTS: Record<Variant["init"], string> = { svd: "SVD", search: "block search", activation: "activation-aware" };

/** @throws SettingsError when there is no such structure or start, or they do not go together */
export function variantOf(structure: string, init: string): Variant {
  const known = STRUCTURE_NAMES.find((name) => name === structure);
  if (!known) throw new SettingsError(`there is no structure "${structure}": there is ${STRUCTURE_NAMES.join(", ")}`);
  const start = INITS.find((name) => name === init);
  if (!start) throw new SettingsError(`there is no start "${init}": there is ${INITS.join(", ")}`);
  if (start === "search" && known !== "gblr") throw new SettingsError(`a block search is for gblr, not for ${known}`);
  if (start === "activation" && known !== "gblr" && known !== "lowrank") {
    throw new SettingsError(`activation-aware factors are for gblr and lowrank, not for ${known}`);
  }
  const named = known === "gblr" || start !== "svd";
  return {
    structure: known,
    init: start,
    key: start === "svd" ? known : `${known}-${start}`,
    title: named && known !== "dense" ? `${TITLES[known]}, ${STARTS[start]}` : TITLES[known],
    converts: known !== "dense",
  };
}

/** @param text `structure` or `structure:init` */
export function parseVariant(text: string): Variant {
  const [structure = "", init = "svd", ...rest] = text.split(":");
  if (rest.length > 0) throw new SettingsError(`"${text}" is no way to compress; give structure or structure:init`);
  return variantOf(structure, init);
}
