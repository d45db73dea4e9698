// `gblr inspect`: shows the structure, the cost and the blocks of each linear layer of a model. Only headers, spans and
// widths are read, or downloaded for a model on the Hub; weights are not. report/describe-model.ts computes the
// numbers.

import { existsSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import process from "node:process";
import type { Command } from "commander";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import { isGguf } from "../../hub/gguf/index.ts";
import { checkModel, isDense, type OpenModel, openModel, openRemoteModel } from "../../hub/model-folder/index.ts";
import { parseLocation } from "../../hub/pull/locate.ts";
import type { Retry } from "../../hub/request/context.ts";
import { formatCount, percent, threeDigits } from "../../hub/text/numbers.ts";
import { isZooName } from "../../hub/zoo/releases.ts";
import { chooseLayers } from "../compress/index.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import type { Model } from "../models/index.ts";
import { fetchModel } from "../pipeline/fetch.ts";
import { cutName, load } from "../pipeline/load.ts";
import type { StageContext } from "../pipeline/stage.ts";
import { cutLayers } from "../report/cut-layers.ts";
import { type Described, describe, type InspectedLayer, type Total } from "../report/describe-model.ts";
import { shortNames } from "../report/layer-names.ts";
import { sparkline } from "../report/layer-summary.ts";
import { structurePicture } from "../report/pictures/layout-picture.ts";
import { renderPng } from "../report/pictures/png.ts";
import { formsPath, readForms } from "../structures/inference/kept-forms.ts";
import { formLines } from "./inspect/forms.ts";
import { retryNote } from "./pull.ts";
import { addEngineOptions, addKeep, JSON_DOCUMENT, MODEL_ARGUMENT, openEngineFor } from "./shared/options.ts";
import { CommandFailed, UsageError, verb } from "./shared/program.ts";
import { runStages } from "./shared/stages.ts";
import { type Cell, type Palette, paletteFor, table, WIDTH, wrap } from "./shared/terminal.ts";

interface InspectOptions extends OpenEngineOptions {
  layer?: string;
  plot?: string;
  keep?: number;
  json?: boolean;
}

const SUMMARY = "show the structure, cost, widths and block layout of a model's layers";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Shows the linear layers of a model and their cost. The model may be dense, in
the packed or the trainable form, or a checkpoint of the reference. Weights are
not read, and not downloaded for a model on the Hub.

blocks  live blocks / all blocks
width   histogram of the widths of the live blocks, in eighths of n: the first
        bar is (0, 1/8], the last (7/8, 1]
cover   mean number of blocks per entry of the matrix, Σ w_in · w_out. If all
        widths are 1, this is the rank
rank    rank of a low-rank matrix of the same cost: cost / (n_in + n_out)
cost    multiply-adds per row of input (per position for convolutions), as the
        reference implementation counts them
share   cost relative to the dense layer
padding zeros that inference on the CPU multiplies beside the blocks, relative
        to their cost

Of large GBLR layers, the forms that were timed on this machine follow: which
one is taken in evaluation (many rows) and in generation (one row), and the
times of all. "gblr eval", "generate" and others measure them.

--keep shows what is left of a model of several sizes after the cut. The cut
needs the weights.

Masks are counted as 0 or 1, unless config.json has "gblr.sigma", the σ of
smooth masks.
`.trim();

export function addInspect(program: Command): void {
  const command = verb(program, {
    name: "inspect",
    summary: SUMMARY,
    example: [
      "gblr inspect runs/gpt2-gaudi --layer 'h.0.*' --plot layout.png --json",
      "gblr inspect timm/vit_base_patch16_224.augreg_in1k",
      "gblr inspect runs/gpt2-sizes --keep 0.5",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", `.safetensors file, ${MODEL_ARGUMENT}`)
    .option("--layer <pattern>", "show only layers whose name contains the pattern; * matches any characters")
    .option("--plot <file>", "draw the blocks of each GBLR matrix, brighter where more overlap, as .png or .svg")
    .option("--json", JSON_DOCUMENT);
  addEngineOptions(addKeep(command), "compute engine of --keep (default: auto)").action(inspect);
}

async function inspect(name: string, options: InspectOptions): Promise<void> {
  checkPlot(options);
  if (options.keep !== undefined) return inspectCut(name, options);
  if (existsSync(name) && !isGguf(name)) return show(await openModel(name), name, options);
  if (/\.(safetensors|json|bin|ckpt|pth?)$/i.test(name)) {
    throw new CommandFailed(
      `there is no file ${JSON.stringify(name)}; give a .safetensors file, or the name of a model`,
    );
  }
  const folder = await runStages({ interrupted: "interrupted", json: options.json }, async function* (context) {
    if (!isZooName(name) && !isGguf(name) && (await inspectOnHub(name, options, context))) return undefined;
    return (yield* fetchModel(name, context)).folder;
  });
  if (folder !== undefined) await show(await openModel(folder), name, options);
}

/** Cuts a model of several sizes, and inspects what is left. */
async function inspectCut(name: string, options: InspectOptions): Promise<void> {
  const { keep, json } = options;
  if (!isGguf(name) && existsSync(name) && !statSync(name).isDirectory()) {
    throw new UsageError(`--keep cuts a model folder, and ${name} is a file; give its folder`);
  }
  const { folder, model } = await runStages({ interrupted: "interrupted", json }, async function* (context) {
    const source = yield* fetchModel(name, context);
    await openEngineFor(options);
    return { folder: source.folder, model: yield* load(source.folder, { keep }) };
  });
  try {
    await show(await openModel(folder), name, options, model);
  } finally {
    model.dispose();
  }
}

/** Inspects a model on the Hub from its headers. @returns false if the model has to be pulled first */
async function inspectOnHub(
  name: string,
  options: InspectOptions,
  { access, signal }: Pick<StageContext, "access" | "signal">,
): Promise<boolean> {
  if (access.offline) return false;
  const onRetry = (retry: Retry) => process.stderr.write(`gblr: ${retryNote(retry)}\n`);
  const model = await openRemoteModel(parseLocation(name, "model"), access, { signal, onRetry });
  if (model) await show(model, name, options);
  return model !== undefined;
}

function checkPlot({ plot }: InspectOptions): void {
  if (plot === undefined) return;
  if (!/\.(png|svg)$/i.test(plot)) throw new UsageError(`--plot writes .png or .svg, "${plot}" is neither`);
  if (existsSync(dirname(plot))) return;
  throw new CommandFailed(`${plot} cannot be written: there is no folder "${dirname(plot)}"; make it first`);
}

/** Prints the layers of a model and closes it. @param cut the model after a cut, with --keep */
async function show(model: OpenModel, name: string, options: InspectOptions, cut?: Model): Promise<void> {
  const { layer, plot, keep, json = false } = options;
  try {
    const stored = await checkModel(model);
    const found = cut ? cutLayers(stored, cut) : stored;
    const layers = layer === undefined ? found.layers : chooseLayers(found.layers, { pattern: layer, model: name });
    if (layers.length === 0) throw new CommandFailed(`${name} has no linear layer, so there is nothing to inspect`);
    const { sigma, sizes } = model.config ?? {};
    const choices = readForms(formsPath(process.env));
    const described = await describe(
      { ...found, layers },
      { path: name, choices, ...(sigma !== undefined && { sigma }), ...(sizes && !cut && { sizes }) },
    );
    if (plot !== undefined) await writePlot(plot, described);
    const { inspection } = described;
    const text = json
      ? JSON.stringify(
          { ...inspection, ...(keep !== undefined && { keep }), ...(plot !== undefined && { plot }) },
          null,
          2,
        )
      : printInspection(described, { keep, palette: paletteFor(process.stdout, process.env), ...(plot && { plot }) });
    process.stdout.write(`${text}\n`);
  } finally {
    await model.tensors.close();
  }
}

/** Writes the block layout picture. @param file path that ends in .png or .svg */
async function writePlot(file: string, described: Described): Promise<void> {
  const { model } = described.inspection;
  const svg = structurePicture(described, basename(resolve(model)));
  if (svg === undefined) throw new CommandFailed(`nothing to draw in ${model}: only GBLR layers have a block layout`);
  const content = /\.svg$/i.test(file) ? svg : await renderPng(svg);
  await writeFileAtomically(file, content).catch((error: unknown) => {
    throw new CommandFailed(`${file}: cannot be written: ${reason(error)}`, { cause: error });
  });
}

interface PrintOptions {
  palette: Palette;
  /** path of the picture */
  plot?: string;
  /** size of the cut */
  keep: number | undefined;
}

interface Column {
  heading: string;
  align: "left" | "right";
  text: (layer: InspectedLayer) => string;
}

const COLUMNS: readonly Column[] = [
  { heading: "layer", align: "left", text: ({ name }) => visible(name) },
  { heading: "kind", align: "left", text: ({ structure }) => visible(structure) },
  { heading: "in × out", align: "right", text: ({ nIn, nOut }) => `${nIn} × ${nOut}` },
  { heading: "blocks", align: "right", text: ({ blocks }) => (blocks ? `${blocks.live}/${blocks.all}` : "") },
  { heading: "width in", align: "left", text: ({ blocks }) => (blocks ? sparkline(blocks.widthsIn) : "") },
  { heading: "out", align: "left", text: ({ blocks }) => (blocks ? sparkline(blocks.widthsOut) : "") },
  { heading: "cover", align: "right", text: ({ blocks }) => (blocks ? threeDigits(blocks.cover) : "") },
  {
    heading: "rank",
    align: "right",
    text: ({ structure, equalCostRank }) => (isDense(structure) ? "" : threeDigits(equalCostRank)),
  },
  { heading: "cost", align: "right", text: ({ cost }) => formatCount(cost) },
  { heading: "share", align: "right", text: ({ share }) => percent(share) },
  { heading: "padding", align: "right", text: ({ blocks }) => (blocks ? percent(blocks.padding) : "") },
];

const SHORTEST_NAME = 12;

function printInspection({ inspection, timed }: Described, { palette, plot, keep }: PrintOptions): string {
  const { model, layers, totals, embeddings, sizes } = inspection;
  const [names, ...others] = COLUMNS.map((column) => cellsOf(column, layers, palette));
  const shown = others.filter(([, ...cells]) => cells.some(({ text }) => text !== ""));
  const rest = Math.max(...table(rowsOf(shown)).map((line) => line.length));
  const room = Math.max(SHORTEST_NAME, WIDTH - rest - 2);
  const texts = shortNames(
    (names as Cell[]).map(({ text }) => text),
    room,
  );
  const short = (names as Cell[]).map((cell, i) => ({ ...cell, text: texts[i] as string }));
  const lines = table(rowsOf([short, ...shown]));
  const kinds = totals.structured.layers;
  return [
    palette.bold(visible(cutName(model, keep))),
    "",
    ...lines,
    "",
    ...(kinds > 0 && kinds < layers.length ? [totalLine("structured layers", totals.structured)] : []),
    totalLine("all layers", totals.all),
    ...(embeddings.length > 0 ? wrap(`embedding tables, not counted: ${visible(embeddings.join(", "))}`) : []),
    ...(sizes ? wrap(sizesLine(sizes)) : []),
    ...formLines(layers, { timed, palette }),
    ...(plot === undefined ? [] : [`picture of the blocks: ${plot}`]),
  ].join("\n");
}

/** Heading and cells of a column. */
function cellsOf({ heading, align, text }: Column, layers: readonly InspectedLayer[], { dim }: Palette): Cell[] {
  return [{ text: heading, align, paint: dim }, ...layers.map((layer) => ({ text: text(layer), align }))];
}

function rowsOf(columns: readonly (readonly Cell[])[]): Cell[][] {
  return (columns[0] ?? []).map((_, row) => columns.map((column) => column[row] as Cell));
}

function totalLine(what: string, { layers, cost, dense, share }: Total): string {
  const counted = `${formatCount(cost)} of ${formatCount(dense)} multiply-adds per row`;
  return `${what}: ${layers}, ${counted}, ${percent(share)}`;
}

/** The folder itself takes more than its largest size, so that the costs above are larger than those of cuts. */
const sizesLine = ([least, most]: readonly [number, number]): string =>
  `sizes: ${percent(least)} to ${percent(most)} of the dense layers; --keep of inspect, export, eval and others cuts to one`;

/** Replaces control characters, because names come from files. */
function visible(text: string): string {
  return text.replace(/\p{Cc}|\p{Cf}/gu, "\ufffd");
}
