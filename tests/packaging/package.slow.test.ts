// The npm package as a user has it: packed, unpacked into an empty project beside the packages that an installation
// brings, run and imported by Node, Bun and Deno, and compiled against its types.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { installedPackages } from "../../packaging/licenses.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BIN = path.join(ROOT, "node_modules/.bin");
const CONSUMER = path.join(import.meta.dir, "consumer");

/** The tarball had 1.5 MB when this was written. */
const MOST_BYTES = 2.5e6;

/** What a program with types installs beside the package. */
const TYPES = ["node_modules/@types/node", "node_modules/undici-types"];

let project: string;
let installed: string;
let packed: { filename: string; size: number; files: { path: string }[] };

/** Runs a program in the project, without the variables that change engines. */
function run(program: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { GBLR_ADDON: _, ...env } = process.env;
  const cache = { HF_HOME: path.join(project, "hf"), GBLR_CACHE: path.join(project, "cache") };
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: project,
    encoding: "utf8",
    env: { ...env, ...cache, NO_COLOR: "1" },
  });
  return { status, stdout, stderr };
}

beforeAll(() => {
  project = mkdtempSync(path.join(tmpdir(), "gblr-package-"));
  const modules = path.join(project, "node_modules");
  installed = path.join(modules, "gblr");
  const { status, stdout, stderr } = spawnSync("npm", ["pack", "--json", "--pack-destination", project], {
    cwd: ROOT,
    encoding: "utf8",
  });
  expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
  // The build writes lines before the JSON.
  [packed] = JSON.parse(stdout.slice(stdout.search(/^\[$/m))) as [typeof packed];
  mkdirSync(installed, { recursive: true });
  expect(run("tar", "xzf", packed.filename, "-C", installed, "--strip-components=1").status).toBe(0);
  // Only what an installation brings, so that a dependency which is missing in package.json fails.
  const own = installedPackages(readFileSync(path.join(ROOT, "package-lock.json"), "utf8"));
  const top = own.map(({ folder }) => folder).filter((folder) => folder.lastIndexOf("node_modules/") === 0);
  for (const folder of [...top, ...TYPES].filter((each) => existsSync(path.join(ROOT, each)))) {
    const link = path.join(project, folder);
    if (existsSync(link)) continue;
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(ROOT, folder), link);
  }
  mkdirSync(path.join(modules, ".bin"));
  symlinkSync("../gblr/bin/gblr.js", path.join(modules, ".bin/gblr"));
  cpSync(CONSUMER, project, { recursive: true });
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("the tarball", () => {
  test("has the code, the license and the documentation, and is small", () => {
    const names = packed.files.map((file) => file.path);
    for (const name of [
      "LICENSE",
      "README.md",
      "CITATION.cff",
      "docs/licenses.md",
      "bin/gblr.js",
      "dist/api/index.d.ts",
      "dist/workbench/web/page/serve/style.css",
    ])
      expect(names).toContain(name);
    expect(names.filter((name) => name.startsWith("dist/hub/python/") && name.endsWith(".py")).length).toBeGreaterThan(
      10,
    );
    expect(packed.size).toBeLessThan(MOST_BYTES);
  });

  test("has no tests, fixtures, results, sources in TypeScript or built addons", () => {
    const names = packed.files.map((file) => file.path);
    const wrong = names.filter((name) => /(^|\/)(tests|fixtures|bench|build)\/|\.(node|so|log|tgz)$/.test(name));
    expect(wrong).toEqual([]);
    expect(names.filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))).toEqual([]);
  });

  test("has every module that code names", () => {
    const dist = path.join(installed, "dist");
    const modules = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((file) =>
      /\.(js|d\.ts)$/.test(file),
    );
    const missing = modules.flatMap((file) => {
      const text = readFileSync(path.join(dist, file), "utf8");
      return [...text.matchAll(/(?:\bfrom|\bimport\(?|new URL\() ?"(\.{1,2}\/[^"]*)"/g)]
        .map(([, target]) => path.join(path.dirname(file), target ?? ""))
        .filter((target) => !existsSync(path.join(dist, target)))
        .map((target) => `${file} names ${target}`);
    });
    // hub/files/about.ts is one level below
    expect(missing.filter((line) => !line.endsWith(" ."))).toEqual([]);
  });

  test("has all exports of package.json, and nothing else can be imported", () => {
    const { exports } = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8")) as {
      exports: Record<string, string | { types: string; default: string }>;
    };
    const files = Object.values(exports).flatMap((entry) =>
      typeof entry === "string" ? [entry] : Object.values(entry),
    );
    expect(files.filter((file) => !existsSync(path.join(installed, file)))).toEqual([]);
    const { status, stderr } = run("node", "-e", 'import("gblr/dist/workbench/models/index.js")');
    expect(status).not.toBe(0);
    expect(stderr).toContain("ERR_PACKAGE_PATH_NOT_EXPORTED");
  });
});

describe("the command", () => {
  test("shows its help under Node, and nothing else", () => {
    const { status, stdout, stderr } = run("node_modules/.bin/gblr", "--help");
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("Usage: gblr [options] [command]");
  });

  test("finds the embedded engine and measures it", () => {
    const { status, stdout, stderr } = run("node_modules/.bin/gblr", "doctor", "--quick", "--json", "--engine", "wasm");
    expect([status, stderr]).toEqual([0, ""]);
    const report = JSON.parse(stdout) as {
      engines: { name: string; probe: { available: boolean; remedy?: string } }[];
    };
    const probe = (name: string) => report.engines.find((engine) => engine.name === name)?.probe;
    expect(probe("wasm")?.available).toBe(true);
    expect(probe("torch")?.remedy).toContain("npm rebuild gblr");
  });

  test("is installed without a compiler", () => {
    const { status, stdout } = run(
      "env",
      "CXX=no-such-compiler",
      "node",
      "node_modules/gblr/bin/build.js",
      "--install",
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^gblr: native engine not built: .*wasm will be used.*\n$/);
  });

  test("finds its recipes", () => {
    const recipe = run("node", "node_modules/gblr/dist/recipes/gpt2-wt103.js", "--help");
    expect(recipe.status).toBe(0);
    expect(recipe.stdout).toContain("--flops");
    const { status, stderr } = run("node_modules/.bin/gblr", "sweep", "no-such-recipe", "--vary", "seed=1,2");
    expect(status).toBe(2);
    expect(stderr).toContain("quickstart");
  });
});

describe.each([
  ["Node", "node", []],
  ["Bun", path.join(BIN, "bun"), []],
  ["Deno", path.join(BIN, "deno"), ["run", "-A"]],
] as const)("under %s", (_name, program, flags) => {
  test("a program converts a model, trains it, saves it and loads it again", () => {
    const { status, stdout, stderr } = run(program, ...flags, "use.mjs");
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
    const { engine, converted, difference, losses, files } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as {
      engine: string;
      converted: number;
      difference: number;
      losses: number[];
      files: string[];
    };
    expect(engine).toBe("wasm");
    expect(converted).toBeGreaterThan(0);
    expect(difference).toBeLessThan(1e-5);
    expect(losses[1]).toBeLessThan(losses[0] ?? 0);
    expect(files).toContain("modeling_gblr.py");
  });
});

test("the example of a structure works with what `gblr` exports, in a recipe of one's own", () => {
  const example = readFileSync(path.join(ROOT, "tests/structures/example-structure.ts"), "utf8");
  const structure = example.replaceAll(/"\.\.\/\.\.\/workbench\/\S+\.ts"/g, '"gblr"');
  expect(structure).not.toContain("workbench/");
  writeFileSync(path.join(project, "structure.ts"), structure);
  const recipe = [
    'import { registerStructure } from "gblr";',
    'import { diagonalLowRank } from "./structure.ts";',
    "registerStructure(diagonalLowRank);",
    'const { runRecipe } = await import("gblr/recipes");',
    'await runRecipe({ name: "own", summary: "Own.", example: "own", defaults: { structure: "diagonal-low-rank" } });',
  ];
  writeFileSync(path.join(project, "own.ts"), recipe.join("\n"));
  const { status, stdout } = run(path.join(BIN, "bun"), "own.ts", "--help");
  expect(status).toBe(0);
  expect(stdout).toContain('"diagonal-low-rank")');
});

describe("the types", () => {
  test.each([
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ])("serve a strict program with module %s and moduleResolution %s", (module, moduleResolution) => {
    const options = [
      "--noEmit",
      "--strict",
      "--target",
      "es2023",
      "--types",
      "node",
      "--module",
      module,
      "--moduleResolution",
    ].concat(moduleResolution);
    const { stdout } = run(path.join(BIN, "tsc"), ...options, "typed.ts");
    // The types of TensorFlow.js have errors of their own, for which programs set skipLibCheck.
    const lines = stdout.split("\n").filter((line) => /^typed\.ts|^node_modules\/gblr\//.test(line));
    expect(lines).toEqual([]);
    expect(run(path.join(BIN, "tsc"), ...options, "--skipLibCheck", "typed.ts").stdout).toBe("");
  });
});
