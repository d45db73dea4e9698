// `gblr eval acc`: accuracy of a classifier on images of the Hub or of a folder. The model and the images are found, the
// images are prepared as the model's checkpoint says, every one is scored; here are the options, the progress, the table
// and the report.

import process from "node:process";
import { type Command, Option } from "commander";
import type { HubAccess } from "../../../hub/access/repository.ts";
import { percent } from "../../../hub/text/numbers.ts";
import { workbenchCache } from "../../../native/cache-folder.ts";
import {
  CLASS_ORDERS,
  type ClassOrder,
  type CropMode,
  classOrderTold,
  clippedTold,
  type ImageLoader,
  type Interpolation,
  imageLoader,
  numberedAs,
} from "../../data/images/index.ts";
import type { Engine, OpenEngineOptions } from "../../engine/core/types.ts";
import {
  CROP_MODES,
  INTERPOLATIONS,
  imageSettings,
  isClassifier,
  type Model,
  resizePositions,
} from "../../models/index.ts";
import { openedImages } from "../../pipeline/domains/image-sets.ts";
import { evaluationOptions } from "../../pipeline/domains/image-settings.ts";
import { locateDataset, locateModel } from "../../pipeline/fetch.ts";
import { classNames, confusionRows, scoreImages } from "../../pipeline/measure.ts";
import { makeRunFolder, startRun, updateRun, writeClassification, writeReport } from "../../report/index.ts";
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
import { addEngineOptions, countFrom, openEngineFor, share } from "../shared/options.ts";
import { CommandFailed, interruptible, verb } from "../shared/program.ts";
import type { Palette } from "../shared/terminal.ts";
import { commandLine, versionsOf } from "../shared/versions.ts";
import { ExperimentView, shown } from "../shared/view.ts";

interface AccuracyFlags extends OpenEngineOptions {
  dataset: string;
  config?: string;
  split: string;
  imageColumn?: string;
  labelColumn?: string;
  classOrder?: ClassOrder;
  size?: number;
  crop?: number;
  cropMode?: CropMode;
  interpolation?: Interpolation;
  limit?: number;
  batch?: number;
  workers?: number;
  skipBad: boolean;
  report?: string;
  offline?: boolean;
  json?: boolean;
}

const DESCRIPTION = `
Scores every image by whether its class is the likeliest, or among the five
likeliest. Images are resized and cropped as torchvision, timm and Hugging Face
do it, to the last bit, with the size, crop, mean and deviation of the
checkpoint. An image that cannot be decoded is an error that names it, or is
left out and counted.
`.trim();

export function addAccuracy(program: Command): void {
  const command = verb(program, {
    name: "acc",
    summary: "accuracy of a classifier on images",
    example: [
      "gblr eval acc timm/vit_base_patch16_224.augreg_in1k --dataset ILSVRC/imagenet-1k --split validation",
      "gblr eval acc runs/vit-s-cifar10-gblr/model --dataset uoft-cs/cifar10 --split test --limit 1000 --json",
    ].join("\n"),
  })
    .description(DESCRIPTION)
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
  addEngineOptions(command).action(evaluate);
}

async function evaluate(name: string, flags: AccuracyFlags): Promise<void> {
  const { json = false, offline = false } = flags;
  const engine = await openEngineFor(flags);
  const result = await interruptible("interrupted; nothing is kept of an evaluation", (signal) =>
    withHub(process.env, (access) =>
      measured(name, flags, { access: { ...access, ...(offline && { offline }) }, engine, signal }),
    ),
  );
  writeResult(result, { json, print: printed });
}

interface Around {
  access: HubAccess;
  engine: Engine;
  signal: AbortSignal;
}

async function measured(name: string, flags: AccuracyFlags, { access, engine, signal }: Around) {
  const { config, split, limit, workers, skipBad, batch } = flags;
  const view = new ExperimentView({ silent: true });
  try {
    if (flags.report !== undefined) await makeRunFolder(flags.report);
    const source = await shown(locateModel(name, { access, signal, zooRelease: zooReleaseOf(process.env) }), view);
    const data = await shown(locateDataset({ name: flags.dataset, config, splits: [split] }, { access, signal }), view);
    const model = await sized(classifier(await loadWithProgress(source.folder), name), flags.size);
    const cache = `${workbenchCache(process.env)}/images`;
    const { imageColumn, labelColumn, classOrder } = flags;
    const columns = { imageColumn, labelColumn, classOrder };
    const place = { dataset: data.folder, config, split, ...columns, limit, cache, signal };
    const names = classOrder === undefined ? imageSettings(model).labels : undefined;
    const images = numberedAs(await shown(openedImages(place), view), names);
    const settings = settingsOf(model, flags);
    const loader = imageLoader(images, { ...settings, workers, skipBad });
    try {
      const options = { loader, signal, ...(batch !== undefined && { batch }), ...(limit !== undefined && { limit }) };
      const { confusion, ...score } = await shown(scoreImages(model, options), view);
      const classes = classNames(images, imageSettings(model));
      const made = { engine: engine.name, device: engine.device, precision: engine.precision };
      const origin = { revision: source.revision, datasetRevision: data.revision };
      const places = { model: name, dataset: flags.dataset, config, split: images.split, ...origin };
      const bad = [...loader.skipped];
      const relativeFlops = await relativeFlopsOf(model);
      const notes = [classOrderTold(images), clippedTold(loader)].filter((text) => text !== undefined);
      const order = { classOrder: classOrder ?? images.classOrder };
      const result = { ...places, ...score, relativeFlops, ...settings, ...made, skippedImages: bad, ...order, notes };
      if (flags.report !== undefined) await report(flags.report, { result, confusion, classes, engine });
      return { ...result, confusions: confusionsOf(confusion, classes) };
    } finally {
      await close(loader, model);
    }
  } finally {
    view.stop();
  }
}

