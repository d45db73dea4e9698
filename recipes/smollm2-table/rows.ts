// The rows of recipes/smollm2-table.ts, as variants of an experiment, in the order in which they are made: at each budget
// low rank and GBLR first, then what they are compared with. docs/recipes.md explains how variants are written.

/** The rows. Low rank, which does not depend on the order of units, and pruned matrices keep the order of the model. */
export const ROWS: string[] = [
  ...[0.6, 0.4, 0.8].flatMap((budget) => [
    ...["lowrank", "lowrank:fwsvd", "lowrank:asvd", "lowrank:activation"].map(
      (method) => `${method}@${budget}+sequential=false+reorder=none`,
    ),
    ...["lowrank:activation", "lowrank:activation:global", "lowrank:activation:loss"].map(
      (method) => `${method}@${budget}+reorder=none`,
    ),
  ]),
  ...[0.6, 0.4].map((budget) => `gblr:search:loss@${budget}`),
  // Output errors of layers, all of which see the inputs of the dense model.
  ...[0.5, 0.3].flatMap((budget) => [
    `lowrank:activation@${budget}+sequential=false+reorder=none`,
    `gblr:search@${budget}+sequential=false`,
  ]),
  ...[0.6, 0.4, 0.8].flatMap((budget) => [
    `gblr:search@${budget}`,
    `gblr:search:global@${budget}`,
    ...["pifa:activation", "pifa:activation:loss"].map((method) => `${method}@${budget}+reorder=none`),
    ...["unstructured", "unstructured:wanda"].map((method) => `${method}@${budget}+sequential=false+reorder=none`),
  ]),
  "semi-structured@0.5+sequential=false+reorder=none",
  "semi-structured:wanda@0.5+sequential=false+reorder=none",
  ...[0.6, 0.4, 0.8].flatMap((budget) =>
    ["monarch", "block-low-rank", "btt", "blast"].flatMap((structure) => [
      `${structure}:activation@${budget}`,
      `${structure}:activation:loss@${budget}`,
    ]),
  ),
  "gblr:search:loss@0.6+reorder=none",
  ...[1, 2].flatMap((seed) => [
    `lowrank:activation:loss@0.6+reorder=none+calibration-seed=${seed}`,
    `gblr:search:loss@0.6+calibration-seed=${seed}`,
  ]),
];
