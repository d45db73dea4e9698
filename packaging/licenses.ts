// Writes docs/licenses.md, the list of all packages that an installation of gblr brings, with their licenses:
// `npm run licenses`. The facts are those of package-lock.json, so that neither the network nor installed packages are
// needed.

import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";

const Entry = z.object({
  version: z.string().optional(),
  license: z.string().optional(),
  dev: z.boolean().optional(),
  devOptional: z.boolean().optional(),
  optional: z.boolean().optional(),
  peer: z.boolean().optional(),
  dependencies: z.record(z.string(), z.string()).optional(),
});
const Lock = z.object({ packages: z.record(z.string(), Entry) });

/** A package that an installation brings. */
export interface InstalledPackage {
  /** in the folder of the clone, e.g. `node_modules/zod` */
  folder: string;
  name: string;
  version: string;
  /** SPDX expression; undefined if the package does not say */
  license: string | undefined;
  /** whether gblr itself depends on it */
  isDirect: boolean;
  /** whether it is for some machines only, or installed by the user */
  isOptional: boolean;
}

/** The packages that an installation of gblr brings, by folder. @param lock text of package-lock.json */
export function installedPackages(lock: string): InstalledPackage[] {
  const { packages } = Lock.parse(JSON.parse(lock));
  const direct = packages[""]?.dependencies ?? {};
  return Object.entries(packages)
    .filter(([folder, { dev, devOptional }]) => folder !== "" && !dev && !devOptional)
    .map(([folder, { version = "", license, optional = false, peer = false }]) => {
      const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
      const isDirect = folder === `node_modules/${name}` && name in direct;
      return { folder, name, version, license, isDirect, isOptional: optional || peer };
    });
}

/** The page docs/licenses.md. @param lock text of package-lock.json */
export function licensesPage(lock: string): string {
  const packages = new Map(installedPackages(lock).map((each) => [`${each.name} ${each.version}`, each]));
  const sorted = [...packages.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const direct = sorted.filter(({ isDirect }) => isDirect);
  const others = sorted.filter(({ isDirect, isOptional }) => !isDirect && !isOptional);
  const optional = sorted.filter(({ isDirect, isOptional }) => !isDirect && isOptional);
  const lines = [
    "# Licenses",
    "",
    "The packages that an installation brings from npm, with their licenses as package-lock.json states them. This package",
    "itself is under Apache-2.0. `npm run licenses` writes this page.",
    "",
    "## Dependencies",
    "",
    ...table(direct),
    "",
    "## Dependencies of these",
    "",
    ...table(others),
    "",
    "## Optional packages",
    "",
    "Binaries for other machines, and packages that the user installs.",
    "",
    ...table(optional),
    "",
  ];
  return lines.join("\n");
}

function table(packages: readonly InstalledPackage[]): string[] {
  const rows = packages.map(({ name, version, license }) => [name, version, license ?? "not stated"]);
  const widths = [0, 1, 2].map((i) =>
    Math.max(...[["package", "version", "license"], ...rows].map((row) => row[i]?.length ?? 0)),
  );
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [
    line(["package", "version", "license"]),
    `| ${widths.map((n) => "-".repeat(n)).join(" | ")} |`,
    ...rows.map(line),
  ];
}

if (import.meta.main) {
  const file = (name: string) => new URL(`../${name}`, import.meta.url);
  writeFileSync(file("docs/licenses.md"), licensesPage(readFileSync(file("package-lock.json"), "utf8")));
}
