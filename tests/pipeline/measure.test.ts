// The size in a row of the comparison: the same numbers whether the model is in memory or on the disk, and whatever form a
// GBLR layer is held in.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import type { Scored } from "../../workbench/pipeline/domains/domain.ts";
import { measure } from "../../workbench/pipeline/measure.ts";
import type { PipelineEvent } from "../../workbench/pipeline/stage.ts";
import { structured, tinyGpt2 } from "../models/tiny.ts";

const folder = mkdtempSync(join(os.tmpdir(), "gblr-measure-"));

beforeAll(() => openEngine({ engine: "wasm" }));
afterAll(() => rmSync(folder, { recursive: true }));

/** Has no images or text: sizes do not depend on them. */
class OnlySizes {
  async *score(): AsyncGenerator<PipelineEvent, Scored> {
    yield { kind: "stage", stage: "measure" };
    return { metrics: {} };
  }
}

async function sizeOf(model: Model, onDisk?: string): Promise<{ parameters?: number; fileBytes?: number }> {
  const data = new OnlySizes();
  const { signal } = new AbortController();
  const stage = measure(model, { data, signal, ...(onDisk !== undefined && { folder: onDisk }) });
  for (;;) {
    const { done, value } = await stage.next();
    if (done) return value;
  }
}

test("a GBLR model has as many parameters in memory, to train or packed, as in its folder", async () => {
  const made = await structured(tinyGpt2(), ["h.0.attn.c_attn", "h.1.mlp.c_fc"], "gblr");
  await saveModelNow(made, folder, { trainable: true });
  const packed = await loadModelNow(folder, { form: "packed" });
  const { parameters = 0, fileBytes = 0 } = await sizeOf(made, folder);
  const whole = [...made.parameters.values()].reduce((sum, { size }) => sum + size, 0);
  expect(parameters).toBeLessThan(whole);
  for (const model of [made, packed]) {
    const size = await sizeOf(model);
    expect(size.parameters).toBe(parameters);
    // Four numbers say where a block lies; the file has a header besides.
    expect(size.fileBytes).toBeGreaterThan(4 * parameters);
    expect(size.fileBytes).toBeLessThan(fileBytes);
    model.dispose();
  }
});
