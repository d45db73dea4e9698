// `gblr inspect`: what the linear layers of a model are, what they cost, and where their blocks lie. Reads headers,
// spans and widths, never the weights, and fetches no more of a repository. The numbers come from
// report/describe-model.ts, the text from inspect/print.ts, the picture from inspect/plot.ts.

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import type { Command } from "commander";
import { checkModel, type OpenModel, openModel, openRemoteModel } from "../../hub/model-folder/index.ts";
import { parseLocation } from "../../hub/pull/locate.ts";
import type { Retry } from "../../hub/request/context.ts";
import { isZooName } from "../../hub/zoo/releases.ts";
import { chooseLayers } from "../compress/layer-pattern.ts";
import { describe } from "../report/describe-model.ts";
import { withHub } from "./hub-access.ts";
import { writePlot } from "./inspect/plot.ts";
import { printInspection } from "./inspect/print.ts";
import { interruptible } from "./interrupt.ts";
import { locateModel } from "./open-model.ts";
import { CommandFailed, UsageError, verb } from "./program.ts";
import { retryNote } from "./pull.ts";
import { paletteFor } from "./terminal.ts";

interface InspectOptions {
  layer?: string;
  plot?: string;
  json?: boolean;
}

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Shows the linear layers of a model and what they cost: packed, trainable (a
reference checkpoint too), or dense. Weights are not read, nor fetched where
the model is on the Hub.

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

async function inspect(name: string, options: InspectOptions): Promise<void> {
  checkPlot(options);
  if (existsSync(name)) return show(await openModel(name), name, options);
  if (/\.(safetensors|json|bin|ckpt|pth?)$/i.test(name)) {
    throw new CommandFailed(
      `there is no file ${JSON.stringify(name)}; give a .safetensors file, or the name of a model`,
    );
  }
  await interruptible("interrupted", async (signal) => {
    if (!isZooName(name) && (await inspectOnHub(name, { ...options, signal }))) return;
    const { folder } = await locateModel(name, { signal });
    await show(await openModel(folder), name, options);
  });
}

/** @returns whether it could be looked at where it is; if not, it has to be pulled */
function inspectOnHub(
  name: string,
  { signal, ...options }: InspectOptions & { signal: AbortSignal },
): Promise<boolean> {
  return withHub(process.env, async (access) => {
    if (access.offline) return false;
    const onRetry = (retry: Retry) => process.stderr.write(`gblr: ${retryNote(retry)}\n`);
    const model = await openRemoteModel(parseLocation(name, "model"), access, { signal, onRetry });
    if (model) await show(model, name, options);
    return model !== undefined;
  });
}

function checkPlot({ plot }: InspectOptions): void {
  if (plot === undefined) return;
  if (!/\.(png|svg)$/i.test(plot)) throw new UsageError(`--plot writes .png or .svg, "${plot}" is neither`);
  if (existsSync(dirname(plot))) return;
  throw new CommandFailed(`${plot} cannot be written: there is no folder "${dirname(plot)}"; make it first`);
}

/** Closes the model. */
async function show(model: OpenModel, name: string, { layer, plot, json = false }: InspectOptions): Promise<void> {
  try {
    const found = await checkModel(model);
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
