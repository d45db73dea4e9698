// `gblr eval`: measures a model on a data set. `eval ppl` computes the perplexity of a language model on text, `eval
// acc` the accuracy of a classifier on images. The work is in pipeline/evaluate.ts; this file has their options and
// tables. `eval harness` is in eval/harness.ts.

import { type Command, Option } from "commander";
import { percent } from "../../hub/text/numbers.ts";
import { CLASS_ORDERS } from "../data/images/index.ts";
import { isFirst } from "../distributed/process-group.ts";
import { CROP_MODES, INTERPOLATIONS } from "../models/index.ts";
import { CLASS_ORDER_HELP, CROP_MODE_HELP } from "../pipeline/domains/image-settings.ts";
import {
  type EvaluatedImages,
  type EvaluatedText,
  evaluateImages,
  evaluateText,
  evaluationTitle,
  type ImageEvaluation,
  type TextEvaluation,
} from "../pipeline/evaluate.ts";
import { addHarness } from "./eval/harness.ts";
import {
  type Flags,
  flopsRows,
  INTERRUPTED,
  type OnEngine,
  onEngine,
  type ResultRow,
  resultTable,
  speedRow,
  writeResult,
} from "./eval/result-table.ts";
import {
  addInferenceOptions,
  addKeep,
  addWeightType,
  countFrom,
  JSON_DOCUMENT,
  MODEL_ARGUMENT,
  OFFLINE,
  share,
} from "./shared/options.ts";
import { UsageError, verb } from "./shared/program.ts";
import { openEngineAndJoin } from "./shared/ranks.ts";
import { runStages } from "./shared/stages.ts";
import type { Palette } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";

export function addEval(program: Command): void {
  const command = program.command("eval").description("measure a model on a data set");
  addPerplexity(command);
  addAccuracy(command);
  addHarness(command);
}

const RESULTS = "write the results to this JSON file, for gblr compare";

// Lines of at most 78 characters: wider ones are broken again.
const PERPLEXITY = `
Computes the perplexity of a language model on a text.

Each row of the text is tokenized separately. The ids of all rows are joined
and cut into windows of --context tokens; the last window may be shorter. Each
token but the first of the text is predicted once, from the tokens before it in
its window.

Published tables score whole windows only. --whole-windows does the same, and
the result says how many tokens are left out. With a --stride below --context,
windows overlap, and each scores only the tokens that no earlier window has
scored. This takes longer and gives a lower perplexity, because tokens have
more context.
`.trim();

function addPerplexity(program: Command): void {
  const command = verb(program, {
    name: "ppl",
    summary: "perplexity of a language model on a text",
    example: [
      "gblr eval ppl openai-community/gpt2 --dataset Salesforce/wikitext --config wikitext-103-raw-v1",
      "gblr eval ppl runs/gpt2-wt103-gblr/model --dataset my-texts --split test --context 256 --limit 100 --json",
    ].join("\n"),
  })
    .description(PERPLEXITY)
    .summary("perplexity of a language model on a text")
    .argument("<model>", MODEL_ARGUMENT)
    .requiredOption("--dataset <name>", "text data set: owner/name[@revision] or a folder")
    .option("--config <name>", "configuration of the data set (default: its only or its default configuration)")
    .option("--split <name>", "split to evaluate on", "test")
    .option("--column <name>", "column with the text (default: text)")
    .option("--encoding <name>", "encoding of text files, such as windows-1252 or utf-16le (default: utf-8)")
    .option("--context <tokens>", "tokens per window (default: the model's positions, at most 2048)", countFrom(1))
    .option("--stride <tokens>", "distance between the starts of windows (default: --context)", countFrom(1))
    .option("--whole-windows", "leave out the end of the text that fills no whole window, as published tables do")
    .option("--limit <windows>", "windows to score, from the start (default: all)", countFrom(1))
    .option("--batch <windows>", "windows per forward pass (default: 4096 tokens' worth)", countFrom(1))
    .option("--results <file>", RESULTS)
    .option("--offline", OFFLINE)
    .option("--json", JSON_DOCUMENT);
  addInferenceOptions(addWeightType(addKeep(command))).action(evalPerplexity);
}

async function evalPerplexity(name: string, flags: Flags & TextEvaluation): Promise<void> {
  const { context, stride, json = false, offline } = flags;
  if (context !== undefined && stride !== undefined && stride > context) {
    throw new UsageError(
      `--stride ${stride} is longer than --context ${context}: tokens between windows would not be scored; give at most ${context}`,
    );
  }
  const { engine, ranks } = await openEngineAndJoin(flags);
  const origin = { engine, command: commandLine(), versions: versionsOf(engine) };
  // Only the first of several processes prints and writes.
  const isQuiet = !isFirst(ranks);
  const result = await runStages({ interrupted: INTERRUPTED, offline, json, quiet: isQuiet }, (around) =>
    evaluateText(name, flags, { ...around, origin, ranks }),
  );
  if (isQuiet) return;
  writeResult({ ...result, ...onEngine(engine) }, { json, print: perplexityTable });
}

