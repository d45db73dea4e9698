// What stands of a recipe's settings beside the flags of a command line.

import { expect, test } from "bun:test";
import { defaultsFor } from "../../workbench/cli/shared/settings.ts";

const RECIPE = {
  defaults: {
    model: "scratch:vit_small_patch4_32",
    structure: "gblr",
    init: "search",
    stableBlocks: true,
    budget: 0.2,
    widths: "splr",
    sigma: [1, 100],
    sigmaEpochs: [5, 300],
    epochs: 310,
    decayEpochs: 300,
    autoAugment: "cifar10",
    erasing: 0.25,
  },
};
const gone = (flags: Record<string, unknown>) => {
  const left = defaultsFor(RECIPE, flags);
  return Object.keys(RECIPE.defaults).filter((name) => !(name in left));
};

test("a recipe stands as it is beside flags of other things", () => {
  expect(gone({ seed: 3, learningRate: 1e-3 })).toEqual([]);
  expect(defaultsFor({}, { seed: 3 })).toEqual({});
});

test("what belongs to a length of training goes with it", () => {
  expect(gone({ epochs: 3 })).toEqual(["sigmaEpochs", "decayEpochs"]);
  expect(gone({ steps: 3 })).toEqual(["sigmaEpochs", "decayEpochs"]);
});

test("a trained model takes away what is for learning from nothing, another one from scratch does not", () => {
  expect(gone({ model: "owner/name" })).toEqual(["widths", "sigma", "sigmaEpochs"]);
  expect(gone({ model: "scratch:mixer_s4_32" })).toEqual([]);
});

test("one augmentation takes the place of another, and a rival structure has no search", () => {
  expect(gone({ randAugment: "m9-mstd0.5" })).toEqual(["autoAugment"]);
  expect(gone({ colorJitter: 0.4 })).toEqual(["autoAugment"]);
  expect(gone({ autoAugment: "none" })).toEqual([]);
  expect(gone({ structure: "lowrank" })).toEqual(["init", "stableBlocks"]);
  expect(gone({ init: "activation" })).toEqual(["stableBlocks"]);
  expect(gone({ init: "search" })).toEqual([]);
  expect(gone({ structure: "gblr" })).toEqual([]);
  expect(gone({ flops: 0.4 })).toEqual(["budget"]);
});

test("a cost that is asked for is held, where the recipe's rule would let it drift and no other rule is asked for", () => {
  const published = { shrink: "adaptive", threshold: 0.02, target: 0.05 };
  const left = (flags: Record<string, unknown>) => defaultsFor({ defaults: published }, flags);
  expect(left({ flops: 0.4 })).toEqual({ shrink: "budget" } as object);
  expect(left({ budget: 0.2 })).toEqual({ shrink: "budget" } as object);
  expect(left({ seed: 1 })).toEqual(published);
  expect(left({ budget: 0.2, shrink: "mean" })).toEqual({ shrink: "adaptive" });
  expect(defaultsFor({ defaults: { shrink: "none", budget: 0.2 } }, { budget: 0.1 })).toMatchObject({ shrink: "none" });
});
