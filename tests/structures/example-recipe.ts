// A recipe with a structure that is not the workbench's: it registers before the recipe reads its flags.

import { registerStructure } from "../../workbench/structures/registry.ts";
import { diagonalLowRank } from "./example-structure.ts";

registerStructure(diagonalLowRank);
await import("../../recipes/gpt2-wt103.ts");
