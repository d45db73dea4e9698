// The page of licenses is what package-lock.json says now, and no package may come with a license that nobody has looked
// at.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { installedPackages, licensesPage } from "../../packaging/licenses.ts";

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), "utf8");

/** Licenses under which a package may be used by software under Apache-2.0 that does not contain it. */
const ACCEPTED = new Set(
  [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "LGPL-3.0-or-later",
    "MIT",
    "MPL-2.0",
    "OFL-1.1",
  ].concat("Unlicense"),
);

test("docs/licenses.md is up to date; otherwise run `npm run licenses`", () => {
  expect(read("docs/licenses.md")).toBe(licensesPage(read("package-lock.json")));
});

test("every dependency is listed, with the license of the installed package", () => {
  const { dependencies } = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
  const direct = installedPackages(read("package-lock.json")).filter(({ isDirect }) => isDirect);
  expect(direct.map(({ name, version }) => [name, version]).sort()).toEqual(Object.entries(dependencies).sort());
  for (const { folder, license } of direct) {
    const own = JSON.parse(read(`${folder}/package.json`)) as { license?: string };
    expect([folder, license]).toEqual([folder, own.license]);
  }
});

test("all licenses are accepted ones", () => {
  const others = installedPackages(read("package-lock.json")).filter(
    ({ license }) => !license || license.split(/ AND | OR |[()]/).some((part) => part !== "" && !ACCEPTED.has(part)),
  );
  expect(others).toEqual([]);
});
