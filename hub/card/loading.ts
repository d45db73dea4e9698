// The part of a card that says how to use the model: on the command line, in TypeScript, in Python with and without
// transformers. What is said depends on where the model is and on what lies beside the card.

import type { CardFacts } from "./facts.ts";
import { COMMAND_INSTALLATION, PACKAGE_INSTALLATION } from "./install.ts";
import { codeBlock } from "./markdown.ts";
import { python } from "./python.ts";

export function loadingSection(facts: CardFacts): string {
  return ["## Use", commandLine(facts), ...typescript(facts), ...python(facts)].join("\n\n");
}

function commandLine({ repository, dataset, metrics = [], task, context, limit }: CardFacts): string {
  const model = word(repository ?? ".");
  const split = metrics[0]?.split;
  const options = [
    ...(dataset ? ["--dataset", dataset.id] : []),
    ...(dataset?.config === undefined ? [] : ["--config", dataset.config]),
    ...(split === undefined ? [] : ["--split", split]),
    ...(context === undefined ? [] : ["--context", String(context)]),
    ...(limit === undefined ? [] : ["--limit", String(limit)]),
  ].map(word);
  const isText = task === "text-generation";
  const commands = [
    ...(repository === undefined ? [] : [`gblr pull ${model}`]),
    ...(dataset ? [`gblr eval ${isText ? "ppl" : "acc"} ${model} ${options.join(" ")}`] : []),
    ...(isText ? [`gblr generate ${model} "The history of"`] : []),
    ...(repository === undefined ? [`gblr inspect ${model}`] : []),
  ];
  const where = repository === undefined ? "On the command line, in this folder:" : "On the command line:";
  return [COMMAND_INSTALLATION, where, codeBlock("sh", commands.join("\n"))].join("\n\n");
}

function typescript({ repository, task }: CardFacts): string[] {
  if (task !== "text-generation") return [];
  const lines = [
    'import { tensor2d } from "@tensorflow/tfjs-core";',
    'import { openEngine } from "gblr/workbench/engine/core/open.ts";',
    'import { gpt2Logits, loadModelNow } from "gblr/workbench/models/index.ts";',
    "",
    "await openEngine();",
    `const model = await loadModelNow(".");`,
    'const logits = gpt2Logits(model, tensor2d([[1, 2, 3]], [1, 3], "int32"));',
  ];
  const where = repository === undefined ? "this folder" : "the folder that `gblr pull` prints";
  const project = `in a project that has the package by ${PACKAGE_INSTALLATION}, run in ${where}`;
  return [`In TypeScript, under Bun or Deno, ${project}:`, codeBlock("ts", lines.join("\n"))];
}

/** A word of a shell's command line. */
function word(text: string): string {
  return /^[\w./@:=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''").replace(/\s+/g, " ")}'`;
}
