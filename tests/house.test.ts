// The rules of docs/architecture.md, CONTRIBUTING.md and docs/walks.md that a program can check: the import order of the
// folders, the sizes of files and folders, where names of structures may be compared, and that every file the docs name
// exists. A limit above its goal (in the comment beside it) is what the code had when the limit was set: lower it when
// the code gets better, never raise it.
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** A folder imports only from folders before it, and from itself. */
const IMPORT_ORDER = [
  "hub",
  "native",
  "workbench/engine",
  "workbench/distributed",
  "workbench/gblr",
  "workbench/structures",
  "workbench/architectures",
  "workbench/models",
  "workbench/compress",
  "workbench/data",
  "workbench/export",
  "workbench/evaluate",
  "workbench/train",
  "workbench/report",
  "workbench/web",
  "workbench/pipeline",
  "workbench/serve",
  "workbench/watch",
  "workbench/cli",
  "api",
  "recipes",
  "bench",
];
/** imports against that order */
const MOST_UPWARD_IMPORTS = 0;

/** lines of a source file */
const MOST_LINES = 400;
/** Source files with fewer lines than this count as small. */
const FEWEST_LINES = 25;
/** small files that are no entry point; goal 0 */
const MOST_SMALL_FILES = 0;
/** Small by nature: what starts a process or a worker, what lists what a folder or a C++ file offers. */
const ENTRY_POINT = /(^|\/)(index|worker|child|gblr)\.ts$|^(api|recipes)\/[^/]+\.ts$|\.h$/;
/** source files directly in one folder; goal 20 */
const MOST_FILES_IN_FOLDER = 26;

/** comparisons with a structure's name outside workbench/structures and workbench/gblr; goal 0 */
const MOST_NAME_COMPARISONS = 11;
const NAME_COMPARISON =
  /[!=]==? *"(gblr|packed|lowrank|tucker|dense|monarch|block-low-rank|block-sparse)"|\bcase "(gblr|packed|lowrank|tucker|dense|monarch|block-low-rank|block-sparse)":/g;

/** exports of public modules without a docstring */
const MOST_UNDOCUMENTED = 0;

/** files that a reader opens on each walk of docs/walks.md */
const MOST_STEPS = [30, 22, 10];
const MOST_README_LINES = 200;

const root = fileURLToPath(new URL("../", import.meta.url));
const SKIPPED = new Set(["node_modules", ".git", "native/build", "dist", "runs", "docs/api"]);

function filesBelow(folder: string): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const name = path.posix.join(folder, entry.name);
      if (entry.isDirectory()) return SKIPPED.has(name) ? [] : filesBelow(name);
      return [name];
    })
    .sort();
}

const read = (file: string) => readFileSync(path.join(root, file), "utf8");
const exists = (file: string) =>
  SKIPPED.has(file) || statSync(path.join(root, file), { throwIfNoEntry: false }) !== undefined;
const all = filesBelow(".");
const sources = all.filter((file) => /^(api|hub|native|workbench|recipes|packaging)\/.*\.(ts|js|py|cc|h)$/.test(file));
const lines = new Map(sources.map((file) => [file, read(file).split("\n").length - 1]));

describe("the folders", () => {
  test("import only what stands before them in the order", () => {
    const upward = all
      .filter((file) => file.endsWith(".ts") && rankOf(file) !== undefined)
      .flatMap((file) =>
        imports(file)
          .filter((target) => (rankOf(target) ?? -1) > (rankOf(file) ?? -1))
          .map((target) => `${file} imports ${target}`),
      );
    expect(atMost(upward, MOST_UPWARD_IMPORTS)).toEqual([]);
  });

  test("of the workbench are all in the order", () => {
    const folders = new Set(sources.filter((file) => file.startsWith("workbench/")).map((file) => path.dirname(file)));
    expect([...folders].filter((folder) => rankOf(`${folder}/x`) === undefined)).toEqual([]);
  });

  test("hold a number of files that one can read at a glance", () => {
    const held = Map.groupBy(sources, (file) => path.dirname(file));
    const full = [...held].filter(([, files]) => files.length > MOST_FILES_IN_FOLDER);
    expect(full.map(([folder, files]) => `${folder} holds ${files.length} files`)).toEqual([]);
  });
});

