// `gblr eval`: how good a model is on a data set. The verbs under it are in eval/.

import type { Command } from "commander";
import { addAccuracy } from "./eval/accuracy.ts";
import { addPerplexity } from "./eval/perplexity.ts";

export function addEval(program: Command): void {
  const command = program.command("eval").description("measure a model on a data set");
  addPerplexity(command);
  addAccuracy(command);
}
