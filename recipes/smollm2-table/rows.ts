// The rows of recipes/smollm2-table.ts, as variants of an experiment, in the order in which they are made: low
// rank and GBLR first, then what they are compared with. docs/recipes.md explains how variants are written.

/** The settings of published methods that fit each layer to the inputs of the dense model. */
const PUBLISHED = "+sequential=false+reorder=none";

/** Structures that are fitted as GBLR is: to sequential inputs, with budgets by the loss, and refitted to outputs. */
const REFITTED = ["monarch", "block-low-rank", "btt", "blast"];

const METHODS = [
  "lowrank",
  "lowrank:fwsvd",
  "lowrank:asvd",
  "lowrank:activation",
  "unstructured",
  "unstructured:wanda",
];
const published = (budget: number) => METHODS.map((method) => `${method}@${budget}${PUBLISHED}`);

/** Each structure at one budget, other than GBLR and low rank. */
const structures = (budget: number) => [
  `pifa:activation:loss@${budget}+reorder=none`,
  ...REFITTED.map((structure) => `${structure}:activation:loss@${budget}`),
];

export const ROWS: string[] = [
  // Low rank and PIFA do not depend on the order of units.
  ...[0.6, 0.4].flatMap((budget) => [`lowrank:activation:loss@${budget}+reorder=none`, `gblr:search:loss@${budget}`]),
  // GBLR at this budget is the main variant of the recipe.
  "lowrank:activation:loss@0.8+reorder=none",
  ...structures(0.6),
  ...[1, 2].flatMap((seed) => [
    `lowrank:activation:loss@0.6+reorder=none+calibration-seed=${seed}`,
    `gblr:search:loss@0.6+calibration-seed=${seed}`,
  ]),
  // What blocks cost that can be trained.
  "gblr:search:loss@0.6+stable-blocks",
  // Output errors of layers, all of which see the inputs of the dense model.
  ...[0.5, 0.3].flatMap((budget) => [
    `lowrank:activation@${budget}${PUBLISHED}`,
    `gblr:search@${budget}+sequential=false`,
  ]),
  // What the order of hidden units is worth.
  "gblr:search@0.5+sequential=false+reorder=none",
  ...published(0.6),
  ...[0.6, 0.4].map((budget) => `lowrank:activation@${budget}+reorder=none`),
  ...[0.4, 0.8].flatMap((budget) => structures(budget)),
  // What the parts of the pipeline are worth.
  "lowrank:activation@0.8+reorder=none",
  "gblr:search@0.6",
  ...["lowrank:activation:global@0.6+reorder=none", "gblr:search:global@0.6", "gblr:search:loss@0.6+reorder=none"],
  ...[0.4, 0.8].flatMap((budget) => published(budget)),
  ...["semi-structured", "semi-structured:wanda"].map((method) => `${method}@0.5${PUBLISHED}`),
];