describe("the source files", () => {
  test("are not too long", () => {
    const long = [...lines].filter(([, count]) => count > MOST_LINES);
    expect(long.map(([file, count]) => `${file} has ${count} lines`)).toEqual([]);
  });

  test("are not too short, entry points aside", () => {
    const small = [...lines].filter(([file, count]) => count < FEWEST_LINES && !ENTRY_POINT.test(file));
    expect(
      atMost(
        small.map(([file, count]) => `${file} has ${count} lines`),
        MOST_SMALL_FILES,
      ),
    ).toEqual([]);
  });

  test("ask a structure's object rather than compare its name", () => {
    const found = sources
      .filter((file) => !/^workbench\/(structures|gblr)\//.test(file))
      .flatMap((file) => [...read(file).matchAll(NAME_COMPARISON)].map((match) => `${file}: ${match[0]}`));
    expect(atMost(found, MOST_NAME_COMPARISONS)).toEqual([]);
  });
});

const pages = all.filter((file) => /^(README|CONTRIBUTING|CHANGELOG)\.md$|^docs\/[^/]+\.md$/.test(file));

describe("the API reference", () => {
  test("describes all that the public modules export", () => {
    const modules = all.filter((file) =>
      /^api\/|^(hub|workbench)\/[^/]+\/index\.ts$|^workbench\/engine\/[^/]+\/index\.ts$/.test(file),
    );
    const { stdout } = spawnSync("node_modules/.bin/deno", ["doc", "--quiet", "--json", ...modules], {
      cwd: root,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    const { nodes } = JSON.parse(stdout) as { nodes: Record<string, { symbols: DocumentedSymbol[] }> };
    const symbols = Object.values(nodes).flatMap((module) => module.symbols);
    expect(symbols.length).toBeGreaterThan(100);
    const bare = symbols.flatMap(({ name, declarations }) =>
      declarations
        .filter(({ kind, jsDoc }) => kind !== "reference" && !jsDoc?.doc)
        .map(
          ({ location }) => `${name}, ${path.relative(root, fileURLToPath(location.filename))}:${location.line + 1}`,
        ),
    );
    expect(atMost([...new Set(bare)].sort(), MOST_UNDOCUMENTED)).toEqual([]);
  });
});

describe("the docs", () => {
  test.each(pages)("%s names files that exist", (page) => {
    const names = new Set(all.map((file) => path.basename(file)));
    const gone = [...namedFiles(read(page))].filter((name) =>
      name.includes("/") ? !exists(name) : !names.has(path.basename(name)),
    );
    expect(gone).toEqual([]);
  });

  test.each(pages)("%s links to pages and headings that exist", (page) => {
    const broken = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => link ?? "")
      .filter((link) => !/^[a-z]+:/.test(link))
      .filter((link) => {
        const [file = "", heading] = link.split("#");
        const target = file === "" ? page : path.posix.join(path.dirname(page), file);
        return !exists(target) || (heading !== undefined && !headings(read(target)).has(heading));
      });
    expect(broken).toEqual([]);
  });

  test.each(pages)("%s runs npm scripts that exist", (page) => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const called = [...read(page).matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? "");
    expect(called.filter((name) => !(name in scripts))).toEqual([]);
  });

  test("quote messages that the code gives", () => {
    const code = [...sources, "node_modules/@tensorflow/tfjs-core/dist/engine.js"].map(read).join("\n");
    const table = read("docs/engines.md").split("## Troubleshooting")[1] as string;
    const messages = [...table.matchAll(/^\| `([^`]+)`/gm)].map(([, message]) => message as string);
    expect(messages.length).toBeGreaterThan(10);
    // Names and values in a message are filled in: only the words between them stand in the code.
    const pieces = messages
      .flatMap((message) => message.split(/@[\w/-]+|["'…():=`]|\bcpu$/))
      .map((piece) => piece.trim());
    expect(pieces.filter((piece) => /\w+ \w+/.test(piece) && !code.includes(piece))).toEqual([]);
  });

  test("begin with a README that is short", () => {
    expect(read("README.md").split("\n").length - 1).toBeLessThanOrEqual(MOST_README_LINES);
  });

  test("walk through files that exist, and not through too many", () => {
    const walks = read("docs/walks.md")
      .split(/^## /m)
      .slice(1)
      .map((part) => [...part.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, file]) => file ?? ""));
    expect(walks).toHaveLength(MOST_STEPS.length);
    for (const [index, files] of walks.entries()) {
      expect(files.filter((file) => !exists(file))).toEqual([]);
      expect(new Set(files).size).toBe(files.length);
      expect(files.length).toBeGreaterThan(0);
      expect(files.length).toBeLessThanOrEqual(MOST_STEPS[index] ?? 0);
    }
  });
});

/** What `deno doc --json` says of an export. */
interface DocumentedSymbol {
  name: string;
  declarations: { kind: string; location: { filename: string; line: number }; jsDoc?: { doc?: string } }[];
}

/** Empty where there are at most so many, else all of them, so that a failure lists them. */
function atMost(found: string[], limit: number): string[] {
  return found.length > limit ? found : [];
}

function rankOf(file: string): number | undefined {
  const rank = IMPORT_ORDER.findIndex((folder) => file.startsWith(`${folder}/`));
  return rank < 0 ? undefined : rank;
}

/** Files that a file imports by relative path, statically or dynamically. */
function imports(file: string): string[] {
  return [...read(file).matchAll(/(?:\bfrom|\bimport\(|^import)\s*"(\.[^"]+)"/gm)].map(([, target]) =>
    path.posix.join(path.dirname(file), target ?? ""),
  );
}

/** Files and folders that a page names between backticks. */
function namedFiles(page: string): Set<string> {
  const spans = page.replace(/^```[\s\S]*?^```/gm, "").matchAll(/`([^`\n]+)`/g);
  const ours = /^(\.ci|api|bench|bin|docs|hub|native|packaging|recipes|tests|workbench)\/[\w./-]+$/;
  const file = /^[\w-]+(\.slow|\.test)*\.(ts|js|cc|h)$/;
  return new Set([...spans].map(([, span]) => span ?? "").filter((span) => ours.test(span) || file.test(span)));
}

/** Names by which GitHub links to the headings of a page. */
function headings(page: string): Set<string> {
  return new Set(
    [...page.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      (title ?? "")
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
}
