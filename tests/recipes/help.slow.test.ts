// Every recipe of the package as it is called: it lists its settings with the recipe's own defaults, runs nothing, and
// refuses what it does not know.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../pipeline/tiny-hub.ts";

const FOLDER = join(ROOT, "recipes");
const RECIPES = readdirSync(FOLDER).filter((file) => file.endsWith(".ts"));

function call(recipe: string, ...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, join(FOLDER, recipe), ...args], {
    env: { PATH: process.env.PATH as string },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** A help text without the line breaks of its columns. */
const flat = (text: string): string => text.replace(/\s+/g, " ");

/** Published settings, as the help of each recipe has to show them. */
const PUBLISHED: Record<string, readonly string[]> = {
  "vit-b-imagenet.ts": [
    "(default: timm/vit_base_patch16_224.augreg_in1k)",
    "(default: 35)",
    "(default: search)",
    "(default: m9-mstd0.5)",
  ],
  "vit-b-imagenet-scratch.ts": ["(default: scratch:vit_base_patch16_224)", "(default: 0.12)", "(default: 5,300)"],
  "vit-s-cifar10.ts": ["(default: scratch:vit_small_patch4_32)", "(default: 0.02)", "(default: 310)"],
  "mixer-s-cifar10.ts": ["(default: scratch:mixer_s4_32)", "(default: 0.2)", "(default: 0.3)"],
  "resnet18-imagenet.ts": ["(default: timm/resnet18.tv_in1k)", "(default: lr0.35)", "(default: 0.005)"],
};

for (const recipe of RECIPES) {
  test(`${recipe} tells its settings and an example`, () => {
    const { code, stdout, stderr } = call(recipe, "--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Usage: ${recipe.slice(0, -3)}`);
    expect(stdout).toContain("--engine");
    for (const shown of PUBLISHED[recipe] ?? []) expect(flat(stdout)).toContain(shown);
  });

  test(`${recipe} refuses a flag that it does not have`, () => {
    const { code, stderr } = call(recipe, "--no-such-thing");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^[^\n]*--no-such-thing[^\n]*\n$/);
  });

  test(`${recipe} is one screen`, () => {
    expect(readFileSync(join(FOLDER, recipe), "utf8").split("\n").length).toBeLessThan(62);
  });
}

test("the recipes of the paper are all there", () => {
  expect(RECIPES).toEqual(expect.arrayContaining(Object.keys(PUBLISHED)));
});
