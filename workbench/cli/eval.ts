// `gblr eval`: measures a model on a data set. `eval ppl` computes the perplexity of a language model on text, `eval
// acc` the accuracy of a classifier on images. The work is in pipeline/evaluate.ts; this file has the options and the
// tables.

import process from "node:process";
import { type Command, Option } from "commander";
import { percent } from "../../hub/text/numbers.ts";
import { CLASS_ORDERS } from "../data/images/index.ts";
import type { Engine, OpenEngineOptions } from "../engine/core/types.ts";
import { CROP_MODES, INTERPOLATIONS } from "../models/index.ts";
import {
  type EvaluatedImages,
  type EvaluatedText,
  evaluateImages,
  evaluateText,
  evaluationTitle,
  type ImageEvaluation,
  type RelativeFlops,
  type TextEvaluation,
} from "../pipeline/evaluate.ts";
import { addEngineOptions, countFrom, openEngineFor, share } from "./shared/options.ts";
import { UsageError, verb } from "./shared/program.ts";
import { runStages } from "./shared/stages.ts";
import { type Cell, type Palette, paletteFor, table, threeDigits } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";

export function addEval(program: Command): void {
  const command = program.command("eval").description("measure a model on a data set");
  addPerplexity(command);
  addAccuracy(command);
}

interface Flags extends OpenEngineOptions {
  offline?: boolean;
  json?: boolean;
}

const INTERRUPTED = "interrupted; nothing is kept of an evaluation";

const PERPLEXITY = `
Scores every token of a text but the first, by the tokens before it in its
window. Each row of the text is tokenized by itself; all ids are one list, cut
into windows of --context tokens, the last one shorter. Published tables count
whole windows only: so does --whole-windows, and says what it leaves out. With a
--stride shorter than the context windows overlap, and each scores only the
tokens that no earlier one has: slower, lower, closer to reading on.
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
  addEngineOptions(command).action(evalPerplexity);
}

async function evalPerplexity(name: string, flags: Flags & TextEvaluation): Promise<void> {
  const { context, stride, json = false, offline } = flags;
  if (context !== undefined && stride !== undefined && stride > context) {
    throw new UsageError(`--stride ${stride} is longer than --context ${context}: tokens between would not be scored`);
  }
  const engine = await openEngineFor(flags);
  const result = await runStages({ interrupted: INTERRUPTED, offline }, (around) => evaluateText(name, flags, around));
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
    speedRow(result.tokensPerSecond, "tokens", result),
  ];
  return resultTable(evaluationTitle(result), rows, palette);
}

const ACCURACY = `
Scores every image by whether its class is the likeliest, or among the five
likeliest. Images are resized and cropped as torchvision, timm and Hugging Face
do it, to the last bit, with the size, crop, mean and deviation of the
checkpoint. An image that cannot be decoded is an error that names it, or is
left out and counted.
`.trim();

function addAccuracy(program: Command): void {
  const command = verb(program, {
    name: "acc",
    summary: "accuracy of a classifier on images",
    example: [
      "gblr eval acc timm/vit_base_patch16_224.augreg_in1k --dataset ILSVRC/imagenet-1k --split validation",
      "gblr eval acc runs/vit-s-cifar10-gblr/model --dataset uoft-cs/cifar10 --split test --limit 1000 --json",
    ].join("\n"),
  })
    .description(ACCURACY)
    .summary("accuracy of a classifier on images")
    .argument("<model>", "a model folder, owner/name[@revision] on the Hub, or zoo:vit-b-gaudi")
    .requiredOption("--dataset <name>", "an image data set: owner/name[@revision], or a folder")
    .option("--config <name>", "configuration of the data set (default: the only one, or its own default)")
    .option("--split <name>", "part of the data set", "test")
    .option("--image-column <name>", "column of the images (default: image, else img)")
    .option("--label-column <name>", "column of the classes (default: label, else labels, else fine_label)")
    .addOption(
      new Option(
        "--class-order <name>",
        "of classes that are names: as text is sorted, or the numbers that they are called (default: the model's labels, else numbers where they are 0 to n - 1, else text)",
      ).choices(CLASS_ORDERS),
    )
    .option("--size <pixels>", "edge of what the model sees (default: the checkpoint's)", countFrom(1))
    .option("--crop <share>", "of the resized image's side that is seen (default: the checkpoint's)", share)
    .addOption(
      new Option(
        "--crop-mode <name>",
        "what is resized: the shorter side, both to a square, or the longer with a border (default: the checkpoint's)",
      ).choices(CROP_MODES),
    )
    .addOption(new Option("--interpolation <name>", "of resizing (default: the checkpoint's)").choices(INTERPOLATIONS))
    .option("--limit <images>", "so many images only: the first, or of folders evenly from all classes", countFrom(1))
    .option("--batch <images>", "in one forward pass", countFrom(1), 32)
    .option("--workers <threads>", "that prepare images, 0 for none (default: one a core, at most 16)", countFrom(0))
    .option("--skip-bad", "leave out and count images that cannot be decoded", false)
    .option("--report <folder>", "write a report with the confusion of classes into this folder")
    .option("--offline", "take model and data from the cache or not at all")
    .option("--json", "one JSON document on stdout");
  addEngineOptions(command).action(evalAccuracy);
}

async function evalAccuracy(name: string, flags: Flags & ImageEvaluation): Promise<void> {
  const { json = false, offline } = flags;
  const engine = await openEngineFor(flags);
  const origin = { engine, command: commandLine(), versions: versionsOf(engine) };
  const result = await runStages({ interrupted: INTERRUPTED, offline }, (around) =>
    evaluateImages(name, flags, { ...around, origin }),
  );
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

interface OnEngine {
  engine: string;
  device: string;
  precision: string;
}

const onEngine = ({ name, device, precision }: Engine): OnEngine => ({ engine: name, device, precision });

type ResultRow = [label: string, value: string, note: string];

const flopsRows = ({ reference, actual }: RelativeFlops): ResultRow[] => [
  ["relative FLOPs", percent(reference), "(reference)"],
  ["", percent(actual), "(actual)"],
];

const speedRow = (perSecond: number, unit: string, { engine, device, precision }: OnEngine): ResultRow => [
  "speed",
  threeDigits(perSecond),
  `${unit}/s on ${engine} ${device}, ${precision}`,
];

/** Prints the result on stdout, as a JSON document or as a table. */
function writeResult<Result>(
  result: Result,
  { json, print }: { json: boolean; print(result: Result, palette: Palette): string },
): void {
  const text = json ? JSON.stringify(result, null, 2) : print(result, paletteFor(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
}

/** The first row, the main metric, is printed in bold. */
function resultTable(title: string, rows: readonly ResultRow[], palette: Palette): string {
  const cells = rows.map(([label, value, note], i): Cell[] => [
    { text: label, paint: palette.dim },
    { text: value, align: "right", ...(i === 0 && { paint: palette.bold }) },
    { text: note, paint: palette.dim },
  ]);
  return [palette.bold(title), ...table(cells)].join("\n");
}
