// `gblr eval ppl`: perplexity of a language model on a text of the Hub or of a folder. The model and the text are found,
// the text is tokenized once, every window is scored; here are the options, the progress and the table.

import process from "node:process";
import type { Command } from "commander";
import type { HubAccess } from "../../../hub/access/repository.ts";
import { workbenchCache } from "../../../native/cache-folder.ts";
import { wordsAndBytes } from "../../data/index.ts";
import type { OpenEngineOptions } from "../../engine/core/types.ts";
import { perUnit } from "../../evaluate/perplexity.ts";
import type { Gpt2, Model } from "../../models/index.ts";
import { firstWindows, openTexts } from "../../pipeline/domains/texts.ts";
import { locateDataset, locateModel } from "../../pipeline/fetch.ts";
import { scoreText } from "../../pipeline/measure.ts";
import {
  flopsRows,
  type OnEngine,
  type ResultRow,
  relativeFlopsOf,
  resultTable,
  speedRow,
  titleOf,
  writeResult,
} from "../eval.ts";
import { zooReleaseOf } from "../pull-zoo.ts";
import { withHub } from "../shared/hub-access.ts";
import { loadWithProgress } from "../shared/open-model.ts";
import { addEngineOptions, countFrom, openEngineFor } from "../shared/options.ts";
import { CommandFailed, interruptible, UsageError, verb } from "../shared/program.ts";
import type { Palette } from "../shared/terminal.ts";
import { ExperimentView, shown } from "../shared/view.ts";

interface PerplexityFlags extends OpenEngineOptions {
  dataset: string;
  config?: string;
  split: string;
  column?: string;
  encoding?: string;
  context?: number;
  stride?: number;
  wholeWindows?: boolean;
  limit?: number;
  batch?: number;
  offline?: boolean;
  json?: boolean;
}

const DESCRIPTION = `
Scores every token of a text but the first, by the tokens before it in its
window. Each row of the text is tokenized by itself; all ids are one list, cut
into windows of --context tokens, the last one shorter. Published tables count
whole windows only: so does --whole-windows, and says what it leaves out. With a
--stride shorter than the context windows overlap, and each scores only the
tokens that no earlier one has: slower, lower, closer to reading on.
`.trim();

export function addPerplexity(program: Command): void {
  const command = verb(program, {
    name: "ppl",
    summary: "perplexity of a language model on a text",
    example: [
      "gblr eval ppl openai-community/gpt2 --dataset Salesforce/wikitext --config wikitext-103-raw-v1",
      "gblr eval ppl runs/gpt2-wt103-gblr/model --dataset my-texts --split test --context 256 --limit 100 --json",
    ].join("\n"),
  })
    .description(DESCRIPTION)
    .summary("perplexity of a language model on a text")
    .argument("<model>", "a model folder, owner/name[@revision] on the Hub, or zoo:gpt2-gaudi")
    .requiredOption("--dataset <name>", "a text data set: owner/name[@revision], or a folder")
    .option("--config <name>", "configuration of the data set (default: the only one, or its own default)")
    .option("--split <name>", "part of the data set", "test")
    .option("--column <name>", "column that holds the text (default: text)")
    .option("--encoding <name>", "of files of text, such as windows-1252 or utf-16le (default: utf-8)")
    .option("--context <tokens>", "length of a window (default: the model's positions)", countFrom(1))
    .option("--stride <tokens>", "from one window to the next (default: the context)", countFrom(1))
    .option("--whole-windows", "without the end of the text that makes no whole window, as published tables count")
    .option("--limit <windows>", "the first so many windows only", countFrom(1))
    .option("--batch <windows>", "in one forward pass (default: as many as have 4096 tokens)", countFrom(1))
    .option("--offline", "take model and data from the cache or not at all")
    .option("--json", "one JSON document on stdout");
  addEngineOptions(command).action(evaluate);
}

async function evaluate(name: string, flags: PerplexityFlags): Promise<void> {
  const { context, stride, json = false, offline = false } = flags;
  if (context !== undefined && stride !== undefined && stride > context) {
    throw new UsageError(`--stride ${stride} is longer than --context ${context}: tokens between would not be scored`);
  }
  const engine = await openEngineFor(flags);
  const result = await interruptible("interrupted; nothing is kept of an evaluation", (signal) =>
    withHub(process.env, (access) => measured(name, flags, offline ? { ...access, offline } : access, signal)),
  );
  const whole = { ...result, engine: engine.name, device: engine.device, precision: engine.precision };
  writeResult(whole, { json, print: printed });
}

async function measured(name: string, flags: PerplexityFlags, access: HubAccess, signal: AbortSignal) {
  const { dataset, config, split, column, encoding, stride, wholeWindows: whole, limit, batch } = flags;
  const view = new ExperimentView({ silent: true });
  try {
    const source = await shown(locateModel(name, { access, signal, zooRelease: zooReleaseOf(process.env) }), view);
    const text = await shown(locateDataset({ name: dataset, config, splits: [split] }, { access, signal }), view);
    const model = languageModel(await loadWithProgress(source.folder), name);
    const { positions } = model.config;
    const { context = positions } = flags;
    if (context > positions)
      throw new UsageError(`--context ${context} is longer than the model's ${positions} positions`);
    if (stride !== undefined && stride > context)
      throw new UsageError(
        `--stride ${stride} is longer than a window of ${context}: tokens between would not be scored`,
      );
    const cache = `${workbenchCache(process.env)}/tokens`;
    const places = { dataset: text.folder, tokenizer: source.folder, cache };
    const texts = await openTexts({ ...places, config, column, encoding, context, stride, whole, signal });
    try {
      const windows = firstWindows(await shown(texts.windows(split), view), limit);
      const options = { windows, signal, ...(batch !== undefined && { batch }) };
      const score = await shown(scoreText(model, options), view);
      const relativeFlops = await relativeFlopsOf(model);
      const units = perUnit(score, await wordsAndBytes(windows, texts.tokenizer));
      const origin = { revision: source.revision, datasetRevision: text.revision };
      return { model: name, dataset, config, split, ...origin, ...score, ...units, relativeFlops };
    } finally {
      await texts.close();
      model.dispose();
    }
  } finally {
    view.stop();
  }
}

function languageModel(model: Model, name: string): Gpt2 {
  if (model.architecture.type === "gpt2") return model as Gpt2;
  throw new CommandFailed(`${name} is a ${model.architecture.type}, no language model; eval acc is for classifiers`);
}

function leftOutRows({ leftOut }: Result): ResultRow[] {
  return leftOut === 0 ? [] : [["left out", String(leftOut), "tokens at the end"]];
}

type Result = Awaited<ReturnType<typeof measured>> & OnEngine;

function printed(result: Result, palette: Palette): string {
  const { model, dataset, config, split, relativeFlops, tokens, windows, context, stride } = result;
  const overlap = stride === context ? "" : `, one every ${stride}`;
  const rows: ResultRow[] = [
    ["perplexity", result.perplexity.toFixed(3), "per token"],
    ["", result.perplexityPerWord.toFixed(3), "per word"],
    ["", result.perplexityPerByte.toFixed(4), `per byte, ${result.bitsPerByte.toFixed(4)} bits`],
    ["NLL", result.nll.toFixed(5), "nats a token"],
    ["tokens", String(tokens), `in ${windows} ${windows === 1 ? "window" : "windows"} of ${context}${overlap}`],
    ...leftOutRows(result),
    ...flopsRows(relativeFlops),
    speedRow(result.tokensPerSecond, "tokens", result),
  ];
  return resultTable(titleOf(model, dataset, config, split), rows, palette);
}
