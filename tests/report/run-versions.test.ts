// run.json of every version that has been is read for ever; one of a version that is not known is left out by its name.

import { expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { readRun } from "../../workbench/report/run-files.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const FIXTURE = path.join(import.meta.dir, "../fixtures/formats/v1/run");
const at = temporaryFolder();

test("run.json of version 1 is read whole", async () => {
  const { record, problems } = await readRun(FIXTURE);
  expect(problems).toEqual([]);
  expect(record).toMatchObject({
    ...{ format: 1, name: "a run", recipe: "quickstart", status: "running", seed: 0 },
    ...{ settings: { steps: 5, sigma: "Infinity" }, started: "2026-01-02T03:04:05.000Z" },
  });
});

test("run.json of another version is told by its name", async () => {
  cpSync(FIXTURE, at("newer"), { recursive: true });
  const file = at("newer", "run.json");
  writeFileSync(file, readFileSync(file, "utf8").replace('"format": 1', '"format": 3'));
  const { record, problems } = await readRun(at("newer"));
  expect(record).toBeUndefined();
  expect(problems).toEqual([
    "run.json is left out: format: must be 1, is 3; a newer version of gblr wrote it: update gblr.",
  ]);
});
