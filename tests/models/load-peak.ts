// Prints, as JSON, by how many bytes loading a model raises the peak of the process's resident set, and the bytes of its
// parameters in float32. In a process of its own, because a peak never falls. Arguments: folder, engine, dtype.

import { readFileSync } from "node:fs";
import process from "node:process";
import { openEngine } from "../../workbench/engine/core/open.ts";
import type { EngineName } from "../../workbench/engine/core/types.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import type { WeightType } from "../../workbench/models/index.ts";

const [folder, engine, dtype] = process.argv.slice(2) as [string, EngineName, WeightType];
// Linux's own count for this program. That of getrusage begins with the parent's peak.
const peak = () => 1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
await openEngine({ engine, device: "cpu" });
const before = peak();
const model = await loadModelNow(folder, { dtype });
const bytes = [...model.parameters.values()].reduce((sum, { size }) => sum + 4 * size, 0);
console.log(JSON.stringify({ raised: peak() - before, bytes }));
