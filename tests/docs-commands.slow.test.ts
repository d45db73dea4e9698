// Every `gblr` and recipe command in the README and the docs names a verb and flags that exist.
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(path.join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** Program and verb, with all flags that a page gives it. */
const flagsOf = new Map<string, Set<string>>();
for (const page of pages) {
  const text = readFileSync(path.join(root, page), "utf8").replaceAll(/ *\\\n */g, " ");
  for (const [, command = ""] of text.matchAll(
    /(?:^|`| )(?:npx )?((?:gblr|bun(?: run)? recipes\/\S+\.ts) [^`\n]+)/gm,
  )) {
    const [words = ""] = command.split(" # ");
    const parts = words.replaceAll(/'[^']*'|"[^"]*"/g, "_").split(/\s+/);
    const recipe = parts.find((part) => part.startsWith("recipes/"));
    const verb = parts.slice(1, ["eval", "hub"].includes(parts[1] ?? "") ? 3 : 2).join(" ");
    const program = recipe ?? `workbench/cli/gblr.ts ${verb}`;
    const flags = flagsOf.get(program) ?? new Set();
    for (const part of parts) if (/^--[a-z]/.test(part)) flags.add(part.split("=")[0] as string);
    flagsOf.set(program, flags);
  }
}

describe("the commands of the docs", () => {
  test("are found", () => {
    expect(flagsOf.size).toBeGreaterThan(10);
  });

  test.each([...flagsOf])("%s has the flags that the docs give it", (program, flags) => {
    const { stdout, status } = spawnSync(process.execPath, [...program.split(" "), "--help"], {
      cwd: root,
      encoding: "utf8",
    });
    expect(status).toBe(0);
    const known = new Set(stdout.match(/--[a-z][a-z-]*/g));
    expect([...flags].filter((flag) => !known.has(flag))).toEqual([]);
  });
});