function perplexityTable(result: EvaluatedText & OnEngine, palette: Palette): string {
  const { tokens, windows, context, stride, leftOut } = result;
  const overlap = stride === context ? "" : `, one every ${stride}`;
  const rows: ResultRow[] = [
    ["perplexity", result.perplexity.toFixed(3), "per token"],
    ["", result.perplexityPerWord.toFixed(3), "per word"],
    ["", result.perplexityPerByte.toFixed(4), `per byte, ${result.bitsPerByte.toFixed(4)} bits`],
    ["NLL", result.nll.toFixed(5), "nats a token"],
    ["tokens", String(tokens), `in ${windows} ${windows === 1 ? "window" : "windows"} of ${context}${overlap}`],
    ...(leftOut === 0 ? [] : [["left out", String(leftOut), "tokens at the end"] satisfies ResultRow]),
    ...flopsRows(result.relativeFlops),
    ...(result.dtype === "float32" ? [] : [["weights", result.dtype, "dense ones, in memory"] satisfies ResultRow]),
    speedRow(result.tokensPerSecond, "tokens", result),
  ];
  return resultTable(evaluationTitle(result), rows, palette);
}

const ACCURACY = `
Computes the top-1 and top-5 accuracy of an image classifier.

Images are prepared with the size, crop, mean and standard deviation of the
checkpoint, bit for bit as torchvision, timm or Hugging Face prepare them. An
image that cannot be decoded is an error, unless --skip-bad is given.
`.trim();

function addAccuracy(program: Command): void {
  const command = verb(program, {
    name: "acc",
    summary: "accuracy of an image classifier",
    example: [
      "gblr eval acc timm/vit_base_patch16_224.augreg_in1k --dataset ILSVRC/imagenet-1k --split validation",
      "gblr eval acc runs/vit-s-cifar10-gblr/model --dataset uoft-cs/cifar10 --split test --limit 1000 --json",
    ].join("\n"),
  })
    .description(ACCURACY)
    .summary("accuracy of an image classifier")
    .argument("<model>", MODEL_ARGUMENT)
    .requiredOption("--dataset <name>", "image data set: owner/name[@revision] or a folder")
    .option("--config <name>", "configuration of the data set (default: its only or its default configuration)")
    .option("--split <name>", "split to evaluate on", "test")
    .option("--image-column <name>", "column with the images (default: image or img)")
    .option("--label-column <name>", "column with the classes (default: label, labels or fine_label)")
    .addOption(new Option("--class-order <name>", CLASS_ORDER_HELP).choices(CLASS_ORDERS))
    .option("--size <pixels>", "edge of the model's input image (default: the checkpoint's)", countFrom(1))
    .option("--crop <share>", "edge of the crop relative to the resized image (default: the checkpoint's)", share)
    .addOption(new Option("--crop-mode <name>", CROP_MODE_HELP).choices(CROP_MODES))
    .addOption(
      new Option("--interpolation <name>", "interpolation of the resizing (default: the checkpoint's)").choices(
        INTERPOLATIONS,
      ),
    )
    .option(
      "--limit <images>",
      "images to score: the first, or from class folders the first of each (default: all)",
      countFrom(1),
    )
    .option("--batch <images>", "images per forward pass", countFrom(1), 32)
    .option(
      "--workers <threads>",
      "threads that decode images; 0: none (default: one per core, at most 16)",
      countFrom(0),
    )
    .option("--skip-bad", "skip and count images that cannot be decoded", false)
    .option("--report <folder>", "write a report with the confusion of classes to this folder")
    .option("--results <file>", RESULTS)
    .option("--offline", OFFLINE)
    .option("--json", JSON_DOCUMENT);
  addInferenceOptions(addKeep(command)).action(evalAccuracy);
}

async function evalAccuracy(name: string, flags: Flags & ImageEvaluation): Promise<void> {
  const { json = false, offline } = flags;
  const { engine, ranks } = await openEngineAndJoin(flags);
  const origin = { engine, command: commandLine(), versions: versionsOf(engine) };
  const isQuiet = !isFirst(ranks);
  const result = await runStages({ interrupted: INTERRUPTED, offline, json, quiet: isQuiet }, (around) =>
    evaluateImages(name, flags, { ...around, origin, ranks }),
  );
  if (isQuiet) return;
  writeResult(result, { json, print: accuracyTable });
}

function accuracyTable(result: EvaluatedImages, palette: Palette): string {
  const { top1, top5, loss, images, skipped, size, transform } = result;
  const { cropMode, cropShare } = transform;
  const crop = cropMode === "center" ? `crop ${cropShare}` : `${cropMode}, crop ${cropShare}`;
  const [first] = result.skippedImages;
  const rows: ResultRow[] = [
    ["top-1", percent(top1), "of the images"],
    ["top-5", percent(top5), ""],
    ["loss", loss.toFixed(5), "nats an image"],
    ["images", String(images), `at ${size}, ${crop}, ${transform.interpolation}`],
    ...(skipped === 0
      ? []
      : [["skipped", String(skipped), `first ${first?.name}: ${first?.problem}`] satisfies ResultRow]),
    ...flopsRows(result.relativeFlops),
    speedRow(result.imagesPerSecond, "images", result),
    ...result.notes.map((text): ResultRow => ["note", "", text]),
  ];
  return resultTable(evaluationTitle(result), rows, palette);
}
