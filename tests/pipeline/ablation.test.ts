// The variants of an ablation, the settings that a variant has for itself, and draws of windows for the calibration.

import { expect, test } from "bun:test";
import { ablationSettings, answersTo } from "../../workbench/pipeline/ablation.ts";
import { languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { drawnWindows } from "../../workbench/pipeline/domains/texts.ts";
import { parseVariant, settingsOf } from "../../workbench/pipeline/variants.ts";

const VALUES = { quanta: [8, 16], sigmas: [10], isTrained: false };

test("variants of several questions occur once, and each question names its rows", () => {
  const { compare, fineTune } = ablationSettings(["allocation", "masks", "quantum"], VALUES);
  expect(compare).toEqual([
    "lowrank:activation:uniform",
    "lowrank:activation:global",
    "gblr:search:global",
    "lowrank:activation:loss",
    "gblr:search:loss",
    "gblr:search+mask-sigma=10",
    "gblr:search+quantum=8",
    "gblr:search+quantum=16",
  ]);
  expect(fineTune).toEqual(["none"]);
  expect(ablationSettings(["widths"], { ...VALUES, isTrained: true })).toEqual({
    structure: "gblr",
    init: "search",
    allocate: "uniform",
    compare: ["gblr:activation", "gblr:search+structure-learning-rate=0+shrink=none"],
    fineTune: undefined,
  });
  expect(answersTo(["quantum"], VALUES)).toEqual({
    quantum: ["GBLR, block search", "GBLR, block search, quantum 8", "GBLR, block search, quantum 16"],
  });
});

test("a variant with settings of its own has them in its key, its title and its settings", () => {
  const variant = parseVariant("gblr:search:global@0.6+quantum=8+shrink=none");
  expect(variant).toMatchObject({
    key: "gblr-search-global-0.6-quantum-8-shrink-none",
    title: "GBLR, block search, global, budget 60 %, quantum 8, shrink none",
    own: { quantum: 8, shrink: "none" },
  });
  const settings = languageSettings.parse({ model: "m", dataset: "d", context: 32, flops: 0.4 });
  expect(settingsOf(variant, settings)).toMatchObject({ budget: 0.6, quantum: 8, shrink: "none", context: 32 });
  expect(settingsOf(variant, settings).flops).toBeUndefined();
  expect(parseVariant("gblr:search+stable-blocks")).toMatchObject({
    key: "gblr-search-stable-blocks",
    title: "GBLR, block search, stable blocks",
    own: { stableBlocks: true },
  });
});

test.each([
  ["gblr+speed=8", '"gblr+speed=8" has a setting "speed=8"; give +name=value with one of '],
  ["gblr:search+quantum=0", '"gblr:search+quantum=0": quantum cannot be "0"; see --quantum'],
  ["gblr+quantum", '"gblr+quantum": quantum cannot be ""; see --quantum'],
  ["gblr+shrink=fast", '"gblr+shrink=fast": shrink cannot be "fast"; see --shrink'],
  ["gblr+quantum=8", '"gblr+quantum=8" has a setting "quantum", which only a search has; give gblr:search'],
  [
    "gblr+stable-blocks",
    '"gblr+stable-blocks" has a setting "stable-blocks", which only a search has; give gblr:search',
  ],
  ["lowrank+stable-blocks", '"lowrank+stable-blocks" has a setting of widths, but lowrank has none; leave it out'],
  ["lowrank+quantum=8", '"lowrank+quantum=8" has a setting of widths, but lowrank has none; leave it out'],
])("%s is refused", (text, message) => {
  expect(() => parseVariant(text)).toThrow(message);
});

test("draws depend on the seed, have no window twice, and the smaller begins the larger", async () => {
  const windows = { length: 50, context: 1, read: async (i: number) => Int32Array.of(i, i + 1) };
  const drawn = async (count: number, seed?: number) => {
    const chosen = drawnWindows(windows, { count, seed });
    const all = await Promise.all(Array.from({ length: chosen.length }, (_, i) => chosen.read(i)));
    return all.map(([id]) => id as number);
  };
  expect(await drawn(4)).toEqual([0, 1, 2, 3]);
  const whole = await drawn(60, 7);
  expect(whole.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(await drawn(5, 7)).toEqual(whole.slice(0, 5));
  expect(await drawn(50, 8)).not.toEqual(whole);
});
