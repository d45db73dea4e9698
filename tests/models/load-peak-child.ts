// Prints, as JSON, by how many bytes loading a language model raises the peak of the process's resident set, by how many
// more an evaluation of 32 tokens raises it, and the bytes of the model's parameters in float32. In a process of its own,
// because a peak never falls. Arguments: folder, engine, dtype.

import { readFileSync } from "node:fs";
import process from "node:process";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { EngineName } from "../../workbench/engine/core/types.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { languageNll, type WeightType } from "../../workbench/models/index.ts";
import { ids, taken } from "./tiny.ts";

const [folder, engine, dtype] = process.argv.slice(2) as [string, EngineName, WeightType];
// Linux's own count for this program. That of getrusage begins with the parent's peak.
const peak = () => 1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

await openEngine({ engine, device: "cpu" });
const before = peak();
const model = await loadModelNow(folder, { dtype });
const bytes = [...model.parameters.values()].reduce((sum, { size }) => sum + 4 * size, 0);
const loaded = peak();
await taken(languageNll(model, ids(1, 33)));
// As the last line, after what engines may print.
console.log(JSON.stringify({ raised: loaded - before, evaluated: peak() - loaded, bytes }));
