// Builds the code of the npm package: `npm run build:package`, which `npm pack` and `npm publish` run first. TypeScript
// compiles the sources to JavaScript with declarations in dist/, because Node runs no TypeScript of packages. The files
// that code reads at run time are copied beside it, so that every path relative to a module is as in a clone.

import { spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import packageJson from "../package.json" with { type: "json" };

const root = fileURLToPath(new URL("../", import.meta.url));
const dist = join(root, "dist");

/** Files that code reads at run time, or that the C++ compiler does. */
const ASSETS = /\.(py|cc|h)$/;

rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "packaging"], {
  cwd: root,
  stdio: "inherit",
});
if (status !== 0) process.exit(status ?? 1);

for (const folder of ["hub", "native"]) {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  for (const file of files.filter((file) => ASSETS.test(file) && !file.startsWith("build"))) {
    cpSync(join(root, folder, file), join(dist, folder, file));
  }
}

// The browser runs these as they are.
cpSync(join(root, "workbench/web/page"), join(dist, "workbench/web/page"), { recursive: true });

// Recipes export nothing.
for (const file of filesOf("recipes", ".d.ts")) rmSync(file);
for (const file of filesOf(".", ".d.ts")) rewrite(file, declarationsOf);
for (const file of filesOf(".", ".js")) rewrite(file, modulesOf);

// The part of package.json that code reads (hub/files/about.ts). The type makes the files modules.
const { name, version, description, type, repository } = packageJson as typeof packageJson & { repository?: object };
const about = { name, version, description, type, repository };
writeFileSync(join(dist, "package.json"), `${JSON.stringify(about, null, 2)}\n`);

function filesOf(folder: string, end: string): string[] {
  const files = readdirSync(join(dist, folder), { recursive: true, encoding: "utf8" });
  return files.filter((file) => file.endsWith(end)).map((file) => join(dist, folder, file));
}

function rewrite(file: string, change: (text: string) => string): void {
  const text = readFileSync(file, "utf8");
  const changed = change(text);
  if (changed !== text) writeFileSync(file, changed);
}

/** TypeScript leaves the file names of imports in declarations as they are. */
function declarationsOf(text: string): string {
  return text.replace(/((?:from|import) ?\(?"\.{1,2}\/[^"]+)\.ts"/g, '$1.js"');
}

/** Modules that are started by path, as workers and processes, and the commands in the help of recipes. */
function modulesOf(text: string): string {
  return text
    .replace(/(new URL\("\.\/[\w-]+)\.ts", import\.meta\.url\)/g, '$1.js", import.meta.url)')
    .replace(/^#!.*/, "#!/usr/bin/env node")
    .replace(/\bbun run recipes\/([\w-]+)\.ts/g, "node node_modules/gblr/dist/recipes/$1.js");
}
