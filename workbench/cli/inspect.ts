// `gblr inspect`: what the linear layers of a model are, what they cost, and where their blocks lie. Reads headers,
// spans and widths, never the weights; of a repository it fetches no more than the file that they are in. The numbers come from report/describe-model.ts, the text from inspect/print.ts,
// the picture from inspect/plot.ts.

import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import type { Command } from "commander";
import { findLayers, openModel, TRAINABLE_FILE } from "../../hub/model-folder/index.ts";
import { chooseLayers } from "../compress/layer-pattern.ts";
import { describe } from "../report/describe-model.ts";
import { writePlot } from "./inspect/plot.ts";
import { printInspection } from "./inspect/print.ts";
import { interruptible } from "./interrupt.ts";
import { locateModel } from "./open-model.ts";
import { CommandFailed, UsageError, verb } from "./program.ts";
import { paletteFor } from "./terminal.ts";

interface InspectOptions {
  layer?: string;
  plot?: string;
  json?: boolean;
}

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Shows the linear layers of a model and what they cost: packed, trainable (a
reference checkpoint too), or dense. Weights are not read.

blocks  those that evaluation keeps, of all
width   of the kept blocks, in eighths of n: first bar (0, 1/8], last (7/8, 1]
cover   mean number of blocks on an entry, the sum of w_in · w_out over blocks;
        where all widths are 1 it is the rank
rank    of the low-rank matrix that costs as much: cost / (n_in + n_out)
cost    multiply-adds a row of input (a position, in convolutions), counted as
        the reference implementation does
share   of what the dense layer costs

Masks count as 0/1 unless "gblr.sigma" in config.json says how smooth they are.
`.trim();

export function addInspect(program: Command): void {
  verb(program, {
    name: "inspect",
    summary: "show a model's layers: blocks, widths, cost, and a picture of where blocks lie",
    example: [
      "gblr inspect runs/gpt2-gaudi --layer 'h.0.*' --plot layout.png --json",
      "gblr inspect timm/vit_base_patch16_224.augreg_in1k",
    ].join("\n"),
  })
    .summary("show a model's layers: blocks, widths, cost, and a picture of where blocks lie")
    .description(DESCRIPTION)
    .argument("<model>", "a model folder, a .safetensors file, owner/name[@revision] on the Hub, or zoo:gpt2-gaudi")
    .option("--layer <pattern>", "only layers with this in their name; * stands for any characters")
    .option("--plot <file>", "draw the blocks of each GBLR matrix, brighter where more overlap: .png or .svg")
    .option("--json", "one JSON document on stdout")
    .action(inspect);
}

/** What layers are and cost is in these; trainable factors only where a repository has no others. */
const PACKED_FILES = ["config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"];

/** A file or folder as it is, else what is pulled by the name. */
async function pathOf(name: string): Promise<string> {
  if (existsSync(name)) return name;
  if (/\.(safetensors|json|bin|ckpt|pth?)$/i.test(name)) {
    throw new CommandFailed(
      `there is no file ${JSON.stringify(name)}; give a .safetensors file, or the name of a model`,
    );
  }
  const message = "interrupted; what has come is kept, run it again to go on";
  return interruptible(message, async (signal) => {
    const { folder, repo } = await locateModel(name, { signal, files: PACKED_FILES });
    if (repo === undefined || (await readdir(folder)).some((file) => /\.(safetensors|bin)$/.test(file))) return folder;
    return (await locateModel(name, { signal, files: [...PACKED_FILES, TRAINABLE_FILE] })).folder;
  });
}

async function inspect(name: string, { layer, plot, json = false }: InspectOptions): Promise<void> {
  if (plot !== undefined && !/\.(png|svg)$/i.test(plot)) {
    throw new UsageError(`--plot writes .png or .svg, "${plot}" is neither`);
  }
  if (plot !== undefined && !existsSync(dirname(plot))) {
    throw new CommandFailed(`${plot} cannot be written: there is no folder "${dirname(plot)}"; make it first`);
  }
  const model = await openModel(await pathOf(name));
  try {
    const found = findLayers(model);
    const layers = layer === undefined ? found.layers : chooseLayers(found.layers, { pattern: layer, model: name });
    if (layers.length === 0) throw new CommandFailed(`${name} has no linear layer; it has tensors of other kinds only`);
    const sigma = model.config?.sigma;
    const described = await describe({ ...found, layers }, { path: name, ...(sigma !== undefined && { sigma }) });
    if (plot !== undefined) await writePlot(plot, described);
    const { inspection } = described;
    const text = json
      ? JSON.stringify({ ...inspection, ...(plot !== undefined && { plot }) }, null, 2)
      : printInspection(inspection, { palette: paletteFor(process.stdout, process.env), ...(plot && { plot }) });
    process.stdout.write(`${text}\n`);
  } finally {
    await model.tensors.close();
  }
}
