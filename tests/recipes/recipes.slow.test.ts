// Every recipe as it is called for help, and the command lines that it gives as examples: read, with nothing done.

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

function help(file: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, join(RECIPES, file), "--help"], { cwd: ROOT });
  expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
  return stdout.toString();
}

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

test(
  "help whose reader stops early is no failure",
  () => {
    for (const file of files) {
      const line = `"$0" "$1" --help | head -1; exit \${PIPESTATUS[0]}`;
      const ended = Bun.spawnSync(["bash", "-c", line, process.execPath, join(RECIPES, file)]);
      expect({ code: ended.exitCode, errors: ended.stderr.toString() }).toEqual({ code: 0, errors: "" });
    }
  },
  PATIENCE,
);