async function close(loader: ImageLoader, model: Model): Promise<void> {
  await loader.close();
  await loader.images.close();
  model.dispose();
}

function settingsOf(model: Model, { size, ...flags }: AccuracyFlags) {
  const options = evaluationOptions(flags, imageSettings(model));
  return { ...options, size: size ?? options.size };
}

/** A vision transformer has its positions interpolated to another size; others take it, or say that they do not. */
async function sized(model: Model, size: number | undefined): Promise<Model> {
  return size === undefined || model.architecture.type !== "vit" ? model : resizePositions(model, size);
}

function classifier(model: Model, name: string): Model {
  if (isClassifier(model)) return model;
  throw new CommandFailed(
    `${name} is a ${model.architecture.type}, no classifier of images; eval ppl is for language models`,
  );
}

/** Pairs of classes with the images of one that were taken for the other, or for itself. */
function confusionsOf(confusion: Uint32Array, classes: readonly string[]) {
  const pairs: { class: string; taken: string; images: number }[] = [];
  confusion.forEach((images, i) => {
    const [row, column] = [Math.floor(i / classes.length), i % classes.length];
    if (images > 0) pairs.push({ class: classes[row] as string, taken: classes[column] as string, images });
  });
  return pairs;
}

type Result = Awaited<ReturnType<typeof measured>> & OnEngine;

interface Reported {
  result: Omit<Result, "confusions">;
  confusion: Uint32Array;
  classes: readonly string[];
  engine: Engine;
}

async function report(folder: string, { result, confusion, classes, engine }: Reported): Promise<void> {
  const {
    model,
    dataset,
    config,
    split,
    top1,
    top5,
    loss,
    transform,
    size,
    images,
    skipped,
    revision,
    datasetRevision,
  } = result;
  await startRun(folder, {
    name: titleOf(model, dataset, config, split),
    recipe: "eval acc",
    command: commandLine(),
    task: "image-classification",
    settings: { ...transform, size, images, skipped, mean: [...result.mean], std: [...result.std] },
    versions: versionsOf(engine),
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
    seed: 0,
    model: { name: model.replace(/@.*$/, ""), ...(revision && { revision }) },
    dataset: {
      name: dataset.replace(/@.*$/, ""),
      ...(datasetRevision && { revision: datasetRevision }),
      ...(config !== undefined && { config }),
    },
  });
  await writeClassification(folder, {
    classes: [...classes],
    splits: { [split]: { top1, top5, loss } },
    confusion: confusionRows({ confusion, classes: classes.length }),
  });
  await updateRun(folder, { status: "finished" });
  await writeReport(folder);
}

const cropTold = ({ cropMode, cropShare }: Result["transform"]): string =>
  cropMode === "center" ? `crop ${cropShare}` : `${cropMode}, crop ${cropShare}`;

function printed(result: Result, palette: Palette): string {
  const { model, dataset, config, split, top1, top5, loss, images, skipped, size, transform } = result;
  const rows: ResultRow[] = [
    ["top-1", percent(top1), "of the images"],
    ["top-5", percent(top5), ""],
    ["loss", loss.toFixed(5), "nats an image"],
    ["images", String(images), `at ${size}, ${cropTold(transform)}, ${transform.interpolation}`],
    ...flopsRows(result.relativeFlops),
    speedRow(result.imagesPerSecond, "images", result),
  ];
  if (skipped > 0) {
    const first = result.skippedImages[0];
    rows.splice(4, 0, ["skipped", String(skipped), `first ${first?.name}: ${first?.problem}`]);
  }
  for (const text of result.notes) rows.push(["note", "", text]);
  return resultTable(titleOf(model, dataset, config, split), rows, palette);
}
