// Models of several sizes in the load stage: training is for one size, so that a model loaded for it cannot be cut later.

import { expect, test } from "bun:test";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { Model } from "../../workbench/models/index.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { type LoadStageOptions, load } from "../../workbench/pipeline/load.ts";
import { saveSized } from "../compress/sizes/sized.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const at = temporaryFolder();

async function loaded(folder: string, options: LoadStageOptions = {}): Promise<Model> {
  const events = load(folder, options);
  for (;;) {
    const { done, value } = await events.next();
    if (done) return value;
  }
}

test("a model of several sizes that is loaded for training is saved as one of its largest size", async () => {
  await openEngine({ engine: "wasm" });
  await saveSized(at("sizes"), "lowrank", "activation");
  const trained = await loaded(at("sizes"), { form: "trainable" });
  await saveModelNow(trained, at("trained"));
  trained.dispose();
  await expect(loaded(at("trained"), { keep: 0.5 })).rejects.toThrow("so that the model has one size");
  (await loaded(at("sizes"), { keep: 0.5 })).dispose();
});

test("a model of several sizes that is loaded for anything else keeps its record", async () => {
  const copied = await loaded(at("sizes"));
  await saveModelNow(copied, at("copied"));
  copied.dispose();
  (await loaded(at("copied"), { keep: 0.5 })).dispose();
});
