// Every recipe as it is called for help: it lists its settings with its own defaults, gives examples that it understands, runs
// nothing, and refuses what it does not know.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Recipe, recipeProgram } from "../../workbench/cli/experiment.ts";
import { readSettings } from "../../workbench/cli/shared/settings.ts";
import { imageExperiment } from "../../workbench/pipeline/domains/image-settings.ts";
import { languageSettings } from "../../workbench/pipeline/domains/language.ts";

const ROOT = join(import.meta.dir, "../..");
const RECIPES = join(ROOT, "recipes");
const PATIENCE = 60_000;
const files = readdirSync(RECIPES).filter((name) => name.endsWith(".ts"));
const flagOf = (name: string) => `--${name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}`;

/** What a recipe prints, called as a process. */
function call(file: string, ...args: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, join(RECIPES, file), ...args], {
    env: { PATH: process.env.PATH as string },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

const helps = new Map<string, string>();

/** The help of a recipe, which is called once. */
function help(file: string): string {
  const known = helps.get(file);
  if (known !== undefined) return known;
  const { code, stdout, stderr } = call(file, "--help");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  helps.set(file, stdout);
  return stdout;
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

/** One recipe of each kind: language, images, and the tour. */
const KINDS = ["gpt2-wt103.ts", "vit-s-cifar10.ts", "quickstart.ts"];

/** Words of a shell's line without quotes. */
const examplesOf = (text: string): string[][] =>
  (text.split("\nExample:\n")[1] ?? "")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([word]) => word);

describe.each(files)("recipes/%s", (file) => {
  const source = readFileSync(join(RECIPES, file), "utf8");
  const isTour = source.includes("runTour");

  test(
    "says in its help what it does, and each of its settings",
    () => {
      const text = help(file);
      expect(text).toStartWith(`Usage: ${file.replace(".ts", "")} [options]\n`);
      const schema = source.includes('kind: "images"') ? imageExperiment : languageSettings;
      const foreign = source.includes('kind: "images"') ? [] : ["convolutions"];
      const names = isTour ? [] : Object.keys(schema.shape).filter((name) => !foreign.includes(name));
      for (const name of [...names, "engine", "device", "precision", "threads", "json"]) {
        expect(text).toMatch(new RegExp(`^  ${flagOf(name).replace("--", "--(no-)?")}[ ,]`, "m"));
      }
    },
    PATIENCE,
  );

  test("shows the published settings as its defaults", () => {
    for (const shown of PUBLISHED[file] ?? []) expect(flat(help(file))).toContain(shown);
  });

  test("is one screen", () => {
    expect(source.split("\n").length).toBeLessThan(62);
  });

  test.skipIf(isTour)(
    "understands its own examples",
    async () => {
      const recipe = await recipeOf(file);
      const examples = examplesOf(help(file));
      expect(examples.length).toBeGreaterThan(0);
      for (const [bun, run, script, ...args] of examples) {
        expect([bun, run, script]).toEqual(["bun", "run", `recipes/${file}`]);
        let flags: Record<string, unknown> | undefined;
        const program = recipeProgram(recipe).exitOverride();
        program.action((given) => {
          flags = given;
        });
        await program.parseAsync(args, { from: "user" });
        const settings =
          recipe.kind === "images"
            ? readSettings(imageExperiment, flags ?? {}, recipe.defaults)
            : readSettings(languageSettings, flags ?? {}, recipe.defaults);
        expect(settings.model).not.toBe("");
      }
    },
    PATIENCE,
  );
});

/** The argument of `runRecipe` in the file, evaluated with what the file imports from its own folder. */
async function recipeOf(file: string): Promise<Recipe> {
  const source = readFileSync(join(RECIPES, file), "utf8");
  const [literal] = /(?<=await runRecipe\()\{[\s\S]*\}(?=\);)/.exec(source) ?? [];
  const paths = [...source.matchAll(/^import \{.*\} from "(\.\/.+)";$/gm)].map(([, path]) => path as string);
  const modules = await Promise.all(paths.map((path) => import(join(RECIPES, path))));
  const imported = Object.assign({}, ...modules) as Record<string, unknown>;
  return new Function(...Object.keys(imported), `return (${literal});`)(...Object.values(imported)) as Recipe;
}

test("the recipes of the paper are all there", () => {
  expect(files).toEqual(expect.arrayContaining(Object.keys(PUBLISHED)));
});

test.each(KINDS)(
  "%s refuses a flag that it does not have",
  (file) => {
    const { code, stderr } = call(file, "--no-such-thing");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^[^\n]*--no-such-thing[^\n]*\n$/);
  },
  PATIENCE,
);

test.each(KINDS)(
  "help of %s whose reader stops early is no failure",
  (file) => {
    const line = `"$0" "$1" --help | head -1; exit \${PIPESTATUS[0]}`;
    const ended = Bun.spawnSync(["bash", "-c", line, process.execPath, join(RECIPES, file)]);
    expect({ code: ended.exitCode, errors: ended.stderr.toString() }).toEqual({ code: 0, errors: "" });
  },
  PATIENCE,
);
