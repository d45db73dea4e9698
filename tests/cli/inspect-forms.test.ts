// `gblr inspect` and `gblr doctor` on the forms of layers: what was measured on this machine, and where it is kept.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { type StoredTensor, writeSafetensors } from "../../hub/safetensors/index.ts";
import { sourcesOf } from "../../hub/safetensors/write.ts";
import { collectReport } from "../../workbench/cli/doctor/collect.ts";
import { printReport } from "../../workbench/cli/doctor/tables.ts";
import { addInspect } from "../../workbench/cli/inspect.ts";
import { paletteFor } from "../../workbench/cli/shared/terminal.ts";
import { formKey, keepForm, processor } from "../../workbench/structures/inference/kept-forms.ts";
import { formCosts } from "../../workbench/structures/inference/packed.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";

const at = temporaryFolder();
runOffline(at("cache"));
const [nIn, nOut, width] = [520, 512, 90];
const costs = formCosts({ nIn, nOut, blocks: 1, values: 2 * width });
const floats = (n: number) => ({ dtype: "F32", shape: [n], data: new Float32Array(n) }) as const;

test("a layer's forms are shown once they were measured, with the settings of the engine", async () => {
  const spans = { dtype: "I32", shape: [4, 1], data: Int32Array.of(0, width, 0, width) } as const;
  const content = new Map<string, StoredTensor>(
    ["a", "b"].flatMap((name) => [
      [`${name}.spans`, spans] as const,
      [`${name}.values_in`, floats(width)] as const,
      [`${name}.values_out`, floats(width)] as const,
    ]),
  );
  await writeSafetensors(at("model.safetensors"), sourcesOf(content));
  const layer = { n_in: nIn, n_out: nOut, blocks: 1 };
  writeFileSync(at("config.json"), JSON.stringify({ gblr: { format: 1, layers: { a: layer, b: layer } } }));
  const before = await runVerb(addInspect, ["inspect", at("")]);
  expect(before.stderr).toBe("");
  expect(before.stdout).toContain("forms in inference not measured on this machine yet: 2 large GBLR layers");

  const seconds = { dense: 0.004, lowrank: 0.003, packed: 0.0025, panels: 0.002 };
  const key = { nIn, nOut, costs, rows: "few", settings: "libtorch 9, cpu" } as const;
  await keepForm(at("cache", "forms.json"), formKey(key), { form: "panels", seconds });
  const after = await runVerb(addInspect, ["inspect", at("")]);
  expect(after.stdout).not.toContain("not measured");
  expect(after.stdout).toContain(`${processor()}, libtorch 9, cpu`);
  expect(after.stdout).toMatch(/a and 1 more +520 × 512 +1 +panels +4\.00 +3\.00 +2\.50 +2\.00/);
  const { stdout } = await runVerb(addInspect, ["inspect", at(""), "--json", "--layer", "b"]);
  expect(JSON.parse(stdout).layers[0].forms).toEqual([
    { form: "panels", seconds, rows: 1, settings: "libtorch 9, cpu" },
  ]);

  const report = await collectReport({ requested: { engine: "cpu" }, quick: true, environment: process.env });
  expect(report.forms).toEqual({ file: at("cache", "forms.json"), processor: processor(), choices: 1, others: 0 });
  const text = printReport(report, paletteFor({}, {}));
  expect(text).toContain(at("cache", "forms.json"));
  expect(text).toContain(`1 on ${processor()}`);
  expect(text).toContain("--form measure");
}, 120_000);
