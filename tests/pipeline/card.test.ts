// Cards that are written again when a model is measured again, and those of somebody else, which are not.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { writeCard } from "../../workbench/pipeline/save.ts";
import { smallVit } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const at = temporaryFolder();

test("a card of ours is written anew, of a dense model too; one of somebody else stays", async () => {
  await openEngine({ engine: "wasm" });
  const model = smallVit() as Model;
  await saveModelNow(model, at("model"));
  model.dispose();
  const card = join(at("model"), "README.md");
  for (const structure of ["dense", "gblr", "dense"] as const) {
    for (const title of ["first", "second"]) {
      await writeCard(at("model"), { title, task: "image-classification", structure });
      expect(readFileSync(card, "utf8")).toContain(`# ${title}`);
    }
  }
  writeFileSync(card, "---\ntags: [mine]\n---\n# theirs\n");
  await writeCard(at("model"), { title: "third", task: "image-classification", structure: "dense" });
  expect(readFileSync(card, "utf8")).toContain("# theirs");
});
