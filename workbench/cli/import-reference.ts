// `gblr import` of a checkpoint with GBLR layers, written by the method's authors' trainer: a model folder is made of it.
// The work is in models/reference; here are the progress and what is printed.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_FILE } from "../../hub/model-folder/index.ts";
import { openEngine } from "../engine/core/open.ts";
import { type ImportReferenceOptions, importReference } from "../models/reference/index.ts";
import { interruptible } from "./interrupt.ts";
import { expectPlaceForModel } from "./place-for-model.ts";
import { CommandFailed } from "./program.ts";
import { progressBar } from "./progress-bar.ts";
import type { Palette } from "./terminal.ts";

export interface ReferenceSummary {
  file: string;
  out: string;
  /** `model_type` of the dense model */
  type: string;
  /** GBLR matrices; a convolution can have one for each position of its kernel */
  layers: number;
  /** σ of the masks; undefined: they have no Gaussian */
  sigma?: number;
  /** multiply-adds of the whole model as the reference counts them, of the dense one's */
  relativeFlops: number;
  /** names in the folder */
  files: string[];
}

export async function importReferenceWithProgress(
  file: string,
  { force, ...options }: ImportReferenceOptions & { force: boolean },
): Promise<ReferenceSummary> {
  await expectPlaceForModel(options.out, { force });
  await openEngine();
  return interruptible("interrupted; nothing was written", async (signal) => {
    const bar = progressBar({ label: "reading" });
    try {
      for await (const event of importReference(file, options)) {
        if (event.kind === "converted") return await summaryOf(file, options.out);
        signal.throwIfAborted();
        if (event.kind === "converting") bar.note(`packing ${event.layers} matrices`);
        else {
          bar.setTotal(event.total);
          bar.advance(event.bytes);
        }
      }
      throw new CommandFailed(`${file}: the import ended early`);
    } finally {
      bar.stop();
    }
  });
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

export function printReferenceSummary(
  { file, out, type, layers, sigma, relativeFlops, files }: ReferenceSummary,
  palette: Palette,
): string {
  const masks = sigma === undefined ? "masks without a Gaussian" : `masks of σ = ${sigma}`;
  const python = files.filter((name) => name.endsWith(".py")).length;
  const others = files.filter((name) => !name.endsWith(".py"));
  const written = [...others, ...(python > 0 ? [`${python} files for Python`] : [])].join(", ");
  const cost = `${(100 * relativeFlops).toFixed(1)} % of the dense multiply-adds as the reference counts`;
  return [
    palette.bold(`${file} → ${out}`),
    `  ${type} with ${layers} GBLR matrices, ${masks}; ${cost}`,
    `  ${palette.dim("written")} ${written}`,
  ].join("\n");
}
