// A run of the small model in a process of its own, for tests that kill it: `child.ts <engine> <folder> [lora]`. Prints
// the kind of every event on a line; an error in one line on stderr, exit code 1.

import process from "node:process";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { EngineName } from "../../workbench/engine/core/types.ts";
import { fit } from "../../workbench/train/index.ts";
import { fullOptions, loraOptions } from "./runs.ts";
import { smallModel } from "./small.ts";

const [engine, folder, adapters] = process.argv.slice(2) as [EngineName, string, string?];
const optionsOf = adapters === undefined ? fullOptions : loraOptions;
await openEngine({ engine, device: "cpu" });
try {
  for await (const { kind } of fit(optionsOf(smallModel(), folder))) process.stdout.write(`${kind}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).name}: ${(error as Error).message}\n`);
  process.exit(1);
}
