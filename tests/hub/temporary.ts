// A folder for one test file, gone when its tests are over.

import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** @returns paths in a new folder, by name */
export function temporaryFolder(): (...names: string[]) => string {
  const folder = mkdtempSync(path.join(os.tmpdir(), "gblr-hub-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (...names) => path.join(folder, ...names);
}

export function fixture(name: string): string {
  return path.join(import.meta.dir, "../fixtures/checkpoint", name);
}
