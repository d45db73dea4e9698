// Variants with settings of their own, as they are written in flags: what is accepted, what is refused, the titles of
// rows, and which settings apply.

import { describe, expect, test } from "bun:test";
import { languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { identityOf, parseVariant, settingsOf, withTitles } from "../../workbench/pipeline/variants.ts";

const settingsWith = (given: object) => languageSettings.parse({ model: "m", dataset: "d", ...given });

describe("a variant with settings of its own", () => {
  test("has the types of these settings, whatever they are, and those of the experiment beside them", () => {
    const text = "gblr:search:loss@0.6+sequential+reorder=energy+reorder-units=hidden/heads+damping=1e-3+quantum=8";
    const variant = parseVariant(text);
    expect(variant.own).toEqual({
      sequential: true,
      reorder: "energy",
      reorderUnits: ["hidden", "heads"],
      damping: 1e-3,
      quantum: 8,
    });
    const settings = settingsOf(variant, settingsWith({ budget: 0.8, searchSteps: 7, flops: 0.5 }));
    expect(settings).toMatchObject({ budget: 0.6, flops: undefined, sequential: true, quantum: 8, searchSteps: 7 });
  });

  test("can switch off what the experiment switches on", () => {
    const variant = parseVariant("lowrank@0.5+sequential=false+reorder=none");
    const own = settingsOf(variant, settingsWith({ sequential: true, reorder: "energy" }));
    expect([own.sequential, own.reorder]).toEqual([false, "none"]);
    expect(variant.key).toBe("lowrank-0.5-no-sequential-reorder-none");
  });

  test("has a folder whose name is safe", () => {
    expect(parseVariant("lowrank@0.5+layers=h.*/../x").key).toBe("lowrank-0.5-layers-h.__.._x");
  });

  for (const [text, message] of [
    ["lowrank+foo=1", /has a setting "foo=1"; give \+name=value with one of locations, layers, .*sequential/],
    ["lowrank+batch=1", /has a setting "batch=1"/],
    ["lowrank+sequential=maybe", /"lowrank\+sequential=maybe": sequential cannot be "maybe"; see --sequential/],
    ["lowrank+damping", /damping cannot be ""/],
    ["lowrank+damping=-1", /damping cannot be "-1"/],
    ["lowrank+reorder=alphabet", /reorder cannot be "alphabet"/],
    ["lowrank+quantum=8", /has a setting of widths, but lowrank has none/],
  ] as const) {
    test(`is refused in one line: ${text}`, () => expect(() => parseVariant(text)).toThrow(message));
  }
});

describe("the titles of variants", () => {
  const titles = (given: object, ...texts: string[]) =>
    withTitles(texts.map(parseVariant), settingsWith(given)).map(({ title }) => title);

  test("say in what variants differ, of the others too", () => {
    const given = { budget: 0.8, sequential: true, reorder: "energy" };
    expect(titles(given, "gblr:search", "lowrank@0.6+sequential=false", "lowrank+reorder=none")).toEqual([
      "GBLR, block search, budget 80 %, sequential, reorder energy",
      "low rank, budget 60 %, reorder energy",
      "low rank, budget 80 %, sequential",
    ]);
  });

  test("are those without settings where no variant has one", () => {
    expect(titles({ budget: 0.8, sequential: true }, "gblr", "lowrank:activation")).toEqual([
      "GBLR, SVD",
      "low rank, activation-aware",
    ]);
  });

  test("leave out seeds, which distinguish variants nevertheless", () => {
    const variants = withTitles(
      ["lowrank@0.5", "lowrank@0.5+calibration-seed=1", "lowrank@0.5+calibration-seed=2"].map(parseVariant),
      settingsWith({}),
    );
    expect(new Set(variants.map(({ title }) => title)).size).toBe(1);
    expect(new Set(variants.map(identityOf)).size).toBe(3);
    expect(new Set(variants.map(({ key }) => key)).size).toBe(3);
  });
});
