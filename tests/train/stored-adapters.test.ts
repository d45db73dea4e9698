// The adapters of a run: those of its last checkpoint, and none if that is damaged, as older ones are not those of the model.

import { beforeAll, expect, test } from "bun:test";
import { readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { storedAdapters } from "../../workbench/train/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { collect, loraOptions } from "./runs.ts";
import { smallModel } from "./small.ts";

const at = temporaryFolder();
beforeAll(async () => {
  await openEngine({ engine: "wasm" });
});

test("adapters are read from the last checkpoint, which must be complete", async () => {
  const model = smallModel();
  await collect(loraOptions(model, at("run"), { length: { steps: 6 } }));
  model.dispose();
  const { rank, alpha, adapters } = await storedAdapters(at("run"));
  expect([rank, alpha]).toEqual([3, 6]);
  expect(adapters.map(({ parameter }) => parameter)).toContain("fc2.weight");
  const folder = join(at("run"), "checkpoint");
  const names = readdirSync(folder).sort();
  expect(names.filter((name) => name.endsWith(".json")).length).toBe(2);
  truncateSync(join(folder, names.findLast((name) => name.endsWith(".safetensors")) as string), 100);
  const refused = storedAdapters(at("run"));
  await expect(refused).rejects.toThrow(/its last checkpoint, which holds the adapters, is not complete \([^\n]*\); /);
});
