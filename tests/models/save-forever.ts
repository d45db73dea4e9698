// Saves two different models into one folder, in turns, until it is killed. Says when it begins. Argument: the folder.

import process from "node:process";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { first, second } from "./two-models.ts";

const folder = process.argv[2] as string;
await openEngine();
const models = [await first(), await second()] as const;
console.log("begun");
for (;;) {
  await saveModelNow(models[0], folder, { trainable: true });
  await saveModelNow(models[1], folder, { maxShardBytes: 20_000 });
}
