// The part of `gblr import` that makes model folders. Weights without a config, such as a state_dict, are recognized by
// names and shapes (models/weights); each assumption is printed with the flag that overrides it. The authors'
// checkpoints with GBLR layers are imported by models/reference.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { countOf } from "../../../hub/text/numbers.ts";
import { openEngine } from "../../engine/core/open.ts";
import { type ImportReferenceOptions, importReference } from "../../models/reference/index.ts";
import { type ImportWeightsOptions, importWeights, type Recognized } from "../../models/weights/index.ts";
import { expectPlaceForModel } from "../shared/stages.ts";
import { formatBytes, type Palette } from "../shared/terminal.ts";
import { copyWithProgress, withProgress } from "./progress.ts";

interface WeightsSummary {
  file: string;
  out: string;
  /** `model_type` */
  type: string;
  /** timm's name of the model if it has one, else its type */
  name: string;
  /** number of classes of a classifier; 0 if it has no head */
  classes?: number;
  /** number of tensors */
  tensors: number;
  /** size of all tensors */
  bytes: number;
  /** properties that neither the tensors nor the flags determine */
  assumed: Recognized["assumed"];
  /** names of tensors that do not belong to the model */
  leftOut: string[];
  /** names of the files in the folder */
  files: string[];
}

/** Imports weights with a progress bar. @returns facts for the summary */
export async function importWeightsWithProgress(
  file: string,
  { force, ...options }: ImportWeightsOptions & { force: boolean },
): Promise<WeightsSummary> {
  await expectPlaceForModel(options.out, { force });
  const { imported, size } = await copyWithProgress(importWeights(file, options), file);
  return { file, out: options.out, ...size, ...described(imported) };
}

function described({ model, files }: { model: Recognized; files: string[] }) {
  const { architecture, config, settings, isHeadless, assumed, others: leftOut } = model;
  const { task } = architecture;
  const classes = task.kind === "image-classification" ? task.sizes(settings).classes : undefined;
  const name = String(config.architecture ?? config.model_type ?? architecture.type);
  const head = classes === undefined ? {} : { classes: isHeadless ? 0 : classes };
  return { type: architecture.type, name, ...head, assumed, leftOut, files };
}

/** The summary of an import of weights as text. */
export function printWeightsSummary(
  { file, out, name, classes, tensors, bytes, assumed, leftOut, files }: WeightsSummary,
  palette: Palette,
): string {
  const head = classes === 0 ? "without a head" : `with ${countOf(classes ?? 0, "class", "classes")}`;
  const what = classes === undefined ? name : `${name} ${head}`;
  return [
    palette.bold(`${file} → ${out}`),
    `  recognized as ${what}: ${countOf(tensors, "tensor")}, ${formatBytes(bytes)}`,
    ...assumptions(assumed).map((text) => `  ${palette.dim("assumed")} ${text}`),
    ...(classes === undefined
      ? [`  ${palette.dim("missing")} a tokenizer: copy tokenizer.json of the base model into the folder`]
      : []),
    ...(classes === 0 ? [`  ${palette.dim("missing")} the head: gblr finetune ${out} --new-head trains one`] : []),
    ...(leftOut.length === 0
      ? []
      : [`  ${palette.dim("left out")} ${countOf(leftOut.length, "tensor")}, such as ${leftOut[0]}`]),
    `  ${palette.dim("written")} ${files.join(", ")}`,
  ].join("\n");
}

/** A line for each assumption, with the flag that overrides it. */
function assumptions({ heads, headSize = 64, imageSize, mean, std, ...others }: Recognized["assumed"]): string[] {
  const { interpolation, cropShare, cropMode, like, settings = {} } = others;
  const fields = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  const source = like === undefined ? "the usual values" : `as ${like} has, whose tensors have these shapes`;
  return [
    ...(heads === undefined ? [] : [`${heads} attention heads, one per ${headSize} channels (--heads)`]),
    ...(fields.length === 0 ? [] : [`${fields.join(", ")}, ${source} (--rope-theta; others in config.json)`]),
    ...(imageSize === undefined ? [] : [`images of ${imageSize} × ${imageSize} (--image-size)`]),
    ...(mean === undefined ? [] : [`mean of red, green and blue ${mean.join(",")} (--mean)`]),
    ...(std === undefined ? [] : [`standard deviation ${std.join(",")} (--std)`]),
    ...(interpolation === undefined
      ? []
      : [
          `${interpolation} resizing, crop ${cropShare} ${cropMode} (--interpolation, --crop, --crop-mode of eval acc)`,
        ]),
  ];
}

interface ReferenceSummary {
  file: string;
  out: string;
  /** `model_type` of the dense model */
  type: string;
  /** number of GBLR matrices; a convolution can have one for each position of its kernel */
  layers: number;
  /** σ of the Gaussian masks; undefined for boxcar masks */
  sigma?: number;
  /** relative FLOPs (reference) */
  relativeFlops: number;
  /** names of the files in the folder */
  files: string[];
}

/** Imports a checkpoint of the reference with a progress bar. @returns facts for the summary */
export async function importReferenceWithProgress(
  file: string,
  { force, ...options }: ImportReferenceOptions & { force: boolean },
): Promise<ReferenceSummary> {
  await expectPlaceForModel(options.out, { force });
  await openEngine();
  await withProgress(importReference(file, options), {
    file,
    label: "reading",
    show: (event, bar) => {
      if (event.kind === "converted") return event;
      if (event.kind === "converting") bar.note(`packing ${event.layers} matrices`);
      else {
        bar.setTotal(event.total);
        bar.advance(event.bytes);
      }
      return undefined;
    },
  });
  return summaryOf(file, options.out);
}

interface WrittenConfig {
  model_type: string;
  gblr: { layers: Record<string, unknown>; sigma?: number; relative_flops: { reference: number } };
}

async function summaryOf(file: string, out: string): Promise<ReferenceSummary> {
  const { model_type, gblr } = JSON.parse(await readFile(join(out, CONFIG_FILE), "utf8")) as WrittenConfig;
  return {
    file,
    out,
    type: model_type.replace(/^gblr_/, ""),
    layers: Object.keys(gblr.layers).length,
    ...(gblr.sigma !== undefined && { sigma: gblr.sigma }),
    relativeFlops: gblr.relative_flops.reference,
    files: (await readdir(out)).sort(),
  };
}

/** The summary of an import of a reference checkpoint as text. */
export function printReferenceSummary(
  { file, out, type, layers, sigma, relativeFlops, files }: ReferenceSummary,
  palette: Palette,
): string {
  const masks = sigma === undefined ? "boxcar masks" : `Gaussian masks with σ = ${sigma}`;
  const python = files.filter((name) => name.endsWith(".py")).length;
  const others = files.filter((name) => !name.endsWith(".py"));
  const written = [...others, ...(python > 0 ? [`${countOf(python, "Python file")}`] : [])].join(", ");
  const cost = `relative FLOPs ${(100 * relativeFlops).toFixed(1)} % (reference)`;
  return [
    palette.bold(`${file} → ${out}`),
    `  ${type} with ${layers} GBLR matrices, ${masks}; ${cost}`,
    `  ${palette.dim("written")} ${written}`,
  ].join("\n");
}
