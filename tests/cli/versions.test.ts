// What records of a run say that it was called with.

import { expect, test } from "bun:test";
import path from "node:path";
import { commandLine } from "../../workbench/cli/shared/versions.ts";

const ROOT = path.join(import.meta.dir, "../..");
const RUN = process.versions.bun === undefined ? "deno run -A" : "bun run";
const script = (name: string) => path.join(ROOT, name);

test("a recipe is called from the package's folder, wherever it was called from", () => {
  const line = ["/usr/bin/bun", script("recipes/gpt2-wt103.ts"), "--steps", "3"];
  const here = process.cwd();
  expect(commandLine(line)).toBe(`${RUN} recipes/gpt2-wt103.ts --steps 3`);
  process.chdir("/");
  try {
    expect(commandLine(line)).toBe(`${RUN} recipes/gpt2-wt103.ts --steps 3`);
  } finally {
    process.chdir(here);
  }
});

test("the gblr command is itself, as a file and as a link", () => {
  expect(commandLine(["bun", script("workbench/cli/gblr.ts"), "eval", "ppl"])).toBe("gblr eval ppl");
  expect(commandLine(["bun", "/home/me/.bun/bin/gblr", "doctor"])).toBe("gblr doctor");
});

test("a script of somebody's own is named without the folders above it", () => {
  expect(commandLine(["bun", "/home/me/secret/own.ts"])).toBe(`${RUN} own.ts`);
});

test("words are quoted where a shell would not read them as they are", () => {
  const words = ["--layers", "h.*.mlp", "--run", "my runs/a", "--title", "it's", ""];
  expect(commandLine(["bun", "gblr", ...words])).toBe(
    "gblr --layers 'h.*.mlp' --run 'my runs/a' --title 'it'\\''s' ''",
  );
});
